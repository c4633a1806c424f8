// Vector-wise N:M sparsity: of every m columns the same n are kept for v rows at a time.
//
// Panels are rows [p v, p v + v), groups are columns [g m, g m + m); the last of either may be smaller. A
// column's score in a panel is the sum of its magnitudes there, each cut down to a multiple of 2^-23 of the
// power of two at or below the largest of them: a whole number of such units, which every order of summation
// gives exactly.
#pragma once

#include "reference/matrix.hpp"
#include "reference/sparse24.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace danaus::reference {

struct VectorPattern {
    std::size_t n = 2, m = 4, v = 64;
};

/// The score of a column of finite entries; infinity for one with infinity, NaN for one with NaN.
double column_score(std::span<const double> column);

/// Keeps the min(n, present) columns of each group with the largest scores (NaN above infinity above all
/// else); ties keep the lower column.
Mask select_vector_mask(const Matrix& w, const VectorPattern& pattern);

/// The largest sum of scores that min(n, present) columns of one group of a panel have, by trying every
/// subset.
double best_vector_score(const Matrix& w, const VectorPattern& pattern, std::size_t panel, std::size_t group);

/// What is stored, panel by panel: the kept columns, and v values of each of them.
struct VectorSparse {
    std::size_t rows = 0, cols = 0, v = 0, kept = 0;
    std::vector<std::uint32_t> indices;  ///< panels x kept, ascending
    std::vector<double> values;          ///< panels x kept x v, zero behind the last row
};

/// The kept entries of w under a mask that keeps min(n, present) columns of every group, the same in all rows
/// of a panel.
VectorSparse compress(const Matrix& w, const Mask& mask, const VectorPattern& pattern);
/// W[r, index] = value, zero elsewhere.
Matrix decompress(const VectorSparse& s);

}  // namespace danaus::reference
