// Transposable 2:4 masks: 4×4 tiles that keep two entries in each row and each column.
//
// A pattern is a number with bit 4 · row + column set where an entry is kept. A tile at the edge of a matrix
// is completed with zeros (in the greedy and the 2-approximate search: with entries smaller than any).
#pragma once

#include "reference/matrix.hpp"
#include "reference/sparse24.hpp"

#include <array>
#include <cstdint>
#include <vector>

namespace danaus::reference {

/// All 4×4 patterns with row and column sums of two, ascending: by trying all 2^16.
const std::vector<std::uint32_t>& transposable_patterns();

using Tile = std::array<double, 16>;  ///< row after row

/// What an entry adds to a tile's score: |w| in units of 2^-27 of the power of two at or below the largest of
/// the tile's, but of 2^-126 at least, rounded down. Infinities and NaN count as 2^128.
std::array<std::uint64_t, 16> tile_units(const Tile& tile);

/// The pattern with the largest sum of units, the lowest of them: by trying all of them.
std::uint32_t best_pattern(const Tile& tile);
/// Entries by descending |w| (NaN above infinity, ties by index) kept while row and column keep fewer than
/// two; `present` entries before missing ones.
std::uint32_t greedy_pattern(const Tile& tile, std::uint32_t present = 0xffff);
/// Entries by ascending |w| pruned while row or column has fewer than two pruned; missing entries first.
std::uint32_t two_approximation(const Tile& tile, std::uint32_t present = 0xffff);

enum class TransposableSearch { exact, greedy, two_approximation };
Mask select_transposable_mask(const Matrix& w, TransposableSearch search = TransposableSearch::exact);

}  // namespace danaus::reference
