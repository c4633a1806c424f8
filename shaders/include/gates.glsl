// The gates of gated linear units, act(g) and its slope together, which share the exponential. Everything is precise:
// one specialization of a kernel must not contract what another does not, so that results do not depend on the layout.
// The caller defines EPILOGUE_PRECISE as `precise` and includes epilogue.glsl first.
//
//   Gate gate_at(kind, g)    kind is a specialization constant, GATE_SWIGLU … GATE_REGLU

const uint GATE_SWIGLU = 0;     // g · sigmoid(g)
const uint GATE_GEGLU = 1;      // ½ g (1 + tanh(√(2/π) (g + 0.044715 g³)))
const uint GATE_GEGLU_ERF = 2;  // ½ g (1 + erf(g / √2))
const uint GATE_REGLU = 3;      // max(g, 0)

struct Gate {
    float value, slope;
};

// NaN passes every comparison here and then a product. Behind ±128 each gate is 0 or g in f32, and so is the limit at
// either infinity; clamped, infinities never meet a zero factor.
precise Gate gate_at(uint kind, float g) {
    precise Gate gate;
    if (kind == GATE_REGLU) {
        gate.value = activate(ACTIVATION_RELU, g);
        gate.slope = activation_gradient(ACTIVATION_RELU, g);
        return gate;
    }
    precise const float z = abs(g) > 128.0 ? (g < 0.0 ? -128.0 : 128.0) : g;
    precise const float squared = z * z;
    precise float share, rise;  // act = z · share, act' = share + z · rise
    if (kind == GATE_GEGLU_ERF) {
        precise const float x = abs(z) * SQRT_HALF;
        share = normal_cdf(z);
        rise = INVERSE_SQRT_2_PI * exp(-x * x);
    } else {
        // ½ (1 + tanh u) = sigmoid(2u). exp(-|v|) does not overflow, and its products below do not cancel.
        precise float v = z, dv = 1.0;
        if (kind == GATE_GEGLU) {
            v = 2.0 * SQRT_2_OVER_PI * fma(0.044715 * squared, z, z);
            dv = 2.0 * SQRT_2_OVER_PI * fma(3.0 * 0.044715, squared, 1.0);
        }
        precise const float e = exp(-abs(v));
        precise const float p = 1.0 / (1.0 + e);
        precise const float q = e * p;
        share = v < 0.0 ? q : p;
        rise = p * q * dv;
    }
    gate.value = (g > 128.0 ? g : z) * share;
    gate.slope = fma(z, rise, share);
    return gate;
}
