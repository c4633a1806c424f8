// Shared by transforms of lines (transforms.cpp) and of images (transforms_2d.cpp).
#pragma once

#include <danaus/transforms.hpp>

#include <span>

namespace danaus::detail {

/// Throws unless x can go through the transform, or through its transpose.
void check_transform_operand(const Recorder& recorder, const char* name, const Tensor& x, const Transform& a,
                             bool transpose);
/// Throws unless `out` is where the product of such an x can go.
void check_transform_result(const Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                            const Transform& a, bool transpose);
/// Gradients of the weights of one chain, and what they are called in messages.
struct WeightGradients {
    const char* name;
    const std::vector<Tensor>* dw;
    const Chain* w;

    [[nodiscard]] bool any() const;
};
/// Throws unless each dw is empty or one tensor or null for every factor, of its shape, and everything that a
/// backward pass writes lies apart from what it reads and from each other. Only dx, which is written last,
/// may lie where x did.
void check_gradients(const Recorder& recorder, std::span<const WeightGradients> parts, const Tensor& dx,
                     const Tensor& dy, const Tensor& x);

/// out = A·x or Aᵀ·x, of complex64 conj(A)ᵀ·x. Operands are checked.
void apply_transform(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform& a,
                     bool transpose);

}  // namespace danaus::detail
