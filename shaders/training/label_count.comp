// label_count: counts[g] = number of labels below `classes` in the share of workgroup g; the rows of other labels are
// ignored by cross_entropy, which divides by the sum of the counts. At most 64 workgroups.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint rows; uint stride; uint classes;
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"

layout(local_size_x_id = 0) in;

#define LABELS 0
#define COUNTS 1

shared uint counts[gl_WorkGroupSize.x];

void main() {
    const uint lane = gl_LocalInvocationID.x;
    uint count = 0;
    // All lanes walk the same number of steps (see loss_finish.comp).
    uint start = gl_WorkGroupID.x * gl_WorkGroupSize.x;
    do {
        const uint row = start + lane;
        const uint label = load(LABELS, 0u, min(row, push.rows - 1) * push.stride);
        count += row < push.rows && label < push.classes ? 1 : 0;
        start += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (start < push.rows);
    counts[lane] = count;
    barrier();
    uint step = gl_WorkGroupSize.x / 2;
    while (step > 0) {
        if (lane < step) counts[lane] += counts[lane + step];
        barrier();
        step /= 2;
    }
    if (lane == 0) store(COUNTS, 0u, gl_WorkGroupID.x, counts[0]);
}
