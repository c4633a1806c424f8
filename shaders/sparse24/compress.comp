// Row-wise 2:4 of W (blocks, rows, cols): selects the two largest magnitudes of every group of four columns, or takes
// them from a mask, and writes the mask, the compressed form, or both.
//
//   W row        a b c d | e f g h | …   | y z        ceil(cols / 4) groups, the last one may be partial
//   mask bits    0 1 0 1   1 1 0 0         1 1        bit c % 32 of word c / 32, 0 behind the last column
//   values       b d       e f             y z        2 a group
//   nibble       1 | 3<<2  0 | 1<<2                   places, ascending; 8 groups a word
//
// A group whose mask keeps more than two keeps its first two; one that keeps fewer is completed with zeros at its first
// free places. Without a mask: |w|, ties to the lower index, NaN above infinity, real columns before padding.
// SOFT: what is kept is thresholded (soft24.glsl), times BETA.
// WORD_LANES = 8: a lane is a group, and eight lanes share a word of the mask and of the metadata, put together in shared
// memory. WORD_LANES = 1: a lane is a word, for devices whose loads gain nothing by neighbouring lanes (CPUs).
// WHOLE: cols is a multiple of 32. Grid: (words of a row, rows, blocks), walked with the grid's stride but for blocks. The
// host joins rows that follow each other. Called for select_mask, compress and both in one, and compress_soft.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint w_block, w_row, w_column; \
    uint mask_block, mask_row, mask_word; \
    uint values_block, meta_block;
#define W 0
#define MASK_IN 1
#define MASK_OUT 2
#define VALUES 3
#define META 4
#define BETA 5
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#define SLOT_3 writeonly
#define SLOT_4 writeonly
#define SLOT_5 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;  // a multiple of 8
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool IN_PAIRS = false;
layout(constant_id = 3) const bool BY_MAGNITUDE = true;
layout(constant_id = 4) const bool WRITE_MASK = true;
layout(constant_id = 5) const bool WRITE_COMPRESSED = true;
layout(constant_id = 6) const uint WORD_LANES = 8;
layout(constant_id = 7) const bool WHOLE = false;
layout(constant_id = 8) const bool SOFT = false;
layout(constant_id = 9) const uint VALUES_TYPE = 0;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#include "groups24.glsl"
#include "values24.glsl"
#include "soft24.glsl"

float scale() {
    if (SOFT) return uintBitsToFloat(load(BETA, 0u, 0u));
    return 1.0;
}

float beta = scale();

shared uint nibbles[gl_WorkGroupSize.x / 8 * WORD_LANES];  // low four bits: metadata, next four: mask

// Where a row starts, in elements of W, words of the masks, groups of the values and words of the metadata.
struct Row {
    uint w, mask, values, meta;
};

// A group: stores its values and returns its nibbles. `given` starts with its bits of the mask, if there is one.
uint compress_group(Row row, uint group, uint given) {
    const uint present = WHOLE ? 4u : min(push.cols - group * 4, 4u);
    const uint real = (1u << present) - 1;
    uvec4 entries = load_group(row.w, group, present);
    uvec4 keys;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        if (!WHOLE) entries[i] = i < present ? entries[i] : 0u;  // a missing column loses to any other
        keys[i] = BY_MAGNITUDE ? magnitude_key(entries[i]) : (given & real) >> i & 1u;
    }
    const bvec4 two = keep_two(keys);
    uvec2 values = entries_of_two(entries, two);
    if (!BY_MAGNITUDE) values *= entries_of_two(keys, two);
    if (WRITE_COMPRESSED) {
        if (SOFT)
            values = stored_floats(beta * soft_two(decode_two(values), decode_two(entries_of_two(entries, not(two)))));
        else
            values = stored_entries(values);
        store_values(VALUES, row.values + group, values);
    }
    return first_of_two(two) | second_of_two(two) << 2 | (bits_of(two) & real) << 4;
}

void store_word(Row row, uint word, uint meta, uint mask) {
    if (WRITE_COMPRESSED) store(META, 0u, row.meta + word, meta);
    if (WRITE_MASK) store(MASK_OUT, 0u, row.mask + word * push.mask_word, mask);
}

uint given_word(Row row, uint word) {
    return BY_MAGNITUDE ? 0u : load(MASK_IN, 0u, row.mask + word * push.mask_word);
}

void compress_by_words(Row row, uint groups, uint words) {
    uint word = gl_GlobalInvocationID.x;
    if (word >= words) return;
    do {
        const uint given = given_word(row, word);
        uint meta = 0, mask = 0;
        [[unroll]] for (uint i = 0; i < 8; ++i) {
            const uint group = word * 8 + i;
            if (WHOLE || group < groups) {
                const uint both = compress_group(row, group, given >> i * 4);
                meta |= (both & 15) << i * 4;
                mask |= both >> 4 << i * 4;
            }
        }
        store_word(row, word, meta, mask);
        word += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (word < words);
}

void compress_by_groups(Row row, uint groups, uint words) {
    const uint lane = gl_LocalInvocationID.x;
    const uint words_per_workgroup = gl_WorkGroupSize.x / 8;
    uint base = gl_WorkGroupID.x * words_per_workgroup;
    do {
        const uint word = base + lane / 8, group = word * 8 + lane % 8;
        uint both = 0;
        if (word < words && group < groups) both = compress_group(row, group, given_word(row, word) >> lane % 8 * 4);
        nibbles[lane] = both;
        barrier();
        if (lane < words_per_workgroup && base + lane < words) {
            uint meta = 0, mask = 0;
            for (uint i = 0; i < 8; ++i) {
                meta |= (nibbles[lane * 8 + i] & 15) << i * 4;
                mask |= nibbles[lane * 8 + i] >> 4 << i * 4;
            }
            store_word(row, base + lane, meta, mask);
        }
        barrier();
        base += gl_NumWorkGroups.x * words_per_workgroup;
    } while (base < words);
}

void main() {
    const uint groups = (push.cols + 3) / 4, words = (groups + 7) / 8;
    const uint block = gl_WorkGroupID.z;
    uint y = gl_WorkGroupID.y;
    do {
        const Row row = Row(block * push.w_block + y * push.w_row, block * push.mask_block + y * push.mask_row,
                            block * push.values_block + y * groups, block * push.meta_block + y * words);
        if (WORD_LANES == 1)
            compress_by_words(row, groups, words);
        else
            compress_by_groups(row, groups, words);
        y += gl_NumWorkGroups.y;
    } while (y < push.rows);
}
