// Comparison by bits.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>

namespace danaus::test {

/// Empty if both hold the same bits, any NaN counting as NaN; else names the first difference.
inline std::string first_difference(std::span<const float> actual, std::span<const float> expected) {
    if (actual.size() != expected.size()) return "the sizes differ";
    for (std::size_t i = 0; i < actual.size(); ++i) {
        if (std::isnan(actual[i]) && std::isnan(expected[i])) continue;
        if (std::bit_cast<std::uint32_t>(actual[i]) != std::bit_cast<std::uint32_t>(expected[i]))
            return "element " + std::to_string(i) + " is " + std::to_string(actual[i]) + ", expected " +
                   std::to_string(expected[i]);
    }
    return {};
}

}  // namespace danaus::test
