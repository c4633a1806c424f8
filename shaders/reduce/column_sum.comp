// column_sum: out[chunk][c] = scale · Σ x[r][c] over the rows r of the chunk (+= with accumulate). Run over a few
// chunks of x into scratch, then over that scratch as one chunk: two passes, every sum in a fixed order.
//
//                columns of a workgroup (local_size_x)
//   chunk 0   ┌────┐  rows r, r + local_size_y, … belong to one invocation;
//             ├────┤  the local_size_y partial sums of a column are added by a tree
//   chunk 1   └────┘
//   grid      x: groups of columns (walked with the grid's stride)       y: chunks
//
// Wide workgroups suit x with contiguous rows, tall ones x with contiguous columns. Called for bias gradients.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows; uint columns; uint row_stride; uint column_stride; uint chunk_rows; uint chunk_stride; uint out_stride; \
    uint accumulate; float scale;
#define SLOT_0 readonly
#define SLOT_1
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint in_type = 0;

#define X 0
#define OUT 1

shared float sums[gl_WorkGroupSize.x * gl_WorkGroupSize.y];

void main() {
    const uint width = gl_WorkGroupSize.x;
    const uint height = gl_WorkGroupSize.y;
    const uint lane = gl_LocalInvocationID.x;
    const uint line = gl_LocalInvocationID.y;
    const uint begin = gl_WorkGroupID.y * push.chunk_rows;
    const uint end = min(begin + push.chunk_rows, push.rows);
    uint first = gl_WorkGroupID.x * width;
    do {
        const uint column = min(first + lane, push.columns - 1);
        float sum = 0.0;
        uint round = begin;
        do {
            const uint row = min(round + line, push.rows - 1);
            const float value = load_float(X, in_type, 0u, row * push.row_stride + column * push.column_stride);
            sum += round + line < end ? value : 0.0;
            round += height;
        } while (round < end);
        sums[line * width + lane] = sum;
        barrier();
        uint step = height / 2;
        while (step > 0) {
            if (line < step) sums[line * width + lane] += sums[(line + step) * width + lane];
            barrier();
            step /= 2;
        }
        if (line == 0 && first + lane < push.columns) {
            const uint to = gl_WorkGroupID.y * push.chunk_stride + column * push.out_stride;
            float total = push.scale * sums[lane];
            if (push.accumulate != 0u) total += uintBitsToFloat(load(OUT, 0u, to));
            store(OUT, 0u, to, floatBitsToUint(total));
        }
        barrier();
        first += gl_NumWorkGroups.x * width;
    } while (first < push.columns);
}
