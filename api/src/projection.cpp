#include "pieces.hpp"
#include "svd.hpp"

#include <danaus/projection.hpp>

#include <numeric>

namespace danaus {

using namespace detail;

namespace {

// "1, 2, 3, 4, 6, 12", or the first and last of many.
std::string divisors_of(std::uint64_t size) {
    std::vector<std::uint64_t> low, high;
    for (std::uint64_t i = 1; i * i <= size && i < (1u << 20); ++i) {
        if (size % i != 0) continue;
        low.push_back(i);
        if (i * i != size) high.push_back(size / i);
    }
    low.insert(low.end(), high.rbegin(), high.rend());
    return fmt::format("{}", fmt::join(low, ", "));
}

void require_divides(const char* name, std::uint64_t value, const char* of, std::uint64_t size) {
    require(value >= 1, "{}: 0, at least 1 is needed", name);
    require(size % value == 0, "{}: {} does not divide {} = {}; possible are {}", name, value, of, size,
            divisors_of(size));
}

void check_dense(const Recorder& recorder, const Tensor& dense, const SvdOptions& options) {
    require_tensor(recorder, "dense", dense);
    require_number("dense", dense);
    require_rank("dense", dense, 2);
    check_svd_options(recorder, options);
}

void check_shape(const Tensor& dense, const MonarchShape& shape) {
    require_divides("shape.k", shape.k, "in", dense.size(1));
    require_divides("shape.l", shape.l, "out", dense.size(0));
    require(shape.q >= 1, "shape.q: 0, at least 1 is needed");
    require(shape.q <= 1ull << 31, "shape.q: {}, at most {} is possible", shape.q, 1ull << 31);
    const std::uint64_t step = shape.l / std::gcd(shape.k, shape.l);
    require(shape.k * shape.q % shape.l == 0,
            "shape.q: {} makes k·q = {} features, which l = {} does not divide; possible are multiples of {}",
            shape.q, shape.k * shape.q, shape.l, step);
}

// (K, L, S, c) of the dense matrix: T[K, L][S, c].
Tensor blocks_of(const Tensor& dense, const MonarchShape& shape, OutputOrder order) {
    const std::uint64_t p = dense.size(1) / shape.k, s = dense.size(0) / shape.l;
    const std::uint64_t row = dense.strides()[0], column = dense.strides()[1];
    const bool blocked = order == OutputOrder::blocked;
    return dense.as_strided({shape.k, shape.l, s, p},
                            {p * column, (blocked ? s : 1) * row, (blocked ? 1 : shape.l) * row, column});
}

// A factor as (outer, inner, element, term) for the kernels, with the strides that its side has.
Tensor first_factor(const Tensor& w1) {
    const Shape& strides = w1.strides();
    return w1.as_strided({w1.size(0), 1, w1.size(2), w1.size(1)}, {strides[0], 0, strides[2], strides[1]});
}
Tensor second_factor(const Tensor& w2) {
    const Shape& strides = w2.strides();
    return w2.as_strided({1, w2.size(0), w2.size(1), w2.size(2)}, {0, strides[0], strides[1], strides[2]});
}

// Sweeps end by more than they find: what is left after one that found no larger cosine is of the order of
// its square, and the error's excess again of the square of that.
constexpr float enough = 0x1p-11f;

void project_blocks(Recorder& recorder, const Monarch& out, const Tensor& error, const Tensor& blocks,
                    SvdOptions options) {
    if (options.tolerance == 0.0f && options.arithmetic == Arithmetic::f32) options.tolerance = enough;
    const std::uint64_t q = out.w1.size(1), l = out.w2.size(0);
    const std::uint64_t terms = divide_up(q, l), kept = std::min({terms, blocks.size(2), blocks.size(3)});
    const Device device = recorder.device();
    const auto limit = [&](const Tensor& tensor) {
        return operand_limit(device.capabilities(), device.access(), tensor.type());
    };
    const auto first = [&](const BatchRange& range) {
        return first_factor(out.w1.slice(0, range.outer_begin, range.outer_end));
    };
    const auto second = [&](const BatchRange& range) {
        return second_factor(out.w2.slice(0, range.inner_begin, range.inner_end));
    };
    const auto reachable = [&](const BatchRange& range) {
        return first(range).span() <= limit(out.w1) && second(range).span() <= limit(out.w2) &&
               range.of(error).span() <= limit(error);
    };
    for_svd_pieces(recorder, blocks, options, false, reachable, [&](const BatchRange& range) {
        const Tensor part = range.of(blocks);
        const Decomposition d = decompose(recorder, part, options, false);
        TermPlaces places{1, part.size(1), range.outer_begin, range.inner_begin, q, l, kept};
        const Tensor order = order_vectors(recorder, d, places, range.of(error));
        for (const std::uint32_t side : {1u, 2u}) {
            places.kind = side;
            const Tensor factor = side == 1 ? first(range) : second(range);
            if (d.by_columns == (side == 2))
                store_vectors(recorder, d, places, order, terms, 2, factor);
            else
                store_products(recorder, d, places, order, terms, part, factor);
        }
    });
}

}  // namespace

void project_into(Recorder& recorder, const Monarch& out, const Tensor& error, const Tensor& dense,
                  const SvdOptions& options) {
    check_dense(recorder, dense, options);
    require_tensor(recorder, "out.w1", out.w1);
    require_tensor(recorder, "out.w2", out.w2);
    require(out.order == OutputOrder::interleaved || out.order == OutputOrder::blocked,
            "out.order: {} is none of the known ones", static_cast<std::uint32_t>(out.order));
    require(out.in_features() == dense.size(1) && out.out_features() == dense.size(0),
            "out: a matrix ({}, {}), dense has shape {}", out.out_features(), out.in_features(),
            to_string(dense.shape()));
    const MonarchShape shape{out.w1.size(0), out.w2.size(0), out.w1.size(1)};
    check_shape(dense, shape);
    for (const auto& [name, tensor] : {std::pair{"out.w1", &out.w1}, std::pair{"out.w2", &out.w2}}) {
        if (is_complex(dense.type()))
            require_type(name, *tensor, dense.type());
        else
            require_floating(name, *tensor);
        require_no_self_overlap(name, *tensor);
        require_disjoint(name, *tensor, "dense", dense);
    }
    require_disjoint("out.w1", out.w1, "out.w2", out.w2);
    if (error) {
        require_tensor(recorder, "error", error);
        require_type("error", error, DataType::f32);
        require_shape("error", error, {shape.k, shape.l});
        require_no_self_overlap("error", error);
        require_disjoint("error", error, "dense", dense);
        require_disjoint("error", error, "out.w1", out.w1);
        require_disjoint("error", error, "out.w2", out.w2);
    }
    const std::uint64_t terms = divide_up(shape.q, shape.l),
                        reached = recorder.device().capabilities().max_workgroup_count[1];
    if (terms > reached)
        throw Error(ErrorKind::unsupported,
                    fmt::format("out.w1: {} terms of a block, {} takes up to {}", terms,
                                recorder.device().capabilities().name, reached));
    const Tensor errors = error ? error : empty(recorder, DataType::f32, {shape.k, shape.l});
    if (dense.elements() == 0) {
        for (const Tensor& tensor : {out.w1, out.w2, errors})
            if (tensor.elements() > 0) fill_into(recorder, tensor, 0.0);
        return;
    }
    Tensor blocks = blocks_of(dense, shape, out.order);
    // A block's rows lie all over the matrix; past what a dispatch reaches, blocks are put together first.
    const Device device = recorder.device();
    if (blocks.select(0, 0).select(0, 0).span() >
        operand_limit(device.capabilities(), device.access(), blocks.type()))
        blocks = contiguous(recorder, blocks);
    project_blocks(recorder, out, errors, blocks, options);
}

Projection project(Recorder& recorder, const Tensor& dense, const MonarchShape& shape,
                   const ProjectionOptions& options) {
    check_dense(recorder, dense, options.svd);
    check_shape(dense, shape);
    const std::uint64_t p = dense.size(1) / shape.k, s = dense.size(0) / shape.l, most = std::min(p, s);
    require(shape.q / shape.l <= most || dense.elements() == 0,
            "shape.q: {} makes ranks of {}, blocks ({}, {}) have at most {}: q of at most {} is needed",
            shape.q, shape.q / shape.l, s, p, most, (most + 1) * shape.l - 1);
    const bool whole = is_complex(dense.type());
    require(whole ? options.type == DataType::f32 || is_complex(options.type) : is_floating(options.type),
            "options.type: {}, of a dense matrix of {} it must be {}", to_string(options.type),
            to_string(dense.type()), whole ? "complex64, or f32 for its parts" : "f32, f16 or bf16");
    const DataType type = whole ? dense.type() : options.type;
    Projection result;
    result.matrix = Monarch(empty(recorder, type, {shape.k, shape.q, p}),
                            empty(recorder, type, {shape.l, s, shape.k * shape.q / shape.l}), options.order);
    result.error = empty(recorder, DataType::f32, {shape.k, shape.l});
    project_into(recorder, result.matrix, result.error, dense, options.svd);
    return result;
}

}  // namespace danaus
