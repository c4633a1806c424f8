// Working vectors from f32 to f64 and back (WIDEN or not): the rotations of jacobi.comp in f64 work on the former, everything else on
// the latter.
//
//   f32   a b c d …        lanes walk the elements with the stride of the grid
//   f64   a b c d …
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint count;
#define NARROW 0
#define WIDE 1
#define REAL_F64
#include "access.glsl"
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool WIDEN = true;

void main() {
    const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    uint start = gl_WorkGroupID.x * gl_WorkGroupSize.x;
    do {
        const uint i = start + gl_LocalInvocationID.x;
        const uint known = min(i, push.count - 1);
        if (WIDEN) {
            const double value = double(uintBitsToFloat(load(NARROW, 0u, known)));
            if (i < push.count) store_real(WIDE, 0u, known, value);
        } else {
            const float value = float(load_real(WIDE, 0u, known));
            if (i < push.count) store(NARROW, 0u, known, floatBitsToUint(value));
        }
        start += step;
    } while (start < push.count);
}
