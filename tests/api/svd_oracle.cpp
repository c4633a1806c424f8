#include "svd_oracle.hpp"

#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>
#include <cmath>
#include <random>
#include <type_traits>

namespace danaus::test {
namespace {

template <typename Scalar>
using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Index = Eigen::Index;

template <typename Scalar, typename T>
Matrix<Scalar> matrix_of(std::span<const T> values, std::size_t rows, std::size_t cols) {
    Matrix<Scalar> m(static_cast<Index>(rows), static_cast<Index>(cols));
    std::copy(values.begin(), values.end(), m.data());
    return m;
}

template <typename Scalar>
double off_unit(const Matrix<Scalar>& q, Index columns) {
    const Matrix<Scalar> some = q.leftCols(columns);
    const Matrix<Scalar> off = some.adjoint() * some - Matrix<Scalar>::Identity(columns, columns);
    return columns == 0 ? 0.0 : off.cwiseAbs().template maxCoeff<Eigen::PropagateNaN>();
}

template <typename Scalar>
std::vector<double> values_of(std::span<const Scalar> a, std::size_t rows, std::size_t cols) {
    // Not Eigen's divide and conquer, which takes four times as long to compile.
    const Eigen::JacobiSVD<Matrix<Scalar>> svd(matrix_of<Scalar>(a, rows, cols));
    return {svd.singularValues().begin(), svd.singularValues().end()};
}

template <typename Scalar, typename T>
SvdErrors errors_of(std::span<const Scalar> a, std::size_t rows, std::size_t cols, std::span<const T> u,
                    std::span<const float> sigma, std::span<const T> v) {
    const std::size_t rho = std::min(rows, cols);
    const auto exact = matrix_of<Scalar>(a, rows, cols), left = matrix_of<Scalar>(u, rows, rho),
               right = matrix_of<Scalar>(v, cols, rho), values = matrix_of<Scalar>(sigma, rho, 1);
    const std::vector<double> expected = values_of(a, rows, cols);
    const double unit = expected.empty() || expected[0] == 0.0 ? 1.0 : expected[0];
    SvdErrors errors;
    Index certain = 0;
    for (std::size_t t = 0; t < rho; ++t) {
        const double value = static_cast<double>(sigma[t]);
        const double error = std::abs(value - expected[t]) / unit;
        if (!(error <= errors.values)) errors.values = error;
        if (t > 0 && !(sigma[t] <= sigma[t - 1])) errors.descending = false;
        if (expected[t] > 1e-5 * unit && expected[t] > 0.0) certain = static_cast<Index>(t) + 1;
    }
    errors.product = (left * values.asDiagonal() * right.adjoint() - exact).norm() / unit;
    const bool tall = rows >= cols;
    errors.long_side = off_unit(tall ? left : right, certain);
    // Of a square matrix either side may be the one whose vectors are zero where sigma is.
    const auto all = static_cast<Index>(rho);
    errors.short_side = rows == cols ? std::min(off_unit(left, all), off_unit(right, all))
                                     : off_unit(tall ? right : left, all);
    return errors;
}

}  // namespace

std::vector<double> singular_values(std::span<const double> a, std::size_t rows, std::size_t cols) {
    return values_of(a, rows, cols);
}
std::vector<double> singular_values(std::span<const std::complex<double>> a, std::size_t rows,
                                    std::size_t cols) {
    return values_of(a, rows, cols);
}

SvdErrors svd_errors(std::span<const double> a, std::size_t rows, std::size_t cols, std::span<const float> u,
                     std::span<const float> sigma, std::span<const float> v) {
    return errors_of(a, rows, cols, u, sigma, v);
}
SvdErrors svd_errors(std::span<const std::complex<double>> a, std::size_t rows, std::size_t cols,
                     std::span<const std::complex<float>> u, std::span<const float> sigma,
                     std::span<const std::complex<float>> v) {
    return errors_of(a, rows, cols, u, sigma, v);
}

template <typename Scalar>
Graded<Scalar> graded_matrix(std::size_t rows, std::size_t cols, double decades, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<double> normal;
    const auto rho = static_cast<Index>(std::min(rows, cols));
    const auto orthonormal = [&](std::size_t size) {
        Matrix<Scalar> m(static_cast<Index>(size), rho);
        for (Scalar& value : m.reshaped()) {
            if constexpr (std::is_same_v<Scalar, double>)
                value = normal(engine);
            else
                value = {normal(engine), normal(engine)};
        }
        return Matrix<Scalar>(Eigen::HouseholderQR<Matrix<Scalar>>(m).householderQ() *
                              Matrix<Scalar>::Identity(m.rows(), rho));
    };
    Graded<Scalar> out;
    Eigen::VectorXd sigma(rho);
    for (Index t = 0; t < rho; ++t)
        sigma(t) = std::pow(10.0, -decades * static_cast<double>(t) / static_cast<double>(rho));
    const Matrix<Scalar> left = orthonormal(rows), right = orthonormal(cols),
                         a = left * sigma.asDiagonal() * right.adjoint();
    out.sigma.assign(sigma.begin(), sigma.end());
    for (Index i = 0; i < a.rows(); ++i)
        for (Index j = 0; j < a.cols(); ++j) {
            if constexpr (std::is_same_v<Scalar, double>)
                out.a.push_back(static_cast<float>(a(i, j)));
            else
                out.a.push_back(static_cast<std::complex<float>>(a(i, j)));
        }
    return out;
}
template Graded<double> graded_matrix(std::size_t, std::size_t, double, unsigned);
template Graded<std::complex<double>> graded_matrix(std::size_t, std::size_t, double, unsigned);

Projection project_any(Stream& stream, const Tensor& dense, const MonarchShape& shape,
                       const ProjectionOptions& options) {
    const std::uint64_t p = dense.size(1) / shape.k, s = dense.size(0) / shape.l;
    if (shape.q / shape.l <= std::min(p, s)) return project(stream, dense, shape, options);
    const DataType type = is_complex(dense.type()) ? dense.type() : options.type;
    Projection result;
    result.matrix =
        Monarch(Tensor(stream.device(), type, {shape.k, shape.q, p}),
                Tensor(stream.device(), type, {shape.l, s, shape.k * shape.q / shape.l}), options.order);
    result.error = Tensor(stream.device(), DataType::f32, {shape.k, shape.l});
    project_into(stream, result.matrix, result.error, dense, options.svd);
    return result;
}

}  // namespace danaus::test
