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
// A lane is a group; eight lanes share a word of the mask and of the metadata, put together in shared memory. Grid:
// (any, blocks), words of all rows are walked with the grid's stride. Called for select_mask, compress and both in one.
#version 460
#extension GL_GOOGLE_include_directive : require

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
layout(constant_id = 3) const bool BY_MAGNITUDE = true;
layout(constant_id = 4) const bool WRITE_MASK = true;
layout(constant_id = 5) const bool WRITE_COMPRESSED = true;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#include "groups24.glsl"

shared uint nibbles[gl_WorkGroupSize.x];  // low four bits: metadata, next four: mask

void store_values(uint group, uint first, uint second) {
    if (TYPE == F32)
        store_pair(VALUES, 0u, group * 2, uvec2(first, second));
    else
        store(VALUES, 0u, group, first | second << 16);
}

// Group `group` of row `row`: stores its values and returns its nibbles.
uint compress_group(uint row, uint group, uint groups) {
    const uint present = min(push.cols - group * 4, 4u);
    const uvec4 entries = load_group(gl_WorkGroupID.y * push.w_block + row * push.w_row, group, present);
    const uint real = (1u << present) - 1;
    uvec4 keys;
    uint kept;
    if (BY_MAGNITUDE) {
        for (uint i = 0; i < 4; ++i) keys[i] = i < present ? magnitude_key(entries[i]) : 0u;
    } else {
        const uint mask_row = gl_WorkGroupID.y * push.mask_block + row * push.mask_row;
        kept = load(MASK_IN, 0u, mask_row + group / 8 * push.mask_word) >> (group & 7) * 4 & real;
        keys = uvec4(kept, kept >> 1, kept >> 2, kept >> 3) & 1u;
    }
    const uint places = keep_two(keys);
    if (BY_MAGNITUDE) kept = places & real;
    const uint first = findLSB(places), second = findMSB(places);
    if (WRITE_COMPRESSED)
        store_values(gl_WorkGroupID.y * push.values_block + row * groups + group,
                     (kept >> first & 1) != 0 ? group_entry(entries, first) : 0u,
                     (kept >> second & 1) != 0 ? group_entry(entries, second) : 0u);
    return first | second << 2 | kept << 4;
}

void store_word(uint word, uint words_per_row, uint lane) {
    uint meta = 0, mask = 0;
    for (uint i = 0; i < 8; ++i) {
        const uint both = nibbles[lane * 8 + i];
        meta |= (both & 15) << i * 4;
        mask |= both >> 4 << i * 4;
    }
    const uint row = word / words_per_row;
    if (WRITE_COMPRESSED) store(META, 0u, gl_WorkGroupID.y * push.meta_block + word, meta);
    if (WRITE_MASK)
        store(MASK_OUT, 0u,
              gl_WorkGroupID.y * push.mask_block + row * push.mask_row + word % words_per_row * push.mask_word, mask);
}

void main() {
    const uint groups = (push.cols + 3) / 4;
    const uint words_per_row = (groups + 7) / 8;
    const uint words = push.rows * words_per_row;
    const uint lane = gl_LocalInvocationID.x;
    const uint words_per_workgroup = gl_WorkGroupSize.x / 8;
    uint base = gl_WorkGroupID.x * words_per_workgroup;
    do {
        const uint word = min(base + lane / 8, words - 1);
        const uint group = word % words_per_row * 8 + lane % 8;
        uint both = 0;
        if (base + lane / 8 < words && group < groups)
            both = compress_group(word / words_per_row, min(group, groups - 1), groups);
        nibbles[lane] = both;
        barrier();
        if (lane < words_per_workgroup && base + lane < words) store_word(base + lane, words_per_row, lane);
        barrier();
        base += gl_NumWorkGroups.x * words_per_workgroup;
    } while (base < words);
}
