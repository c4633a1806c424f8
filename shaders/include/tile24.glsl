// A 4×4 tile of W and its bits of a mask, for kernels that compress tiles: slots W and MASK, push fields w_row, w_column,
// mask_row, mask_word, rows, cols; groups24.glsl.
//
//   void  load_tile(w_band, tile, height, entries)   its rows; what it lacks is some entry that there is
//   uint  real_bits(tile, height)                    bit 4 · row + column of entries that exist
//   uvec4 load_mask(mask_band, word, height)         of each row the word with the bits of eight tiles; 0 behind the last row
//   void  store_values(slot, group, values)          two values of a compressed matrix
//
// `height` rows of a band of four exist; WHOLE promises that all do, and all columns.

uint tile_width(uint tile) { return WHOLE ? 4u : min(push.cols - tile * 4, 4u); }

uint real_bits(uint tile, uint height) {
    return WHOLE ? 0xffffu : ((1u << tile_width(tile)) - 1) * 0x1111u & (1u << 4 * height) - 1;
}

void load_tile(uint w_band, uint tile, uint height, out uvec4 entries[4]) {
    [[unroll]] for (uint r = 0; r < 4; ++r)
        entries[r] = load_group(w_band + (WHOLE ? r : min(r, height - 1)) * push.w_row, tile, tile_width(tile));
}

uvec4 load_mask(uint mask_band, uint word, uint height) {
    uvec4 bits;
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        const uint row = WHOLE ? r : min(r, height - 1);
        bits[r] = load(MASK, 0u, mask_band + row * push.mask_row + word * push.mask_word);
        if (!WHOLE) bits[r] *= uint(r < height);
    }
    return bits;
}

// The tile's bits out of those words.
uint tile_bits(uvec4 words, uint tile) {
    const uvec4 bits = words >> tile % 8 * 4 & 15u;
    return bits.x | bits.y << 4 | bits.z << 8 | bits.w << 12;
}

uvec4 spread(uint bits) { return uvec4(bits, bits >> 1, bits >> 2, bits >> 3) & 1u; }

#define store_values(slot, group, values) \
    do { \
        const uvec2 two_ = (values); \
        if (TYPE == F32) \
            store_pair(slot, 0u, (group) * 2, two_); \
        else \
            store(slot, 0u, group, two_.x | two_.y << 16); \
    } while (false)
