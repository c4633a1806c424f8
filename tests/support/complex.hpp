// Complex operands in any layout for tests: placed with poison or sentinels around them, read back with a
// check of everything around, and held against the oracle.
#pragma once

#include "reference/error_bound.hpp"
#include "reference/matrix.hpp"
#include "support/operands.hpp"

#include <complex>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace danaus::test {

using ComplexValues = std::vector<std::complex<float>>;

/// Parts in [-1, 1], or whole numbers in [-3, 3].
[[nodiscard]] ComplexValues complex_values(std::size_t count, unsigned seed, bool whole = false);

/// Real and imaginary parts side by side.
[[nodiscard]] std::vector<double> flat(std::span<const std::complex<float>> values);
[[nodiscard]] std::vector<double> flat(std::span<const reference::Complex> values);
/// A bound of every element, twice: for its two parts.
[[nodiscard]] std::vector<double> twice(std::span<const double> bounds);

/// complex64 elements in a larger buffer of their own, as Placed.
class PlacedComplex {
public:
    /// An operand: `values` row-major, NaN everywhere else.
    PlacedComplex(Stream& stream, const Shape& shape, const Layout& layout,
                  std::span<const std::complex<float>> values);
    /// A result: elements poisoned with NaN, a sentinel everywhere else.
    PlacedComplex(Stream& stream, const Shape& shape, const Layout& layout = {});

    [[nodiscard]] const Tensor& tensor() const { return tensor_; }
    operator const Tensor&() const { return tensor_; }

    struct Contents {
        ComplexValues values;  ///< row-major
        std::string damage;    ///< empty, or what changed outside the elements
    };
    [[nodiscard]] Contents read(Stream& stream) const;

    /// Empty, or what differs from `expected` by more than `bound` (one of every element) or was damaged.
    [[nodiscard]] std::string mismatch(Stream& stream, std::span<const reference::Complex> expected,
                                       std::span<const double> bound) const;

private:
    void place(Stream& stream, const Shape& shape, const Layout& layout, float around);
    [[nodiscard]] std::vector<std::size_t> places() const;

    Tensor tensor_;
    std::vector<float> image_;  // what the buffer held at first
};

}  // namespace danaus::test
