// The other side of a projection's factors: v √σ = Aᵀ û / √σ for unit vectors û = w / σ', out of A itself, so that the product
// of both sides is û ûᵀ A, the best there is for these û.
//
//   A block (outer, inner)      out   lanes along the elements c of v, TILE terms an invocation
//   c c c c …                   │
//   │ Σ over the rows of û      û: the same for all lanes
//
// Of complex blocks it is conj(û) that is multiplied; strides, extent and width then count reals (vectors.comp).
// Terms from `kept` on and those of no length (LEAST_TERM) are zero. NaN for a block that holds NaN or infinities.
// Grid: (ceil(width / LANES), ceil(terms / TILE), blocks). svd_terms.glsl has the places.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint a_outer, a_inner, a_row, a_element; \
    uint extent, width, vectors, rows, lanes; \
    uint inner, first_outer, first_inner, q, l, kept; \
    uint out_outer, out_inner, out_term, out_element, is_complex;
#define A 0
#define WORK 1
#define ORDER 2
#define OUT 3
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 readonly
#include "access.glsl"
#include "types.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint in_type = 0;
layout(constant_id = 2) const uint out_type = 0;
layout(constant_id = 3) const uint TERMS = 1;
layout(constant_id = 4) const uint TILE = 8;
#include "svd_terms.glsl"

// Read once (access.glsl).
uint lanes = push.lanes;
uint extent = push.extent;
uint a_row = push.a_row;
uint is_complex = push.is_complex;

void main() {
    const uint matrix = gl_WorkGroupID.z;
    const uint first = gl_WorkGroupID.y * TILE;
    const Terms terms = terms_of(matrix);
    const uint element = min(gl_GlobalInvocationID.x, push.width - 1);
    const uint a = matrix / push.inner * push.a_outer + matrix % push.inner * push.a_inner;
    const uint a_element = (element >> is_complex) * push.a_element;
    const uint entries = matrix * push.kept * 4;
    const float scale = uintBitsToFloat(load(ORDER, entries, 2u));
    const bool bad = (floatBitsToUint(scale) & 0x7f800000u) == 0x7f800000u;

    const float least = LEAST_TERM * uintBitsToFloat(load(ORDER, entries, 1u));

    uint from[TILE];
    float sums[TILE];
    [[unroll]] for (uint t = 0; t < TILE; ++t) {
        const uint vector = load(ORDER, entries, 4 * min(first + t, push.kept - 1));
        from[t] = vector_start(matrix, vector, push.vectors, push.rows, lanes);
        sums[t] = 0.0;
    }
    uint row = 0;
    do {
        // Of conj(û)·x the real part is Re Re + Im Im and the other one Re Im - Im Re.
        const uint across = (row ^ element) & is_complex;
        const float sign = scale * (1.0 - 2.0 * float(row & element & is_complex));
        const float x = sign * load_float(A, in_type, a, (row >> is_complex) * a_row + a_element + across);
        [[unroll]] for (uint t = 0; t < TILE; ++t)
            sums[t] = fma(uintBitsToFloat(load(WORK, from[t] + row * lanes, 0u)), x, sums[t]);
        ++row;
    } while (row < extent);

    const uint to = (element >> is_complex) * push.out_element + (element & is_complex);
    [[unroll]] for (uint t = 0; t < TILE; ++t) {
        const uint term = first + t;
        const float norm = uintBitsToFloat(load(ORDER, entries, 4 * min(term, push.kept - 1) + 1));
        const float length = norm > 0.0 ? norm : 1.0;
        // In A's units: Aᵀ w / σ' is sums / (scale σ'), and √σ is √(σ' / scale). σ itself may be out of range.
        const float value = sums[t] / (length * sqrt(length)) / sqrt(scale);
        const float result = bad ? uintBitsToFloat(0x7fc00000u) : term < push.kept && norm > least ? value : 0.0;
        if (gl_GlobalInvocationID.x < push.width && term < terms.count)
            store_float(OUT, out_type, terms.start, term * terms.step + to, result);
    }
}
