// Forward error bounds for multiplies that accumulate in fp32, and comparison against them.
//
// Use: magnitude = the same verb on absolute operands, then dot_bound, then first_mismatch:
//   const Matrix y = matmul(x, w);
//   const Matrix bound = dot_bound(x.cols, {.output = FloatType::f16}, absolute_product(x, w), y);
//   EXPECT_EQ(first_mismatch(device_result, y, bound), "");
#pragma once

#include "reference/float_types.hpp"
#include "reference/matrix.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <string>

namespace danaus::reference {

/// Which roundings lie between the oracle's operands and the result under test.
struct DotRounding {
    /// Type the result is stored in.
    FloatType output = FloatType::f32;
    /// Type both operands were rounded to, if the oracle was given the unrounded ones; else empty.
    std::optional<FloatType> input = std::nullopt;
    /// Relative error of one fp32 operation. Vulkan lets a device round fp32 in either direction, hence
    /// 2^-23, twice the unit roundoff of round-to-nearest.
    double operation = 0x1p-23;
    /// Absolute error of one fp32 operation near zero: a device may flush subnormals.
    double underflow = 0x1p-126;
};

/// gamma_K = K eps / (1 - K eps), the bound on K successive roundings of relative size eps; infinite if K eps
/// >= 1.
double gamma_bound(std::size_t length, double eps);

/// gamma_K sum_abs with sum_abs = sum |a||b|: bounds the error of a dot product of length K in any order.
double dot_bound(std::size_t length, double eps, double sum_abs);

/// As above, with input rounding, underflow and the output's rounding of `exact` added.
double dot_bound(std::size_t length, const DotRounding& rounding, double sum_abs, double exact);

/// dot_bound for every element; magnitude holds sum |a||b|. For a complex product give 2K and use the bound
/// for the real and for the imaginary part.
Matrix dot_bound(std::size_t length, const DotRounding& rounding, const Matrix& magnitude,
                 const Matrix& exact);
Tensor3 dot_bound(std::size_t length, const DotRounding& rounding, const Tensor3& magnitude,
                  const Tensor3& exact);

/// Empty if |actual - expected| <= bound everywhere, else a sentence naming the first element that is not,
/// and how many there are. Equal infinities agree, NaN agrees with NaN only,
/// and an infinite or NaN bound admits equality only.
std::string first_mismatch(std::span<const float> actual, const Matrix& expected, const Matrix& bound);
std::string first_mismatch(std::span<const float> actual, const Tensor3& expected, const Tensor3& bound);
std::string first_mismatch(std::span<const double> actual, std::span<const double> expected,
                           std::span<const double> bound);

/// The same with bound = atol + rtol |expected|.
std::string first_mismatch(std::span<const float> actual, std::span<const double> expected, double rtol,
                           double atol);
std::string first_mismatch(std::span<const double> actual, std::span<const double> expected, double rtol,
                           double atol);

}  // namespace danaus::reference
