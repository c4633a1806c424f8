#include "svd_oracle.hpp"

#include <Eigen/SVD>
#include <algorithm>

namespace danaus::test {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Index = Eigen::Index;

template <typename T>
Matrix matrix_of(std::span<const T> values, std::size_t rows, std::size_t cols) {
    Matrix m(static_cast<Index>(rows), static_cast<Index>(cols));
    std::copy(values.begin(), values.end(), m.data());
    return m;
}

double off_unit(const Matrix& q, Index columns) {
    const Matrix some = q.leftCols(columns);
    const Matrix off = some.transpose() * some - Matrix::Identity(columns, columns);
    return columns == 0 ? 0.0 : off.cwiseAbs().maxCoeff<Eigen::PropagateNaN>();
}

}  // namespace

std::vector<double> singular_values(std::span<const double> a, std::size_t rows, std::size_t cols) {
    const Eigen::BDCSVD<Matrix> svd(matrix_of(a, rows, cols));
    return {svd.singularValues().begin(), svd.singularValues().end()};
}

SvdErrors svd_errors(std::span<const double> a, std::size_t rows, std::size_t cols, std::span<const float> u,
                     std::span<const float> sigma, std::span<const float> v) {
    const std::size_t rho = std::min(rows, cols);
    const Matrix exact = matrix_of(a, rows, cols), left = matrix_of(u, rows, rho),
                 right = matrix_of(v, cols, rho);
    const Matrix values = matrix_of(sigma, rho, 1);
    const std::vector<double> expected = singular_values(a, rows, cols);
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
    errors.product = (left * values.asDiagonal() * right.transpose() - exact).norm() / unit;
    const bool tall = rows >= cols;
    errors.long_side = off_unit(tall ? left : right, certain);
    // Of a square matrix either side may be the one whose vectors are zero where sigma is.
    const auto all = static_cast<Index>(rho);
    errors.short_side = rows == cols ? std::min(off_unit(left, all), off_unit(right, all))
                                     : off_unit(tall ? right : left, all);
    return errors;
}

}  // namespace danaus::test
