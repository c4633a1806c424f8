// Sums over tensors. Two passes in a fixed order: a result depends on sizes and values, never on timing.
#pragma once

#include <danaus/tensor.hpp>

#include <span>

namespace danaus {

/// out[c] = scale · Σ_r x[r][c], in f32; out[c] += … with `accumulate`.
///   x (rows, columns), f32, f16 or bf16, any strides → out (columns), f32, any strides, not overlapping x
/// No rows: the sum is 0. Throws Error(invalid_argument) naming the argument that does not fit.
DANAUS_EXPORT void column_sums_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                                    bool accumulate = false, float scale = 1.0f);
[[nodiscard]] DANAUS_EXPORT Tensor column_sums(Recorder& recorder, const Tensor& x, float scale = 1.0f);

/// out[0] = √ Σ x² over every element of every tensor, in f32; NaN when an element is infinite or NaN,
/// infinity when the squares of finite elements leave f32. The tensors are f32, f16 or bf16, of any shapes
/// and strides; none: 0. `out` is f32 with one element.
DANAUS_EXPORT void global_norm_into(Recorder& recorder, const Tensor& out, std::span<const Tensor> tensors);
[[nodiscard]] DANAUS_EXPORT Tensor global_norm(Recorder& recorder, std::span<const Tensor> tensors);

}  // namespace danaus
