// loss_finish: adds the partials of cross_entropy and the words of label_count into four words of metrics:
//
//   metrics   mean loss (f32) = sum / counted, 0 without rows │ sum of losses (f32) │ correct rows │ counted rows
//
// One workgroup. With accumulate the last three go on from what is there, so that an epoch is read back once.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint partials; uint counts; uint accumulate;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2
#include "access.glsl"

layout(local_size_x_id = 0) in;

#define PARTIALS 0
#define COUNTS 1
#define METRICS 2

const uint lanes = gl_WorkGroupSize.x;
shared float losses[lanes];
shared uvec2 rows[lanes];  // correct, counted

void main() {
    const uint lane = gl_LocalInvocationID.x;
    float loss = 0.0;
    uvec2 row = uvec2(0);
    // All lanes walk the same number of steps: SwiftShader forgets what a lane has summed in a loop that others stay in
    // (docs/kernels.md).
    uint start = 0;
    do {
        const uint i = start + lane;
        const uint at = 2 * min(i, max(push.partials, 1u) - 1);
        loss += i < push.partials ? uintBitsToFloat(load(PARTIALS, 0u, at)) : 0.0;
        row.x += i < push.partials ? load(PARTIALS, 0u, at + 1) : 0;
        start += lanes;
    } while (start < push.partials);
    start = 0;
    do {
        const uint i = start + lane;
        row.y += i < push.counts ? load(COUNTS, 0u, min(i, max(push.counts, 1u) - 1)) : 0;
        start += lanes;
    } while (start < push.counts);
    losses[lane] = loss;
    rows[lane] = row;
    barrier();
    uint step = lanes / 2;
    while (step > 0) {
        if (lane < step) {
            losses[lane] += losses[lane + step];
            rows[lane] += rows[lane + step];
        }
        barrier();
        step /= 2;
    }
    if (lane == 0) {
        loss = losses[0];
        row = rows[0];
        if (push.accumulate != 0u) {
            loss += uintBitsToFloat(load(METRICS, 0u, 1u));
            row += uvec2(load(METRICS, 0u, 2u), load(METRICS, 0u, 3u));
        }
        store(METRICS, 0u, 0u, floatBitsToUint(row.y == 0u ? 0.0 : loss / float(row.y)));
        store(METRICS, 0u, 1u, floatBitsToUint(loss));
        store(METRICS, 0u, 2u, row.x);
        store(METRICS, 0u, 3u, row.y);
    }
}
