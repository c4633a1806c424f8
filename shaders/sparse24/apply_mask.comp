// out = mask ∘ W, zero where the mask's bit is clear, for (blocks, rows, cols) of any strides on both sides.
//
//   W row        a b c d | e f g h
//   mask bits    0 1 0 1   1 1 0 0        bit c % 32 of word c / 32; any number of bits a group
//   out row      0 b 0 d | e f 0 0        out may be W itself: a lane reads its group before it writes it
//
// A lane is GROUPS groups of four of a row, 1 or 8, which share a word of the mask. WHOLE: cols is a multiple of 32. Grid:
// (lanes of a row, rows, blocks), walked with the grid's stride but for blocks. The host joins rows that follow each other.
// Called for apply_mask.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

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
layout(constant_id = 4) const uint GROUPS = 1;
layout(constant_id = 5) const bool WHOLE = false;

#define DENSE_IN W
#define IN_COLUMN push.w_column
#define DENSE_OUT OUT
#define OUT_COLUMN push.out_column
#include "groups24.glsl"

void main() {
    const uint groups = (push.cols + 3) / 4;
    const uint block = gl_WorkGroupID.z;
    uint y = gl_WorkGroupID.y;
    do {
        const uint w_row = block * push.w_block + y * push.w_row;
        const uint mask_row = block * push.mask_block + y * push.mask_row;
        const uint out_row = block * push.out_block + y * push.out_row;
        uint first = gl_GlobalInvocationID.x * GROUPS;
        if (first < groups) do {
            const uint word = load(MASK, 0u, mask_row + first / 8 * push.mask_word) >> first % 8 * 4;
            [[unroll]] for (uint i = 0; i < GROUPS; ++i) {
                const uint group = first + i;
                if (WHOLE || group < groups) {
                    const uint present = WHOLE ? 4u : min(push.cols - group * 4, 4u);
                    const uvec4 kept = (uvec4(word) >> (i * 4 + uvec4(0, 1, 2, 3))) & 1u;
                    store_group(out_row, group, present, load_group(w_row, group, present) * kept);
                }
            }
            first += gl_NumWorkGroups.x * gl_WorkGroupSize.x * GROUPS;
        } while (first < groups);
        y += gl_NumWorkGroups.y;
    } while (y < push.rows);
}
