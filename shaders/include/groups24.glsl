// Groups of four columns of a dense matrix, as raw elements: loaded, stored, and ranked by magnitude. Elements are
// moved and compared as bit patterns, so that every device gives the same bits and no value is ever rounded.
//
//   column   4g  4g+1  4g+2  4g+3        `present` of them exist, 1 … 4
//   group     x     y     z     w        of a 16-bit type: in the low half of each component
//
//   uvec4 load_group(row, group, present)          needs DENSE_IN, a slot, and IN_PAIRS, IN_COLUMN
//   void  store_group(row, group, present, value)  needs DENSE_OUT, a slot, and OUT_PAIRS, OUT_COLUMN
//   bvec4 keep_two(keys)                           two are true: the larger keys, ties the lower index (so a missing
//                                                 column, key 0, loses to a real one)
//   uint  bits_of(keep), first_of_two(keep), second_of_two(keep)    as a nibble; the places of the two
//   uvec2 entries_of_two(entries, keep)             the entries there
//   uint  magnitude_key(bits)                      orders |x|: NaN above infinity (INFINITY_KEY), all NaNs alike
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
            store_wide(DENSE_OUT, 0u, row + column, value);
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

const uint INFINITY_KEY = TYPE == F32 ? 0x7f800000u : TYPE == F16 ? 0x7c00u : 0x7f80u;

uint magnitude_key(uint bits) {
    const uint magnitude = bits & (TYPE == F32 ? 0x7fffffffu : 0x7fffu);
    return min(magnitude, INFINITY_KEY + 1);
}

// Of each pair one wins, the lower index when equal; kept is who wins two of three. Booleans throughout: CPUs have them as
// masks of all lanes, with the majority of three in one instruction.
bool majority(bool a, bool b, bool c) {
    return a && b || c && (a || b);
}

bvec4 keep_two(uvec4 keys) {
    const ivec4 k = ivec4(keys);
    const bool b01 = k.x >= k.y, b02 = k.x >= k.z, b03 = k.x >= k.w;
    const bool b12 = k.y >= k.z, b13 = k.y >= k.w, b23 = k.z >= k.w;
    return bvec4(majority(b01, b02, b03), majority(!b01, b12, b13), majority(!b02, !b12, b23),
                 majority(!b03, !b13, !b23));
}

uint bits_of(bvec4 keep) {
    return (keep.x ? 1u : 0u) | (keep.y ? 2u : 0u) | (keep.z ? 4u : 0u) | (keep.w ? 8u : 0u);
}

uint first_of_two(bvec4 keep) {
    return keep.x ? 0u : keep.y ? 1u : 2u;
}

uint second_of_two(bvec4 keep) {
    return keep.w ? 3u : keep.z ? 2u : 1u;
}

// The entries there.
uvec2 entries_of_two(uvec4 entries, bvec4 keep) {
    return uvec2(keep.x ? entries.x : keep.y ? entries.y : entries.z,
                 keep.w ? entries.w : keep.z ? entries.z : entries.y);
}
