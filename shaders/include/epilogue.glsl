// What follows the sum of a multiply:  z = scale * sum + bias,  y = act(z) + residual; z may be stored as `aux` for
// the backward pass, which asks for act'(z). Also used by the elementwise forward and backward activation kernels.
//
//   float activate(kind, z)              act(z)
//   float activation_gradient(kind, z)   d act / dz
// `kind` is a specialization constant, ACTIVATION_NONE … ACTIVATION_GELU_ERF. A kernel whose specializations must agree to
// the last bit defines EPILOGUE_PRECISE as `precise`.
#ifndef EPILOGUE_PRECISE
#define EPILOGUE_PRECISE
#endif

const uint ACTIVATION_NONE = 0;
const uint ACTIVATION_RELU = 1;
const uint ACTIVATION_GELU = 2;      // ½ z (1 + tanh(√(2/π) (z + 0.044715 z³)))
const uint ACTIVATION_GELU_ERF = 3;  // ½ z (1 + erf(z / √2))

const float SQRT_2_OVER_PI = 0.7978845608028654;
const float SQRT_HALF = 0.7071067811865476;
const float INVERSE_SQRT_2_PI = 0.3989422804014327;

// exp(-2u), u the argument of gelu's tanh; 1 / (1 + exp(-2u)) = ½ (1 + tanh u), without the cancellation near -1.
EPILOGUE_PRECISE float gelu_exp(float z) { return exp(min(-2.0 * SQRT_2_OVER_PI * fma(0.044715 * z * z, z, z), 80.0)); }

// The tail of the normal distribution, 1 - Φ(z) for z >= 0, as exp(-x²) · t · polynomial(t), x = z/√2,
// t = 1 / (1 + 0.4 x): a fit of erfc(x) with absolute error below 3e-8, 4e-7 with fp32 rounding.
EPILOGUE_PRECISE float normal_tail(float z) {
    const float x = z * SQRT_HALF;
    const float t = 1.0 / fma(0.4, x, 1.0);
    float p = fma(-0.2002644642, t, 0.7091687076);
    p = fma(p, t, -0.3709427439);
    p = fma(p, t, 0.4683023151);
    p = fma(p, t, 0.1618122609);
    p = fma(p, t, 0.2319238968);
    return 0.5 * p * t * exp(-x * x);
}

EPILOGUE_PRECISE float normal_cdf(float z) {
    const float tail = normal_tail(abs(z));
    return z < 0.0 ? tail : 1.0 - tail;
}

// Comparisons are written so that NaN passes through; infinities never meet a zero factor.
EPILOGUE_PRECISE float activate(uint kind, float z) {
    if (kind == ACTIVATION_RELU) return z < 0.0 ? 0.0 : z;
    if (kind == ACTIVATION_GELU) return z < -16.0 ? 0.0 : z / (1.0 + gelu_exp(z));
    if (kind == ACTIVATION_GELU_ERF) return z < -16.0 ? 0.0 : z * normal_cdf(z);
    return z;
}

EPILOGUE_PRECISE float activation_gradient(uint kind, float z) {
    if (kind == ACTIVATION_RELU) return z > 0.0 ? 1.0 : (z <= 0.0 ? 0.0 : z);
    if (kind == ACTIVATION_GELU) {
        if (abs(z) > 16.0) return z < 0.0 ? 0.0 : 1.0;
        const float e = gelu_exp(z);
        const float p = 1.0 / (1.0 + e);
        return p + z * (e * p) * p * (2.0 * SQRT_2_OVER_PI) * fma(3.0 * 0.044715 * z, z, 1.0);
    }
    if (kind == ACTIVATION_GELU_ERF) {
        if (abs(z) > 16.0) return z < 0.0 ? 0.0 : 1.0;
        return fma(z * INVERSE_SQRT_2_PI, exp(-0.5 * z * z), normal_cdf(z));
    }
    return 1.0;
}
