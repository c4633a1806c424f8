// The verbs of one Kronecker-sparse factor: checks in front of kronecker.hpp.
#include "check.hpp"
#include "kronecker.hpp"

namespace danaus {

using namespace detail;

KroneckerFactor::KroneckerFactor(Tensor blocks) : weight(std::move(blocks)) {
    require(static_cast<bool>(weight), "weight: a null tensor");
    require_rank("weight", weight, 4);
    require_number("weight", weight);
}

namespace {

// (k, q, p) as (k, 1, q, p); (l, s, r) as (1, l, s, r).
Tensor with_one(const Tensor& w, std::size_t dimension) {
    Shape sizes{1, 1, w.size(1), w.size(2)}, strides{0, 0, w.strides()[1], w.strides()[2]};
    sizes[1 - dimension] = w.size(0);
    strides[1 - dimension] = w.strides()[0];
    return w.as_strided(sizes, strides);
}

const BlockDiagonal& checked(const BlockDiagonal& w) {
    require(static_cast<bool>(w.weight), "weight: a null tensor");
    return w;
}

void check_operand(const Recorder& recorder, const char* name, const Tensor& x, const KroneckerFactor& w,
                   bool transpose) {
    require_tensor(recorder, "weight", w.weight);
    check_activations(recorder, name, x, transpose ? w.out_features() : w.in_features(), "weight",
                      w.weight.type());
}

void run(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x, const KroneckerFactor& w,
         bool transpose, const Epilogue& epilogue) {
    check_operand(recorder, name, x, w, transpose);
    require_result(recorder, out, with_features(x, transpose ? w.in_features() : w.out_features()), x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, name, x);
    require_apart(out, epilogue, "weight", w.weight);
    multiply_kronecker(recorder, out, x, w, transpose, epilogue);
}

}  // namespace

KroneckerFactor::KroneckerFactor(const BlockDiagonal& w) : KroneckerFactor(with_one(checked(w).weight, 1)) {}

Chain::Chain(const Monarch& w) {
    require(w.w1 && w.w2, "w: a null Monarch matrix");
    require(w.order == OutputOrder::interleaved,
            "order: blocked, whose second factor has no pattern; interleaved is needed");
    *this = Chain({KroneckerFactor(with_one(w.w1, 1)), KroneckerFactor(with_one(w.w2, 0))});
}

Chain::Chain(const BlockDiagonal& w) : Chain({KroneckerFactor(w)}) {}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const KroneckerFactor& w,
                 const Epilogue& epilogue) {
    run(recorder, out, "x", x, w, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const KroneckerFactor& w, const Epilogue& epilogue) {
    check_operand(recorder, "x", x, w, false);
    const Tensor out = new_result(recorder, with_features(x, w.out_features()), x.type(), epilogue);
    run(recorder, out, "x", x, w, false, epilogue);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const KroneckerFactor& w,
                            const Epilogue& epilogue) {
    run(recorder, out, "dy", dy, w, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const KroneckerFactor& w,
                         const Epilogue& epilogue) {
    check_operand(recorder, "dy", dy, w, true);
    const Tensor out = new_result(recorder, with_features(dy, w.in_features()), dy.type(), epilogue);
    run(recorder, out, "dy", dy, w, true, epilogue);
    return out;
}

void weight_gradient_into(Recorder& recorder, const KroneckerFactor& out, const Tensor& dy, const Tensor& x,
                          const GradientOptions& options) {
    require(static_cast<bool>(out.weight), "out: a null tensor");
    require_tensor(recorder, "dy", dy);
    require_number("dy", dy);
    check_activations(recorder, "dy", dy, out.out_features(), "out", dy.type());
    check_activations(recorder, "x", x, out.in_features(), "out", dy.type());
    require_shape("x", x, with_features(dy, out.in_features()));
    require_result(recorder, out.weight, out.weight.shape(), dy.type());
    require_disjoint("out", out.weight, "dy", dy);
    require_disjoint("out", out.weight, "x", x);
    kronecker_gradient(recorder, out.weight, dy, x, options);
}

KroneckerFactor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                const FactorPattern& pattern, const GradientOptions& options) {
    require_tensor(recorder, "dy", dy);
    require(!options.accumulate,
            "accumulate: a new result has nothing to add to; use the form that takes out");
    check_activations(recorder, "dy", dy, pattern.out_features(), "pattern", dy.type());
    check_activations(recorder, "x", x, pattern.in_features(), "pattern", dy.type());
    const KroneckerFactor out(
        empty(recorder, result_type(dy.type(), options.widen), {pattern.a, pattern.d, pattern.b, pattern.c}));
    weight_gradient_into(recorder, out, dy, x, options);
    return out;
}

Tensor to_dense(Recorder& recorder, const KroneckerFactor& w) {
    require_tensor(recorder, "weight", w.weight);
    return block_rows(recorder, w, 1, 1);
}

}  // namespace danaus
