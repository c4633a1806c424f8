// W[b][r][4g + place] = value, zero elsewhere: the dense form (blocks, rows, cols) of row-wise 2:4 values and metadata.
//
//   values       b d       e f      …        2 a group, nibble g of the row's metadata holds their places
//   W row        0 b 0 d | e f 0 0 | …       any strides; places behind the last column are dropped
//
// A lane is a group. Grid: (any, blocks), groups of all rows are walked with the grid's stride. Called for to_dense.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint out_block, out_row, out_column; \
    uint values_block, meta_block;
#define VALUES 0
#define META 1
#define W 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool OUT_PAIRS = false;

#define DENSE_OUT W
#define OUT_COLUMN push.out_column
#include "groups24.glsl"

uvec2 load_values(uint group) {
    if (TYPE == F32) return load_pair(VALUES, 0u, group * 2);
    const uint word = load(VALUES, 0u, group);
    return uvec2(word & 0xffffu, word >> 16);
}

void main() {
    const uint groups = (push.cols + 3) / 4;
    const uint words_per_row = (groups + 7) / 8;
    const uint count = push.rows * groups;
    const uint block = gl_WorkGroupID.y;
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    do {
        const uint row = i / groups, group = i % groups;
        const uvec2 values = load_values(block * push.values_block + i);
        const uint word = load(META, 0u, block * push.meta_block + row * words_per_row + group / 8);
        const uint nibble = word >> (group & 7) * 4;
        uvec4 entries = uvec4(0);
        entries[nibble & 3] = values.x;
        entries[nibble >> 2 & 3] = values.y;
        store_group(block * push.out_block + row * push.out_row, group, min(push.cols - group * 4, 4u), entries);
        i += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (i < count);
}
