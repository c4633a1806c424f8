// W (blocks, rows, cols) and its transpose compressed as Sparse24, in one pass over W and its transposable mask.
//
//   tile   a b c d   mask   1 0 0 1   values of W   a d   of Wᵀ   a i        each line's nibble (nibbles24.glsl) is the places
//          e f g h          0 1 1 0                 f g           f n        of its two
//          i j k l          1 0 0 1                 i l           g o
//          m n o p          0 1 1 0                 n o           d l
//
// Lines whose mask keeps another number than two become what sparse24/compress.comp makes of them. A block is 8 × 8 tiles: a
// word of nibbles for each of its 32 rows and 32 columns.
// BLOCK_LANES = 64: a workgroup has a block, a lane a tile, and then one of the words, put together in shared memory.
// BLOCK_LANES = 1: a lane has a block, for devices whose loads gain nothing by neighbouring lanes (CPUs).
// WHOLE: cols and rows are multiples of 32. Grid: (lanes of a line of blocks, lines of blocks, batch), walked with the grid's
// stride but for the batch. Called for compress_both.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint w_block, w_row, w_column; \
    uint mask_block, mask_row, mask_word; \
    uint values_block, meta_block; \
    uint turned_values_block, turned_values_row, turned_meta_block, turned_meta_row;
#define W 0
#define MASK 1
#define VALUES 2
#define META 3
#define TURNED_VALUES 4
#define TURNED_META 5
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#define SLOT_3 writeonly
#define SLOT_4 writeonly
#define SLOT_5 writeonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;  // a multiple of BLOCK_LANES
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool IN_PAIRS = false;
layout(constant_id = 3) const uint BLOCK_LANES = 64;
layout(constant_id = 4) const bool WHOLE = false;
layout(constant_id = 5) const uint VALUES_TYPE = 0;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#include "groups24.glsl"
#include "values24.glsl"
#include "tile24.glsl"

// Of the tiles of blocks: nibbles of the rows, and in the upper half of the columns.
shared uint places[gl_WorkGroupSize.x * 64 / BLOCK_LANES];

// Offsets of one matrix of the batch; of the transpose's lines only the start.
struct Start {
    uint w, mask, values, meta, turned_values, turned_meta;
};

// Stores the values of a tile, and returns its nibbles.
uint compress_tile(Start at, uint band, uint tile, uint given) {
    const uint groups = (push.cols + 3) / 4, height = WHOLE ? 4u : min(push.rows - band * 4, 4u);
    uvec4 entries[4];
    load_tile(at.w + band * 4 * push.w_row, tile, height, entries);
    given &= real_bits(tile, height);
    uint nibbles = 0;
    [[unroll]] for (uint r = 0; r < 4; ++r)
        if (WHOLE || r < height) {
            const uint bits = given >> 4 * r & 15u, nibble = nibble_of_bits(bits);
            nibbles |= nibble << 4 * r;
            store_values(VALUES, at.values + (band * 4 + r) * groups + tile, kept_two(entries[r], nibble, bits));
        }
    [[unroll]] for (uint c = 0; c < 4; ++c)
        if (WHOLE || c < tile_width(tile)) {
            // Bits 0, 4, 8 and 12 brought together.
            const uint bits = (given >> c & 0x1111u) * 0x1248u >> 12 & 15u, nibble = nibble_of_bits(bits);
            const uvec4 column = uvec4(entries[0][c], entries[1][c], entries[2][c], entries[3][c]);
            nibbles |= nibble << 16 + 4 * c;
            store_values(TURNED_VALUES, at.turned_values + (tile * 4 + c) * push.turned_values_row + band,
                         kept_two(column, nibble, bits));
        }
    return nibbles;
}

