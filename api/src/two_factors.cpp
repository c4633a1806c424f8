#include "two_factors.hpp"

#include "check.hpp"

namespace danaus::detail {
namespace {

Tensor inner_forward(Recorder& recorder, const Tensor& x, const TwoFactors& w) {
    const Tensor t = new_inner(recorder, x, w.inner_features());
    multiply_factor(recorder, t, x, w.first, false, {});
    return t;
}

Tensor inner_backward(Recorder& recorder, const Tensor& dy, const TwoFactors& w) {
    const Tensor dt = new_inner(recorder, dy, w.inner_features());
    multiply_factor(recorder, dt, dy, w.second, true, {});
    return dt;
}

// Tensors that no result may share an element with.
template <typename Call>
void for_memory(const TwoFactors& w, const Call& call) {
    for (const auto& [name, factor] : {std::pair{"w1", &w.first}, std::pair{"w2", &w.second}}) {
        if (factor->weight) call(name, factor->weight);
        if (!factor->stored) continue;
        call(name, factor->stored->values);
        call(name, factor->stored->places);
    }
}

void check_inner(const Recorder& recorder, const Tensor& inner, const Tensor& x, const TwoFactors& w) {
    if (!inner) return;
    require_tensor(recorder, "inner", inner);
    require_shape("inner", inner, with_features(x, w.inner_features()));
    require_type("inner", inner, x.type());
}

void check_gradients(const Recorder& recorder, const MonarchGradients& out, const Tensor& dy, const Tensor& x,
                     const TwoFactors& w, const Tensor& inner) {
    struct Gradient {
        const char* name;
        const Tensor& gradient;
        const Shape& shape;
    };
    for (const auto& [name, gradient, shape] :
         {Gradient{"dw.w1", out.dw.w1, w.w1}, Gradient{"dw.w2", out.dw.w2, w.w2}}) {
        if (!gradient) continue;
        require_result(recorder, name, gradient, shape, x.type());
        for (const auto& [other, tensor] :
             {std::pair{"dy", &dy}, std::pair{"x", &x}, std::pair{"inner", &inner}, std::pair{"dx", &out.dx}})
            require_disjoint(name, gradient, other, *tensor);
        const char* const own = name;
        const Tensor& written = gradient;
        for_memory(w, [&](const char* read, const Tensor& t) { require_disjoint(own, written, read, t); });
    }
    require_disjoint("dw.w1", out.dw.w1, "dw.w2", out.dw.w2);
}

}  // namespace

void require_chained(const Shape& w1, const Shape& w2) {
    require(w1[0] * w1[1] == w2[0] * w2[2], "w2: shape {} takes {} features, w1 {} makes {}", to_string(w2),
            w2[0] * w2[2], to_string(w1), w1[0] * w1[1]);
}

FeatureLayout interleaved(const Shape& w2) {
    return {1, w2[0]};
}

void check_features(const Recorder& recorder, const Tensor& x, const TwoFactors& w, bool transpose) {
    check_activations(recorder, transpose ? "dy" : "x", x, transpose ? w.out_features() : w.in_features(),
                      w.name, w.type);
}

void check_product(const Recorder& recorder, const Tensor& out, const Tensor& x, const TwoFactors& w,
                   bool transpose, const Epilogue& epilogue) {
    require_result(recorder, out, with_features(x, transpose ? w.in_features() : w.out_features()), x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, transpose ? "dy" : "x", x);
    for_memory(w, [&](const char* name, const Tensor& t) { require_apart(out, epilogue, name, t); });
}

Tensor multiply_factors(Recorder& recorder, const Tensor& out, const Tensor& x, const TwoFactors& w,
                        bool transpose, const Epilogue& epilogue) {
    Tensor t = transpose ? inner_backward(recorder, x, w) : inner_forward(recorder, x, w);
    multiply_factor(recorder, out, t, transpose ? w.first : w.second, transpose, epilogue);
    return t;
}

void differentiate_factors(Recorder& recorder, const MonarchGradients& out, const Tensor& dy, const Tensor& x,
                           const TwoFactors& w, const Tensor& inner, const GradientOptions& options) {
    check_features(recorder, dy, w, true);
    check_features(recorder, x, w, false);
    require_shape("dy", dy, with_features(x, w.out_features()));
    check_inner(recorder, inner, x, w);
    if (out.dx) check_product(recorder, out.dx, dy, w, true, {});
    check_gradients(recorder, out, dy, x, w, inner);
    // dx is written last, when x and inner have been read.

    if (out.dw.w2) {
        const Tensor t = inner ? inner : inner_forward(recorder, x, w);
        factor_gradient(recorder, out.dw.w2, dy, t, w.second.out, w.second.in, options,
                        "monarch_second_gradient");
    }
    if (!out.dx && !out.dw.w1) return;
    const Tensor dt = inner_backward(recorder, dy, w);
    if (out.dw.w1)
        factor_gradient(recorder, out.dw.w1, dt, x, w.first.out, w.first.in, options,
                        "monarch_first_gradient");
    if (out.dx) {
        Epilogue epilogue;
        epilogue.scale = options.scale;
        multiply_factor(recorder, out.dx, dt, w.first, true, epilogue);
    }
}

Tensor dense_of_factors(Recorder& recorder, const TwoFactors& w, const Tensor& w1) {
    const Tensor dense = empty(recorder, w.type, {w.out_features(), w.in_features()});
    dense_of_factors_into(recorder, dense, w, w1, {});
    return dense;
}

void dense_of_factors_into(Recorder& recorder, const Tensor& dense, const TwoFactors& w, const Tensor& w1,
                           const Epilogue& epilogue) {
    if (dense.elements() == 0) return;
    // Column j of the matrix is M·e_j, and the first factor of e_j is a row of its dense form transposed.
    const Tensor t = to_dense(recorder, BlockDiagonal(w1)).transpose();
    multiply_factor(recorder, dense.transpose(), t, w.second, false, epilogue);
}

}  // namespace danaus::detail
