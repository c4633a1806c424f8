// W (blocks, rows, cols) compressed tile by tile, for multiplies by W and by its transpose alike.
//
//   tile   a b c d   pattern   1 0 0 1   values, by rows   a d   code 36 p0 + 6 p1 + p2 (nibbles24.glsl), a byte a tile, in
//          e f g h             0 1 1 0                     f g   lines of words for each band of four rows
//          i j k l             1 0 0 1                     i l
//          m n o p             0 1 1 0                     n o   values that the mask does not keep are 0
//
// SOURCE 0: the mask, where every tile is whole; 1: the mask of any matrix; 2: the best pattern (tile_search.glsl), which is
// written to the mask where WRITE_MASK. A tile's pattern is the lowest of the 90 that agrees with the mask on all entries
// that exist, or if there is none the lowest of all.
// WORD_LANES = 8: a lane is a tile, and eight lanes share the words of a band of rows, put together in shared memory.
// WORD_LANES = 1: a lane is eight tiles, for devices whose loads gain nothing by neighbouring lanes (CPUs).
// WHOLE: cols is a multiple of 32, rows of 4. Grid: (lanes of a band, bands, blocks), walked with the grid's stride but for
// blocks. Called for compress_tiles and compress_transposable.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint w_block, w_row, w_column; \
    uint mask_block, mask_row, mask_word; \
    uint values_block, codes_block;
#define W 0
#define MASK 1
#define MASK_OUT 2
#define VALUES 3
#define CODES 4
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#define SLOT_3 writeonly
#define SLOT_4 writeonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;  // a multiple of 8
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool IN_PAIRS = false;
layout(constant_id = 3) const uint SOURCE = 0;
layout(constant_id = 4) const bool WRITE_MASK = false;
layout(constant_id = 5) const uint WORD_LANES = 8;
layout(constant_id = 6) const bool WHOLE = false;
layout(constant_id = 7) const uint VALUES_TYPE = 0;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#include "groups24.glsl"
#include "values24.glsl"
#include "tile24.glsl"
#include "tile_search.glsl"

const uint LOWEST = 0x33ccu;

shared uint patterns[gl_WorkGroupSize.x / 8 * WORD_LANES];

struct Band {
    uint w, mask, values, codes, height;
};

bool is_pattern(uint bits) {
    const ivec4 rows = bitCount(uvec4(bits) >> uvec4(0, 4, 8, 12) & 0xfu),
                columns = bitCount(uvec4(bits) >> uvec4(0, 1, 2, 3) & 0x1111u);
    return all(equal(rows, ivec4(2))) && all(equal(columns, ivec4(2)));
}

// 1 and 2 as magnitude_key gives them.
const uint ONE = TYPE == F32 ? 0x3f800000u : TYPE == F16 ? 0x3c00u : 0x3f80u;
const uint TWO = TYPE == F32 ? 0x40000000u : 0x4000u;

// Entries that exist and are kept count two, those that do not exist one: the more agree, the more they count.
uint nearest_pattern(uint given, uint real) {
    uvec4 keys[4];
    [[unroll]] for (uint r = 0; r < 4; ++r) keys[r] = spread(given >> 4 * r) * TWO + spread(~real >> 4 * r) * ONE;
    return best_pattern(keys);
}

uint search(uvec4 entries[4], uint real) {
    [[unroll]] for (uint r = 0; r < 4; ++r)
        [[unroll]] for (uint c = 0; c < 4; ++c)
            entries[r][c] = magnitude_key(entries[r][c]) * (real >> 4 * r + c & 1u);
    return best_pattern(entries);
}

// Of a tile: stores its values and returns its pattern, in the upper half as the mask has it.
uint compress_tile(Band band, uint tile, uint given) {
    const uint real = real_bits(tile, band.height);
    uvec4 entries[4];
    load_tile(band.w, tile, band.height, entries);
    given &= real;
    uint pattern;
    if (SOURCE == 2) {
        pattern = search(entries, real);
        given = pattern & real;
    } else {
        pattern = SOURCE == 1 ? nearest_pattern(given, real) : given;
        const bool agrees = SOURCE == 1 ? (pattern & real) == given : is_pattern(given);
        pattern = mix(LOWEST, pattern, agrees);
    }
    const uint groups = (push.cols + 3) / 4;
    [[unroll]] for (uint r = 0; r < 4; ++r)
        if (WHOLE || r < band.height) {
            const uint nibble = nibble_of_bits(pattern >> 4 * r & 15u);
            store_values(VALUES, band.values + r * groups + tile, kept_two(entries[r], nibble, given >> 4 * r & 15u));
        }
    return pattern | given << 16;
}

