// The lengths of working vectors (svd.glsl), norms (matrix, vector): singular values once jacobi.comp is through with them.
//
//   vector   rows 0 … dot_rows-1: √ Σ w²        an invocation is a vector; neighbours are of neighbouring matrices
//            rows from `identity` on            or, with lanes = 1, of the same one
//
// With `identity` > 0 vectors that only fill up the last panel, of a matrix of `count`, are told from real ones of length zero
// by what turned along with them, and get the length -1.
// Grid: (ceil(vectors · lanes / LANES), groups of matrices).
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS uint batch, vectors, rows, dot_rows, lanes, identity, count;
#define WORK 0
#define NORMS 1
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;

const uint STEP = 8;  // of rows; there are a multiple of it

// Read once (access.glsl).
uint lanes = push.lanes;

float square_sum(uint start, uint rows) {
    float sums[STEP];
    [[unroll]] for (uint r = 0; r < STEP; ++r) sums[r] = 0.0;
    uint row = 0;
    do {
        [[unroll]] for (uint r = 0; r < STEP; ++r) {
            // The last steps of a list that ends within STEP look at its last element again and leave it out.
            const uint at = min(row + r, rows - 1);
            const float value = uintBitsToFloat(load(WORK, 0u, start + at * lanes));
            sums[r] = fma(value, row + r < rows ? value : 0.0, sums[r]);
        }
        row += STEP;
    } while (row < rows);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

void main() {
    const uint a_group = push.vectors * lanes;
    const uint item = min(gl_GlobalInvocationID.x, a_group - 1);
    const uint matrix = gl_WorkGroupID.y * lanes + item % lanes;
    const uint vector = item / lanes;
    const uint known = min(matrix, push.batch - 1);
    const uint start = vector_start(known, vector, push.vectors, push.rows, lanes);
    float norm = sqrt(square_sum(start, push.dot_rows));
    const float known_by = square_sum(start + push.identity * lanes, push.count);
    norm = push.identity > 0 && known_by == 0.0 ? -1.0 : norm;
    if (gl_GlobalInvocationID.x < a_group && matrix < push.batch)
        store(NORMS, 0u, known * push.vectors + vector, floatBitsToUint(norm));
}
