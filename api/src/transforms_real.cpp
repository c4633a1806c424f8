// Cosine and sine transforms, Kronecker products and low rank as Monarch matrices.
#include "check.hpp"
#include "transforms_factors.hpp"

#include <bit>
#include <cmath>
#include <numbers>

#include <fmt/ranges.h>

namespace danaus {

using namespace detail;

const char* to_string(Trigonometric kind) noexcept {
    constexpr const char* names[] = {"dct2", "dct3", "dct4", "dst2", "dst3", "dst4"};
    const auto index = static_cast<std::size_t>(kind);
    return index < std::size(names) ? names[index] : "unknown";
}

namespace {

// gain(f)·Σ_t x[t]·cos or sin of π(t + ½)(f + δ)/n, for the kinds 2 and 4.
struct Wave {
    std::uint64_t n, twice_delta;
    bool sine;
    double odd_sign;  ///< of odd elements in the order [evens, reversed odds]
};

// Of 2π·turns/parts, the turns reduced first so that large ones lose no accuracy.
double angle(std::uint64_t turns, std::uint64_t parts) {
    return 2.0 * std::numbers::pi * static_cast<double>(turns % parts) / static_cast<double>(parts);
}

// Element τ of the reordered input.
std::uint64_t place(std::uint64_t tau, std::uint64_t n) {
    return 2 * tau < n ? 2 * tau : 2 * (n - 1 - tau) + 1;
}

std::vector<double> dense_wave(const Wave& wave, const std::vector<double>& gain) {
    const std::uint64_t n = wave.n;
    detail::require_dense_factor(n);
    std::vector<double> weight(n * n);
    for (std::uint64_t f = 0; f < n; ++f)
        for (std::uint64_t t = 0; t < n; ++t) {
            const double at = angle((2 * t + 1) * (2 * f + wave.twice_delta), 8 * n);
            weight[f * n + t] = gain[f] * (wave.sine ? std::sin(at) : std::cos(at));
        }
    return weight;
}

// With τ = a·j + b and f = s·i + l the angle 2π(τ + ¼)(f + δ)/n is α + β but for whole turns, α = 2π·a(l +
// δ)/i and β = 2π(f + δ)(b + ¼)/n: cos(α + β) = cos α·cos β − sin α·sin β, sin(α + β) = cos α·sin β + sin
// α·cos β.
Transform monarch_wave(Stream& stream, const Wave& wave, const std::vector<double>& gain,
                       const Split& split) {
    const auto [i, j] = split;
    const std::uint64_t n = wave.n;
    std::vector<double> w1(2 * n * i), w2(2 * n * j);
    std::vector<std::uint32_t> index(n);
    for (std::uint64_t b = 0; b < j; ++b)
        for (std::uint64_t a = 0; a < i; ++a) {
            const std::uint64_t from = place(a * j + b, n);
            index[b * i + a] = static_cast<std::uint32_t>(from);
            const double sign = from % 2 ? wave.odd_sign : 1.0;
            for (std::uint64_t l = 0; l < i; ++l) {
                const double alpha = angle(a * (2 * l + wave.twice_delta), 2 * i);
                w1[(b * 2 * i + l) * i + a] = sign * std::cos(alpha);
                w1[(b * 2 * i + i + l) * i + a] = sign * std::sin(alpha);
            }
        }
    for (std::uint64_t l = 0; l < i; ++l)
        for (std::uint64_t s = 0; s < j; ++s)
            for (std::uint64_t b = 0; b < j; ++b) {
                const std::uint64_t f = s * i + l;
                const double beta = angle((4 * b + 1) * (2 * f + wave.twice_delta), 8 * n);
                double* const pair = &w2[(l * j + s) * 2 * j + 2 * b];
                pair[0] = gain[f] * (wave.sine ? std::sin(beta) : std::cos(beta));
                pair[1] = gain[f] * (wave.sine ? std::cos(beta) : -std::sin(beta));
            }
    return Transform(
        Chain({factor_of(stream, {j, 2 * i, i, 1}, w1), factor_of(stream, {1, j, 2 * j, i}, w2)}),
        Permutation::from_indices(stream, index));
}

}  // namespace

Transform trigonometric(Stream& stream, Trigonometric kind, std::uint64_t n, Norm norm, Split wanted) {
    using enum Trigonometric;
    require(kind <= dst4, "kind: {} is none of the known ones", static_cast<std::uint32_t>(kind));
    const Split split = checked_split(n, wanted);
    const bool sine = kind >= dst2, four = kind == dct4 || kind == dst4, turn = kind == dct3 || kind == dst3;
    const Wave wave{n, four ? 1u : sine ? 2u : 0u, sine, sine == four ? 1.0 : -1.0};
    detail::require_norm(norm);
    const bool orthonormal = norm == Norm::orthonormal;
    std::vector<double> gain(n, orthonormal ? std::sqrt(2.0 / static_cast<double>(n)) : 2.0);
    // The constant of a cosine, the alternation of a sine.
    double& single = sine ? gain[n - 1] : gain[0];
    if (!four && (orthonormal || turn)) single *= orthonormal ? std::sqrt(0.5) : 0.5;
    const Transform wave_transform =
        split.i == 1 || split.j == 1
            ? Transform(Chain({factor_of(stream, {1, n, n, 1}, dense_wave(wave, gain))}))
            : monarch_wave(stream, wave, gain, split);
    return turn ? transposed(wave_transform) : wave_transform;
}

namespace {

// Every w1[k] is b and every w2[l] is a.
Transform kronecker_of(Stream& stream, const std::vector<double>& a, std::uint64_t rows_a, std::uint64_t n_a,
                       const std::vector<double>& b, std::uint64_t rows_b, std::uint64_t n_b) {
    const auto repeated = [](const std::vector<double>& block, std::uint64_t times) {
        std::vector<double> weight;
        weight.reserve(block.size() * times);
        for (std::uint64_t i = 0; i < times; ++i) weight.insert(weight.end(), block.begin(), block.end());
        return weight;
    };
    return Transform(Chain({factor_of(stream, {n_a, rows_b, n_b, 1}, repeated(b, n_a)),
                            factor_of(stream, {1, rows_a, n_a, rows_b}, repeated(a, rows_b))}));
}

std::vector<double> hadamard(std::uint64_t n, double scale) {
    std::vector<double> h(n * n);
    for (std::uint64_t f = 0; f < n; ++f)
        for (std::uint64_t t = 0; t < n; ++t) h[f * n + t] = std::popcount(f & t) % 2 ? -scale : scale;
    return h;
}

void require_matrix(const char* name, std::span<const float> values, const Shape& shape) {
    require(shape.rank() == 2 && shape.elements() > 0, "shape_{}: {}, rank 2 and no size of 0 are needed",
            name, to_string(shape));
    require(values.size() == shape.elements(), "{}: {} elements, shape {} has {}", name, values.size(),
            to_string(shape), shape.elements());
}

std::vector<std::uint64_t> divisors_of(std::uint64_t n) {
    std::vector<std::uint64_t> divisors;
    for (const Split& one : splits_of(n)) divisors.push_back(one.i);
    for (std::size_t i = divisors.size(); i-- > 0;)
        if (n / divisors[i] != divisors[i]) divisors.push_back(n / divisors[i]);
    return divisors;
}

}  // namespace

Transform walsh_hadamard(Stream& stream, std::uint64_t n, Norm norm) {
    constexpr std::uint64_t most = 1ull << 31;
    require(n >= 1 && n <= most, "n: {}, 1 to {} is needed", n, most);
    require(std::has_single_bit(n), "n: {}, a power of two is needed; {} and {} are next to it", n,
            std::bit_floor(n), std::bit_ceil(n));
    const Split split = checked_split(n, {});
    detail::require_norm(norm);
    const double scale = norm == Norm::orthonormal ? 1.0 / std::sqrt(static_cast<double>(n)) : 1.0;
    return kronecker_of(stream, hadamard(split.j, scale), split.j, split.j, hadamard(split.i, 1.0), split.i,
                        split.i);
}

Transform kronecker(Stream& stream, std::span<const float> a, const Shape& shape_a, std::span<const float> b,
                    const Shape& shape_b) {
    require_matrix("a", a, shape_a);
    require_matrix("b", b, shape_b);
    return kronecker_of(stream, {a.begin(), a.end()}, shape_a[0], shape_a[1], {b.begin(), b.end()},
                        shape_b[0], shape_b[1]);
}

Transform low_rank(Stream& stream, std::span<const float> u, std::span<const float> v, std::uint64_t rank,
                   std::uint64_t k, std::uint64_t l) {
    require(rank >= 1, "rank: 0, at least 1 is needed");
    for (const auto& [name, values] : {std::pair{"u", u}, std::pair{"v", v}})
        require(!values.empty() && values.size() % rank == 0, "{}: {} elements are no rows of {}", name,
                values.size(), rank);
    const std::uint64_t out = u.size() / rank, in = v.size() / rank;
    require(k >= 1 && in % k == 0, "k: {} does not divide the {} inputs; {} do", k, in,
            fmt::join(divisors_of(in), ", "));
    require(l >= 1 && out % l == 0, "l: {} does not divide the {} outputs; {} do", l, out,
            fmt::join(divisors_of(out), ", "));
    const std::uint64_t p = in / k, s = out / l;
    std::vector<double> w1(k * rank * l * p), w2(l * s * k * rank);
    for (std::uint64_t t = 0; t < rank; ++t)
        for (std::uint64_t block = 0; block < k; ++block)
            for (std::uint64_t L = 0; L < l; ++L) {
                for (std::uint64_t c = 0; c < p; ++c)
                    w1[(block * rank * l + t * l + L) * p + c] = v[(block * p + c) * rank + t];
                for (std::uint64_t S = 0; S < s; ++S)
                    w2[(L * s + S) * k * rank + block * rank + t] = u[(S * l + L) * rank + t];
            }
    return Transform(
        Chain({factor_of(stream, {k, rank * l, p, 1}, w1), factor_of(stream, {1, s, k * rank, l}, w2)}));
}

}  // namespace danaus
