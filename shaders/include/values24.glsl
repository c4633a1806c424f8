// The two values of a group of four, stored in a compressed matrix. W has elements of TYPE, the compressed matrix those of
// VALUES_TYPE: the same, or 16-bit ones of an f32 W, rounded to nearest even.
//
//   void  store_values(slot, group, stored)      a pair of f32, or a word
//   uvec2 stored_entries(entries)                entries of W (groups24.glsl) as they are stored
//   uvec2 stored_floats(values)
//
// Needs TYPE, VALUES_TYPE and types.glsl.

uvec2 stored_floats(vec2 values) {
    return VALUES_TYPE == F32 ? floatBitsToUint(values)
                              : uvec2(encode_16(VALUES_TYPE, values.x), encode_16(VALUES_TYPE, values.y));
}

uvec2 stored_entries(uvec2 entries) {
    return TYPE == VALUES_TYPE ? entries : stored_floats(uintBitsToFloat(entries));
}

#define store_values(slot, group, stored) \
    do { \
        const uvec2 two_ = (stored); \
        if (VALUES_TYPE == F32) \
            store_wide(slot, 0u, (group) * 2, two_); \
        else \
            store(slot, 0u, group, two_.x | two_.y << 16); \
    } while (false)
