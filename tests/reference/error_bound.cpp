#include "reference/error_bound.hpp"

#include <cmath>
#include <limits>
#include <sstream>

namespace danaus::reference {
namespace {

bool within(double actual, double expected, double bound) {
    if (std::isnan(expected)) return std::isnan(actual);
    if (actual == expected) return true;
    // An infinite bound would accept anything and so prove nothing.
    return std::isfinite(expected) && std::isfinite(bound) && std::abs(actual - expected) <= bound;
}

/// Describes element `index` of a tensor of the given trailing extents, e.g. "(3, 17)".
std::string position(std::size_t index, std::span<const std::size_t> extents) {
    std::string text;
    for (std::size_t i = extents.size(); i-- > 0;) {
        text = std::to_string(index % extents[i]) + (text.empty() ? "" : ", ") + text;
        index /= extents[i];
    }
    return "(" + text + ")";
}

template <typename Bound>
std::string compare(std::span<const double> actual, std::span<const double> expected, const Bound& bound,
                    std::span<const std::size_t> extents) {
    if (actual.size() != expected.size()) {
        return "got " + std::to_string(actual.size()) + " values, expected " +
               std::to_string(expected.size());
    }
    std::ostringstream text;
    text.precision(9);
    std::size_t count = 0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
        if (within(actual[i], expected[i], bound(i))) continue;
        if (count++ == 0) {
            text << "at " << position(i, extents) << ": " << actual[i] << ", expected " << expected[i]
                 << ", difference " << std::abs(actual[i] - expected[i]) << " > " << bound(i);
        }
    }
    if (count == 0) return {};
    text << "; " << count << " of " << actual.size() << " elements differ";
    return text.str();
}

std::string compare_to_bound(std::span<const double> actual, std::span<const double> expected,
                             std::span<const double> bound, std::span<const std::size_t> extents) {
    require(bound.size() == expected.size(), "first_mismatch: bound and expected must have one shape");
    return compare(
        actual, expected, [&](std::size_t i) { return bound[i]; }, extents);
}

}  // namespace

double gamma_bound(std::size_t length, double eps) {
    const double product = static_cast<double>(length) * eps;
    return product < 1.0 ? product / (1.0 - product) : std::numeric_limits<double>::infinity();
}

double dot_bound(std::size_t length, double eps, double sum_abs) {
    return sum_abs == 0.0 ? 0.0 : gamma_bound(length, eps) * sum_abs;
}

double dot_bound(std::size_t length, const DotRounding& rounding, double sum_abs, double exact) {
    const double input_unit = rounding.input ? unit_roundoff(*rounding.input) : 0.0;
    const double input_growth = (1.0 + input_unit) * (1.0 + input_unit);
    double error = (input_growth - 1.0) * sum_abs;
    error += dot_bound(length, rounding.operation, input_growth * sum_abs);
    error += static_cast<double>(length) * rounding.underflow;
    if (rounding.output == FloatType::f32) return error;  // the accumulator's own type: stored as it is
    // bf16 shares f32's exponent range, and with it the possible flush to zero.
    const double output_underflow = rounding.output == FloatType::f16 ? smallest_subnormal(FloatType::f16) / 2
                                                                      : smallest_normal(FloatType::bf16);
    return error + unit_roundoff(rounding.output) * (std::abs(exact) + error) + output_underflow;
}

Matrix dot_bound(std::size_t length, const DotRounding& rounding, const Matrix& magnitude,
                 const Matrix& exact) {
    require(magnitude.rows == exact.rows && magnitude.cols == exact.cols,
            "dot_bound: magnitude and exact must have one shape");
    Matrix bound(exact.rows, exact.cols);
    for (std::size_t i = 0; i < bound.data.size(); ++i) {
        bound.data[i] = dot_bound(length, rounding, magnitude.data[i], exact.data[i]);
    }
    return bound;
}

Tensor3 dot_bound(std::size_t length, const DotRounding& rounding, const Tensor3& magnitude,
                  const Tensor3& exact) {
    require(magnitude.n0 == exact.n0 && magnitude.n1 == exact.n1 && magnitude.n2 == exact.n2,
            "dot_bound: magnitude and exact must have one shape");
    Tensor3 bound(exact.n0, exact.n1, exact.n2);
    for (std::size_t i = 0; i < bound.data.size(); ++i) {
        bound.data[i] = dot_bound(length, rounding, magnitude.data[i], exact.data[i]);
    }
    return bound;
}

std::string first_mismatch(std::span<const float> actual, const Matrix& expected, const Matrix& bound) {
    const std::size_t extents[] = {expected.rows, expected.cols};
    return compare_to_bound(to_double(actual), expected.data, bound.data, extents);
}

std::string first_mismatch(std::span<const float> actual, const Tensor3& expected, const Tensor3& bound) {
    const std::size_t extents[] = {expected.n0, expected.n1, expected.n2};
    return compare_to_bound(to_double(actual), expected.data, bound.data, extents);
}

std::string first_mismatch(std::span<const double> actual, std::span<const double> expected,
                           std::span<const double> bound) {
    const std::size_t extents[] = {expected.size()};
    return compare_to_bound(actual, expected, bound, extents);
}

std::string first_mismatch(std::span<const float> actual, std::span<const double> expected, double rtol,
                           double atol) {
    return first_mismatch(to_double(actual), expected, rtol, atol);
}

std::string first_mismatch(std::span<const double> actual, std::span<const double> expected, double rtol,
                           double atol) {
    const std::size_t extents[] = {expected.size()};
    return compare(
        actual, expected, [&](std::size_t i) { return atol + rtol * std::abs(expected[i]); }, extents);
}

}  // namespace danaus::reference
