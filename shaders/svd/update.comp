// Turns pairs of panels of working vectors: [panel panel] = [panel panel] · V, V (SIZE, SIZE) of jacobi.comp.
//
//   row r of both panels   w0 w1 … │ w0 w1 …      an invocation holds one row, multiplies it by V, whose elements are the
//                           └── SIZE ──┘          same for all, and writes it back in place
//
// V is the unit matrix for what is done: one step writes back what was there. Grid: (rows / LANES, pairs, matrices).
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS uint vectors, rows, round;
#define WORK 0
#define STATE 1
#define ROTATIONS 2
#define SLOT_1 readonly
#define SLOT_2 readonly
#include "access.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SIZE = 64;

const uint STEP = 8;
const uint HALF = SIZE / 2;

// Read once (access.glsl).
uint rows = push.rows;

void main() {
    const uint matrix = gl_WorkGroupID.z;
    const uvec2 panels = meeting_panels(push.round, gl_WorkGroupID.y, push.vectors / HALF);
    const uvec2 first = (uvec2(matrix * push.vectors) + panels * HALF) * rows;
    const uint row = min(gl_GlobalInvocationID.x, rows - 1);
    const bool inside = gl_GlobalInvocationID.x < rows;
    const uint v = (matrix * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIZE * SIZE;
    const bool done = load(STATE, matrix * STATE_WORDS, DONE) != 0;
    const uint columns = done ? STEP : SIZE;

    float w[SIZE];
    [[unroll]] for (uint c = 0; c < SIZE; ++c)
        w[c] = uintBitsToFloat(load(WORK, first[c / HALF] + c % HALF * rows, row));
    uint column = 0;
    do {
        float sums[STEP];
        [[unroll]] for (uint k = 0; k < STEP; ++k) sums[k] = 0.0;
        [[unroll]] for (uint c = 0; c < SIZE; ++c)
            [[unroll]] for (uint k = 0; k < STEP; ++k)
                sums[k] = fma(uintBitsToFloat(load(ROTATIONS, v + column, c * SIZE + k)), w[c], sums[k]);
        [[unroll]] for (uint k = 0; k < STEP; ++k) {
            const uint to = first[(column + k) / HALF] + (column + k) % HALF * rows;
            if (inside) store(WORK, to, row, floatBitsToUint(sums[k]));
        }
        column += STEP;
    } while (column < columns);
}
