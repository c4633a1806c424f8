// quotient_finish: out[0] = Σx / Σy over partial sums {x, y}; 1 where Σy is zero.
// One workgroup: lanes walk the partials, a tree adds the lanes.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint partials;
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"

layout(local_size_x_id = 0) in;

#define PARTIALS 0
#define OUT 1
#define LANES gl_WorkGroupSize.x
#include "reduce.glsl"
#include "partials.glsl"

void main() {
    const vec2 total = workgroup_sum(gl_LocalInvocationID.x, lane_partials(push.partials));
    if (gl_LocalInvocationID.x == 0) store(OUT, 0u, 0u, floatBitsToUint(total.y == 0.0 ? 1.0 : total.x / total.y));
}