uint code_of(uint pattern) {
    return 36 * (pattern >> 1 & 7u) + 6 * (pattern >> 5 & 7u) + (pattern >> 9 & 7u) - 43;
}

uvec4 given_words(Band band, uint word) {
    return SOURCE == 2 ? uvec4(0) : load_mask(band.mask, word, band.height);
}

void store_mask(Band band, uint row, uint word, uint bits) {
    if (WRITE_MASK) store(MASK_OUT, 0u, band.mask + row * push.mask_row + word * push.mask_word, bits);
}

void compress_by_words(Band band, uint tiles, uint words) {
    uint word = gl_GlobalInvocationID.x;
    if (word >= words) return;
    do {
        const uvec4 given = given_words(band, word);
        uvec4 bits = uvec4(0);
        uvec2 codes = uvec2(0);
        uint i = 0;
        do {
            const uint tile = word * 8 + i;
            if (WHOLE || tile < tiles) {
                const uint pattern = compress_tile(band, tile, tile_bits(given, i));
                bits |= (uvec4(pattern) >> uvec4(16, 20, 24, 28) & 15u) << i * 4;
                codes |= mix(uvec2(code_of(pattern), 0), uvec2(0, code_of(pattern)), bvec2(i >= 4)) << i % 4 * 8;
            }
            ++i;
        } while (i < 8);
        store(CODES, 0u, band.codes + word * 2, codes.x);
        if (WHOLE || word * 8 + 4 < tiles) store(CODES, 0u, band.codes + word * 2 + 1, codes.y);
        [[unroll]] for (uint r = 0; r < 4; ++r)
            if (WHOLE || r < band.height) store_mask(band, r, word, bits[r]);
        word += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (word < words);
}

void compress_by_tiles(Band band, uint tiles, uint words) {
    const uint lane = gl_LocalInvocationID.x, own = lane % 8, first = lane - own;
    const uint words_per_workgroup = gl_WorkGroupSize.x / 8;
    uint base = gl_WorkGroupID.x * words_per_workgroup;
    do {
        const uint word = base + lane / 8, tile = word * 8 + own;
        patterns[lane] = 0;
        if (word < words && tile < tiles) patterns[lane] = compress_tile(band, tile, tile_bits(given_words(band, word), own));
        barrier();
        if (own < 2 && word * 8 + own * 4 < tiles) {
            uint codes = 0;
            for (uint i = 0; i < 4; ++i)
                if (word * 8 + own * 4 + i < tiles) codes |= code_of(patterns[first + own * 4 + i]) << i * 8;
            store(CODES, 0u, band.codes + word * 2 + own, codes);
        }
        if (WRITE_MASK && own < band.height && word < words) {
            uint bits = 0;
            for (uint i = 0; i < 8; ++i) bits |= (patterns[first + i] >> 16 + own * 4 & 15u) << i * 4;
            store_mask(band, own, word, bits);
        }
        barrier();
        base += gl_NumWorkGroups.x * words_per_workgroup;
    } while (base < words);
}

void main() {
    const uint tiles = (push.cols + 3) / 4, words = (tiles + 7) / 8, bands = (push.rows + 3) / 4;
    const uint block = gl_WorkGroupID.z;
    uint y = gl_WorkGroupID.y;
    do {
        const Band band = Band(block * push.w_block + y * 4 * push.w_row, block * push.mask_block + y * 4 * push.mask_row,
                               block * push.values_block + y * 4 * tiles, block * push.codes_block + y * ((tiles + 3) / 4),
                               WHOLE ? 4u : min(push.rows - y * 4, 4u));
        if (WORD_LANES == 1)
            compress_by_words(band, tiles, words);
        else
            compress_by_tiles(band, tiles, words);
        y += gl_NumWorkGroups.y;
    } while (y < bands);
}
