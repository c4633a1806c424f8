// Turns pairs of panels of working vectors: [panel panel] = [panel panel] · V, V (SIZE, SIZE) of jacobi.comp.
//
//   row r of both panels   w0 w1 … │ w0 w1 …      an invocation holds HELD rows, multiplies them by V, whose elements are the
//                           └── SIZE ──┘          same for all, and writes them back in place
//
// For a matrix that is done a step is computed and not written. Grid: (ceil(rows / (LANES · HELD)), pairs, matrices).
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
layout(constant_id = 2) const uint HELD = 1;  // rows of an invocation

const uint STEP = 8;
const uint HALF = SIZE / 2;

// Read once (access.glsl).
uint rows = push.rows;

void main() {
    const uint matrix = gl_WorkGroupID.z;
    const uvec2 panels = meeting_panels(push.round, gl_WorkGroupID.y, push.vectors / HALF);
    const uvec2 first = (uvec2(matrix * push.vectors) + panels * HALF) * rows;
    const uint v = (matrix * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIZE * SIZE;
    const bool done = load(STATE, matrix * STATE_WORDS, DONE) != 0;
    const uint columns = done ? STEP : SIZE;
    uint row[HELD];
    bool inside[HELD];
    float w[HELD][SIZE];
    [[unroll]] for (uint h = 0; h < HELD; ++h) {
        const uint at = (gl_WorkGroupID.x * HELD + h) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
        row[h] = min(at, rows - 1);
        inside[h] = at < rows && !done;
        [[unroll]] for (uint c = 0; c < SIZE; ++c)
            w[h][c] = uintBitsToFloat(load(WORK, first[c / HALF] + c % HALF * rows, row[h]));
    }
    uint column = 0;
    do {
        float sums[HELD][STEP];
        [[unroll]] for (uint h = 0; h < HELD; ++h)
            [[unroll]] for (uint k = 0; k < STEP; ++k) sums[h][k] = 0.0;
        [[unroll]] for (uint c = 0; c < SIZE; ++c) {
            [[unroll]] for (uint k = 0; k < STEP; ++k) {
                const float turn = uintBitsToFloat(load(ROTATIONS, v + column, c * SIZE + k));
                [[unroll]] for (uint h = 0; h < HELD; ++h) sums[h][k] = fma(turn, w[h][c], sums[h][k]);
            }
        }
        [[unroll]] for (uint k = 0; k < STEP; ++k) {
            const uint to = first[(column + k) / HALF] + (column + k) % HALF * rows;
            [[unroll]] for (uint h = 0; h < HELD; ++h)
                if (inside[h]) store(WORK, to, row[h], floatBitsToUint(sums[h][k]));
        }
        column += STEP;
    } while (column < columns);
}
