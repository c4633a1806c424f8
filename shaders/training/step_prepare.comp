// step_prepare: what one optimizer step needs to know, written to its state before the parameters are updated.
//
//   partials of all gradients ──► found_inf, norm ──► unscale, clip,  step += 1, bias corrections
//                                        └─ found_inf: step unchanged, loss scale · backoff, skipped += 1
//
// One workgroup. The updates that follow do nothing when found_inf is set. With max_norm > 0 a norm beyond fp32 counts
// as found_inf too. The loss scale grows after growth_interval good steps, and it and its reciprocal stay normal
// numbers. Corrections follow c ← β c + (1 - β), which is 1 - β^step without the cancellation; the second one stays while
// the second moment is frozen.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint partials; uint growth_interval; float growth; float backoff; float max_norm; float beta1; float beta2; \
    float one_minus_beta1; float one_minus_beta2;
#define SLOT_0 readonly
#define SLOT_1
#include "access.glsl"
#include "math.glsl"
#include "training_state.glsl"

layout(local_size_x_id = 0) in;

const float LARGEST_SCALE = 8.507059173023462e37;  // 2^126

#define PARTIALS 0
#define STATE 1
#define LANES gl_WorkGroupSize.x
#include "reduce.glsl"
#include "partials.glsl"

float get(uint word) { return uintBitsToFloat(load(STATE, 0u, word)); }
void put(uint word, float value) { store(STATE, 0u, word, floatBitsToUint(value)); }
void increment(uint word) { store(STATE, 0u, word, load(STATE, 0u, word) + 1); }

void main() {
    const vec2 total = workgroup_sum(gl_LocalInvocationID.x, lane_partials(push.partials));
    if (gl_LocalInvocationID.x != 0) return;

    const float scale = get(STATE_LOSS_SCALE);
    const float norm = sqrt(total.x);
    const bool found = total.y > 0.0 || (push.max_norm > 0.0 && !is_finite(norm));
    store(STATE, 0u, STATE_FOUND_INF, found ? 1u : 0u);
    store(STATE, 0u, STATE_NORM, total.y > 0.0 ? 0x7fc00000u : floatBitsToUint(norm));
    put(STATE_UNSCALE, 1.0 / scale);
    put(STATE_CLIP, push.max_norm > 0.0 ? min(1.0, push.max_norm / (norm + 1e-6)) : 1.0);
    if (found) {
        increment(STATE_SKIPPED);
        if (push.growth_interval > 0) put(STATE_LOSS_SCALE, max(scale * push.backoff, 1.0 / LARGEST_SCALE));
        store(STATE, 0u, STATE_GOOD_STEPS, 0u);
        return;
    }
    const bool frozen = load(STATE, 0u, STATE_FROZEN) != 0u && load(STATE, 0u, STATE_STEP) != 0u;
    increment(STATE_STEP);
    put(STATE_CORRECTION_1, fma(push.beta1, get(STATE_CORRECTION_1), push.one_minus_beta1));
    if (!frozen) put(STATE_CORRECTION_2, fma(push.beta2, get(STATE_CORRECTION_2), push.one_minus_beta2));
    const uint good = load(STATE, 0u, STATE_GOOD_STEPS) + 1;
    const bool grow = push.growth_interval > 0 && good >= push.growth_interval;
    store(STATE, 0u, STATE_GOOD_STEPS, grow ? 0u : good);
    if (grow && scale * push.growth <= LARGEST_SCALE) put(STATE_LOSS_SCALE, scale * push.growth);
}
