// Elementary functions from adds, multiplies, one division and bit operations, for results that have to be close on
// every device: a driver's own log and cos are only promised to about 2^-21 and 2^-11, absolute.
//
//   float natural_log(x)         ln x for normal x > 0, relative error below 2^-21; x for infinity and NaN
//   float exponential(x)         exp(x); x for NaN, which a driver's exp need not return
//   vec2  cos_sin_of_turns(u)    (cos 2πu, sin 2πu) for 0 <= u <= 1, absolute error below 2^-22
//   bool  is_finite(x)           by bits, since a compiler may assume that there is neither infinity nor NaN

bool is_finite(float x) { return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u; }

float exponential(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u ? x : exp(x); }

// x = 2^e m with m in [√½, √2), ln m = 2 atanh((m - 1) / (m + 1)) by its series.
float natural_log(float x) {
    if (!is_finite(x)) return x;
    const uint sqrt_half = 0x3f3504f3u;
    const uint bits = floatBitsToUint(x) - sqrt_half;
    const float e = float(int(bits) >> 23);
    const float m = uintBitsToFloat((bits & 0x007fffffu) + sqrt_half);
    const float s = (m - 1.0) / (m + 1.0);
    const float s2 = s * s;
    const float series = s2 * fma(s2, fma(s2, fma(s2, 1.0 / 9.0, 1.0 / 7.0), 1.0 / 5.0), 1.0 / 3.0);
    // ln 2 in two parts, so that e · ln 2 is exact in its leading bits.
    const float rest = fma(e, 1.9082149292705877e-10, 2.0 * fma(s, series, s));
    return fma(e, 0.693147180369123816490, rest);
}

// u = q / 4 + f with |f| <= 1/8: exact, and the series are short on ±π/4.
vec2 cos_sin_of_turns(float u) {
    const float quarter = floor(fma(u, 4.0, 0.5));
    const float x = 6.283185307179586 * fma(quarter, -0.25, u);
    const float x2 = x * x;
    const float s = x * fma(x2, fma(x2, fma(x2, fma(x2, 1.0 / 362880.0, -1.0 / 5040.0), 1.0 / 120.0), -1.0 / 6.0), 1.0);
    const float c = fma(x2, fma(x2, fma(x2, fma(x2, 1.0 / 40320.0, -1.0 / 720.0), 1.0 / 24.0), -0.5), 1.0);
    const uint q = uint(quarter) & 3u;
    const vec2 rotated = (q & 1u) != 0u ? vec2(-s, c) : vec2(c, s);
    return (q & 2u) != 0u ? -rotated : rotated;
}
