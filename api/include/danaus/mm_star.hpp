// Factorising MM* matrices (Dao et al., "Monarch", ICML 2022, arXiv 2204.00595, algorithm 2), on the host, in
// double precision.
#pragma once

#include <danaus/chain.hpp>

#include <complex>
#include <cstdint>
#include <span>
#include <vector>

namespace danaus {

/// An n × n matrix M = L·D·R of three factors, n = blocks · size, as monarch_monarch_adjoint() has them:
///   left    (blocks, size, size)    the pattern (1, size, size, blocks)
///   middle  (size, blocks, blocks)  the pattern (size, blocks, blocks, 1)
///   right   (blocks, size, size)    the pattern (1, size, size, blocks), applied first
/// M[S·l + i, T·l + j] = Σ_K left[i, S, K] · middle[K, i, j] · right[j, K, T], l the number of blocks. Of all
/// the scales that leave M as it is, columns of the left blocks and rows of the right ones have norm 1.
template <typename Scalar>
struct MmStarFactors {
    std::uint64_t blocks = 0, size = 0;
    std::vector<Scalar> left, middle, right;  ///< row-major
    double residual = 0;                      ///< ‖M − L·D·R‖ / ‖M‖, Frobenius

    [[nodiscard]] std::uint64_t n() const noexcept { return blocks * size; }
};

struct MmStarOptions {
    double tolerance = 1e-6;  ///< of the residual
    std::uint64_t seed = 1;   ///< of the random combinations; the same seed gives the same factors
};

/// The factors of `m`, row-major n × n. Its blocks M_ij = left_i·D_ij·right_j (rows i, i + l, …, columns j,
/// j + l, …) make F_ij = M_ib⁻¹·M_ij·M_aj⁻¹·M_ab commute; the eigenvectors of a random combination of them,
/// sharpened on all of them together, give right_b, and that the rest. Row a and column b of blocks are those
/// that are easiest to invert (the paper takes the first ones). M itself need not be invertible, but all
/// blocks of one row and one column must be: the identity's are not.
///
/// Factors are unique up to order and scale only. With blocks of 1 or n, or 2 and complex factors, almost
/// every matrix has some.
///
/// Throws Error(invalid_argument) when m has not n·n elements or one that is not finite; when `blocks` does
/// not divide n (the message lists what does); when the input is singular, naming a block and its condition;
/// when the residual exceeds options.tolerance, naming it: M is no MM* matrix of so many blocks, or its
/// factors are complex; when an element of the middle factor would leave double's range. The form for real
/// matrices finds real factors only; give it as complex numbers for the others.
[[nodiscard]] DANAUS_EXPORT MmStarFactors<double> factorize_mm_star(std::span<const double> m,
                                                                    std::uint64_t n, std::uint64_t blocks,
                                                                    const MmStarOptions& options = {});
[[nodiscard]] DANAUS_EXPORT MmStarFactors<std::complex<double>> factorize_mm_star(
    std::span<const std::complex<double>> m, std::uint64_t n, std::uint64_t blocks,
    const MmStarOptions& options = {});

/// L·D·R, row-major n × n. Throws Error(invalid_argument) when a factor has not the elements of its shape.
[[nodiscard]] DANAUS_EXPORT std::vector<double> to_dense(const MmStarFactors<double>& factors);
[[nodiscard]] DANAUS_EXPORT std::vector<std::complex<double>> to_dense(
    const MmStarFactors<std::complex<double>>& factors);

/// The three factors as a chain on the device, rounded to `type`, or to complex64. Throws
/// Error(invalid_argument) when a factor has not the elements of its shape, or one past f32's range (f16's
/// narrower one makes infinities).
[[nodiscard]] DANAUS_EXPORT Chain upload(Stream& stream, const MmStarFactors<double>& factors,
                                         DataType type = DataType::f32);
[[nodiscard]] DANAUS_EXPORT Chain upload(Stream& stream, const MmStarFactors<std::complex<double>>& factors);

}  // namespace danaus
