// What constructors of transforms share: splits of sizes, roots of unity, factors computed in double.
#pragma once

#include <danaus/transforms.hpp>

#include <complex>
#include <vector>

namespace danaus::detail {

using Complex = std::complex<double>;

/// exp(−2πi·k/n) for all k < n.
[[nodiscard]] std::vector<Complex> roots_of_unity(std::uint64_t n);
/// `wanted`, with a 0 filled in, or the one next to √n. Throws when it is none of n.
[[nodiscard]] Split checked_split(std::uint64_t n, Split wanted);
/// i·j ≥ least, both near its root.
[[nodiscard]] Split split_of_at_least(std::uint64_t least);

/// Throws unless n² weights are within what one dense factor may have: sizes without divisors need them.
void require_dense_factor(std::uint64_t n);
/// Throws unless it is one of the two.
void require_norm(Norm norm);

/// A factor's weight (a, d, b, c), rounded to f32.
[[nodiscard]] KroneckerFactor factor_of(Stream& stream, const FactorPattern& pattern,
                                        const std::vector<double>& weight);
[[nodiscard]] KroneckerFactor factor_of(Stream& stream, const FactorPattern& pattern,
                                        const std::vector<Complex>& weight);

/// The DFT of values[first], values[first + step], …, i·j of them, in their places.
void fourier_on_host(std::vector<Complex>& values, std::uint64_t first, std::uint64_t step,
                     const Split& split);

/// Circulants of n = i·j, one for each of `width` columns that are woven into each other: entry (t, w) of
/// `spectrum`, at t·width + w, is eigenvalue t of circulant w. What reads features from `in` on and makes
/// those from `out` on is left out, in whole multiples of j.
[[nodiscard]] Chain circulants(Stream& stream, const std::vector<Complex>& spectrum, const Split& split,
                               std::uint64_t width, std::uint64_t in, std::uint64_t out);

}  // namespace danaus::detail
