// Applying transforms: what stands around their chains.
#include "check.hpp"
#include "kronecker.hpp"
#include "transforms_apply.hpp"

#include <algorithm>

namespace danaus {

using namespace detail;

Transform::Transform(Chain chain, Permutation in, Permutation out, std::uint64_t from, std::uint64_t to)
    : input(std::move(in)),
      output(std::move(out)),
      matrix(std::move(chain)),
      in_features(from),
      out_features(to) {
    require(!matrix.factors.empty(), "matrix: a null chain");
    const std::uint64_t takes = matrix.in_features(), makes = matrix.out_features();
    if (!in_features) in_features = takes;
    if (!out_features) out_features = makes;
    require(!input.size() || input.size() == takes, "input: a permutation of {} features, the chain takes {}",
            input.size(), takes);
    require(!output.size() || output.size() == makes,
            "output: a permutation of {} features, the chain makes {}", output.size(), makes);
    require(in_features <= takes, "in_features: {}, the chain takes {}", in_features, takes);
    require(out_features <= makes, "out_features: {}, the chain makes {}", out_features, makes);
}

Monarch Transform::monarch() const {
    const auto& f = matrix.factors;
    require(f.size() == 2 && f[0].weight.size(1) == 1 && f[1].weight.size(0) == 1,
            "matrix: a chain of {} factor(s), {} is no Monarch matrix", f.size(),
            f.empty() ? std::string("a null one") : to_string(f.front().pattern()));
    return Monarch(f[0].weight.select(1, 0), f[1].weight.select(0, 0));
}

Transform transposed(const Transform& a) {
    return Transform(transposed(a.matrix), a.output.inverse(), a.input.inverse(), a.out_features,
                     a.in_features);
}

namespace detail {

void check_transform_operand(const Recorder& recorder, const char* name, const Tensor& x, const Transform& a,
                             bool transpose) {
    require(!a.matrix.factors.empty(), "a: a null transform");
    for (const KroneckerFactor& factor : a.matrix.factors) require_tensor(recorder, "a", factor.weight);
    require_tensor(recorder, name, x);
    const bool widened = is_complex(a.type()) && x.type() == DataType::f32;
    if (!widened) require_type(name, x, a.type());
    check_activations(recorder, name, x, transpose ? a.out_features : a.in_features, "the transform",
                      x.type());
}

void check_transform_result(const Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                            const Transform& a, bool transpose) {
    require_tensor(recorder, "out", out);
    require_shape("out", out, with_features(x, transpose ? a.in_features : a.out_features));
    require_type("out", out, a.type());
    require_no_self_overlap("out", out);
    require_disjoint("out", out, name, x);
    for (const KroneckerFactor& factor : a.matrix.factors) require_disjoint("out", out, "a", factor.weight);
}

bool WeightGradients::any() const {
    return std::any_of(dw->begin(), dw->end(), [](const Tensor& one) { return static_cast<bool>(one); });
}

void check_gradients(const Recorder& recorder, std::span<const WeightGradients> parts, const Tensor& dx,
                     const Tensor& dy, const Tensor& x) {
    std::vector<std::pair<std::string, const Tensor*>> written;
    if (dx) written.emplace_back("dx", &dx);
    for (const WeightGradients& part : parts) {
        const std::vector<KroneckerFactor>& factors = part.w->factors;
        require(part.dw->empty() || part.dw->size() == factors.size(),
                "{}: {} tensors, the chain has {} factors", part.name, part.dw->size(), factors.size());
        for (std::size_t i = 0; i < part.dw->size(); ++i) {
            const Tensor& one = (*part.dw)[i];
            if (!one) continue;
            written.emplace_back(fmt::format("{}[{}]", part.name, i), &one);
            require_result(recorder, written.back().first.c_str(), one, factors[i].weight.shape(),
                           part.w->type());
        }
    }
    for (std::size_t i = 0; i < written.size(); ++i) {
        const auto& [name, tensor] = written[i];
        const auto apart = [&, n = name.c_str(), t = tensor](const char* other, const Tensor& from) {
            require_disjoint(n, *t, other, from);
        };
        apart("dy", dy);
        if (tensor != &dx) apart("x", x);
        for (const WeightGradients& part : parts)
            for (const KroneckerFactor& factor : part.w->factors) apart("a", factor.weight);
        for (std::size_t j = 0; j < i; ++j) apart(written[j].first.c_str(), *written[j].second);
    }
}

}  // namespace detail

namespace {

std::size_t last_of(const Tensor& x) {
    return x.rank() - 1;
}

// x as `type` with zeros behind its features.
Tensor padded(Recorder& recorder, const Tensor& x, std::uint64_t features, DataType type) {
    const std::size_t last = last_of(x);
    if (x.size(last) == features && x.type() == type) return x;
    const Tensor out = empty(recorder, type, with_features(x, features));
    if (x.size(last) < features) fill_into(recorder, out.slice(last, x.size(last), features), 0.0);
    convert_into(recorder, out.slice(last, 0, x.size(last)), x);
    return out;
}

// Whether the first factor can walk through its input in the order that a stride permutation would bring it
// into: block b, element a of it at feature a·j + b.
bool folds(const Transform& a) {
    const FactorPattern first = a.matrix.factors.front().pattern();
    return a.input.size() && a.input.is_stride() && first.d == 1 && first.a == a.input.b() &&
           first.c == a.input.a();
}

Permutation in_front(const Transform& a, bool transpose) {
    if (transpose) return a.output.inverse();
    return folds(a) ? Permutation() : a.input;
}
Permutation behind(const Transform& a, bool transpose) {
    if (!transpose) return a.output;
    return folds(a) ? Permutation() : a.input.inverse();
}

void multiply_folded(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform& a,
                     bool transpose) {
    const auto& factors = a.matrix.factors;
    const FactorPattern p = factors.front().pattern();
    const Factor first{factors.front().weight.select(1, 0), {}, {1, p.a}, {p.b, 1}, "transform"};
    Tensor from = x;
    for (std::size_t step = 0; step < factors.size(); ++step) {
        const std::size_t i = transpose ? factors.size() - 1 - step : step;
        const Tensor to =
            step + 1 == factors.size()
                ? out
                : new_inner(recorder, x, transpose ? factors[i].in_features() : factors[i].out_features());
        if (i == 0)
            multiply_factor(recorder, to, from, first, transpose, {});
        else
            multiply_kronecker(recorder, to, from, factors[i], transpose, {});
        from = to;
    }
}

// What the chain makes goes to its places in `out`.
void place(Recorder& recorder, const Tensor& out, Tensor from, const Permutation& p) {
    const std::size_t last = last_of(out);
    const bool whole = from.size(last) == out.size(last);
    if (p.size() && whole) return matmul_into(recorder, out, from, p);
    if (p.size()) from = matmul(recorder, from, p);
    convert_into(recorder, out, from.slice(last, 0, out.size(last)));
}

}  // namespace

void detail::apply_transform(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform& a,
                             bool transpose) {
    if (out.elements() == 0) return;
    const Permutation before = in_front(a, transpose), after = behind(a, transpose);
    const std::uint64_t takes = transpose ? a.matrix.out_features() : a.matrix.in_features(),
                        makes = transpose ? a.matrix.in_features() : a.matrix.out_features();
    Tensor from = padded(recorder, x, takes, a.type());
    if (before.size()) from = matmul(recorder, from, before);
    const bool direct = !after.size() && makes == out.size(last_of(out));
    const Tensor to = direct ? out : empty(recorder, a.type(), with_features(x, makes));
    if (folds(a))
        multiply_folded(recorder, to, from, a, transpose);
    else if (transpose)
        matmul_transposed_into(recorder, to, from, a.matrix);
    else
        matmul_into(recorder, to, from, a.matrix);
    if (!direct) place(recorder, out, to, after);
}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform& a) {
    check_transform_operand(recorder, "x", x, a, false);
    check_transform_result(recorder, out, "x", x, a, false);
    apply_transform(recorder, out, x, a, false);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Transform& a) {
    check_transform_operand(recorder, "x", x, a, false);
    const Tensor out = empty(recorder, a.type(), with_features(x, a.out_features));
    matmul_into(recorder, out, x, a);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Transform& a) {
    check_transform_operand(recorder, "dy", dy, a, true);
    check_transform_result(recorder, out, "dy", dy, a, true);
    apply_transform(recorder, out, dy, a, true);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Transform& a) {
    check_transform_operand(recorder, "dy", dy, a, true);
    const Tensor out = empty(recorder, a.type(), with_features(dy, a.in_features));
    matmul_transposed_into(recorder, out, dy, a);
    return out;
}

