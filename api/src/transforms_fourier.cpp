// Fourier transforms and what they diagonalise: circulant and Toeplitz matrices, convolutions.
#include "check.hpp"
#include "transforms_factors.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/ranges.h>

namespace danaus {
namespace detail {

std::vector<Complex> roots_of_unity(std::uint64_t n) {
    std::vector<Complex> roots(n);
    for (std::uint64_t k = 0; k < n; ++k)
        roots[k] = std::polar(1.0, -2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n));
    return roots;
}

void require_dense_factor(std::uint64_t n) {
    constexpr std::uint64_t most = 1 << 14;
    if (n <= most) return;
    std::uint64_t next = n + 1;
    while (splits_of(next).size() < 2) ++next;
    require(false, "n: {} has no divisors and would be one dense factor, at most {} is possible; {} has some",
            n, most, next);
}

void require_norm(Norm norm) {
    require(norm == Norm::unnormalised || norm == Norm::orthonormal, "norm: {} is none of the known ones",
            static_cast<int>(norm));
}

Split checked_split(std::uint64_t n, Split wanted) {
    constexpr std::uint64_t most = 1ull << 31;
    require(n >= 1 && n <= most, "n: {}, 1 to {} is needed", n, most);
    if (!wanted.i && !wanted.j) return splits_of(n).back();
    if (!wanted.j && n % wanted.i == 0) wanted.j = n / wanted.i;
    if (!wanted.i && n % wanted.j == 0) wanted.i = n / wanted.j;
    if (wanted.i && wanted.j && n % wanted.i == 0 && n / wanted.i == wanted.j) return wanted;
    std::vector<std::string> possible;
    for (const Split& one : splits_of(n)) possible.push_back(fmt::format("{}·{}", one.i, one.j));
    invalid("split: {}·{} is not n = {}, which is {}, or the same the other way round", wanted.i, wanted.j, n,
            fmt::join(possible, ", "));
}

Split split_of_at_least(std::uint64_t least) {
    std::uint64_t i = 1;
    while (i * i < least) ++i;
    return {i, divide_up(least, i)};
}

namespace {

template <typename From, typename To>
KroneckerFactor uploaded(Stream& stream, const FactorPattern& p, const std::vector<From>& weight) {
    std::vector<To> rounded(weight.size());
    for (std::size_t i = 0; i < weight.size(); ++i) rounded[i] = static_cast<To>(weight[i]);
    return KroneckerFactor(upload(stream, std::span<const To>(rounded), {p.a, p.d, p.b, p.c}));
}

}  // namespace

KroneckerFactor factor_of(Stream& stream, const FactorPattern& p, const std::vector<double>& weight) {
    return uploaded<double, float>(stream, p, weight);
}

KroneckerFactor factor_of(Stream& stream, const FactorPattern& p, const std::vector<Complex>& weight) {
    return uploaded<Complex, std::complex<float>>(stream, p, weight);
}

void fourier_on_host(std::vector<Complex>& values, std::uint64_t first, std::uint64_t step,
                     const Split& split) {
    const auto [i, j] = split;
    const std::uint64_t n = i * j;
    const std::vector<Complex> roots = roots_of_unity(n);
    std::vector<Complex> inner(n);
    for (std::uint64_t b = 0; b < j; ++b)
        for (std::uint64_t l = 0; l < i; ++l) {
            Complex sum = 0.0;
            for (std::uint64_t a = 0; a < i; ++a)
                sum += values[first + (a * j + b) * step] * roots[a * l % i * j];
            inner[l * j + b] = sum * roots[b * l];
        }
    for (std::uint64_t l = 0; l < i; ++l)
        for (std::uint64_t s = 0; s < j; ++s) {
            Complex sum = 0.0;
            for (std::uint64_t b = 0; b < j; ++b) sum += inner[l * j + b] * roots[b * s % j * i];
            values[first + (s * i + l) * step] = sum;
        }
}

// The DFT's first factor reads feature a·j + b and stores l·j + b, its second one stores frequency s·i + l.
// The inverse's factors are the conjugates, transposed, in reverse order: with the eigenvalues between them
// both second ones are one product, of blocks l.
Chain circulants(Stream& stream, const std::vector<Complex>& spectrum, const Split& split,
                 std::uint64_t width, std::uint64_t in, std::uint64_t out) {
    const auto [i, j] = split;
    const std::uint64_t n = i * j, in_rows = divide_up(in, j), out_rows = divide_up(out, j);
    const std::vector<Complex> roots = roots_of_unity(n);
    std::vector<Complex> first, middle(n * j * width), last;
    first.reserve(n * in_rows * width);
    last.reserve(n * out_rows * width);
    const auto twiddled = [&](std::uint64_t b, std::uint64_t l, std::uint64_t a) {
        return roots[(a * l % i * j + b * l) % n];
    };
    for (std::uint64_t b = 0; b < j; ++b)
        for (std::uint64_t w = 0; w < width; ++w) {
            for (std::uint64_t l = 0; l < i; ++l)
                for (std::uint64_t a = 0; a < in_rows; ++a) first.push_back(twiddled(b, l, a));
            for (std::uint64_t a = 0; a < out_rows; ++a)
                for (std::uint64_t l = 0; l < i; ++l) last.push_back(std::conj(twiddled(b, l, a)));
        }
    for (std::uint64_t l = 0; l < i; ++l)
        for (std::uint64_t w = 0; w < width; ++w)
            for (std::uint64_t distance = 0; distance < j; ++distance) {
                Complex sum = 0.0;
                for (std::uint64_t s = 0; s < j; ++s)
                    sum += spectrum[(s * i + l) * width + w] * std::conj(roots[s * distance % j * i]);
                for (std::uint64_t b = 0; b < j; ++b)
                    middle[((l * width + w) * j + (b + distance) % j) * j + b] = sum / static_cast<double>(n);
            }
    return Chain({factor_of(stream, {1, i, in_rows, j * width}, first),
                  factor_of(stream, {i, j, j, width}, middle),
                  factor_of(stream, {1, out_rows, i, j * width}, last)});
}

}  // namespace detail

