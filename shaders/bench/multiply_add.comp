// multiply_add: the device's rate of f32 multiply-adds. Every invocation keeps `accumulators` numbers in registers,
//
//   a[j] = fma(a[j], factor, summand)      rounds · 4 times, from a[j] = invocation % 64 + j
//
// and stores their sum: ref[0][invocation]. Factor and summand come with the push constants, so that no compiler can
// take a step out; with 1 and 1 the sums of small rounds are whole numbers that the host knows.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS uint rounds; float factor; float summand;
#define SLOT_0 writeonly
#include "access.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ACCUMULATORS = 16;

void main() {
    const float factor = push.factor, summand = push.summand;
    const uint rounds = push.rounds;
    float a[ACCUMULATORS];
    [[unroll]] for (uint j = 0; j < ACCUMULATORS; ++j) a[j] = float(gl_GlobalInvocationID.x % 64 + j);
    uint done = 0;
    do {
        [[unroll]] for (uint i = 0; i < 4; ++i)
            [[unroll]] for (uint j = 0; j < ACCUMULATORS; ++j) a[j] = fma(a[j], factor, summand);
        done++;
    } while (done < rounds);
    float sum = 0.0;
    [[unroll]] for (uint j = 0; j < ACCUMULATORS; ++j) sum += a[j];
    store(0, 0u, gl_GlobalInvocationID.x, floatBitsToUint(sum));
}
