// Groups of four columns of a dense matrix, as raw elements: loaded, stored, and ranked by magnitude. Elements are
// moved and compared as bit patterns, so that every device gives the same bits and no value is ever rounded.
//
//   column   4g  4g+1  4g+2  4g+3        `present` of them exist, 1 … 4
//   group     x     y     z     w        of a 16-bit type: in the low half of each component
//
//   uvec4 load_group(row, group, present)          needs DENSE_IN, a slot, and IN_PAIRS, IN_COLUMN
//   void  store_group(row, group, present, value)  needs DENSE_OUT, a slot, and OUT_PAIRS, OUT_COLUMN
//   uint  keep_two(keys)                           four bits, exactly two set: the larger keys, ties the lower index
//                                                 (so a missing column, key 0, loses to a real one)
//   uint  magnitude_key(bits)                      orders |x|: NaN above infinity, all NaNs alike
//
// `row` is the offset of the row's first element, IN_COLUMN and OUT_COLUMN the stride between columns. IN_PAIRS and
// OUT_PAIRS promise a column stride of 1, even row offsets and an operand that starts at a multiple of two elements;
// IN_PAIRS of f32 also an even number of columns. No load leaves the present columns, whatever the invocation's mask.

#ifdef DENSE_IN
uvec4 load_group(uint row, uint group, uint present) {
    const uint first = group * 4;
    if (IN_PAIRS) {
        const uint low = row + first;
        const uint high = low + (present > 2 ? 2u : 0u);
        if (TYPE == F32) return uvec4(load_pair(DENSE_IN, 0u, low), load_pair(DENSE_IN, 0u, high));
        const uvec2 words = uvec2(load(DENSE_IN, 0u, low >> 1), load(DENSE_IN, 0u, high >> 1));
        return uvec4(words.x & 0xffffu, words.x >> 16, words.y & 0xffffu, words.y >> 16);
    }
    const uint last = present - 1;
    return uvec4(load_bits(DENSE_IN, TYPE, row + first * IN_COLUMN),
                 load_bits(DENSE_IN, TYPE, row + (first + min(1u, last)) * IN_COLUMN),
                 load_bits(DENSE_IN, TYPE, row + (first + min(2u, last)) * IN_COLUMN),
                 load_bits(DENSE_IN, TYPE, row + (first + min(3u, last)) * IN_COLUMN));
}
#endif

#ifdef DENSE_OUT
void store_bits(uint element, uint bits) {
    if (TYPE == F32)
        store(DENSE_OUT, 0u, element, bits);
    else
        store_half(DENSE_OUT, element, bits);
}

void store_two(uint row, uint column, uint present, uvec2 value) {
    if (OUT_PAIRS && present >= 2) {
        if (TYPE == F32)
            store_pair(DENSE_OUT, 0u, row + column, value);
        else
            store(DENSE_OUT, 0u, row + column >> 1, value.x | value.y << 16);
    } else {
        if (present >= 1) store_bits(row + column * OUT_COLUMN, value.x);
        if (present >= 2) store_bits(row + (column + 1) * OUT_COLUMN, value.y);
    }
}

void store_group(uint row, uint group, uint present, uvec4 value) {
    store_two(row, group * 4, present, value.xy);
    store_two(row, group * 4 + 2, present > 2 ? present - 2 : 0u, value.zw);
}
#endif

uint magnitude_key(uint bits) {
    const uint infinity = TYPE == F32 ? 0x7f800000u : TYPE == F16 ? 0x7c00u : 0x7f80u;
    const uint magnitude = bits & (TYPE == F32 ? 0x7fffffffu : 0x7fffu);
    return min(magnitude, infinity + 1);
}

uint keep_two(uvec4 keys) {
    // Of each pair one wins, the lower index when equal; kept is who loses fewer than two of three.
    const uint b01 = uint(keys.x >= keys.y), b02 = uint(keys.x >= keys.z), b03 = uint(keys.x >= keys.w);
    const uint b12 = uint(keys.y >= keys.z), b13 = uint(keys.y >= keys.w), b23 = uint(keys.z >= keys.w);
    const uvec4 wins = uvec4(b01 + b02 + b03, 1 - b01 + b12 + b13, 2 - b02 - b12 + b23, 3 - b03 - b13 - b23);
    return uint(wins.x >= 2) | uint(wins.y >= 2) << 1 | uint(wins.z >= 2) << 2 | uint(wins.w >= 2) << 3;
}

uint group_entry(uvec4 group, uint place) {
    return place == 0 ? group.x : place == 1 ? group.y : place == 2 ? group.z : group.w;
}
