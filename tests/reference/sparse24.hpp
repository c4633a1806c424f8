// N:M sparsity along rows: mask selection by magnitude, and the 2:4 compressed form.
//
// Groups are columns [g M, g M + M) of one row. Where M does not divide the columns, the missing columns of
// the last group count as zeros that lose every comparison: a real entry is always preferred to padding, even
// a zero.
#pragma once

#include "reference/matrix.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace danaus::reference {

/// 1 where the entry is kept.
using Mask = BasicMatrix<std::uint8_t>;

/// |w|, and +infinity for NaN: what an entry adds to a sum of magnitudes.
double selection_magnitude(double value);

/// |a| > |b|; NaN ranks above everything else, infinity included, and equals NaN.
bool ranks_above(double a, double b);

/// Keeps the min(n, present) entries of each group of m with the largest magnitude; ties keep the lower
/// index.
Mask select_mask(const Matrix& w, std::size_t n = 2, std::size_t m = 4);

/// Whether every whole group of m keeps exactly n entries and a partial one min(n, present).
bool is_mask(const Mask& mask, std::size_t n = 2, std::size_t m = 4);

/// (M o W)[r,c] = W[r,c] where kept, else +0 (also for a masked NaN or infinity).
Matrix apply_mask(const Matrix& w, const Mask& mask);

/// S(a)_i = sign(a_i) max(|a_i| - t, 0), t the second smallest |a| of each group of four; missing columns of
/// the last group are zeros.
Matrix soft_threshold(const Matrix& w);

/// <w, S(w)> / |S(w)|^2; 1 where S(w) = 0.
double soft_threshold_scale(const Matrix& w);

/// sum of |w| over the kept entries.
double kept_magnitude(const Matrix& w, const Mask& mask);

/// The largest sum of magnitudes that any min(n, size) entries of one group have, by trying every subset.
/// size <= 20.
double best_group_magnitude(std::span<const double> group, std::size_t n);

/// Fraction of entries whose mask changed, ||a xor b||_1 / D: the flip rate.
double flip_rate(const Mask& a, const Mask& b);

/// Row-wise 2:4, `groups` = ceil(cols / 4) groups in a row.
struct Sparse24 {
    std::size_t rows = 0;
    std::size_t cols = 0;
    /// rows x 2*groups: the two kept values of each group, ascending column.
    Matrix values;
    /// rows x groups: low two bits = position of the first kept entry, next two bits = of the second; first <
    /// second.
    BasicMatrix<std::uint8_t> indices;

    [[nodiscard]] std::size_t groups() const { return (cols + 3) / 4; }
};

/// The kept entries of w. The mask must be 2:4. A last group with one column keeps position 0 and, as
/// padding, position 1 with value 0.
Sparse24 compress(const Matrix& w, const Mask& mask);

/// W[r, 4 g + index] = value, zero elsewhere; positions beyond the last column are dropped.
Matrix decompress(const Sparse24& s);

/// y = x W^T, dX = dY W with W = decompress(s).
Matrix matmul(const Matrix& x, const Sparse24& s);
Matrix matmul_transposed(const Matrix& dy, const Sparse24& s);

/// dW = dY^T X, dense: the straight-through estimator updates the dense master with no mask.
Matrix weight_gradient(const Matrix& dy, const Matrix& x, const Sparse24& s);

/// G[r,c] + lambda (1 - M[r,c]) W[r,c]: masked decay, added to the gradient before the optimizer's moments.
Matrix masked_decay(const Matrix& gradient, const Matrix& w, const Mask& mask, double lambda);

}  // namespace danaus::reference
