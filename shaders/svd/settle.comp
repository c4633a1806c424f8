// After a sweep over pairs of panels: a matrix whose pairs all met with cosines of at most `tolerance` is done.
//
//   measures   pair 0, 1, … of matrix 0 | of matrix 1 | …      an invocation is a matrix
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint batch, pairs; float tolerance;
#define STATE 0
#define MEASURES 1
#define SLOT_1 readonly
#include "access.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;

void main() {
    const uint matrix = gl_GlobalInvocationID.x;
    const uint known = min(matrix, push.batch - 1);
    float largest = 0.0;
    uint pair = 0;
    do {
        largest = max(largest, uintBitsToFloat(load(MEASURES, 0u, known * push.pairs + pair)));
        ++pair;
    } while (pair < push.pairs);
    const bool was_done = load(STATE, 0u, known * STATE_WORDS + DONE) != 0;
    if (matrix < push.batch && !was_done) {
        store(STATE, 0u, known * STATE_WORDS + DONE, largest > push.tolerance ? 0u : 1u);
        store(STATE, 0u, known * STATE_WORDS + LARGEST, floatBitsToUint(largest));
    }
}
