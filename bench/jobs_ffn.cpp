// SwiGLU feed-forward layers with 2:4 weights, their passes and what a training step adds to them.
#include "jobs.hpp"

#include <danaus/feed_forward.hpp>

#include <cmath>
#include <limits>

namespace danaus::bench {
namespace {

using Values = std::vector<std::vector<float>>;

constexpr Gate gate = Gate::swiglu;
constexpr std::uint64_t refresh_every = SparseSchedule{}.refresh_every;

// A layer and its last forward pass.
template <typename Layer>
struct Ffn {
    Ffn(Stream& stream, DataType type, const Sizes& s, Order order, std::uint64_t seed, bool tiles = false)
        : up(make(stream, type, s.in, 2 * s.out, seed, tiles)),
          down(make(stream, type, s.out, s.in, seed + 1, tiles)),
          layer(up, down, {gate, order}) {}

    static std::shared_ptr<Layer> make(Stream& stream, DataType type, std::uint64_t in, std::uint64_t out,
                                       std::uint64_t seed, bool tiles) {
        const LinearOptions options{.bias = false, .type = type, .seed = seed};
        if constexpr (std::is_same_v<Layer, DenseLinear>) {
            return std::make_shared<Layer>(stream, in, out, options);
        } else {
            SparseLinear24Options sparse;
            sparse.weight.tile_codes = tiles;
            return std::make_shared<Layer>(stream, in, out, sparse, options);
        }
    }

