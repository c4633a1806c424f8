// The soft threshold of a group of four: t is the second smallest magnitude, which is the larger one of the two that are not
// kept, and a is taken to sign(a) · (|a| - t), which is never below zero for the two that are. NaN stays.
// Needs TYPE and types.glsl.

vec2 decode_two(uvec2 bits) {
    return TYPE == F32 ? uintBitsToFloat(bits) : decode_pair(TYPE, bits.x | bits.y << 16);
}

vec2 soft_two(vec2 kept, vec2 dropped) {
    const vec2 small = abs(dropped);
    const float t = small.x >= small.y ? small.x : small.y;
    const uvec2 signs = floatBitsToUint(kept) & 0x80000000u;
    return uintBitsToFloat(floatBitsToUint(abs(kept) - t) ^ signs);
}
