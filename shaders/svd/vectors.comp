// Working vectors as results: out (outer, inner, element, term), terms in the order of order.comp (svd_terms.glsl).
//
//   w of length σ', scale     FORM 0: w / σ'               singular vectors of the side that the working vectors are of
//                             FORM 1: w                    those of the other side, which turned along
//                             FORM 2: w / σ' · √σ          that side of a projection's factors
//
// Complex ones have real and imaginary parts as neighbours, in w and in out, and extent and strides count reals; conjugates
// = 1 exchanges the latter's sign. A vector of length zero is zero, in a projection one of LEAST_TERM of the longest too. NaN for a matrix that holds NaN
// or infinities. Grid: (ceil(extent / LANES), terms, matrices). Called for decompositions and projections.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint extent, first_row, vectors, rows, lanes; \
    uint inner, first_outer, first_inner, q, l, kept; \
    uint out_outer, out_inner, out_term, out_element; \
    uint is_complex, conjugates;
#define WORK 0
#define ORDER 1
#define OUT 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#include "access.glsl"
#include "types.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint out_type = 0;
layout(constant_id = 2) const uint TERMS = 0;
layout(constant_id = 3) const uint FORM = 0;
#include "svd_terms.glsl"

void main() {
    const uint matrix = gl_WorkGroupID.z;
    const uint term = gl_WorkGroupID.y;
    const Terms terms = terms_of(matrix);
    const uint entry = (matrix * push.kept + min(term, push.kept - 1)) * 4;
    const uint vector = load(ORDER, entry, 0u);
    const float norm = uintBitsToFloat(load(ORDER, entry, 1u));
    const float scale = uintBitsToFloat(load(ORDER, entry, 2u));
    const bool bad = (floatBitsToUint(scale) & 0x7f800000u) == 0x7f800000u;
    const float longest = uintBitsToFloat(load(ORDER, matrix * push.kept * 4, 1u));
    const float least = FORM == 2 ? LEAST_TERM * longest : 0.0;
    const bool kept = term < push.kept && (FORM == 1 || norm > least);

    const float length = norm > 0.0 ? norm : 1.0;
    const uint element = min(gl_GlobalInvocationID.x, push.extent - 1);
    const float sign = 1.0 - 2.0 * float(element & push.conjugates);
    const float factor = sign * (FORM == 0 ? 1.0 / length : FORM == 1 ? 1.0 : 1.0 / (sqrt(length) * sqrt(scale)));
    const uint from = vector_start(matrix, vector, push.vectors, push.rows, push.lanes);
    const float value = uintBitsToFloat(load(WORK, from, (push.first_row + element) * push.lanes));
    const float result = bad ? uintBitsToFloat(0x7fc00000u) : kept ? value * factor : 0.0;
    if (gl_GlobalInvocationID.x < push.extent && term < terms.count)
        store_float(OUT, out_type, terms.start,
                    term * terms.step + (element >> push.is_complex) * push.out_element + (element & push.is_complex),
                    result);
}
