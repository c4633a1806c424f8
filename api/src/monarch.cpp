#include "check.hpp"
#include "monarch_fused.hpp"
#include "monarch_lanes.hpp"
#include "tuning.hpp"
#include "two_factors.hpp"

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
    require_chained(w1.shape(), w2.shape());
}

TwoFactors detail::factors_of(const Recorder& recorder, const Monarch& w) {
    require_tensor(recorder, "w1", w.w1);
    require_tensor(recorder, "w2", w.w2);
    require(w.order == OutputOrder::interleaved || w.order == OutputOrder::blocked,
            "order: {} is none of the known ones", static_cast<std::uint32_t>(w.order));
    const Shape &first = w.w1.shape(), &second = w.w2.shape();
    const FeatureLayout in = interleaved(second),
                        out = w.order == OutputOrder::blocked ? FeatureLayout{second[1], 1} : in;
    return {{w.w1, {}, {first[2], 1}, {first[1], 1}, "monarch_first"},
            {w.w2, {}, in, out, "monarch_second"},
            first,
            second,
            w.w1.type(),
            "the Monarch matrix"};
}

namespace {

// The same in whichever way is fastest. Checked operands.
void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w, bool transpose,
              const Epilogue& epilogue) {
    if (is_complex(x.type()))
        return static_cast<void>(
            multiply_factors(recorder, out, x, factors_of(recorder, w), transpose, epilogue));
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
    static_cast<void>(multiply_factors(recorder, out, x, factors_of(recorder, w), transpose, epilogue));
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
    const TwoFactors factors = factors_of(recorder, w);
    check_features(recorder, x, factors, false);
    check_product(recorder, out, x, factors, false, epilogue);
    if (inner)
        *inner = multiply_factors(recorder, out, x, factors, false, epilogue);
    else
        multiply(recorder, out, x, w, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Monarch& w, const Epilogue& epilogue,
              Tensor* inner) {
    check_features(recorder, x, factors_of(recorder, w), false);
    const Tensor out = new_result(recorder, with_features(x, w.out_features()), x.type(), epilogue);
    matmul_into(recorder, out, x, w, epilogue, inner);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Monarch& w,
                            const Epilogue& epilogue) {
    const TwoFactors factors = factors_of(recorder, w);
    check_features(recorder, dy, factors, true);
    check_product(recorder, out, dy, factors, true, epilogue);
    multiply(recorder, out, dy, w, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Monarch& w, const Epilogue& epilogue) {
    check_features(recorder, dy, factors_of(recorder, w), true);
    const Tensor out = new_result(recorder, with_features(dy, w.in_features()), dy.type(), epilogue);
    matmul_transposed_into(recorder, out, dy, w, epilogue);
    return out;
}

void backward_into(Recorder& recorder, const MonarchGradients& out, const Tensor& dy, const Tensor& x,
                   const Monarch& w, const Tensor& inner, const GradientOptions& options) {
    differentiate_factors(recorder, out, dy, x, factors_of(recorder, w), inner, options);
}

Monarch weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const Monarch& w,
                        const GradientOptions& options) {
    require(!options.accumulate, "accumulate: a new result has nothing to add to; use backward_into");
    static_cast<void>(factors_of(recorder, w));
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
    static_cast<void>(factors_of(recorder, w));
    return matmul(recorder, features, output_permutation(w));
}

Tensor to_interleaved(Recorder& recorder, const Tensor& features, const Monarch& w) {
    static_cast<void>(factors_of(recorder, w));
    return matmul_transposed(recorder, features, output_permutation(w));
}

Tensor to_dense(Recorder& recorder, const Monarch& w) {
    return dense_of_factors(recorder, factors_of(recorder, w), w.w1);
}

}  // namespace danaus
