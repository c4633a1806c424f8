// Singular values in descending order: of the lengths of a matrix's vectors, `order` (matrix, place) holds for the `kept`
// longest {vector, length, scale, 0}. Of equal ones the lower vector comes first.
//
//   lengths   3 7 5 7        place = how many are longer        an invocation is a vector; a workgroup is a matrix
//   place     3 0 2 1
//
// TERMS 0: also sigma (outer, inner, place), in the units of A. TERMS 1: also, for block (outer, inner) of a projection, the
// root of the sum of squares of what it does not keep (svd_terms.glsl) or keeps as zero (LEAST_TERM). NaN for a matrix that holds NaN or infinities.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint vectors, inner, first_outer, first_inner, q, l, kept; \
    uint out_outer, out_inner, out_term;
#define STATE 0
#define NORMS 1
#define ORDER 2
#define OUT 3
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#define SLOT_3 writeonly
#include "access.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TERMS = 0;
#define LANES gl_WorkGroupSize.x
#include "reduce.glsl"
#include "svd_terms.glsl"

const uint NOT_A_NUMBER = 0x7fc00000u;

// Read once (access.glsl).
uint vectors = push.vectors;

void main() {
    const uint matrix = gl_WorkGroupID.x;
    const uint norms = matrix * vectors;
    const float scale = uintBitsToFloat(load(STATE, matrix * STATE_WORDS, SCALE));
    const bool bad = (floatBitsToUint(scale) & 0x7f800000u) == 0x7f800000u;
    const Terms terms = terms_of(matrix);
    float dropped = 0.0;
    uint start = 0;
    do {
        const uint vector = start + gl_LocalInvocationID.x;
        const uint known = min(vector, vectors - 1);
        const float norm = uintBitsToFloat(load(NORMS, norms, known));
        float longest = 0.0;
        uint place = 0;
        uint other = 0;
        do {
            const float rival = uintBitsToFloat(load(NORMS, norms, other));
            place += rival > norm || rival == norm && other < known ? 1 : 0;
            longest = max(longest, rival);
            ++other;
        } while (other < vectors);
        const bool real = vector < vectors;
        if (real && place < push.kept) {
            const uint to = (matrix * push.kept + place) * 4;
            store(ORDER, 0u, to, vector);
            store(ORDER, 0u, to + 1, floatBitsToUint(norm));
            store(ORDER, 0u, to + 2, floatBitsToUint(scale));
            if (TERMS == 0)
                store(OUT, 0u, terms.start + place * terms.step, bad ? NOT_A_NUMBER : floatBitsToUint(norm / scale));
        }
        const bool lost = place >= terms.count || norm <= LEAST_TERM * longest;
        dropped = real && lost ? fma(norm, norm, dropped) : dropped;
        start += LANES;
    } while (start < vectors);
    if (TERMS == 0) return;
    const float total = workgroup_sum(gl_LocalInvocationID.x, vec2(dropped, 0.0)).x;
    if (gl_LocalInvocationID.x == 0)
        store(OUT, matrix / push.inner * push.out_outer, matrix % push.inner * push.out_inner,
              bad ? NOT_A_NUMBER : floatBitsToUint(sqrt(total) / scale));
}
