#include "jobs.hpp"

#include "gemm.hpp"

#include <algorithm>
#include <array>

namespace danaus::bench {
namespace {

int significant_bits(DataType type) {
    return type == DataType::f16 ? 11 : type == DataType::bf16 ? 8 : 24;
}

Operand on_device(Role role, Stream& stream, DataType type, const Shape& shape, bool derived = false) {
    return {role, shape.elements(), Tensor(stream.device(), type, shape), derived};
}

Operand on_host(std::uint64_t elements) {
    return {Role::host, elements, {}, false};
}

// Products that follow each other, whole or, where they are large, in a sample.
std::function<void(Values&)> by_double(DataType type, std::vector<Gemm> gemms) {
    return [bits = significant_bits(type), gemms = std::move(gemms)](Values& operands) {
        std::uint64_t work = 0;
        bool same_rows = true;
        for (const Gemm& gemm : gemms) {
            work += gemm.multiply_adds();
            same_rows = same_rows && gemm.m == gemms.front().m;
        }
        if (work <= sample_above || !same_rows) {
            for (const Gemm& gemm : gemms) multiply_in_double(gemm, operands, bits);
            return;
        }
        const Sample sample = sample_of(gemms);
        for (const Gemm& gemm : gemms) multiply_in_double(gemm, operands, bits, sample);
    };
}

/// Oracle, multiply-adds and bytes of a job that is a sequence of products.
void computes(Job& job, DataType type, std::vector<Gemm> gemms) {
    for (const Operand& operand : job.operands)
        if (operand.tensor) job.bytes += operand.elements * size_of(type);
    for (const Gemm& gemm : gemms) job.multiply_adds += gemm.multiply_adds();
    job.oracle = by_double(type, std::move(gemms));
}

Yardstick by_blas(std::string what, std::vector<Gemm> gemms) {
    Yardstick yardstick;
    yardstick.what = std::move(what);
    for (const Gemm& gemm : gemms) yardstick.multiply_adds += gemm.multiply_adds();
    yardstick.run = [gemms = std::move(gemms)](const Blas& blas, Values& operands) {
        for (const Gemm& gemm : gemms) multiply_by_blas(blas, gemm, operands);
    };
    return yardstick;
}

// Operands x, W, y; what the verb computes is the output, the others are inputs.
std::array<Role, 3> roles(Verb verb) {
    return {verb == Verb::transposed ? Role::output : Role::input,
            verb == Verb::gradient ? Role::output : Role::input,
            verb == Verb::forward ? Role::output : Role::input};
}

Gemm turned(const Gemm& f, Verb verb) {
    if (verb == Verb::transposed) return input_gradient(f, f.a, f.b, f.c);
    if (verb == Verb::gradient) return weight_gradient(f, f.b, f.a, f.c);
    return f;
}

}  // namespace

Job dense(Stream& stream, DataType type, const Sizes& s, Verb verb) {
    const auto [x_role, w_role, y_role] = roles(verb);
    Job job;
    job.operands = {on_device(x_role, stream, type, {s.tokens, s.in}),
                    on_device(w_role, stream, type, {s.out, s.in}),
                    on_device(y_role, stream, type, {s.tokens, s.out})};
    const Tensor x = job.operands[0].tensor, w = job.operands[1].tensor, y = job.operands[2].tensor;
    job.record = [=](Recorder& recorder) {
        if (verb == Verb::forward) matmul_into(recorder, y, x, w);
        if (verb == Verb::transposed) matmul_transposed_into(recorder, x, y, w);
        if (verb == Verb::gradient) weight_gradient_into(recorder, w, y, x);
    };
    const Gemm product = turned(forward(0, 1, 2, s.tokens, s.out, s.in), verb);
    computes(job, type, {product});
    job.yardstick = by_blas(product.m == 1 ? "the same by sgemv" : "the same by sgemm", {product});
    return job;
}

Job block_diagonal(Stream& stream, DataType type, const Sizes& s, Verb verb) {
    const std::uint64_t q = s.out / s.blocks, p = s.in / s.blocks;
    const auto [x_role, w_role, y_role] = roles(verb);
    Job job;
    job.operands = {on_device(x_role, stream, type, {s.tokens, s.in}),
                    on_device(w_role, stream, type, {s.blocks, q, p}),
                    on_device(y_role, stream, type, {s.tokens, s.out})};
    const Tensor x = job.operands[0].tensor, y = job.operands[2].tensor;
    const BlockDiagonal w(job.operands[1].tensor);
    job.record = [=](Recorder& recorder) {
        if (verb == Verb::forward) matmul_into(recorder, y, x, w);
        if (verb == Verb::transposed) matmul_transposed_into(recorder, x, y, w);
        if (verb == Verb::gradient) weight_gradient_into(recorder, w, y, x);
    };
    const Gemm product =
        turned({0, 1, 2, s.tokens, q, p, s.blocks, {s.in, 1, p}, {1, p, q * p}, {s.out, 1, q}}, verb);
    computes(job, type, {product});
    job.yardstick = by_blas("the same by sgemm, block by block", {product});
    return job;
}

namespace {

// Monarch: w1 (k, q, p) and w2 (l, s, r) of a layer with as many blocks in both, as checkpoints have them.
struct MonarchSizes {
    std::uint64_t k, q, p, l, s, r;
};

MonarchSizes monarch_sizes(const Sizes& s) {
    const std::uint64_t p = s.in / s.blocks, out = s.out / s.blocks, q = s.q ? s.q : std::min(p, out);
    return {s.blocks, q, p, s.blocks, out, q};
}

// The two products of a forward pass, for operands x, w1, w2, t, y by index.
std::array<Gemm, 2> monarch_forward(const Sizes& sizes, std::array<std::size_t, 5> at,
                                    OutputOrder order = OutputOrder::interleaved) {
    const auto [k, q, p, l, s, r] = monarch_sizes(sizes);
    const auto [x, w1, w2, t, y] = at;
    const bool blocked = order == OutputOrder::blocked;
    return {Gemm{x, w1, t, sizes.tokens, q, p, k, {k * p, 1, p}, {1, p, q * p}, {k * q, 1, q}},
            Gemm{t,
                 w2,
                 y,
                 sizes.tokens,
                 s,
                 r,
                 l,
                 {l * r, l, 1},
                 {1, r, s * r},
                 {l * s, blocked ? 1 : l, blocked ? s : 1}}};
}

Job monarch_in(OutputOrder order, Stream& stream, DataType type, const Sizes& sizes, Verb verb) {
    const auto [k, q, p, l, s, r] = monarch_sizes(sizes);
    const auto [x_role, w_role, y_role] = roles(verb);
    Job job;
    job.magnitude = 1;
    job.operands = {on_device(x_role, stream, type, {sizes.tokens, sizes.in}),
                    on_device(Role::input, stream, type, {k, q, p}),
                    on_device(Role::input, stream, type, {l, s, r}),
                    on_host(sizes.tokens * k * q),
                    on_device(y_role, stream, type, {sizes.tokens, sizes.out}),
                    on_host(sizes.out * sizes.in)};
    const Tensor x = job.operands[0].tensor, y = job.operands[4].tensor;
    const Monarch w(job.operands[1].tensor, job.operands[2].tensor, order);
    job.record = [=](Recorder& recorder) {
        if (verb == Verb::forward) matmul_into(recorder, y, x, w);
        if (verb == Verb::transposed) matmul_transposed_into(recorder, x, y, w);
    };
    const auto [first, second] = monarch_forward(sizes, {0, 1, 2, 3, 4}, order);
    computes(job, type,
             verb == Verb::forward ? std::vector{first, second}
                                   : std::vector{turned(second, verb), turned(first, verb)});
    const Gemm whole = turned(forward(0, 5, 4, sizes.tokens, sizes.out, sizes.in), verb);
    job.yardstick = by_blas(whole.m == 1 ? "dense sgemv" : "dense sgemm", {whole});
    return job;
}

}  // namespace

Job monarch(Stream& stream, DataType type, const Sizes& sizes, Verb verb) {
    return monarch_in(OutputOrder::interleaved, stream, type, sizes, verb);
}

namespace {

// The same two factors without permutations take the place of OpenBLAS, whose threads spin for a while after
// their work and would meet one of the two more than the other.
Job beside_blocks(Stream& stream, DataType type, Job job) {
    const Tensor x = job.operands[0].tensor, y = job.operands[4].tensor, second = job.operands[2].tensor;
    const BlockDiagonal first(job.operands[1].tensor);
    Epilogue between;
    between.order = Order::feature_major;  // as between a Monarch matrix's factors
    const Tensor own(stream.device(), type, y.shape());
    job.yardstick = {};
    job.rival = {"two block-diagonal factors", [=](Recorder& recorder) {
                     matmul_into(recorder, own, matmul(recorder, x, first, between), BlockDiagonal(second));
                 }};
    return job;
}

}  // namespace

Job monarch_beside_blocks(Stream& stream, DataType type, const Sizes& sizes, Verb verb) {
    return beside_blocks(stream, type, monarch(stream, type, sizes, verb));
}

Job monarch_blocked_beside_blocks(Stream& stream, DataType type, const Sizes& sizes, Verb verb) {
    return beside_blocks(stream, type, monarch_in(OutputOrder::blocked, stream, type, sizes, verb));
}

Job monarch_backward(Stream& stream, DataType type, const Sizes& sizes) {
    const auto [k, q, p, l, s, r] = monarch_sizes(sizes);
    Job job;
    job.magnitude = 1;
    enum : std::size_t { x, w1, w2, t, dy, dt, dx, dw1, dw2, dense_w, dense_dw };
    job.operands = {on_device(Role::input, stream, type, {sizes.tokens, sizes.in}),
                    on_device(Role::input, stream, type, {k, q, p}),
                    on_device(Role::input, stream, type, {l, s, r}),
                    on_device(Role::input, stream, type, {sizes.tokens, k * q}, true),
                    on_device(Role::input, stream, type, {sizes.tokens, sizes.out}),
                    on_host(sizes.tokens * k * q),
                    on_device(Role::output, stream, type, {sizes.tokens, sizes.in}),
                    on_device(Role::output, stream, type, {k, q, p}),
                    on_device(Role::output, stream, type, {l, s, r}),
                    on_host(sizes.out * sizes.in),
                    on_host(sizes.out * sizes.in)};
    const auto tensor = [&](std::size_t i) { return job.operands[i].tensor; };
    const Monarch w(tensor(w1), tensor(w2));
    const MonarchGradients out{tensor(dx), Monarch(tensor(dw1), tensor(dw2))};
    job.record = [=, input = tensor(x), inner = tensor(t), gradient = tensor(dy)](Recorder& recorder) {
        backward_into(recorder, out, gradient, input, w, inner);
    };
    const auto [first, second] = monarch_forward(sizes, {x, w1, w2, t, dy});
    computes(job, type,
             {first, weight_gradient(second, dw2, t, dy), input_gradient(second, dt, w2, dy),
              weight_gradient(first, dw1, x, dt), input_gradient(first, dx, w1, dt)});
    job.multiply_adds -= first.multiply_adds();  // t is given
    const Gemm whole = forward(x, dense_w, dy, sizes.tokens, sizes.out, sizes.in);
    job.yardstick = by_blas("dense dx and dW by sgemm", {input_gradient(whole, dx, dense_w, dy),
                                                         weight_gradient(whole, dense_dw, x, dy)});
    return job;
}

namespace {

// Two of every four neighbouring columns become zero, and two of every four rows: a row drops a pair of
// columns and the next one the other pair, others from group to group.
void prune(std::vector<float>& w, std::uint64_t columns) {
    constexpr std::array<std::array<std::uint64_t, 2>, 6> pairs{
        {{0, 1}, {2, 3}, {0, 2}, {1, 3}, {0, 3}, {1, 2}}};
    for (std::uint64_t group = 0; group < w.size() / 4; ++group) {
        const std::uint64_t row = 4 * group / columns;
        for (const std::uint64_t column : pairs[(group % (columns / 4) + row / 2) % 3 * 2 + row % 2])
            w[4 * group + column] = 0.0f;
    }
}

}  // namespace

Job sparse24(Stream& stream, DataType type, const Sizes& s, Verb verb) {
    const auto [x_role, w_role, y_role] = roles(verb);
    Job job;
    job.operands = {on_device(x_role, stream, type, {s.tokens, s.in}),
                    on_device(Role::input, stream, type, {s.out, s.in}),
                    on_device(y_role, stream, type, {s.tokens, s.out})};
    const Tensor x = job.operands[0].tensor, dense_w = job.operands[1].tensor, y = job.operands[2].tensor;
    const Sparse24 w(stream.device(), type, {s.out, s.in});
    job.prepare = [=](Recorder& recorder) { compress_by_magnitude_into(recorder, w, dense_w); };
    job.record = [=](Recorder& recorder) {
        if (verb == Verb::forward) matmul_into(recorder, y, x, w);
        if (verb == Verb::transposed) matmul_transposed_into(recorder, x, y, w);
    };
    const Gemm product = turned(forward(0, 1, 2, s.tokens, s.out, s.in), verb);
    job.multiply_adds = product.multiply_adds() / 2;
    job.bytes = (x.elements() + y.elements()) * size_of(type) + w.bytes();
    job.oracle = [s, multiply = by_double(type, {product})](Values& operands) {
        prune(operands[1], s.in);
        multiply(operands);
    };
    job.yardstick = by_blas(product.m == 1 ? "dense sgemv" : "dense sgemm", {product});
    return job;
}

Job permutation(Stream& stream, DataType type, const Sizes& s, std::uint64_t a) {
    Job job;
    job.operands = {on_device(Role::input, stream, type, {s.tokens, s.in}),
                    on_device(Role::output, stream, type, {s.tokens, s.in})};
    const bool stride = a != 0;
    const std::uint64_t b = stride ? s.in / a : 0;
    std::vector<std::uint32_t> index(s.in);
    // y[j·a + i] = x[i·b + j]; without a, steps of an odd number meet every feature of a power of two once.
    for (std::uint64_t at = 0; at < s.in; ++at)
        index[at] = static_cast<std::uint32_t>(stride ? at % a * b + at / a : at * 1597 % s.in);
    const Permutation p = stride ? Permutation::stride(a, b) : Permutation::from_indices(stream, index);
    job.record = [p, x = job.operands[0].tensor, y = job.operands[1].tensor](Recorder& recorder) {
        matmul_into(recorder, y, x, p);
    };
    job.bytes = 2 * s.tokens * s.in * size_of(type) + (stride ? 0 : s.in * 4);
    job.oracle = [s, index = std::move(index)](Values& operands) {
        for (std::uint64_t i = 0; i < operands[1].size(); ++i)
            operands[1][i] = operands[0][i / s.in * s.in + index[i % s.in]];
    };
    return job;
}

Job copy(Stream& stream, DataType from, DataType to, std::uint64_t rows, std::uint64_t columns,
         std::uint64_t pitch, bool transpose) {
    Job job;
    job.operands = {
        on_device(Role::input, stream, from, {rows, pitch}),
        on_device(Role::output, stream, to, transpose ? Shape{columns, rows} : Shape{rows, columns})};
    const Tensor out = job.operands[1].tensor;
    Tensor in = job.operands[0].tensor.slice(1, 0, columns);
    if (transpose) in = in.transpose();
    job.bytes = rows * columns * (size_of(from) + size_of(to));
    job.record = [=](Recorder& recorder) { convert_into(recorder, out, in); };
    job.oracle = [=](Values& operands) {
        for (std::uint64_t i = 0; i < rows; ++i)
            for (std::uint64_t j = 0; j < columns; ++j)
                operands[1][transpose ? j * rows + i : i * columns + j] = operands[0][i * pitch + j];
    };
    return job;
}

}  // namespace danaus::bench
