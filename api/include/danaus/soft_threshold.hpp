// Soft thresholds of groups of four: the continuous 2:4 projection of S-STE.
//
//   S(a)ᵢ = sign(aᵢ) · max(|aᵢ| − t, 0), t the second smallest of the four |a|
//
// Y. Hu, J. Zhu, J. Chen, "S-STE: Continuous pruning function for efficient 2:4 sparse pre-training", NeurIPS
// 2024, arXiv 2409.09099. At most two of four are not zero, and an entry is zero when its place changes
// hands: the projection does not jump, as masks do. A layer computes β once, when its weights are
// initialised, and compresses βS(W) every step; the gradient of βS(W) is taken as W's (weight_gradient,
// straight through).
//
// Matrices are (out, in) or (blocks, out, in), f32, f16 or bf16, of any strides; groups lie along `in`. A
// last group of fewer than four columns is completed with zeros: with three columns t is the smallest of
// them, with one or two it is 0. Groups with NaN or more than two infinities give NaN.
#pragma once

#include <danaus/sparse24.hpp>

namespace danaus {

/// β = ⟨w, S(w)⟩ / ‖S(w)‖², by which βS(w) is nearest to w: f32 (1), on the device, over all of w. 1 where
/// S(w) is zero. Sums are f32, and added in an order that depends on shapes, strides and the reach of a
/// dispatch alone.
[[nodiscard]] DANAUS_EXPORT Tensor soft_threshold_scale(Recorder& recorder, const Tensor& w);
DANAUS_EXPORT void soft_threshold_scale_into(Recorder& recorder, const Tensor& out, const Tensor& w);

/// β·S(w), compressed: kept are the places of select_mask(w), two of each group, with values computed in f32
/// and rounded to the result's type once. β is f32 (1). `mask`, if given, is written too, as select_mask
/// would.
[[nodiscard]] DANAUS_EXPORT Sparse24 compress_soft(Recorder& recorder, const Tensor& w, const Tensor& beta);
DANAUS_EXPORT void compress_soft_into(Recorder& recorder, const Sparse24& out, const Tensor& w,
                                      const Tensor& beta, const Tensor& mask = {});

}  // namespace danaus
