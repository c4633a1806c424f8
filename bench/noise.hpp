// Random operands, quickly.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <span>

namespace danaus::bench {

/// Draws numbers; what is longer than a prime near a million repeats with that period, so that no two rows or
/// tiles of a matrix are alike and gigabytes are filled at the speed of memory.
template <typename Distribution>
class Noise {
public:
    Noise(std::uint32_t seed, Distribution draw) : engine_(seed), draw_(draw) {}

    void fill(std::span<float> values) {
        constexpr std::size_t period = 1048573;
        const std::size_t drawn = std::min(values.size(), period);
        for (std::size_t i = 0; i < drawn; ++i) values[i] = static_cast<float>(draw_(engine_));
        for (std::size_t at = drawn; at < values.size();) {
            const std::size_t count = std::min(period, values.size() - at);
            std::copy_n(values.begin(), count, values.begin() + static_cast<std::ptrdiff_t>(at));
            at += count;
        }
    }

private:
    std::mt19937 engine_;
    Distribution draw_;
};

}  // namespace danaus::bench
