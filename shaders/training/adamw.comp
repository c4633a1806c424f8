// adamw: one parameter's update by Adam with decoupled weight decay, master and working copy in one pass.
//
//   g = clip · unscale · gradient       m ← β1 m + (1 - β1) g       v ← β2 v + (1 - β2) g²
//   w ← w - learning_rate · (weight_decay · w + (m / c1) / (√(v / c2) + ε)),   c1 = 1 - β1^step, c2 = 1 - β2^step
//
//   state ─ unscale, clip, learning rate, c1, c2    gradient, master, m, v: count elements, contiguous (update.glsl, which
//                                                   may add a masked decay)
// Frozen, v and c2 stay as they are; the first update fills them in any case.
#version 460
#extension GL_GOOGLE_include_directive : require

#include "update_fields.glsl"
#define PUSH_FIELDS \
    UPDATE_FIELDS float beta1; float beta2; float one_minus_beta1; float one_minus_beta2; float epsilon; float weight_decay;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2
#define SLOT_3
#define SLOT_4
#define SLOT_5
#define SLOT_6 readonly
#include "access.glsl"
#include "types.glsl"
#include "training_state.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint gradient_type = 0;
layout(constant_id = 2) const uint working_type = 3;
layout(constant_id = 3) const uint masked_decay = 0;

#define STATE 0
#define GRADIENT 1
#define MASTER 2
#define WORKING 3
#define FIRST 4
#define SECOND 5
#define MASK 6

#include "update.glsl"

float correction1 = state_value(STATE_CORRECTION_1);
float correction2 = state_value(STATE_CORRECTION_2);
bool frozen = load(STATE, STATE_FROZEN, 0u) != 0u && step_count != 1u;

float direction(uint i, float gradient, float weight) {
    const float m = fma(push.beta1, uintBitsToFloat(load(FIRST, 0u, i)), push.one_minus_beta1 * gradient);
    float v = uintBitsToFloat(load(SECOND, 0u, i));
    if (!frozen) v = fma(push.beta2, v, push.one_minus_beta2 * gradient * gradient);
    store(FIRST, 0u, i, floatBitsToUint(m));
    if (!frozen) store(SECOND, 0u, i, floatBitsToUint(v));
    const float normal = (m / correction1) / (sqrt(v / correction2) + push.epsilon);
    return fma(push.weight_decay, weight, normal);
}

void main() { update_all(push.count); }
