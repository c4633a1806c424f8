// partials[g] = {Σ w · S(w), Σ S(w)²} over the share of workgroup g of W (blocks, rows, cols), S the soft threshold of each
// group of four columns (soft24.glsl). A missing column is a zero.
//
//   grid (words of a row, rows)     a lane is a group; lanes walk a row, then workgroups the rows of all blocks
//
// First pass of soft_threshold_scale; quotient_finish adds the partials.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS uint blocks, rows, cols; uint w_block, w_row, w_column; uint first_partial;
#define W 0
#define PARTIALS 1
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;

#define IN_PAIRS false
#define DENSE_IN W
#define IN_COLUMN push.w_column
#include "groups24.glsl"
#include "soft24.glsl"

#define LANES gl_WorkGroupSize.x
#include "reduce.glsl"

vec2 products(uint row, uint group) {
    const uint present = min(push.cols - group * 4, 4u);
    uvec4 entries = load_group(row, group, present);
    uvec4 keys;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        entries[i] = i < present ? entries[i] : 0u;
        keys[i] = magnitude_key(entries[i]);
    }
    const bvec4 two = keep_two(keys);
    const vec2 kept = decode_two(entries_of_two(entries, two));
    const vec2 soft = soft_two(kept, decode_two(entries_of_two(entries, not(two))));
    return vec2(dot(kept, soft), dot(soft, soft));
}

void main() {
    const uint groups = (push.cols + 3) / 4;
    vec2 sum = vec2(0.0);
    // All lanes walk the same number of steps (see loss_finish.comp).
    uint block = 0;
    do {
        uint y = gl_WorkGroupID.y;
        do {
            uint start = gl_WorkGroupID.x * LANES;
            do {
                const uint group = start + gl_LocalInvocationID.x;
                const vec2 part = products(block * push.w_block + y * push.w_row, min(group, groups - 1));
                sum += group < groups ? part : vec2(0.0);
                start += gl_NumWorkGroups.x * LANES;
            } while (start < groups);
            y += gl_NumWorkGroups.y;
        } while (y < push.rows);
        ++block;
    } while (block < push.blocks);
    const vec2 total = workgroup_sum(gl_LocalInvocationID.x, sum);
    if (gl_LocalInvocationID.x == 0) {
        const uint to = 2 * (push.first_partial + gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x);
        store(PARTIALS, 0u, to, floatBitsToUint(total.x));
        store(PARTIALS, 0u, to + 1, floatBitsToUint(total.y));
    }
}
