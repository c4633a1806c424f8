// Element types, decoded from and encoded into 32-bit words. `type` is a specialization constant, so that every
// choice below is made when the pipeline is created.
//
//   float load_float(slot, type, uniform_element, lane_element)
//   vec2  load_float_pair(slot, type, uniform_element, lane_element)
//   void  store_float(slot, type, uniform_element, lane_element, value)
//   void  store_float_pair(slot, type, uniform_element, lane_element, value)
//   uint  load_bits(slot, type, element)          an element as it is, in the low bits
//   void  store_half(slot, element, bits)         a 16-bit element
//
// Offsets count elements. A pair is two consecutive elements at a multiple of its own size (both offsets even, the
// operand starting at such a multiple): one word of 16-bit elements, two words of f32; a stored pair belongs to one
// invocation. A single 16-bit element shares its word with an element of somebody else: it is stored by two atomics,
// each of which touches this element's half only, so that no other store to the word is lost.
// Down-conversion is integer arithmetic, round to nearest even, the same bits on every device: denormals kept,
// overflow to infinity, NaN to the quiet NaN of the same sign.

const uint F32 = 0;
const uint F16 = 1;
const uint BF16 = 2;

bool is_16_bit(uint type) { return type != F32; }

// The lower and the upper half of a word, as floats.
vec2 decode_pair(uint type, uint word) {
    if (type == F16) return unpackHalf2x16(word);
    return uintBitsToFloat(uvec2(word << 16, word & 0xffff0000u));
}

float decode_element(uint type, uint word, uint element) {
    if (type == F32) return uintBitsToFloat(word);
    const uint half_bits = (element & 1) != 0 ? word >> 16 : word & 0xffffu;
    if (type == F16) return unpackHalf2x16(half_bits).x;
    return uintBitsToFloat(half_bits << 16);
}

uint encode_f16(float value) {
    const uint bits = floatBitsToUint(value);
    const uint sign = bits >> 16 & 0x8000u;
    const uint magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return sign | 0x7e00u;
    // Normal halves: move the exponent's bias, add just under half of the last place, drop 13 bits.
    if (magnitude >= 0x38800000u) {
        const uint moved = min(magnitude, 0x47800000u) - 0x38000000u;
        return sign | (moved + 0xfffu + (moved >> 13 & 1u)) >> 13;
    }
    // Denormal halves count units of 2^-24; below half a unit everything is zero.
    const uint shift = min(126u - (magnitude >> 23), 25u);
    const uint significand = (magnitude & 0x7fffffu) | 0x800000u;
    return sign | (significand + (1u << shift - 1u) - 1u + (significand >> shift & 1u)) >> shift;
}

uint encode_bf16(float value) {
    const uint bits = floatBitsToUint(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (bits >> 16 & 0x8000u) | 0x7fc0u;
    return (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
}

uint encode_16(uint type, float value) { return type == F16 ? encode_f16(value) : encode_bf16(value); }

// The value that a stored element will have when it is loaded again.
float rounded(uint type, float value) {
    return type == F32 ? value : decode_pair(type, encode_16(type, value)).x;
}

// Words in front of an element: the uniform and the lane part of the offset.
uint uniform_words(uint type, uint uniform_element) { return type == F32 ? uniform_element : 0; }
uint lane_words(uint type, uint uniform_element, uint lane_element, uint first_half) {
    return type == F32 ? lane_element : uniform_element + lane_element + first_half >> 1;
}

#define load_float(slot, type, u, l) \
    decode_element(type, load(slot, uniform_words(type, u), lane_words(type, u, l, start_half(slot))), \
                   (u) + (l) + start_half(slot))

#define load_bits(slot, type, element) \
    ((type) == F32 ? load(slot, 0u, element) \
                   : load(slot, 0u, (element) + start_half(slot) >> 1) >> ((element) + start_half(slot) & 1u) * 16u & 0xffffu)

#define store_half(slot, element, bits) \
    do { \
        const uint element_ = (element) + start_half(slot); \
        const uint shift_ = (element_ & 1u) * 16u; \
        atomic_and(slot, element_ >> 1, 0xffff0000u >> shift_); \
        atomic_or(slot, element_ >> 1, (bits) << shift_); \
    } while (false)

#define load_float_pair(slot, type, u, l) \
    ((type) == F32 ? uintBitsToFloat(load_pair(slot, u, l)) : decode_pair(type, load(slot, (u) >> 1, (l) >> 1)))

#define store_float(slot, type, u, l, value) \
    do { \
        if ((type) == F32) { \
            store(slot, u, l, floatBitsToUint(value)); \
        } else { \
            store_half(slot, (u) + (l), encode_16(type, value)); \
        } \
    } while (false)

#define store_float_pair(slot, type, u, l, value) \
    do { \
        const vec2 pair_value_ = (value); \
        if ((type) == F32) \
            store_pair(slot, u, l, floatBitsToUint(pair_value_)); \
        else \
            store(slot, (u) >> 1, (l) >> 1, \
                  encode_16(type, pair_value_.x) | encode_16(type, pair_value_.y) << 16); \
    } while (false)