void backward_into(Recorder& recorder, const ChainGradients& out, const Tensor& dy, const Tensor& x,
                   const Transform& a, const GradientOptions& options) {
    check_transform_operand(recorder, "x", x, a, false);
    check_transform_operand(recorder, "dy", dy, a, true);
    require_shape("dy", dy, with_features(x, a.out_features));
    if (out.dx) check_transform_result(recorder, out.dx, "dy", dy, a, true);
    const WeightGradients weights{"dw", &out.dw, &a.matrix};
    check_gradients(recorder, std::span(&weights, 1), out.dx, dy, x);
    const bool learns = weights.any();
    if (!learns && !out.dx) return;
    // x is read for the gradients of weights alone.
    Tensor from = learns ? padded(recorder, x, a.matrix.in_features(), a.type())
                         : empty(recorder, a.type(), with_features(x, a.matrix.in_features())),
           gradient = padded(recorder, dy, a.matrix.out_features(), a.type());
    if (learns && a.input.size()) from = matmul(recorder, from, a.input);
    if (a.output.size()) gradient = matmul_transposed(recorder, gradient, a.output);
    ChainGradients chain{{}, out.dw};
    if (out.dx) chain.dx = empty(recorder, a.type(), from.shape());
    backward_into(recorder, chain, gradient, from, a.matrix, {}, options);
    if (out.dx && out.dx.elements()) place(recorder, out.dx, chain.dx, a.input.inverse());
}

Tensor to_dense(Recorder& recorder, const Transform& a) {
    require(!a.matrix.factors.empty(), "a: a null transform");
    const std::uint64_t n = a.in_features;
    const Tensor units = empty(recorder, a.type(), {n, n});
    fill_into(recorder, units, 0.0);
    fill_into(recorder, units.as_strided({n}, {n + 1}), 1.0);
    return contiguous(recorder, matmul(recorder, units, a).transpose());
}

}  // namespace danaus
