#include "kronecker.hpp"

#include "check.hpp"

#include <algorithm>

namespace danaus::detail {
namespace {

constexpr auto never = ~std::uint64_t{0};

const char* label_of(bool transpose) {
    return transpose ? "kronecker_transposed" : "kronecker";
}

// Features first, first + step, … of activations or of a bias: `count` of them.
Tensor features_of(const Tensor& x, std::uint64_t first, std::uint64_t count, std::uint64_t step) {
    if (!x) return {};
    const std::size_t last = x.rank() - 1;
    Shape sizes = x.shape(), strides = x.strides();
    sizes[last] = count;
    strides[last] *= step;
    return x.as_strided(sizes, strides, first * x.strides()[last]);
}

// One list of tokens as a batch of `members` that share them, each with a run of the features.
Tensor members_of(const Tensor& x, std::uint64_t members) {
    if (!x) return {};
    const std::uint64_t run = x.size(1) / members;
    return x.as_strided({members, x.size(0), run}, {run * x.strides()[1], x.strides()[0], x.strides()[1]});
}

// A batch that continues its tokens as one list of them.
Tensor one_list(const Tensor& x) {
    if (!x || x.rank() == 2) return x;
    const std::uint64_t token = x.size(1) == 1 ? x.strides()[0] : x.strides()[1];
    return x.as_strided({x.size(0) * x.size(1), x.size(2)}, {token, x.strides()[2]});
}

Epilogue with_tensors(Epilogue epilogue, const auto& change) {
    epilogue.residual = change(epilogue.residual);
    epilogue.aux = change(epilogue.aux);
    return epilogue;
}

// A multiply has two batches, and the activations' own may be a third: what is the shortest of the three, or
// can only be told apart by packets (a bias reaches along one batch), is walked through packet by packet.
void multiply_woven(Recorder& recorder, const Tensor& out, const Tensor& x, const KroneckerFactor& w,
                    bool transpose, const Epilogue& epilogue) {
    const FactorPattern p = w.pattern();
    const std::uint64_t a = p.a, d = p.d, from = transpose ? p.b : p.c, to = transpose ? p.c : p.b;
    const char* const label = label_of(transpose);
    const bool list = continues(x) && continues(out) &&
                      (!epilogue.residual || continues(epilogue.residual)) &&
                      (!epilogue.aux || continues(epilogue.aux));
    const std::uint64_t lists = epilogue.bias ? never : list ? 1 : x.size(0);
    if (lists <= std::min(a, d)) {
        const Factor factor{w.weight.select(0, 0), {}, {1, d}, {1, d}, label, w.weight.strides()[0]};
        for (std::uint64_t i = 0; i < lists; ++i) {
            const auto members = [&](const Tensor& t) {
                return members_of(!t ? t : list ? one_list(t) : t.select(0, i), a);
            };
            multiply_factor(recorder, members(out), members(x), factor, transpose,
                            with_tensors(epilogue, members));
        }
        return;
    }
    const bool runs = a <= d;
    for (std::uint64_t i = 0; i < (runs ? a : d); ++i) {
        const auto part = [&](const Tensor& t, std::uint64_t size) {
            return runs ? features_of(t, i * size * d, size * d, 1) : features_of(t, i, a * size, d);
        };
        const Factor factor = runs ? Factor{w.weight.select(0, i), {}, {1, d}, {1, d}, label}
                                   : Factor{w.weight.select(1, i), {}, {p.c, 1}, {p.b, 1}, label};
        Epilogue own = with_tensors(epilogue, [&](const Tensor& t) { return part(t, to); });
        own.bias = part(epilogue.bias, to);
        multiply_factor(recorder, part(out, to), part(x, from), factor, transpose, own);
    }
}

}  // namespace

void multiply_kronecker(Recorder& recorder, const Tensor& out, const Tensor& x, const KroneckerFactor& w,
                        bool transpose, const Epilogue& epilogue) {
    const auto [a, b, c, d] = w.pattern();
    if (out.elements() == 0) return;
    const char* const label = label_of(transpose);
    if (d == 1)
        multiply_factor(recorder, out, x, {w.weight.select(1, 0), {}, {c, 1}, {b, 1}, label}, transpose,
                        epilogue);
    else if (a == 1)
        multiply_factor(recorder, out, x, {w.weight.select(0, 0), {}, {1, d}, {1, d}, label}, transpose,
                        epilogue);
    else
        multiply_woven(recorder, out, x, w, transpose, epilogue);
}

void kronecker_gradient(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                        const GradientOptions& options) {
    const auto [a, b, c, d] = KroneckerFactor(out).pattern();
    if (out.elements() == 0) return;
    const char* const label = "kronecker_gradient";
    if (d == 1) return factor_gradient(recorder, out.select(1, 0), dy, x, {b, 1}, {c, 1}, options, label);
    if (a == 1) return factor_gradient(recorder, out.select(0, 0), dy, x, {1, d}, {1, d}, options, label);
    const Tensor rows_dy = as_rows(recorder, dy), rows_x = as_rows(recorder, x);
    factor_gradient(recorder, out, members_of(rows_dy, a), members_of(rows_x, a), {1, d}, {1, d}, options,
                    label);
}

Tensor block_rows(Recorder& recorder, const KroneckerFactor& w, std::uint64_t a, std::uint64_t d) {
    const auto [wa, b, c, wd] = w.pattern();
    const Shape& from = w.weight.strides();
    const std::uint64_t runs = a ? wa / a : 0, steps = d ? wd / d : 0, width = runs * c * steps;
    const Tensor rows = empty(recorder, w.weight.type(), {w.out_features(), width});
    if (rows.elements() == 0) return rows;
    if (runs > 1 || steps > 1) fill_into(recorder, rows, 0.0);
    // Block (i, j) = (I·runs + i′, j′·d + J) of w lies in block (I, J) of the coarser pattern, whose columns
    // i′·c·steps + C·steps + j′ it takes. Four of the six dimensions are one copy.
    struct Dimension {
        std::uint64_t size, from, to;
    };
    std::vector<Dimension> dimensions{
        {a, runs * from[0], runs * b * wd * width},
        {runs, from[0], b * wd * width + c * steps},
        {steps, d * from[1], d * width + 1},
        {d, from[1], width},
        {b, from[2], wd * width},
        {c, from[3], steps},
    };
    std::sort(dimensions.begin(), dimensions.end(),
              [](const Dimension& p, const Dimension& q) { return p.size < q.size; });
    const auto all = [&](auto member) {
        return Shape{dimensions[2].*member, dimensions[3].*member, dimensions[4].*member,
                     dimensions[5].*member};
    };
    const Shape sizes = all(&Dimension::size);
    for (std::uint64_t i = 0; i < dimensions[0].size; ++i)
        for (std::uint64_t j = 0; j < dimensions[1].size; ++j) {
            const auto start = [&](auto member) {
                return i * (dimensions[0].*member) + j * (dimensions[1].*member);
            };
            convert_into(recorder, rows.as_strided(sizes, all(&Dimension::to), start(&Dimension::to)),
                         w.weight.as_strided(sizes, all(&Dimension::from), start(&Dimension::from)));
        }
    return rows;
}

}  // namespace danaus::detail