    std::shared_ptr<Layer> up, down;
    FeedForward layer;
    FeedForward::Saved saved;
};
using Sparse = Ffn<SparseLinear24>;
using Dense = Ffn<DenseLinear>;

struct Data {
    Tensor x, y, dy, dx;
};

template <typename Layer>
void record_pass(Recorder& recorder, const Ffn<Layer>& ffn, FfnPart part, const Data& data) {
    if (part == FfnPart::forward) return ffn.layer.forward_into(recorder, data.y, data.x);
    if (part == FfnPart::backward) return ffn.layer.backward_into(recorder, data.dx, data.dy, ffn.saved);
    FeedForward::Saved saved;
    ffn.layer.forward_into(recorder, data.y, data.x, {}, &saved);
    ffn.layer.backward_into(recorder, data.dx, data.dy, saved);
}

// A fortieth of the work of refresh(): that of the first fortieth of the rows, in whole tiles.
void record_refresh_share(Recorder& recorder, const SparseWeight24& weight) {
    const Tensor& master = weight.parameter().master;
    const std::uint64_t rows = (master.size(0) / refresh_every + 3) / 4 * 4;
    const Tensor before = weight.mask().slice(0, 0, rows);
    const Tensor next = select_transposable_mask(recorder, master.slice(0, 0, rows));
    static_cast<void>(count_flips(recorder, next, before));
    convert_into(recorder, before, next);
}

// What the oracle multiplies by: the entries of W that stay, few enough that sums of 16-bit products are
// known.
struct Entry {
    std::size_t row, column;
    double value;
};

// Zero but for four tiles of every four rows, each with two entries in a row and a column: a transposable
// mask keeps them all.
std::vector<Entry> thin_out(std::vector<float>& w, std::size_t columns) {
    std::vector<float> kept(w.size());
    std::vector<Entry> entries;
    const std::size_t tiles = columns / 4;
    for (std::size_t row = 0; row < w.size() / columns; ++row)
        for (std::size_t i = 0; i < 8; ++i) {
            const std::size_t tile = (row / 4 * 7 + i / 2 * (tiles / 4)) % tiles;
            const std::size_t column = 4 * tile + (row + i % 2) % 4, at = row * columns + column;
            kept[at] = w[at];
            if (w[at] != 0.0f) entries.push_back({row, column, static_cast<double>(w[at])});
        }
    w = std::move(kept);
    return entries;
}

using Matrix = std::vector<std::vector<double>>;  ///< rows

Matrix rows_of(const std::vector<float>& values, std::size_t columns) {
    Matrix rows(values.size() / columns);
    for (std::size_t i = 0; i < values.size(); ++i)
        rows[i / columns].push_back(static_cast<double>(values[i]));
    return rows;
}

// x·Wᵀ, and transposed x·W.
Matrix product(const Matrix& x, const std::vector<Entry>& w, std::size_t features, bool transpose) {
    Matrix y(x.size(), std::vector<double>(features));
    for (std::size_t t = 0; t < x.size(); ++t)
        for (const auto& [row, column, value] : w)
            y[t][transpose ? column : row] += value * x[t][transpose ? row : column];
    return y;
}

void store(const Matrix& rows, std::vector<float>& out) {
    std::size_t at = 0;
    for (const auto& row : rows)
        for (const double value : row) out[at++] = static_cast<float>(value);
}

// Sixty-four rows of dzᵀ·x; what is left out stays unknown.
void store_gradient(const Matrix& dz, const Matrix& x, std::vector<float>& out) {
    const std::size_t rows = dz[0].size(), columns = x[0].size();
    for (std::size_t row = 0; row < rows; row += (rows + 63) / 64)
        for (std::size_t column = 0; column < columns; ++column) {
            double sum = 0.0;
            for (std::size_t t = 1; t < x.size(); t += 4) sum += dz[t][row] * x[t][column];
            out[row * columns + column] = static_cast<float>(sum);
        }
}

enum : std::size_t { at_x, at_up, at_down, at_y, at_dy, at_dx, at_dup, at_ddown };

void compute(const Sizes& s, FfnPart part, Values& values) {
    const std::vector<Entry> up = thin_out(values[at_up], s.in), down = thin_out(values[at_down], s.out);
    const Matrix x = rows_of(values[at_x], s.in), z = product(x, up, 2 * s.out, false);
    Matrix a(s.tokens, std::vector<double>(s.out)), dz = z;
    const auto sigmoid = [](double g) { return 1.0 / (1.0 + std::exp(-g)); };
    for (std::size_t t = 0; t < s.tokens; ++t)
        for (std::size_t f = 0; f < s.out; ++f) {
            const double g = z[t][f + s.out];
            a[t][f] = z[t][f] * g * sigmoid(g);
        }
    if (part != FfnPart::backward) store(product(a, down, s.in, false), values[at_y]);
    if (part == FfnPart::forward) return;
    // Of four tokens one has a gradient, which pruning then leaves as it is.
    for (std::size_t i = 0; i < values[at_dy].size(); ++i)
        if (i / s.in % 4 != 1) values[at_dy][i] = 0.0f;
    const Matrix dy = rows_of(values[at_dy], s.in), da = product(dy, down, s.out, true);
    for (std::size_t t = 0; t < s.tokens; ++t)
        for (std::size_t f = 0; f < s.out; ++f) {
            const double g = z[t][f + s.out], p = sigmoid(g);
            dz[t][f] = da[t][f] * g * p;
            dz[t][f + s.out] = da[t][f] * z[t][f] * (p + g * p * (1.0 - p));
        }
    store(product(dz, up, s.in, true), values[at_dx]);
    store_gradient(dz, x, values[at_dup]);
    store_gradient(dy, a, values[at_ddown]);
}

}  // namespace

Job ffn(Stream& stream, DataType type, const Sizes& s, FfnPart part, FfnRival rival, Order order) {
    const auto own = std::make_shared<Sparse>(stream, type, s, order, 1, rival == FfnRival::row_wise);
    const auto tensor = [&] { return Tensor(stream.device(), type, {s.tokens, s.in}); };
    const bool backward = part != FfnPart::forward;
    const Data data{tensor(), tensor(), tensor(), tensor()};
    const Parameter &up = own->up->parameters()[0], &down = own->down->parameters()[0];
    Job job;
    const auto add = [&](Role role, const Tensor& t) {
        job.operands.push_back({role, t.elements(), t, false});
    };
    add(Role::input, data.x);
    add(Role::input, up.master);
    add(Role::input, down.master);
    if (part == FfnPart::backward)
        job.operands.push_back({Role::host, data.y.elements(), {}, false});
    else
        add(Role::output, data.y);
    if (backward) {
        add(Role::input, data.dy);
        for (const Tensor& out : {data.dx, up.gradient, down.gradient}) add(Role::output, out);
    }
    job.magnitude = 1;
    job.tolerance = type == DataType::f32 ? 1e-4 : 0.125;
    job.oracle = [s, part](Values& values) { compute(s, part, values); };

    for (const auto& layer : {own->up, own->down}) {
        job.copy_bytes += layer->weight().copy_bytes();
        job.master_bytes += layer->weight().parameter().master.elements() * size_of(DataType::f32);
    }

    // The other one beside it, prepared with it.
    const auto dense =
        rival == FfnRival::dense ? std::make_shared<Dense>(stream, type, s, order, 3) : nullptr;
    const bool token_major = rival == FfnRival::token_major;
    const auto other_sparse = token_major || rival == FfnRival::row_wise
                                  ? std::make_shared<Sparse>(stream, type, s, Order::token_major, 3)
                                  : nullptr;
    const Data other{data.x, tensor(), data.dy, tensor()};
    const auto prepare = [other](Recorder& recorder, auto& ffn) {
        static_cast<void>(ffn.layer.forward(recorder, other.x, {}, &ffn.saved));
    };
    job.prepare = [=](Recorder& recorder) {
        for (const auto& layer : {own->up, own->down}) {
            refresh_working(recorder, layer->parameters()[0]);
            layer->weight().refresh(recorder);
        }
        prepare(recorder, *own);
        if (dense) prepare(recorder, *dense);
        if (other_sparse) prepare(recorder, *other_sparse);
    };
    job.record = [=](Recorder& recorder) {
        record_pass(recorder, *own, part, data);
        if (part != FfnPart::step) return;
        for (const auto& layer : {own->up, own->down}) {
            layer->weight().recompress(recorder);
            record_refresh_share(recorder, layer->weight());
        }
    };
    if (dense) job.rival = {"dense", [=](Recorder& recorder) { record_pass(recorder, *dense, part, other); }};
    if (other_sparse)
        job.rival = {token_major ? "token-major" : "by rows",
                     [=](Recorder& recorder) { record_pass(recorder, *other_sparse, part, other); }};
    if (rival == FfnRival::gate)
        job.rival = {"its gate", [=](Recorder& recorder) {
                         const auto& [xg, a] = std::pair{own->saved.xg, own->saved.down.x};
                         if (part != FfnPart::backward)
                             static_cast<void>(gated_activation(recorder, xg, gate));
                         if (backward) static_cast<void>(gated_activation_backward(recorder, a, xg, gate));
                     }};

    const std::uint64_t passes = part == FfnPart::forward ? 1 : part == FfnPart::backward ? 2 : 3;
    job.multiply_adds = passes * s.tokens * 3 * s.in * s.out / 2;
    job.bytes = (backward ? 4 : 2) * data.x.elements() * size_of(type) + own->layer.bytes();
    if (backward) job.bytes += (up.gradient.elements() + down.gradient.elements()) * 4;
    // The masters are read and the compressed weights written again.
    if (part == FfnPart::step) job.bytes += job.master_bytes + job.copy_bytes;
    return job;
}

Job ffn_upkeep(Stream& stream, DataType type, const Sizes& s, bool refresh) {
    const auto own = std::make_shared<Sparse>(stream, type, s, Order::token_major, 1);
    Job job;
    for (const auto& layer : {own->up, own->down}) {
        const Parameter& weight = layer->parameters()[0];
        const Tensor out(stream.device(), type, weight.master.shape());
        job.operands.push_back({Role::input, out.elements(), weight.master, false});
        job.operands.push_back({Role::output, out.elements(), out, false});
        const std::uint64_t mask = layer->weight().mask().elements() * 4;
        job.bytes += out.elements() * size_of(DataType::f32) + mask + layer->bytes();
        if (refresh) job.bytes += mask;
    }
    job.magnitude = 1;
    job.oracle = [s](Values& values) {
        for (const std::size_t i : {std::size_t{0}, std::size_t{2}}) {
            static_cast<void>(thin_out(values[i], i ? s.out : s.in));
            values[i + 1] = values[i];
        }
    };
    const auto each = [own](const auto& call) {
        for (const auto& layer : {own->up, own->down}) call(*layer);
    };
    job.prepare = [=](Recorder& recorder) {
        each([&](SparseLinear24& layer) {
            refresh_working(recorder, layer.parameters()[0]);
            layer.weight().refresh(recorder);
        });
    };
    job.record = [=](Recorder& recorder) {
        each([&](SparseLinear24& layer) {
            refresh ? layer.weight().refresh(recorder) : layer.weight().recompress(recorder);
        });
    };
    job.reveal = [=, operands = job.operands](Recorder& recorder) {
        to_dense_into(recorder, operands[1].tensor, own->up->weight().compressed());
        to_dense_into(recorder, operands[3].tensor, own->down->weight().compressed());
    };
    return job;
}

}  // namespace danaus::bench
