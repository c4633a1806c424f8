// Chains of Kronecker-sparse factors: the verbs.
#include "check.hpp"
#include "kronecker.hpp"

#include <algorithm>

namespace danaus {

using namespace detail;

Chain::Chain(std::vector<KroneckerFactor> list) : factors(std::move(list)) {
    require(!factors.empty(), "factors: none, at least one is needed");
    for (std::size_t i = 0; i < factors.size(); ++i) {
        require(static_cast<bool>(factors[i].weight), "factors[{}]: a null tensor", i);
        if (i == 0) continue;
        const DataType type = factors[i].weight.type();
        require(type == this->type(), "factors[{}]: type {}, factors[0] has {}; use convert()", i,
                to_string(type), to_string(this->type()));
        require(factors[i].in_features() == factors[i - 1].out_features(),
                "factors[{}]: pattern {} takes {} features, factors[{}] {} makes {}", i,
                to_string(factors[i].pattern()), factors[i].in_features(), i - 1,
                to_string(factors[i - 1].pattern()), factors[i - 1].out_features());
    }
}

std::uint64_t Chain::parameters() const {
    std::uint64_t sum = 0;
    for (const KroneckerFactor& factor : factors) sum += factor.parameters();
    return sum;
}

namespace {

std::string factor_name(std::size_t i) {
    return fmt::format("factors[{}]", i);
}

void check_chain(const Recorder& recorder, const Chain& w) {
    require(!w.factors.empty(), "w: a null chain");
    for (std::size_t i = 0; i < w.factors.size(); ++i)
        require_tensor(recorder, factor_name(i).c_str(), w.factors[i].weight);
}

void check_operand(const Recorder& recorder, const char* name, const Tensor& x, const Chain& w,
                   bool transpose) {
    check_chain(recorder, w);
    check_activations(recorder, name, x, transpose ? w.out_features() : w.in_features(), "the chain",
                      w.type());
}

void check_result(const Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                  const Chain& w, bool transpose, const Epilogue& epilogue) {
    require_result(recorder, out, with_features(x, transpose ? w.in_features() : w.out_features()), x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, name, x);
    for (std::size_t i = 0; i < w.factors.size(); ++i)
        require_apart(out, epilogue, factor_name(i).c_str(), w.factors[i].weight);
}

// What a step of a product multiplies by: one factor, or two neighbours that are a Monarch matrix or, where
// nothing is conjugated, one transposed.
struct Step {
    std::size_t first = 0, count = 1;
    Monarch pair;
    bool turned = false;
};

Tensor inner_sizes(const Tensor& w, std::size_t dimension, bool turn) {
    const Tensor blocks = w.select(dimension, 0);
    return turn ? blocks.transpose() : blocks;
}

std::vector<Step> steps_of(const Chain& w) {
    std::vector<Step> steps;
    for (std::size_t i = 0; i < w.factors.size(); i += steps.back().count) {
        steps.push_back({i, 1, {}, false});
        if (i + 1 == w.factors.size()) break;
        const Tensor &one = w.factors[i].weight, &two = w.factors[i + 1].weight;
        if (one.size(1) == 1 && two.size(0) == 1)
            steps.back() = {i, 2, Monarch(inner_sizes(one, 1, false), inner_sizes(two, 0, false)), false};
        else if (one.size(0) == 1 && two.size(1) == 1 && is_floating(w.type()))
            steps.back() = {i, 2, Monarch(inner_sizes(two, 1, true), inner_sizes(one, 0, true)), true};
    }
    return steps;
}

void run_step(Recorder& recorder, const Tensor& out, const Tensor& x, const Chain& w, const Step& step,
              bool transpose, const Epilogue& epilogue) {
    if (step.count == 1)
        multiply_kronecker(recorder, out, x, w.factors[step.first], transpose, epilogue);
    else if (transpose == step.turned)
        matmul_into(recorder, out, x, step.pair, epilogue);
    else
        matmul_transposed_into(recorder, out, x, step.pair, epilogue);
}

// What lies between two steps goes into two tensors by turns.
void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Chain& w, bool transpose,
              const Epilogue& epilogue) {
    std::vector<Step> steps = steps_of(w);
    if (transpose) std::reverse(steps.begin(), steps.end());
    Tensor between[2], from = x;
    for (std::size_t i = 0; i + 1 < steps.size(); ++i) {
        const Step& step = steps[i];
        const std::uint64_t features = transpose ? w.factors[step.first].in_features()
                                                 : w.factors[step.first + step.count - 1].out_features();
        Tensor& to = between[i % 2];
        if (!to || !(to.shape() == with_features(x, features))) to = new_inner(recorder, x, features);
        run_step(recorder, to, from, w, step, transpose, {});
        from = to;
    }
    run_step(recorder, out, from, w, steps.back(), transpose, epilogue);
}

// The activations in front of factors 1 … last, in tensors of their own.
std::vector<Tensor> forward_inner(Recorder& recorder, const Tensor& x, const Chain& w, std::size_t last) {
    std::vector<Tensor> inner;
    for (std::size_t i = 0; i < last; ++i) {
        const Tensor to = new_inner(recorder, x, w.factors[i].out_features());
        multiply_kronecker(recorder, to, i ? inner.back() : x, w.factors[i], false, {});
        inner.push_back(to);
    }
    return inner;
}

void check_gradients(const Recorder& recorder, const ChainGradients& out, const Tensor& dy, const Tensor& x,
                     const Chain& w, const std::vector<Tensor>& inner) {
    const std::size_t count = w.factors.size();
    require(inner.empty() || inner.size() == count - 1, "inner: {} tensors, a chain of {} factors has {}",
            inner.size(), count, count - 1);
    for (std::size_t i = 0; i < inner.size(); ++i) {
        const std::string name = fmt::format("inner[{}]", i);
        require_tensor(recorder, name.c_str(), inner[i]);
        require_shape(name.c_str(), inner[i], with_features(x, w.factors[i].out_features()));
        require_type(name.c_str(), inner[i], x.type());
    }
    if (out.dx) check_result(recorder, out.dx, "dy", dy, w, true, {});
    require(out.dw.empty() || out.dw.size() == count, "dw: {} tensors, the chain has {} factors",
            out.dw.size(), count);
    for (std::size_t i = 0; i < out.dw.size(); ++i) {
        const Tensor& dw = out.dw[i];
        if (!dw) continue;
        const std::string name = fmt::format("dw[{}]", i);
        const auto apart = [&](const std::string& other, const Tensor& tensor) {
            require_disjoint(name.c_str(), dw, other.c_str(), tensor);
        };
        require_result(recorder, name.c_str(), dw, w.factors[i].weight.shape(), x.type());
        apart("dy", dy);
        apart("x", x);
        apart("dx", out.dx);
        for (std::size_t j = 0; j < inner.size(); ++j) apart(fmt::format("inner[{}]", j), inner[j]);
        for (std::size_t j = 0; j < count; ++j) apart(factor_name(j), w.factors[j].weight);
        for (std::size_t j = 0; j < i; ++j) apart(fmt::format("dw[{}]", j), out.dw[j]);
    }
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Chain& w,
                 const Epilogue& epilogue, std::vector<Tensor>* inner) {
    check_operand(recorder, "x", x, w, false);
    check_result(recorder, out, "x", x, w, false, epilogue);
    if (!inner) return multiply(recorder, out, x, w, false, epilogue);
    *inner = forward_inner(recorder, x, w, w.factors.size() - 1);
    multiply_kronecker(recorder, out, inner->empty() ? x : inner->back(), w.factors.back(), false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Chain& w, const Epilogue& epilogue,
              std::vector<Tensor>* inner) {
    check_operand(recorder, "x", x, w, false);
    const Tensor out = new_result(recorder, with_features(x, w.out_features()), x.type(), epilogue);
    matmul_into(recorder, out, x, w, epilogue, inner);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Chain& w,
                            const Epilogue& epilogue) {
    check_operand(recorder, "dy", dy, w, true);
    check_result(recorder, out, "dy", dy, w, true, epilogue);
    multiply(recorder, out, dy, w, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Chain& w, const Epilogue& epilogue) {
    check_operand(recorder, "dy", dy, w, true);
    const Tensor out = new_result(recorder, with_features(dy, w.in_features()), dy.type(), epilogue);
    matmul_transposed_into(recorder, out, dy, w, epilogue);
    return out;
}

void backward_into(Recorder& recorder, const ChainGradients& out, const Tensor& dy, const Tensor& x,
                   const Chain& w, const std::vector<Tensor>& inner, const GradientOptions& options) {
    check_operand(recorder, "dy", dy, w, true);
    check_operand(recorder, "x", x, w, false);
    require_shape("dy", dy, with_features(x, w.out_features()));
    check_gradients(recorder, out, dy, x, w, inner);

    // Nothing is computed in front of the first factor whose gradient is wanted, nor the inputs of factors
    // behind the last one.
    std::size_t first = w.factors.size(), last = 0;
    for (std::size_t i = out.dw.size(); i-- > 0;)
        if (out.dw[i]) first = i;
    for (std::size_t i = 0; i < out.dw.size(); ++i)
        if (out.dw[i]) last = i;
    const std::vector<Tensor> saved =
        inner.empty() && first < w.factors.size() ? forward_inner(recorder, x, w, last) : inner;
    if (out.dx) first = 0;
    Tensor gradient = dy;
    for (std::size_t i = w.factors.size(); i-- > first;) {
        if (!out.dw.empty() && out.dw[i])
            kronecker_gradient(recorder, out.dw[i], gradient, i ? saved[i - 1] : x, options);
        if (i == 0) break;
        if (i == first) return;
        const Tensor to = new_inner(recorder, dy, w.factors[i].in_features());
        multiply_kronecker(recorder, to, gradient, w.factors[i], true, {});
        gradient = to;
    }
    // dx comes last, when x has been read.
    Epilogue epilogue;
    epilogue.scale = options.scale;
    if (out.dx) multiply_kronecker(recorder, out.dx, gradient, w.factors.front(), true, epilogue);
}

Chain weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const Chain& w,
                      const GradientOptions& options) {
    require(!options.accumulate, "accumulate: a new result has nothing to add to; use backward_into");
    check_chain(recorder, w);
    std::vector<FactorPattern> patterns;
    for (const KroneckerFactor& factor : w.factors) patterns.push_back(factor.pattern());
    const Chain out = empty(recorder, result_type(w.type(), options.widen), patterns);
    ChainGradients gradients;
    for (const KroneckerFactor& factor : out.factors) gradients.dw.push_back(factor.weight);
    backward_into(recorder, gradients, dy, x, w, {}, options);
    return out;
}

Tensor to_dense(Recorder& recorder, const Chain& w) {
    check_chain(recorder, w);
    // Column j of the matrix is what the factors make of the unit vector e_j.
    Tensor dense = block_rows(recorder, w.factors.front(), 1, 1);
    for (std::size_t i = 1; i < w.factors.size(); ++i) {
        const Tensor next = empty(recorder, w.type(), {w.factors[i].out_features(), w.in_features()});
        multiply_kronecker(recorder, next.transpose(), dense.transpose(), w.factors[i], false, {});
        dense = next;
    }
    return dense;
}

}  // namespace danaus
