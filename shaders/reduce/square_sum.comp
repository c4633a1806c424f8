// square_sum: partials[g] = {Σ (unscale · x[i])², number of values that are infinite or NaN} for the share of
// workgroup g of a contiguous tensor x; unscale is 1 or the reciprocal of the loss scale in a training state.
//
//   workgroup      0        1        2              lanes walk x with the stride of the whole grid;
//   x           ▏▏▏▏▏▏▏▏ ▏▏▏▏▏▏▏▏ ▏▏▏▏▏▏▏▏ …        each group adds its lanes by a tree
//
// First pass of the global norm; norm_finish or step_prepare adds the partials of all tensors. The count is kept
// apart from the sum because squares overflow before their values do. Counts are small whole numbers, exact in fp32.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint count;
#define SLOT_0 readonly
#define SLOT_1 writeonly
#define SLOT_2 readonly
#include "access.glsl"
#include "types.glsl"
#include "math.glsl"
#include "training_state.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint in_type = 0;
layout(constant_id = 2) const bool unscaled = false;

#define X 0
#define PARTIALS 1
#define STATE 2
#define LANES gl_WorkGroupSize.x
#include "reduce.glsl"

void main() {
    float unscale = 1.0;
    if (unscaled) unscale = 1.0 / uintBitsToFloat(load(STATE, uint(STATE_LOSS_SCALE), 0u));
    const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    vec2 sum = vec2(0.0);
    // All lanes walk the same number of steps (see loss_finish.comp).
    uint start = gl_WorkGroupID.x * gl_WorkGroupSize.x;
    do {
        const uint i = start + gl_LocalInvocationID.x;
        const float value = load_float(X, in_type, 0u, min(i, push.count - 1));
        const float plain = unscale * value;
        if (i < push.count) sum += is_finite(value) ? vec2(plain * plain, 0.0) : vec2(0.0, 1.0);
        start += step;
    } while (start < push.count);
    const vec2 total = workgroup_sum(gl_LocalInvocationID.x, sum);
    if (gl_LocalInvocationID.x == 0) {
        const uint to = 2 * gl_WorkGroupID.x;
        store(PARTIALS, 0u, to, floatBitsToUint(total.x));
        store(PARTIALS, 0u, to + 1, floatBitsToUint(total.y));
    }
}
