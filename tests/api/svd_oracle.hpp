// Singular value decompositions in double by Eigen, which shares nothing with the library's, and how far a
// result is from one.
#pragma once

#include <danaus/danaus.hpp>

#include <complex>
#include <cstddef>
#include <span>
#include <vector>

namespace danaus::test {

/// The singular values of a row-major rows × cols matrix, descending.
[[nodiscard]] std::vector<double> singular_values(std::span<const double> a, std::size_t rows,
                                                  std::size_t cols);
[[nodiscard]] std::vector<double> singular_values(std::span<const std::complex<double>> a, std::size_t rows,
                                                  std::size_t cols);

/// How far u (rows, rho), sigma (rho), v (cols, rho) are from a decomposition of `a`, in parts of its largest
/// singular value, or of 1 for orthogonality. NaN where anything is NaN.
struct SvdErrors {
    double values = 0;   ///< of the singular values
    double product = 0;  ///< u · diag(sigma) · vᴴ − a, in the Frobenius norm
    double long_side =
        0;  ///< largest element of qᴴq − 1, q the vectors of the longer side whose sigma is not tiny
    double short_side = 0;  ///< of the shorter side, all of them
    bool descending = true;
};
[[nodiscard]] SvdErrors svd_errors(std::span<const double> a, std::size_t rows, std::size_t cols,
                                   std::span<const float> u, std::span<const float> sigma,
                                   std::span<const float> v);
[[nodiscard]] SvdErrors svd_errors(std::span<const std::complex<double>> a, std::size_t rows,
                                   std::size_t cols, std::span<const std::complex<float>> u,
                                   std::span<const float> sigma, std::span<const std::complex<float>> v);

/// U·diag(sigma)·Vᴴ of random U and V, rounded to f32, sigma from 1 down by so many orders of magnitude.
template <typename Scalar>
struct Graded {
    std::vector<Scalar> a;  ///< row-major
    std::vector<double> sigma;
};
template <typename Scalar>  // double or std::complex<double>
[[nodiscard]] Graded<Scalar> graded_matrix(std::size_t rows, std::size_t cols, double decades, unsigned seed);
extern template Graded<double> graded_matrix(std::size_t, std::size_t, double, unsigned);
extern template Graded<std::complex<double>> graded_matrix(std::size_t, std::size_t, double, unsigned);

/// project(), or, where ranks are past those that blocks can have, project_into() factors of such ranks.
[[nodiscard]] Projection project_any(Stream& stream, const Tensor& dense, const MonarchShape& shape,
                                     const ProjectionOptions& options = {});

}  // namespace danaus::test
