// Matrices in panels whose singular values reach over orders of magnitude: what takes the most sweeps.
#include "support/complex.hpp"
#include "support/device.hpp"
#include "svd_oracle.hpp"

#include <cmath>

#include <gtest/gtest.h>

namespace danaus {
namespace {

std::vector<double> values(Stream& stream, const Tensor& t, double) {
    return reference::to_double(download(stream, t));
}
std::vector<std::complex<double>> values(Stream& stream, const Tensor& t, std::complex<double>) {
    const auto narrow = download_complex(stream, t);
    return {narrow.begin(), narrow.end()};
}

Tensor uploaded(Stream& stream, const std::vector<double>& a, const Shape& shape) {
    return upload(stream, std::vector<float>(a.begin(), a.end()), shape);
}
Tensor uploaded(Stream& stream, const std::vector<std::complex<double>>& a, const Shape& shape) {
    test::ComplexValues narrow;
    for (const auto& value : a) narrow.push_back(static_cast<std::complex<float>>(value));
    return upload(stream, narrow, shape);
}

// `bound` is that of ‖A − M‖ over what is optimal.
template <typename Scalar>
void expect_graded(const Device& device, std::size_t rows, std::size_t cols, double decades, double bound) {
    Stream stream(device);
    const auto [a, sigma] = test::graded_matrix<Scalar>(rows, cols, decades, 7);
    const Tensor dense = uploaded(stream, a, {rows, cols});
    const auto found = download(stream, svd(stream, dense).sigma);
    for (std::size_t t = 0; t < sigma.size(); ++t)
        EXPECT_NEAR(static_cast<double>(found[t]), sigma[t], 3e-6) << rows << " × " << cols << ", " << t;
    const std::size_t q = sigma.size() * 3 / 4;
    const Projection result = project(stream, dense, {1, 1, q});
    const auto w1 = values(stream, result.matrix.w1, Scalar{}),
               w2 = values(stream, result.matrix.w2, Scalar{});
    double square = 0.0, least = 0.0;
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < cols; ++j) {
            Scalar sum = -a[i * cols + j];
            for (std::size_t t = 0; t < q; ++t) sum += w2[i * q + t] * w1[t * cols + j];
            square += std::norm(sum);
        }
    for (std::size_t t = q; t < sigma.size(); ++t) least += sigma[t] * sigma[t];
    const double ratio = std::sqrt(square / least),
                 told = static_cast<double>(download(stream, result.error)[0]) / std::sqrt(least);
    EXPECT_NEAR(ratio, 1.0, bound) << rows << " × " << cols << ", 1e-" << decades;
    EXPECT_NEAR(told, 1.0, bound) << rows << " × " << cols << ", 1e-" << decades;
}

void expect_all(const Device& device) {
    expect_graded<double>(device, 200, 150, 3.0, 2e-4);
    expect_graded<double>(device, 100, 140, 4.5, 2e-4);
    expect_graded<double>(device, 200, 150, 6.0, 1e-3);
    expect_graded<std::complex<double>>(device, 90, 80, 4.5, 2e-4);
    expect_graded<std::complex<double>>(device, 160, 160, 6.0, 5e-3);
}

TEST(GradedSvd, OnThisDevice) {
    expect_all(test::device());
}

TEST(GradedSvd, AsOnGpus) {
    expect_all(test::capped_device([](Capabilities& caps) { caps.type = DeviceType::discrete; }));
}

}  // namespace
}  // namespace danaus
