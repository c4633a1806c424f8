// The transposable 2:4 mask of W (blocks, rows, cols): of every 4×4 tile two entries in each row and in each column.
//
//   W            a b c d | e f …      mask bits    1 0 0 1 | …      bit c % 32 of word c / 32 of each row,
//                g h i j | …                       0 1 1 0          0 behind the last column
//                k l m n |                         1 0 0 1
//                o p q r |                         0 1 1 0
//
// METHOD 0: the best of the 90 patterns (tile_search.glsl), 1: greedy, 2: 2-approximation (tile_approximations.glsl). What a
// tile at the edge lacks counts as zero, and is left out of the mask.
// WORD_LANES = 8: a lane is a tile, and eight lanes share the four words of a band of rows, put together in shared memory.
// WORD_LANES = 1: a lane is eight tiles, for devices whose loads gain nothing by neighbouring lanes (CPUs).
// WHOLE: cols is a multiple of 32, rows of 4. Grid: (words of a row, bands, blocks), walked with the grid's stride but for
// blocks. Called for select_transposable_mask.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint w_block, w_row, w_column; \
    uint mask_block, mask_row, mask_word;
#define W 0
#define MASK 1
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;  // a multiple of 8
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool IN_PAIRS = false;
layout(constant_id = 3) const uint METHOD = 0;
layout(constant_id = 4) const uint WORD_LANES = 8;
layout(constant_id = 5) const bool WHOLE = false;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#include "groups24.glsl"
#include "tile_search.glsl"
#include "tile_approximations.glsl"
#if defined(SEARCH_ALL)  // of danaus-bench alone
#include "../bench/all_patterns.glsl"
#define best_pattern best_of_all_patterns
#endif

shared uint patterns[gl_WorkGroupSize.x / 8 * WORD_LANES];

// The pattern of one tile, with the bits of entries that exist alone.
uint tile_pattern(uint w_band, uint height, uint tile) {
    const uint width = WHOLE ? 4u : min(push.cols - tile * 4, 4u);
    const uint real = WHOLE ? 0xffffu : ((1u << width) - 1) * 0x1111u & (1u << 4 * height) - 1;
    uvec4 keys[4];
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        const uvec4 entries = load_group(w_band + (WHOLE ? r : min(r, height - 1)) * push.w_row, tile, width);
        [[unroll]] for (uint c = 0; c < 4; ++c)
            keys[r][c] = magnitude_key(entries[c]) * (real >> 4 * r + c & 1u);
    }
    if (METHOD == 0) return best_pattern(keys) & real;
    return (METHOD == 1 ? greedy_pattern(keys, real) : two_approximation(keys, real)) & real;
}

void store_word(uint mask_band, uint row, uint word, uint bits) {
    store(MASK, 0u, mask_band + row * push.mask_row + word * push.mask_word, bits);
}

void select_by_words(uint w_band, uint mask_band, uint height, uint tiles, uint words) {
    uint word = gl_GlobalInvocationID.x;
    if (word >= words) return;
    do {
        uvec4 bits = uvec4(0);
        uint i = 0;
        do {
            const uint tile = word * 8 + i;
            if (WHOLE || tile < tiles)
                bits |= (uvec4(tile_pattern(w_band, height, tile)) >> uvec4(0, 4, 8, 12) & 15u) << i * 4;
            ++i;
        } while (i < 8);
        [[unroll]] for (uint r = 0; r < 4; ++r)
            if (WHOLE || r < height) store_word(mask_band, r, word, bits[r]);
        word += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (word < words);
}

void select_by_tiles(uint w_band, uint mask_band, uint height, uint tiles, uint words) {
    const uint lane = gl_LocalInvocationID.x;
    const uint words_per_workgroup = gl_WorkGroupSize.x / 8;
    uint base = gl_WorkGroupID.x * words_per_workgroup;
    do {
        const uint word = base + lane / 8, tile = word * 8 + lane % 8;
        patterns[lane] = word < words && tile < tiles ? tile_pattern(w_band, height, tile) : 0u;
        barrier();
        const uint row = lane % 8;
        if (row < height && word < words) {
            uint bits = 0;
            for (uint i = 0; i < 8; ++i) bits |= (patterns[lane / 8 * 8 + i] >> row * 4 & 15u) << i * 4;
            store_word(mask_band, row, word, bits);
        }
        barrier();
        base += gl_NumWorkGroups.x * words_per_workgroup;
    } while (base < words);
}

void main() {
    const uint tiles = (push.cols + 3) / 4, words = (tiles + 7) / 8, bands = (push.rows + 3) / 4;
    const uint block = gl_WorkGroupID.z;
    uint band = gl_WorkGroupID.y;
    do {
        const uint w_band = block * push.w_block + band * 4 * push.w_row;
        const uint mask_band = block * push.mask_block + band * 4 * push.mask_row;
        const uint height = WHOLE ? 4u : min(push.rows - band * 4, 4u);
        if (WORD_LANES == 1)
            select_by_words(w_band, mask_band, height, tiles, words);
        else
            select_by_tiles(w_band, mask_band, height, tiles, words);
        band += gl_NumWorkGroups.y;
    } while (band < bands);
}
