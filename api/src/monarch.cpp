#include "check.hpp"
#include "factor.hpp"
#include "monarch_fused.hpp"
#include "monarch_lanes.hpp"
#include "tuning.hpp"

#include <danaus/monarch.hpp>

namespace danaus {

using namespace detail;

Monarch::Monarch(Tensor first, Tensor second, OutputOrder output)
    : w1(std::move(first)), w2(std::move(second)), order(output) {
    for (const auto& [name, tensor] : {std::pair{"w1", &w1}, std::pair{"w2", &w2}}) {
        require(static_cast<bool>(*tensor), "{}: a null tensor", name);
        require_rank(name, *tensor, 3);
        require_number(name, *tensor);
    }
    require(w1.type() == w2.type(), "w2: type {}, w1 has {}; use convert()", to_string(w2.type()),
            to_string(w1.type()));
    require(w1.size(0) * w1.size(1) == w2.size(0) * w2.size(2),
            "w2: shape {} takes {} features, w1 {} makes {}", to_string(w2.shape()), w2.size(0) * w2.size(2),
            to_string(w1.shape()), w1.size(0) * w1.size(1));
}

namespace {

Factor first(const Monarch& w) {
    return {w.w1, {}, {w.w1.size(2), 1}, {w.w1.size(1), 1}, "monarch_first"};
}
// Block L, element R at R·l + L: the stride permutations are the strides.
FeatureLayout interleaved(const Monarch& w) {
    return {1, w.w2.size(0)};
}
FeatureLayout output_layout(const Monarch& w) {
    return w.order == OutputOrder::blocked ? FeatureLayout{w.w2.size(1), 1} : interleaved(w);
}
Factor second(const Monarch& w) {
    return {w.w2, {}, interleaved(w), output_layout(w), "monarch_second"};
}

void check_weights(const Recorder& recorder, const Monarch& w) {
    require_tensor(recorder, "w1", w.w1);
    require_tensor(recorder, "w2", w.w2);
    require(w.order == OutputOrder::interleaved || w.order == OutputOrder::blocked,
            "order: {} is none of the known ones", static_cast<std::uint32_t>(w.order));
}

void check_input(const Recorder& recorder, const Tensor& x, const Monarch& w) {
    check_weights(recorder, w);
    check_activations(recorder, "x", x, w.in_features(), "the Monarch matrix", w.w1.type());
}

void check_output_gradient(const Recorder& recorder, const Tensor& dy, const Monarch& w) {
    check_weights(recorder, w);
    check_activations(recorder, "dy", dy, w.out_features(), "the Monarch matrix", w.w1.type());
}

void check_result(const Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                  const Monarch& w, std::uint64_t features, const Epilogue& epilogue) {
    require_result(recorder, out, with_features(x, features), x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, name, x);
    require_apart(out, epilogue, "w1", w.w1);
    require_apart(out, epilogue, "w2", w.w2);
}

Tensor inner_forward(Recorder& recorder, const Tensor& x, const Monarch& w) {
    const Tensor t = new_inner(recorder, x, w.inner_features());
    multiply_factor(recorder, t, x, first(w), false, {});
    return t;
}

Tensor inner_backward(Recorder& recorder, const Tensor& dy, const Monarch& w) {
    const Tensor dt = new_inner(recorder, dy, w.inner_features());
    multiply_factor(recorder, dt, dy, second(w), true, {});
    return dt;
}

// The same in whichever way is fastest. Checked operands.
void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w, bool transpose,
              const Epilogue& epilogue) {
    if (is_complex(x.type()))
        return static_cast<void>(multiply_factors(recorder, out, x, w, transpose, epilogue));
    Tensor residual;
    const MonarchProblem problem = monarch_problem(out, x, w, transpose, epilogue, residual);
    if (auto* collector = dynamic_cast<ProblemCollector*>(&recorder)) {
        collector->add(problem);
    } else if (const auto fused = fused_plan(recorder.device(), problem)) {
        if (residual) convert_into(recorder, out, residual);
        return record(recorder, *fused);
    }
    multiply_apart(recorder, out, x, w, transpose, epilogue);
}

}  // namespace

