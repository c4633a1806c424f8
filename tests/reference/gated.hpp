// Gated linear units from their formulas: out = x act(g), dx = dy act(g), dg = dy x act'(g).
#pragma once

namespace danaus::reference {

enum class Gate { swiglu, geglu, geglu_erf, reglu };

/// swiglu g / (1 + exp(-g)); geglu g/2 (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3)));
/// geglu_erf g/2 (1 + erf(g / sqrt 2)); reglu max(g, 0). At -infinity 0, at infinity infinity; NaN passes.
double gate(Gate kind, double g);

/// d gate / d g; reglu's is 0 at 0. At -infinity 0, at infinity 1; NaN passes.
double gate_slope(Gate kind, double g);

/// How far an fp32 evaluation may be off, and of the slope: with exp within 3 + 2 |t| units in the last
/// place, as Vulkan promises, the normal distribution within 4e-7, a few roundings, and subnormals flushed.
double gate_error(Gate kind, double g);
double gate_slope_error(Gate kind, double g);

}  // namespace danaus::reference