using namespace detail;

std::vector<Split> splits_of(std::uint64_t n) {
    std::vector<Split> splits;
    for (std::uint64_t i = 1; i <= n / i; ++i)
        if (n % i == 0) splits.push_back({i, n / i});
    return splits;
}

namespace {

// sign −1: exp(−2πi…); the factors scaled by `scale` together.
Transform fourier(Stream& stream, std::uint64_t n, Split wanted, bool inverse, double scale) {
    const auto [i, j] = checked_split(n, wanted);
    std::vector<Complex> roots = roots_of_unity(n);
    if (inverse)
        for (Complex& root : roots) root = std::conj(root);
    if (i == 1 || j == 1) {
        detail::require_dense_factor(n);
        std::vector<Complex> dense(n * n);
        for (std::uint64_t f = 0; f < n; ++f)
            for (std::uint64_t t = 0; t < n; ++t) dense[f * n + t] = scale * roots[f * t % n];
        return Transform(Chain({factor_of(stream, {1, n, n, 1}, dense)}));
    }
    std::vector<Complex> w1(n * i), w2(n * j);
    for (std::uint64_t b = 0; b < j; ++b)
        for (std::uint64_t l = 0; l < i; ++l) {
            for (std::uint64_t a = 0; a < i; ++a)
                w1[(b * i + l) * i + a] = roots[(a * l % i * j + b * l) % n];
            for (std::uint64_t s = 0; s < j; ++s) w2[(l * j + s) * j + b] = scale * roots[b * s % j * i];
        }
    return Transform(Chain({factor_of(stream, {j, i, i, 1}, w1), factor_of(stream, {1, j, j, i}, w2)}),
                     Permutation::stride(i, j));
}

double scale_of(std::uint64_t n, Norm norm, bool inverse) {
    detail::require_norm(norm);
    if (norm == Norm::orthonormal) return 1.0 / std::sqrt(static_cast<double>(n));
    return inverse ? 1.0 / static_cast<double>(n) : 1.0;
}

}  // namespace

Transform dft(Stream& stream, std::uint64_t n, Norm norm, Split split) {
    return fourier(stream, n, split, false, scale_of(n, norm, false));
}

Transform inverse_dft(Stream& stream, std::uint64_t n, Norm norm, Split split) {
    return fourier(stream, n, split, true, scale_of(n, norm, true));
}

Transform2d dft2d(Stream& stream, std::uint64_t height, std::uint64_t width, Norm norm) {
    return {dft(stream, width, norm), dft(stream, height, norm)};
}