void detail::multiply_apart(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w,
                            bool transpose, const Epilogue& epilogue) {
    Tensor residual;
    const MonarchProblem problem = monarch_problem(out, x, w, transpose, epilogue, residual);
    const Device device = recorder.device();
    const auto lanes = lanes_plan(problem, device.capabilities(), device.access());
    if (lanes && lanes_pay(problem, device.capabilities(), device.access()) && !residual &&
        !dynamic_cast<ProblemCollector*>(&recorder))
        return record(recorder, *lanes);
    static_cast<void>(multiply_factors(recorder, out, x, w, transpose, epilogue));
}

Tensor detail::multiply_factors(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w,
                                bool transpose, const Epilogue& epilogue) {
    Tensor t = transpose ? inner_backward(recorder, x, w) : inner_forward(recorder, x, w);
    multiply_factor(recorder, out, t, transpose ? first(w) : second(w), transpose, epilogue);
    return t;
}

MonarchProblem detail::monarch_problem(const Tensor& out, const Tensor& x, const Monarch& w, bool transpose,
                                       const Epilogue& epilogue, Tensor& residual) {
    const auto stage = [&](const Tensor& t) {
        const MatrixView view{t.buffer(),     t.type(), t.offset(),    t.strides()[1],
                              t.strides()[2], 0,        t.strides()[0]};
        return transpose ? MonarchProblem::Stage{t.size(0), t.size(2), t.size(1), transposed(view)}
                         : MonarchProblem::Stage{t.size(0), t.size(1), t.size(2), view};
    };
    MonarchProblem p;
    p.first = stage(transpose ? w.w2 : w.w1);
    p.second = stage(transpose ? w.w1 : w.w2);
    p.transposed = transpose;
    p.x_interleaved = transpose && w.order == OutputOrder::interleaved;
    p.y_interleaved = !transpose && w.order == OutputOrder::interleaved;
    MultiplyProblem& whole = p.whole;
    whole.m = x.size(x.rank() - 2);
    whole.k = x.size(x.rank() - 1);
    whole.n = out.size(out.rank() - 1);
    whole.outer = x.rank() == 3 ? x.size(0) : 1;
    whole.a = matrix_view(x);
    whole.b.type = x.type();
    whole.c = matrix_view(out);
    if (whole.outer > 1 && continues(x) && continues(out)) {
        whole.m *= whole.outer;
        whole.outer = 1;
    }
    whole.label = transpose ? "monarch_transposed" : "monarch";
    residual = set_epilogue(whole, epilogue, out, 1, 0);
    return p;
}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w,
                 const Epilogue& epilogue, Tensor* inner) {
    check_input(recorder, x, w);
    check_result(recorder, out, "x", x, w, w.out_features(), epilogue);
    if (inner)
        *inner = multiply_factors(recorder, out, x, w, false, epilogue);
    else
        multiply(recorder, out, x, w, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Monarch& w, const Epilogue& epilogue,
              Tensor* inner) {
    check_input(recorder, x, w);
    const Tensor out = new_result(recorder, with_features(x, w.out_features()), x.type(), epilogue);
    matmul_into(recorder, out, x, w, epilogue, inner);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Monarch& w,
                            const Epilogue& epilogue) {
    check_output_gradient(recorder, dy, w);
    check_result(recorder, out, "dy", dy, w, w.in_features(), epilogue);
    multiply(recorder, out, dy, w, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Monarch& w, const Epilogue& epilogue) {
    check_output_gradient(recorder, dy, w);
    const Tensor out = new_result(recorder, with_features(dy, w.in_features()), dy.type(), epilogue);
    matmul_transposed_into(recorder, out, dy, w, epilogue);
    return out;
}

void backward_into(Recorder& recorder, const MonarchGradients& out, const Tensor& dy, const Tensor& x,
                   const Monarch& w, const Tensor& inner, const GradientOptions& options) {
    check_output_gradient(recorder, dy, w);
    check_input(recorder, x, w);
    require_shape("dy", dy, with_features(x, w.out_features()));
    if (inner) {
        require_tensor(recorder, "inner", inner);
        require_shape("inner", inner, with_features(x, w.inner_features()));
        require_type("inner", inner, x.type());
    }
    if (out.dx) check_result(recorder, out.dx, "dy", dy, w, w.in_features(), {});
    struct Gradient {
        const char* name;
        const Tensor &gradient, &weight;
    };
    for (const auto& [name, gradient, weight] :
         {Gradient{"dw.w1", out.dw.w1, w.w1}, Gradient{"dw.w2", out.dw.w2, w.w2}}) {
        if (!gradient) continue;
        require_result(recorder, name, gradient, weight.shape(), x.type());
        for (const auto& [other, tensor] :
             {std::pair{"dy", &dy}, std::pair{"x", &x}, std::pair{"inner", &inner}, std::pair{"w1", &w.w1},
              std::pair{"w2", &w.w2}, std::pair{"dx", &out.dx}})
            require_disjoint(name, gradient, other, *tensor);
    }
    require_disjoint("dw.w1", out.dw.w1, "dw.w2", out.dw.w2);
    // dx is written last, when x and inner have been read.

    if (out.dw.w2) {
        const Tensor t = inner ? inner : inner_forward(recorder, x, w);
        factor_gradient(recorder, out.dw.w2, dy, t, output_layout(w), interleaved(w), options,
                        "monarch_second_gradient");
    }
    if (!out.dx && !out.dw.w1) return;
    const Tensor dt = inner_backward(recorder, dy, w);
    if (out.dw.w1)
        factor_gradient(recorder, out.dw.w1, dt, x, {w.w1.size(1), 1}, {w.w1.size(2), 1}, options,
                        "monarch_first_gradient");
    if (out.dx) {
        Epilogue epilogue;
        epilogue.scale = options.scale;
        multiply_factor(recorder, out.dx, dt, first(w), true, epilogue);
    }
}

Monarch weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const Monarch& w,
                        const GradientOptions& options) {
    require(!options.accumulate, "accumulate: a new result has nothing to add to; use backward_into");
    check_weights(recorder, w);
    const DataType type = result_type(w.w1.type(), options.widen);
    const Monarch out(empty(recorder, type, w.w1.shape()), empty(recorder, type, w.w2.shape()), w.order);
    backward_into(recorder, {{}, out}, dy, x, w, {}, options);
    return out;
}

Permutation output_permutation(const Monarch& w) {
    require(static_cast<bool>(w.w2), "w2: a null tensor");
    return Permutation::stride(w.w2.size(1), w.w2.size(0));
}

Tensor to_blocked(Recorder& recorder, const Tensor& features, const Monarch& w) {
    check_weights(recorder, w);
    return matmul(recorder, features, output_permutation(w));
}

Tensor to_interleaved(Recorder& recorder, const Tensor& features, const Monarch& w) {
    check_weights(recorder, w);
    return matmul_transposed(recorder, features, output_permutation(w));
}

Tensor to_dense(Recorder& recorder, const Monarch& w) {
    check_weights(recorder, w);
    const Tensor dense = empty(recorder, w.w1.type(), {w.out_features(), w.in_features()});
    if (dense.elements() == 0) return dense;
    // Column j of the matrix is M·e_j, and the first factor of e_j is a row of its dense form transposed.
    const Tensor t = to_dense(recorder, BlockDiagonal(w.w1)).transpose();
    multiply_factor(recorder, dense.transpose(), t, second(w), false, {});
    return dense;
}

}  // namespace danaus
