// fill: ref[0][i] = value for 0 <= i < count, in 32-bit words.
//
//   invocations        0      1      2   ...  S-1       S = all invocations of the dispatch
//   words              0      1      2   ...  S-1
//                      S    S+1    S+2   ... 2S-1       one word each per round, until count
//
// Any grid is right; one that gives each invocation a few words is fast. Count is at most 2^31 words.
// Called for zero fills, and to poison outputs in tests.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint count; uint value;
#define SLOT_0 writeonly
#include "access.glsl"

layout(local_size_x_id = 0) in;

void main() {
    const uint stride = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    uint i = gl_GlobalInvocationID.x;
    if (i >= push.count) return;
    do { // tested at the bottom: top-tested loops over device addresses overran on one driver
        store(0, 0u, i, push.value);
        i += stride;
    } while (i < push.count);
}
