// Gated linear units: one half of a layer's features is the gate of the other.
//
// N. Shazeer, "GLU Variants Improve Transformer", 2020, arXiv 2002.05202. Both halves come from one multiply:
// [x | g] is a tensor (…, tokens, 2h), its features 0 … h − 1 are x, h … 2h − 1 are g.
#pragma once

#include <danaus/tensor.hpp>

namespace danaus {

/// act(g) of out = x · act(g). Computed in f32 with an absolute error of at most about 1e-6 · (1 + |g|).
enum class Gate : std::uint32_t {
    swiglu = 0,     ///< g · sigmoid(g)
    geglu = 1,      ///< ½ g (1 + tanh(√(2/π) (g + 0.044715 g³)))
    geglu_erf = 2,  ///< ½ g (1 + erf(g / √2))
    reglu = 3       ///< max(g, 0); its slope at 0 is 0
};
[[nodiscard]] DANAUS_EXPORT const char* to_string(Gate gate) noexcept;

/// out = x · act(g).   xg = [x | g] (tokens, 2h) or (batch, tokens, 2h) → out (…, tokens, h)
/// One floating type, any strides, any size including 0. Computed in f32 and rounded once; on one device the
/// bits do not depend on strides. NaN in x or g is NaN in out. Infinities behave as the formula's limits:
/// act(−∞) is 0 and act(∞) is ∞; 0 · ∞ is NaN as always, so x infinite where act(g) is 0, or g infinite where
/// x is 0. The result lies in memory as xg does: feature-major if xg is, else token-major; without gaps.
/// Throws Error(invalid_argument) naming the argument, its value and what is needed: xg of another rank,
/// not floating or with an odd last size, or an unknown gate. Nothing is recorded then.
[[nodiscard]] DANAUS_EXPORT Tensor gated_activation(Recorder& recorder, const Tensor& xg, Gate gate);
/// The same into `out`, which has the type of xg, any strides, and overlaps neither xg nor itself.
DANAUS_EXPORT void gated_activation_into(Recorder& recorder, const Tensor& out, const Tensor& xg, Gate gate);

/// dxg = [dx | dg] (…, tokens, 2h): dx = dy · act(g), dg = dy · x · act'(g), from dy (…, tokens, h) of the
/// type of xg. act'(−∞) is 0 and act'(∞) is 1, and NaN and 0 · ∞ behave as above. The result lies in memory
/// as xg does.
[[nodiscard]] DANAUS_EXPORT Tensor gated_activation_backward(Recorder& recorder, const Tensor& dy,
                                                             const Tensor& xg, Gate gate);
/// The same into `dxg`, which overlaps neither dy, xg nor itself.
DANAUS_EXPORT void gated_activation_backward_into(Recorder& recorder, const Tensor& dxg, const Tensor& dy,
                                                  const Tensor& xg, Gate gate);

}  // namespace danaus
