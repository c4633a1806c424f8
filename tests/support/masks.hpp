// Weights that try a mask selection, and masks of the oracle as the device holds them.
#pragma once

#include "reference/float_types.hpp"
#include "reference/sparse24.hpp"

#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

namespace danaus::test {

/// Small integers, so that ties are common (even seeds), or numbers of all sizes; with signed zeros,
/// infinities, NaN and denormals among them. All of them are values of `type`.
inline std::vector<float> mixed_values(std::size_t count, reference::FloatType type, unsigned seed) {
    std::mt19937 engine(seed);
    const bool whole = seed % 2 == 0;
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) {
        const unsigned kind = engine() % 256;
        value = whole ? static_cast<float>(static_cast<int>(kind % 7) - 3)
                      : std::ldexp(normal(engine), static_cast<int>(kind % 20) - 10);
        if (kind == 250) value = -0.0f;
        if (kind == 251)
            value = ((engine() & 1) != 0 ? 1.0f : -1.0f) * std::numeric_limits<float>::infinity();
        if (kind == 252) value = std::numeric_limits<float>::quiet_NaN();
        if (kind >= 253) value = 0x1p-24f;
    }
    return reference::round_to(type, std::span<const float>(values));
}

/// The words of a bit mask, row after row.
inline std::vector<std::uint32_t> packed(const reference::Mask& mask) {
    const std::size_t words = (mask.cols + 31) / 32;
    std::vector<std::uint32_t> bits(mask.rows * words);
    for (std::size_t r = 0; r < mask.rows; ++r)
        for (std::size_t c = 0; c < mask.cols; ++c)
            bits[r * words + c / 32] |= std::uint32_t{mask(r, c)} << c % 32;
    return bits;
}

}  // namespace danaus::test
