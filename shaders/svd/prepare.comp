// Working vectors of a batch of matrices (svd.glsl): A (outer, inner, m, n) scaled by a power of two to the range of 1,
// zeros around it, and a unit matrix behind the rows where the rotations are to be known.
//
//   rows     0 … extent-1   A's elements          a workgroup is a matrix: its lanes find the largest magnitude,
//            …              0                     then write its vectors
//            identity …     1 where row - identity = vector, or twice that of complex matrices
//
// A is f32, f16, bf16 or, of type f32 with is_complex = 1, complex: its strides are then of reals, and so are extent and rows.
// A matrix with NaN or infinities becomes zero and is done; so do the matrices from `batch` on, of which those up to
// `filled` fill up the last group of vectors and the others have a state alone.
// Grid: matrices and fillers. Called for every decomposition.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint inner, batch, filled; \
    uint a_outer, a_inner, a_vector, a_row; \
    uint count, extent; \
    uint vectors, rows, lanes, identity, is_complex;
#define A 0
#define WORK 1
#define STATE 2
#define SLOT_0 readonly
#define SLOT_1 writeonly
#define SLOT_2 writeonly
#include "access.glsl"
#include "types.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint in_type = 0;

#define LANES gl_WorkGroupSize.x
shared uint magnitudes[LANES];

// Elements in the order in which they lie in memory, so that caches serve neighbours.
uvec2 place_of(uint element, uint vectors, uint rows) {
    return push.a_row <= push.a_vector ? uvec2(element / rows, element % rows)
                                       : uvec2(element % vectors, element / vectors);
}

uint row_of_a(uint row) { return (row >> push.is_complex) * push.a_row + (row & push.is_complex); }

void main() {
    const uint lane = gl_LocalInvocationID.x;
    const uint matrix = gl_WorkGroupID.x;
    const bool real = matrix < push.batch;
    const uint from = real ? matrix / push.inner * push.a_outer + matrix % push.inner * push.a_inner : 0;

    // All lanes walk the same number of steps: a masked lane looks at the last element again.
    const uint elements = push.count * push.extent;
    uint largest = 0;
    uint start = 0;
    do {
        const uvec2 at = place_of(min(start + lane, elements - 1), push.count, push.extent);
        const float value = load_float(A, in_type, from, at.x * push.a_vector + row_of_a(at.y));
        largest = max(largest, floatBitsToUint(value) & 0x7fffffffu);
        start += LANES;
    } while (start < elements);
    magnitudes[lane] = largest;
    barrier();
    uint step = LANES / 2;
    while (step > 0) {
        if (lane < step) magnitudes[lane] = max(magnitudes[lane], magnitudes[lane + step]);
        barrier();
        step /= 2;
    }
    largest = magnitudes[0];

    const bool finite = largest < 0x7f800000u;
    const bool zero = !finite || !real || largest == 0;
    // 2^-e of the largest magnitude; of the outermost exponents a neighbour, so that it and its reciprocal are normal.
    const float scale = uintBitsToFloat(254u - clamp(largest >> 23, 1u, 253u) << 23);
    const uint first = vector_start(matrix, 0, push.vectors, push.rows, push.lanes);
    const uint words = push.vectors * push.rows;
    start = 0;
    do {
        const uint element = start + lane;
        const uvec2 at = place_of(min(element, words - 1), push.vectors, push.rows);
        const uvec2 known = min(at, uvec2(push.count, push.extent) - 1);
        const float value = load_float(A, in_type, from, known.x * push.a_vector + row_of_a(known.y));
        const bool inside = at == known && !zero;
        const float other = push.identity > 0 && at.y == push.identity + (at.x << push.is_complex) ? 1.0 : 0.0;
        const uint bits = inside ? floatBitsToUint(value * scale) : floatBitsToUint(other);
        if (element < words && matrix < push.filled) store(WORK, first, (at.x * push.rows + at.y) * push.lanes, bits);
        start += LANES;
    } while (start < words);
    if (lane == 0) {
        const uint to = matrix * STATE_WORDS;
        store(STATE, to, SCALE, finite ? floatBitsToUint(scale) : 0x7fc00000u);
        store(STATE, to, DONE, zero ? 1u : 0u);
        store(STATE, to, LARGEST, 0u);
        store(STATE, to, LONGEST, 0u);
    }
}
