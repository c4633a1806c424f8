// Applying a transform in steps: what those of images share with those of lines.
#pragma once

#include <danaus/transforms.hpp>

namespace danaus::detail {

/// Throws unless x can go through the transform, or through its transpose.
void check_transform_operand(const Recorder& recorder, const char* name, const Tensor& x, const Transform& a,
                             bool transpose);
/// Throws unless `out` is where the product of such an x can go.
void check_transform_result(const Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                            const Transform& a, bool transpose);
/// Throws unless `dw`, called `name`, is empty or one tensor or null for every factor of `w`, of its shape.
void check_factor_gradients(const Recorder& recorder, const char* name, const std::vector<Tensor>& dw,
                            const Chain& w);

/// out = A·x or Aᵀ·x, of complex64 conj(A)ᵀ·x. Operands are checked.
void apply_transform(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform& a,
                     bool transpose);

}  // namespace danaus::detail
