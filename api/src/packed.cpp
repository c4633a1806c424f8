// Packed weights and their multiplies.
#include "check.hpp"
#include "factor.hpp"
#include "pack.hpp"
#include "stored24.hpp"

#include <danaus/packed.hpp>

namespace danaus {

using namespace detail;

PackedWeight::PackedWeight(Recorder& recorder, DataType type, const Shape& shape)
    : type_(type), shape_(shape) {
    require(is_floating(type), "type: {}, f32, f16 or bf16 is needed", to_string(type));
    require(shape.rank() == 2 || shape.rank() == 3, "shape: {}, rank 2 or 3 is needed", to_string(shape));
    const std::size_t r = shape.rank();
    const std::uint64_t batch = r == 3 ? shape[0] : 1, rows = shape[r - 2], k = shape[r - 1];
    const PackLayout layout = pack_layout(recorder.device().capabilities(), type, rows, k);
    panel_rows_ = layout.panel;
    panel_depth_ = layout.depth;
    data_ = empty(recorder, layout.type, {batch * layout.elements(rows, k)});
}

namespace {

PackLayout layout_of(const PackedWeight& w) {
    return {w.panel_rows(), w.panel_depth(), w.data().type()};
}

void check_packed(const Recorder& recorder, const char* name, const PackedWeight& w, std::size_t rank) {
    require(static_cast<bool>(w), "{}: a null weight", name);
    require_tensor(recorder, name, w.data());
    require(!rank || w.shape().rank() == rank, "{}: shape {}, rank {} is needed", name, to_string(w.shape()),
            rank);
}

void check_target(const Recorder& recorder, const PackedWeight& out, const Shape& shape, DataType type) {
    check_packed(recorder, "out", out, 0);
    require(out.shape() == shape, "out: shape {}, that of the weight, {}, is needed", to_string(out.shape()),
            to_string(shape));
    require(out.type() == type, "out: type {}, that of the weight, {}, is needed", to_string(out.type()),
            to_string(type));
}

// x (…, tokens, in): rank 2, or 3 with a batch of its own or the weight's.
MultiplyProblem lower(const Recorder& recorder, const Tensor& x, const PackedWeight& w, Shape& result) {
    check_packed(recorder, "w", w, 0);
    const Shape& shape = w.shape();
    const std::size_t r = shape.rank();
    check_activations(recorder, "x", x, shape[r - 1], "w", w.type());
    require(r == 2 || x.rank() == 2 || x.size(0) == shape[0], "x: batch {}, w has {}", x.size(0), shape[0]);
    MultiplyProblem p;
    p.m = x.size(x.rank() - 2);
    p.n = shape[r - 2];
    p.k = shape[r - 1];
    p.a = matrix_view(x);
    p.label = "packed_matmul";
    if (r == 3) {
        p.inner = shape[0];
        p.a.inner = p.a.outer;
        p.a.outer = 0;
        result = {shape[0], p.m, p.n};
    } else {
        p.outer = x.rank() == 3 ? x.size(0) : 1;
        result = x.rank() == 3 ? Shape{p.outer, p.m, p.n} : Shape{p.m, p.n};
    }
    return p;
}

void multiply_into(Recorder& recorder, const Tensor& out, const Tensor& x, const PackedWeight& w,
                   MultiplyProblem p, const Shape& result, const Epilogue& epilogue) {
    require_result(recorder, out, result, x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, "x", x);
    require_apart(out, epilogue, "w", w.data());
    p.c = matrix_view(out);
    if (w.shape().rank() == 3) {
        p.c.inner = p.c.outer;
        p.c.outer = 0;
    } else if (p.outer > 1 && continues(x) && continues(out)) {
        p.m *= p.outer;
        p.outer = 1;
    }
    const Tensor residual = set_epilogue(p, epilogue, out, 1, 0);
    emit(recorder, with_packed(p, w.data(), layout_of(w)), out, residual);
}

}  // namespace

void pack_into(Recorder& recorder, const PackedWeight& out, const Tensor& w) {
    require_tensor(recorder, "w", w);
    check_target(recorder, out, w.shape(), w.type());
    require_disjoint("out", out.data(), "w", w);
    PackSource source;
    source.view = matrix_view(w);
    source.view.inner = source.view.outer;
    source.rows = w.size(w.rank() - 2);
    source.k = w.size(w.rank() - 1);
    source.batch = w.rank() == 3 ? w.size(0) : 1;
    record_pack(recorder, out.data(), layout_of(out), source);
}

namespace {

void pack_stored(Recorder& recorder, const PackedWeight& out, const Stored24& a) {
    check_stored(recorder, "a", a);
    const DataType type = a.values.type();
    check_target(recorder, out, a.shape, type);
    require_disjoint("out", out.data(), "a", a.values);
    require_disjoint("out", out.data(), "a", a.places);
    const std::size_t r = a.shape.rank();
    const std::uint64_t row_values = a.values.size(r - 1);
    PackSource source;
    source.weight = kernels::Pack::Weight::sparse24;
    source.tile_codes = a.tile_codes;
    source.rows = a.shape[r - 2];
    source.k = a.shape[r - 1];
    source.batch = r == 3 ? a.shape[0] : 1;
    source.view = {a.values.buffer(), type, a.values.offset(), row_values, 0, 0, source.rows * row_values};
    source.metadata_word = a.places.offset();
    source.metadata_words = a.places.elements();
    record_pack(recorder, out.data(), layout_of(out), source);
}

PackedWeight new_packed(Recorder& recorder, const Stored24& a) {
    check_stored(recorder, "a", a);
    PackedWeight out(recorder, a.values.type(), a.shape);
    pack_stored(recorder, out, a);
    return out;
}

}  // namespace

void pack_into(Recorder& recorder, const PackedWeight& out, const Sparse24& a) {
    pack_stored(recorder, out, a);
}

void pack_into(Recorder& recorder, const PackedWeight& out, const TileSparse24& a) {
    pack_stored(recorder, out, a);
}

PackedWeight pack(Recorder& recorder, const Tensor& w) {
    require_tensor(recorder, "w", w);
    const PackedWeight out(recorder, w.type(), w.shape());
    pack_into(recorder, out, w);
    return out;
}

PackedWeight pack(Recorder& recorder, const Sparse24& a) {
    return new_packed(recorder, a);
}

PackedWeight pack(Recorder& recorder, const TileSparse24& a) {
    return new_packed(recorder, a);
}

PackedBlockDiagonal pack(Recorder& recorder, const BlockDiagonal& w) {
    return {pack(recorder, w.weight)};
}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const PackedWeight& w,
                 const Epilogue& epilogue) {
    Shape result;
    const MultiplyProblem p = lower(recorder, x, w, result);
    multiply_into(recorder, out, x, w, p, result, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const PackedWeight& w, const Epilogue& epilogue) {
    Shape result;
    const MultiplyProblem p = lower(recorder, x, w, result);
    const Tensor out = new_result(recorder, result, x.type(), epilogue);
    multiply_into(recorder, out, x, w, p, result, epilogue);
    return out;
}

namespace {

Factor block_factor(const PackedBlockDiagonal& w) {
    const Shape& shape = w.blocks.shape();
    return {{}, w.blocks, {shape[2], 1}, {shape[1], 1}, "packed_block_diagonal"};
}

Shape check_blocks(const Recorder& recorder, const Tensor& x, const PackedBlockDiagonal& w) {
    check_packed(recorder, "w", w.blocks, 3);
    const Shape& shape = w.blocks.shape();
    check_activations(recorder, "x", x, shape[0] * shape[2], "w", w.blocks.type());
    return with_features(x, shape[0] * shape[1]);
}

void check_result(const Recorder& recorder, const Tensor& out, const Shape& shape, const Tensor& x,
                  const Epilogue& epilogue) {
    require_result(recorder, out, shape, x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, "x", x);
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const PackedBlockDiagonal& w,
                 const Epilogue& epilogue) {
    check_result(recorder, out, check_blocks(recorder, x, w), x, epilogue);
    require_apart(out, epilogue, "w", w.blocks.data());
    multiply_factor(recorder, out, x, block_factor(w), false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const PackedBlockDiagonal& w, const Epilogue& epilogue) {
    const Tensor out = new_result(recorder, check_blocks(recorder, x, w), x.type(), epilogue);
    matmul_into(recorder, out, x, w, epilogue);
    return out;
}

}  // namespace danaus
