#include "reference/transposable.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

namespace danaus::reference {
namespace {

int in_row(std::uint32_t pattern, std::size_t r) {
    return std::popcount(pattern >> 4 * r & 0xfu);
}
int in_column(std::uint32_t pattern, std::size_t c) {
    return std::popcount(pattern >> c & 0x1111u);
}

// Indices by descending magnitude, missing ones last; equal ones ascending.
std::vector<std::size_t> descending(const Tile& tile, std::uint32_t present) {
    std::vector<std::size_t> order(16);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const bool has_a = (present >> a & 1u) != 0, has_b = (present >> b & 1u) != 0;
        return has_a != has_b ? has_a : has_a && ranks_above(tile[a], tile[b]);
    });
    return order;
}

std::vector<std::size_t> ascending(const Tile& tile, std::uint32_t present) {
    std::vector<std::size_t> order(16);
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const bool has_a = (present >> a & 1u) != 0, has_b = (present >> b & 1u) != 0;
        return has_a != has_b ? has_b : has_a && ranks_above(tile[b], tile[a]);
    });
    return order;
}

}  // namespace

const std::vector<std::uint32_t>& transposable_patterns() {
    static const std::vector<std::uint32_t> patterns = [] {
        std::vector<std::uint32_t> found;
        for (std::uint32_t p = 0; p < 1u << 16; ++p) {
            bool two = true;
            for (std::size_t i = 0; i < 4; ++i) two = two && in_row(p, i) == 2 && in_column(p, i) == 2;
            if (two) found.push_back(p);
        }
        return found;
    }();
    return patterns;
}

std::array<std::uint64_t, 16> tile_units(const Tile& tile) {
    const auto magnitude = [](double w) { return std::isfinite(w) ? std::abs(w) : 0x1p128; };
    double largest = 0.0;
    for (const double w : tile) largest = std::max(largest, magnitude(w));
    std::array<std::uint64_t, 16> units{};
    for (std::size_t i = 0; i < 16 && largest > 0.0; ++i) {
        const double unit = std::max(std::ldexp(1.0, std::ilogb(largest) - 27), 0x1p-126);
        units[i] = static_cast<std::uint64_t>(std::floor(magnitude(tile[i]) / unit));
    }
    return units;
}

std::uint32_t best_pattern(const Tile& tile) {
    const auto units = tile_units(tile);
    std::uint32_t best = 0;
    std::uint64_t best_score = 0;
    for (const std::uint32_t pattern : transposable_patterns()) {
        std::uint64_t score = 0;
        for (std::size_t i = 0; i < 16; ++i) score += (pattern >> i & 1u) != 0 ? units[i] : 0;
        if (best == 0 || score > best_score) {
            best = pattern;
            best_score = score;
        }
    }
    return best;
}

std::uint32_t greedy_pattern(const Tile& tile, std::uint32_t present) {
    std::uint32_t kept = 0;
    for (const std::size_t i : descending(tile, present))
        if (in_row(kept, i / 4) < 2 && in_column(kept, i % 4) < 2) kept |= 1u << i;
    return kept;
}

std::uint32_t two_approximation(const Tile& tile, std::uint32_t present) {
    std::uint32_t pruned = 0;
    for (const std::size_t i : ascending(tile, present))
        if (in_row(pruned, i / 4) < 2 || in_column(pruned, i % 4) < 2) pruned |= 1u << i;
    return ~pruned & 0xffffu;
}

Mask select_transposable_mask(const Matrix& w, TransposableSearch search) {
    Mask mask(w.rows, w.cols);
    for (std::size_t top = 0; top < w.rows; top += 4)
        for (std::size_t left = 0; left < w.cols; left += 4) {
            Tile tile{};
            std::uint32_t present = 0;
            for (std::size_t i = 0; i < 16; ++i) {
                if (top + i / 4 >= w.rows || left + i % 4 >= w.cols) continue;
                tile[i] = w(top + i / 4, left + i % 4);
                present |= 1u << i;
            }
            const std::uint32_t pattern = search == TransposableSearch::exact ? best_pattern(tile)
                                          : search == TransposableSearch::greedy
                                              ? greedy_pattern(tile, present)
                                              : two_approximation(tile, present);
            for (std::size_t i = 0; i < 16; ++i)
                if ((present >> i & 1u) != 0)
                    mask(top + i / 4, left + i % 4) = static_cast<std::uint8_t>(pattern >> i & 1u);
        }
    return mask;
}

}  // namespace danaus::reference
