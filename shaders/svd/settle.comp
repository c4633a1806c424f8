// After a sweep over pairs of panels: a matrix whose pairs all met with cosines of at most `tolerance` is done.
//
//   measures   pair 0, 1, … of matrix 0 | of matrix 1 | …      an invocation is a matrix; of each pair a cosine and a square
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
    vec2 found = vec2(0.0);
    uint pair = 0;
    do {
        found = max(found, uintBitsToFloat(load_pair(MEASURES, 0u, 2 * (known * push.pairs + pair))));
        ++pair;
    } while (pair < push.pairs);
    const bool was_done = load(STATE, 0u, known * STATE_WORDS + DONE) != 0;
    if (matrix < push.batch && !was_done) {
        store(STATE, 0u, known * STATE_WORDS + DONE, found.x > push.tolerance ? 0u : 1u);
        store(STATE, 0u, known * STATE_WORDS + LARGEST, floatBitsToUint(found.x));
        store(STATE, 0u, known * STATE_WORDS + LONGEST, floatBitsToUint(found.y));
    }
}
