// Masks: which entries of a matrix are kept. Selected by magnitude, verified, applied and compared on the
// device; a bit an entry.
//
// Hu et al., "Accelerating Transformer Pre-Training with 2:4 Sparsity", ICML 2024, arXiv 2404.01847
// (transposable masks, flip rate). Hubara et al., "Accelerated Sparse Neural Training: A Provable and
// Efficient Method to Find N:M Transposable Masks", NeurIPS 2021, arXiv 2102.08124 (2-approximation).
//
// Matrices are (out, in) or (blocks, out, in), f32, f16 or bf16, of any strides. Magnitudes are compared as
// bit patterns and summed as whole numbers: the same bits on every device. +0 and −0 are equal.
#pragma once

#include <danaus/tensor.hpp>

namespace danaus {

/// The shape (…, out, ceil(in / 32)) of a bit mask over (…, out, in): bit c % 32 of word c / 32 is set where
/// column c is kept; bits behind the last column are 0. Masks are u32 tensors.
[[nodiscard]] DANAUS_EXPORT Shape mask_shape(const Shape& shape);

/// N:M, "keep N of every M neighbouring columns".
struct MaskPattern {
    std::uint32_t keep = 2;  ///< N: 1 … of
    std::uint32_t of = 4;    ///< M: at most 32
    [[nodiscard]] bool operator==(const MaskPattern&) const noexcept = default;
};

/// The row-wise N:M mask that keeps the most magnitude: of each group of M columns the N largest |w|. Equal
/// magnitudes keep the lower column. NaN ranks above infinity, all NaNs alike. A last group of fewer than M
/// columns keeps N of them, or all. For groups along the other axis take w.transpose(): the mask is that of
/// the transposed matrix, and apply_mask(w.transpose(), mask) applies it.
[[nodiscard]] DANAUS_EXPORT Tensor select_mask(Recorder& recorder, const Tensor& w,
                                               const MaskPattern& pattern = {});
DANAUS_EXPORT void select_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w,
                                    const MaskPattern& pattern = {});

/// How a transposable mask is searched in a 4×4 tile; exact but for comparisons.
enum class TransposableSearch : std::uint32_t {
    /// The pattern with the largest score of the 90 that keep two entries of every row and column. An entry
    /// scores |w| in units of 2⁻²⁷ of the power of two at or below the tile's largest, but of 2⁻¹²⁶ at
    /// least (so that subnormal f32 and bf16 count nothing), rounded down; infinities and NaN count as 2¹²⁸.
    /// Equal scores take the lowest pattern, read as a number with bit 4 · row + column.
    exact,
    /// Entries by descending |w| are kept as long as row and column keep fewer than two. May keep fewer than
    /// eight.
    greedy,
    /// Entries by ascending |w| are pruned as long as row or column has fewer than two pruned: what is pruned
    /// is below twice what `exact` prunes. May keep fewer than eight.
    two_approximation
};

/// The transposable 2:4 mask of w: of every 4×4 tile two entries in each row and two in each column, so that
/// W and its transpose are both 2:4. Equal magnitudes come by 4 · row + column in greedy and
/// two_approximation, and NaN above infinity. A tile at the edge is completed with zeros, which are left out
/// of the mask: lines that are cut keep at most two. select_transposable_mask(w.transpose()) is the transpose
/// of the mask, but for tiles with several best patterns.
[[nodiscard]] DANAUS_EXPORT Tensor select_transposable_mask(
    Recorder& recorder, const Tensor& w, TransposableSearch search = TransposableSearch::exact);
DANAUS_EXPORT void select_transposable_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w,
                                                 TransposableSearch search = TransposableSearch::exact);

/// out = mask ∘ w: +0 where the mask is clear, even for NaN and infinity, else w's bits. Any mask. `out` may
/// be w itself (the same view), otherwise must not overlap it; it has w's type and shape.
[[nodiscard]] DANAUS_EXPORT Tensor apply_mask(Recorder& recorder, const Tensor& w, const Tensor& mask);
DANAUS_EXPORT void apply_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w,
                                   const Tensor& mask);

/// ‖a ⊕ b‖₁, the number of entries that one mask keeps and the other does not: u32 (1), modulo 2³². Divided
/// by the matrix's entries it is the flip rate of a step of training. a and b are u32 of one shape, rank 2
/// or 3.
[[nodiscard]] DANAUS_EXPORT Tensor count_flips(Recorder& recorder, const Tensor& a, const Tensor& b);
DANAUS_EXPORT void count_flips_into(Recorder& recorder, const Tensor& out, const Tensor& a, const Tensor& b);

/// Waits for `stream`, reads the mask back and throws Error(invalid_argument) naming the first group of M
/// columns that does not keep exactly N (or all of fewer), or the first bit set behind column `in` − 1.
DANAUS_EXPORT void verify_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features,
                               const MaskPattern& pattern = {});

/// The same for transposable masks, naming the first 4×4 tile that is none of the 90 patterns (at the edge:
/// of what is left of them), or the first bit set behind column `in` − 1.
DANAUS_EXPORT void verify_transposable_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features);

/// Waits for `stream`, reads `tensor` (floating) back and throws Error(invalid_argument) with the indices of
/// its first NaN or infinity: for weights that are to be pruned, which masks would hide.
DANAUS_EXPORT void verify_finite(Stream& stream, const Tensor& tensor);

}  // namespace danaus