void store_row(Start at, uint row, uint word, uint nibbles) {
    if (WHOLE || row < push.rows) store(META, 0u, at.meta + row * ((push.cols + 31) / 32) + word, nibbles);
}
void store_column(Start at, uint column, uint word, uint nibbles) {
    if (WHOLE || column < push.cols)
        store(TURNED_META, 0u, at.turned_meta + column * push.turned_meta_row + word, nibbles);
}

uvec4 mask_words(Start at, uint band, uint word) {
    return load_mask(at.mask + band * 4 * push.mask_row, word, WHOLE ? 4u : min(push.rows - band * 4, 4u));
}

void compress_by_blocks(Start at, uint line, uint bands, uint tiles) {
    const uint words = (tiles + 7) / 8, own = gl_LocalInvocationID.x * 64;
    uint word = gl_GlobalInvocationID.x;
    if (word >= words) return;
    do {
        const uint height = min(bands - line * 8, 8u), width = min(tiles - word * 8, 8u);
        uint b = 0;
        do {
            const uvec4 given = mask_words(at, line * 8 + b, word);
            uvec4 rows = uvec4(0);
            uint i = 0;
            do {
                const uint nibbles = compress_tile(at, line * 8 + b, word * 8 + i, tile_bits(given, i));
                rows |= (uvec4(nibbles) >> uvec4(0, 4, 8, 12) & 15u) << 4 * i;
                places[own + b * 8 + i] = nibbles;
                ++i;
            } while (i < width);
            [[unroll]] for (uint r = 0; r < 4; ++r) store_row(at, (line * 8 + b) * 4 + r, word, rows[r]);
            ++b;
        } while (b < height);
        uint i = 0;
        do {
            uvec4 columns = uvec4(0);
            b = 0;
            do {
                columns |= (uvec4(places[own + b * 8 + i]) >> uvec4(16, 20, 24, 28) & 15u) << 4 * b;
                ++b;
            } while (b < height);
            [[unroll]] for (uint c = 0; c < 4; ++c) store_column(at, (word * 8 + i) * 4 + c, line, columns[c]);
            ++i;
        } while (i < width);
        word += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (word < words);
}

void compress_by_tiles(Start at, uint line, uint bands, uint tiles) {
    const uint words = (tiles + 7) / 8, lane = gl_LocalInvocationID.x, b = lane / 8, i = lane % 8;
    uint word = gl_WorkGroupID.x;
    do {
        const uint band = line * 8 + b, tile = word * 8 + i;
        places[lane] = 0;
        if (WHOLE || band < bands && tile < tiles)
            places[lane] = compress_tile(at, band, tile, tile_bits(mask_words(at, band, word), i));
        barrier();
        // Of lanes 0 to 31 each has a row of the block, of the others a column.
        const bool column = lane >= 32;
        const uint own = lane % 32, first = column ? own / 4 : own / 4 * 8, step = column ? 8 : 1;
        const uint shift = own % 4 * 4 + (column ? 16 : 0);
        uint nibbles = 0;
        [[unroll]] for (uint n = 0; n < 8; ++n) nibbles |= (places[first + n * step] >> shift & 15u) << 4 * n;
        if (column)
            store_column(at, word * 32 + own, line, nibbles);
        else
            store_row(at, line * 32 + own, word, nibbles);
        barrier();
        word += gl_NumWorkGroups.x;
    } while (word < words);
}

void main() {
    const uint tiles = (push.cols + 3) / 4, bands = (push.rows + 3) / 4, lines = (bands + 7) / 8;
    const uint batch = gl_WorkGroupID.z;
    const Start at = Start(batch * push.w_block, batch * push.mask_block, batch * push.values_block, batch * push.meta_block,
                           batch * push.turned_values_block, batch * push.turned_meta_block);
    uint line = gl_WorkGroupID.y;
    do {
        if (BLOCK_LANES == 1)
            compress_by_blocks(at, line, bands, tiles);
        else
            compress_by_tiles(at, line, bands, tiles);
        line += gl_NumWorkGroups.y;
    } while (line < lines);
}