Transform2d inverse_dft2d(Stream& stream, std::uint64_t height, std::uint64_t width, Norm norm) {
    return {inverse_dft(stream, width, norm), inverse_dft(stream, height, norm)};
}

Transform circulant(Stream& stream, std::span<const std::complex<float>> column, Split wanted) {
    const std::uint64_t n = column.size();
    const Split split = checked_split(n, wanted);
    if (n > 1 && (split.i == 1 || split.j == 1)) {
        std::vector<std::complex<float>> row(column.begin(), column.end());
        std::reverse(row.begin() + 1, row.end());
        return toeplitz(stream, column, row);
    }
    std::vector<Complex> spectrum(column.begin(), column.end());
    fourier_on_host(spectrum, 0, 1, split);
    return Transform(circulants(stream, spectrum, split, 1, n, n));
}

Transform toeplitz(Stream& stream, std::span<const std::complex<float>> column,
                   std::span<const std::complex<float>> row) {
    require(!column.empty(), "column: no elements, at least one is needed");
    require(!row.empty(), "row: no elements, at least one is needed");
    require(row[0] == column[0], "row: begins with {} + {}i, column with {} + {}i", row[0].real(),
            row[0].imag(), column[0].real(), column[0].imag());
    const std::uint64_t out = column.size(), in = row.size();
    const Split split = split_of_at_least(out + in - 1);
    std::vector<Complex> spectrum(split.i * split.j);
    std::copy(column.begin(), column.end(), spectrum.begin());
    for (std::uint64_t t = 1; t < in; ++t) spectrum[spectrum.size() - t] = row[t];
    fourier_on_host(spectrum, 0, 1, split);
    return Transform(circulants(stream, spectrum, split, 1, in, out), {}, {}, in, out);
}

Transform convolution(Stream& stream, std::span<const std::complex<float>> kernel, std::uint64_t n) {
    require(!kernel.empty(), "kernel: no elements, at least one is needed");
    require(n >= 1, "n: 0, at least 1 is needed");
    std::vector<std::complex<float>> column(kernel.begin(), kernel.end()), row(n);
    column.resize(kernel.size() + n - 1);
    row[0] = kernel[0];
    return toeplitz(stream, column, row);
}

Convolution2d convolution2d(Stream& stream, std::span<const std::complex<float>> kernel, const Shape& shape,
                            std::uint64_t height, std::uint64_t width, bool circular) {
    require(shape.rank() == 2 && shape.elements() > 0, "shape: {}, rank 2 and no size of 0 are needed",
            to_string(shape));
    require(kernel.size() == shape.elements(), "kernel: {} elements, shape {} has {}", kernel.size(),
            to_string(shape), shape.elements());
    require(height >= 1 && width >= 1, "height, width: {} × {}, at least 1 × 1 is needed", height, width);
    require(!circular || (shape[0] <= height && shape[1] <= width),
            "shape: {}, at most {} × {}, the image's, wraps around", to_string(shape), height, width);
    Convolution2d out;
    out.in_height = height;
    out.in_width = width;
    out.out_height = circular ? height : height + shape[0] - 1;
    out.out_width = circular ? width : width + shape[1] - 1;
    const Split rows = circular ? checked_split(width, {}) : split_of_at_least(out.out_width),
                columns = circular ? checked_split(height, {}) : split_of_at_least(out.out_height);
    out.width = rows.i * rows.j;
    out.height = columns.i * columns.j;
    std::vector<Complex> spectrum(out.height * out.width);
    for (std::uint64_t a = 0; a < shape[0]; ++a)
        for (std::uint64_t b = 0; b < shape[1]; ++b) spectrum[a * out.width + b] = kernel[a * shape[1] + b];
    for (std::uint64_t a = 0; a < shape[0]; ++a) fourier_on_host(spectrum, a * out.width, 1, rows);
    for (std::uint64_t b = 0; b < out.width; ++b) fourier_on_host(spectrum, b, out.width, columns);
    const Transform forward = dft(stream, out.width, Norm::unnormalised, rows),
                    inverse = inverse_dft(stream, out.width, Norm::unnormalised, rows);
    out.rows = Transform(forward.matrix, forward.input, {}, width, out.width);
    out.inverse_rows = Transform(inverse.matrix, inverse.input, {}, out.width, out.out_width);
    out.columns = circulants(stream, spectrum, columns, out.width, height, out.out_height);
    return out;
}

}  // namespace danaus
