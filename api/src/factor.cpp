#include "factor.hpp"

#include "check.hpp"
#include "pack.hpp"

#include <algorithm>

namespace danaus::detail {
namespace {

// Activations as a batch (outer) of token lists with features cut into blocks (inner).
MatrixView blocked(const Tensor& x, FeatureLayout layout) {
    MatrixView view = matrix_view(x);
    view.inner = layout.block * view.column;
    view.column *= layout.element;
    return view;
}

// Whether a result is better computed block by block and then moved to its places: neighbours of the result
// come from different blocks, so that they cannot be stored together. A 16-bit one takes two atomics, and a
// CPU loads a cache line for every element.
bool moves_afterwards(const Recorder& recorder, const Tensor& out, FeatureLayout to,
                      const Epilogue& epilogue) {
    constexpr std::uint64_t worth = 1 << 14;
    // Of few blocks a line is filled while it is in the cache.
    constexpr std::uint64_t many_blocks = 16;
    const bool slow = size_of(out.type()) == 2 ||
                      (recorder.device().capabilities().type == DeviceType::cpu && to.element >= many_blocks);
    // What shares the result's strides would have to be moved too.
    const bool alone = !epilogue.residual && !epilogue.aux && !epilogue.accumulate;
    return slow && alone && to.element > 1 && out.strides()[out.rank() - 1] == 1 && out.elements() >= worth;
}

// (blocks, batch, tokens, elements of a block) of a tensor with features in `layout`.
Tensor by_blocks(const Tensor& x, FeatureLayout layout, std::uint64_t blocks, std::uint64_t elements) {
    const std::size_t r = x.rank();
    const std::uint64_t feature = x.strides()[r - 1], batch = r == 3 ? x.size(0) : 1;
    return x.as_strided(
        {blocks, batch, x.size(r - 2), elements},
        {layout.block * feature, r == 3 ? x.strides()[0] : 0, x.strides()[r - 2], layout.element * feature});
}

}  // namespace

void check_activations(const Recorder& recorder, const char* name, const Tensor& x, std::uint64_t features,
                       const char* weight_name, DataType type) {
    require_tensor(recorder, name, x);
    require(x.rank() == 2 || x.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(x.shape()));
    require(x.size(x.rank() - 1) == features, "{}: shape {}, its last size must be {}, the features of {}",
            name, to_string(x.shape()), features, weight_name);
    require(x.type() == type, "{}: type {}, {} has {}; use convert()", name, to_string(x.type()), weight_name,
            to_string(type));
}

Shape with_features(const Tensor& x, std::uint64_t features) {
    Shape shape = x.shape();
    shape[shape.rank() - 1] = features;
    return shape;
}

Tensor empty_like(Recorder& recorder, const Tensor& like, DataType type, const Shape& shape) {
    const std::size_t last = like.rank() - 1;
    const Shape& strides = like.strides();
    Epilogue epilogue;
    if (like.size(last - 1) > 1 && strides[last - 1] > 0 && strides[last - 1] < strides[last])
        epilogue.order = Order::feature_major;
    return new_result(recorder, shape, type, epilogue);
}

Tensor new_inner(Recorder& recorder, const Tensor& x, std::uint64_t features) {
    Epilogue epilogue;
    epilogue.order = Order::feature_major;
    return new_result(recorder, with_features(x, features), x.type(), epilogue);
}

void multiply_factor(Recorder& recorder, const Tensor& out, const Tensor& x, const Factor& factor,
                     bool transpose, const Epilogue& epilogue) {
    const Tensor& w = factor.weight;
    const Shape& shape = w ? w.shape() : factor.stored ? factor.stored->shape : factor.packed.shape();
    const FeatureLayout from = transpose ? factor.out : factor.in, to = transpose ? factor.in : factor.out;
    MultiplyProblem p;
    p.inner = shape[0];
    p.k = transpose ? shape[1] : shape[2];
    p.n = transpose ? shape[2] : shape[1];
    p.m = x.size(x.rank() - 2);
    p.outer = x.rank() == 3 ? x.size(0) : 1;
    p.a = blocked(x, from);
    if (w) {
        const MatrixView weight{w.buffer(),     w.type(),       w.offset(),
                                w.strides()[1], w.strides()[2], factor.member_stride,
                                w.strides()[0]};
        p.b = transpose ? weight : transposed(weight);
        p.conjugate_b = transpose;
    } else if (factor.stored) {
        set_weight24(p, *factor.stored, transpose);
    }
    Tensor scratch;
    if (moves_afterwards(recorder, out, to, epilogue)) {
        scratch = empty(recorder, out.type(), {p.inner, p.outer, p.m, p.n});
        p.c = {scratch.buffer(), scratch.type(), scratch.offset(), p.n, 1, p.m * p.n, p.outer * p.m * p.n};
    } else {
        p.c = blocked(out, to);
    }
    if (p.outer > 1 && !factor.member_stride && continues(x) && (scratch || continues(out))) {
        p.m *= p.outer;
        p.outer = 1;
    }
    p.label = factor.label;
    const std::uint64_t features = p.n;
    const Tensor residual = set_epilogue(p, epilogue, out, to.element, to.block);
    if (factor.packed)
        p = with_packed(
            p, factor.packed.data(),
            {factor.packed.panel_rows(), factor.packed.panel_depth(), factor.packed.data().type()});
    emit(recorder, p, out, residual);
    if (scratch) convert_into(recorder, by_blocks(out, to, p.inner, features), scratch);
}

void factor_gradient(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                     FeatureLayout dy_layout, FeatureLayout x_layout, const GradientOptions& options,
                     const char* label) {
    const std::size_t r = out.rank();
    const bool apart = r == 4;
    // Members accumulated one after the other would be rounded to a 16-bit result each time: one piece
    // instead.
    if (!apart && size_of(out.type()) == 2 && !(continues(dy) && continues(x)) && dy.elements() &&
        x.elements())
        return factor_gradient(recorder, out, continues(dy) ? dy : contiguous(recorder, dy),
                               continues(x) ? x : contiguous(recorder, x), dy_layout, x_layout, options,
                               label);
    MultiplyProblem p;
    p.inner = out.size(r - 3);
    p.m = out.size(r - 2);
    p.n = out.size(r - 1);
    p.k = dy.size(dy.rank() - 2);
    p.a = transposed(blocked(dy, dy_layout));
    p.b = blocked(x, x_layout);
    p.conjugate_b = true;
    p.c = {out.buffer(),         out.type(), out.offset(),        out.strides()[r - 2],
           out.strides()[r - 1], 0,          out.strides()[r - 3]};
    if (apart) {
        p.outer = out.size(0);
        p.c.outer = out.strides()[0];
    }
    p.scale = options.scale;
    p.has_residual = options.accumulate;
    if (p.has_residual) p.residual = p.c;
    p.label = label;
    if (apart) return emit(recorder, p);
    const std::uint64_t batch = dy.rank() == 3 ? dy.size(0) : 1;
    if (batch != 1 && continues(dy) && continues(x)) {
        p.k *= batch;
        emit(recorder, p);
        return;
    }
    if (batch == 0) p.k = 0;
    for (std::uint64_t i = 0; i < std::max<std::uint64_t>(1, batch); ++i) {
        emit(recorder, p);
        p.a.offset += p.a.outer;
        p.b.offset += p.b.outer;
        p.has_residual = true;
        p.residual = p.c;
    }
}

}  // namespace danaus::detail
