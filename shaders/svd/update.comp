// Turns pairs of panels of working vectors: [panel panel] = [panel panel] · V, V (SIZE, SIZE) of jacobi.comp.
//
//   row r of both panels   w0 w1 … │ w0 w1 …      an invocation holds HELD rows, multiplies them by V, whose elements are the
//                           └── SIZE ──┘          same for all, and writes them back in place
//
// Complex: an invocation holds two rows, real and imaginary parts, and those of V's elements are neighbours.
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
#ifdef ELEMENT_COMPLEX
const uint HELD = 2;  // rows of an invocation
#define V_ELEMENT 2
#else
const uint HELD = 1;
#define V_ELEMENT 1
#endif

const uint STEP = 8;
const uint HALF = SIZE / 2;

// Read once (access.glsl).
uint rows = push.rows;

void main() {
    const uint matrix = gl_WorkGroupID.z;
    const uvec2 panels = meeting_panels(push.round, gl_WorkGroupID.y, push.vectors / HALF);
    const uvec2 first = (uvec2(matrix * push.vectors) + panels * HALF) * rows;
    const uint v = (matrix * gl_NumWorkGroups.y + gl_WorkGroupID.y) * SIZE * SIZE * V_ELEMENT;
    const bool done = load(STATE, matrix * STATE_WORDS, DONE) != 0;
    const uint columns = done ? STEP : SIZE;
    uint row[HELD];
    bool inside[HELD];
    float w[HELD][SIZE];
    [[unroll]] for (uint h = 0; h < HELD; ++h) {
        const uint at = (gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x) * HELD + h;
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
                const float turn = uintBitsToFloat(load(ROTATIONS, v + column * V_ELEMENT, (c * SIZE + k) * V_ELEMENT));
                [[unroll]] for (uint h = 0; h < HELD; ++h) sums[h][k] = fma(turn, w[h][c], sums[h][k]);
#ifdef ELEMENT_COMPLEX
                const float across = uintBitsToFloat(load(ROTATIONS, v + column * 2, (c * SIZE + k) * 2 + 1));
                sums[0][k] = fma(-across, w[1][c], sums[0][k]);
                sums[1][k] = fma(across, w[0][c], sums[1][k]);
#endif
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
