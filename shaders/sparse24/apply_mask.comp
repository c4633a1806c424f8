// out = mask ∘ W, zero where the mask's bit is clear, for (blocks, rows, cols) of any strides on both sides.
//
//   W row        a b c d | e f g h
//   mask bits    0 1 0 1   1 1 0 0        bit c % 32 of word c / 32; any number of bits a group
//   out row      0 b 0 d | e f 0 0        out may be W itself: a lane reads its group before it writes it
//
// A lane is a group of four. Grid: (any, blocks), groups of all rows are walked with the grid's stride. Called for
// apply_mask.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint w_block, w_row, w_column; \
    uint mask_block, mask_row, mask_word; \
    uint out_block, out_row, out_column;
#define W 0
#define MASK 1
#define OUT 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool IN_PAIRS = false;
layout(constant_id = 3) const bool OUT_PAIRS = false;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#define DENSE_OUT OUT
#define OUT_COLUMN push.out_column
#include "groups24.glsl"

void main() {
    const uint groups = (push.cols + 3) / 4;
    const uint count = push.rows * groups;
    const uint block = gl_WorkGroupID.y;
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    do {
        const uint row = i / groups, group = i % groups;
        const uint present = min(push.cols - group * 4, 4u);
        const uvec4 entries = load_group(block * push.w_block + row * push.w_row, group, present);
        const uint word =
            load(MASK, 0u, block * push.mask_block + row * push.mask_row + group / 8 * push.mask_word);
        const uvec4 kept = (uvec4(word) >> ((group & 7) * 4 + uvec4(0, 1, 2, 3))) & 1u;
        store_group(block * push.out_block + row * push.out_row, group, present, entries * kept);
        i += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (i < count);
}
