// A 4×4 tile of W and its bits of a mask, for kernels that compress tiles: slots W and MASK, push fields w_row, w_column,
// mask_row, mask_word, rows, cols; groups24.glsl, values24.glsl.
//
//   void  load_tile(w_band, tile, height, entries)   its rows; what it lacks is some entry that there is
//   uint  real_bits(tile, height)                    bit 4 · row + column of entries that exist
//   uvec4 load_mask(mask_band, word, height)         of each row the word with the bits of eight tiles; 0 behind the last row
//   uint  nibble_of_bits(bits)                       places of the two that a line of four keeps
//   uvec2 kept_two(entries, nibble, bits)            the line's values, as they are stored
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

// The nibble (nibbles24.glsl) of a line of four whose bits say what is kept: of more than two the first two, fewer completed
// by the first free places. A table of sixteen, and selects: ?: and && would be branches.
uint nibble_of_bits(uint bits) { return mix(0x49884444u, 0x498e4dccu, bits >= 8) >> (bits & 7) * 4 & 15; }

uint entry_at(uvec4 entries, uint place) {
    const uvec2 two = mix(entries.xy, entries.zw, bvec2(place >= 2));
    return mix(two.x, two.y, (place & 1) != 0);
}

// The two entries there, 0 where the bits do not keep them.
uvec2 kept_two(uvec4 entries, uint nibble, uint bits) {
    const uint first = nibble & 3, second = nibble >> 2;
    return stored_entries(
        uvec2(entry_at(entries, first) * (bits >> first & 1), entry_at(entries, second) * (bits >> second & 1)));
}

uvec4 spread(uint bits) { return uvec4(bits, bits >> 1, bits >> 2, bits >> 3) & 1u; }
