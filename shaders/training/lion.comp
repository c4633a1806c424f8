// lion: one parameter's update by the sign of its momentum, with decoupled weight decay, master and working copy in one pass.
//
//   g = clip · unscale · gradient       u = sign(β1 m + (1 - β1) g)       m ← β2 m + (1 - β2) g
//   w ← w - learning_rate · (u + weight_decay · w)                        sign(0) = 0, NaN stays
//
//   state ─ unscale, clip, learning rate            gradient, master, m: count elements, contiguous (update.glsl, which may
//                                                   add a masked decay)
#version 460
#extension GL_GOOGLE_include_directive : require

#include "update_fields.glsl"
#define PUSH_FIELDS \
    UPDATE_FIELDS float beta1; float beta2; float one_minus_beta1; float one_minus_beta2; float weight_decay;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2
#define SLOT_3
#define SLOT_4
#define SLOT_5 readonly
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
#define MOMENT 4
#define MASK 5

#include "update.glsl"

float direction(uint i, float gradient, float weight) {
    const float m = uintBitsToFloat(load(MOMENT, 0u, i));
    const float between = fma(push.beta1, m, push.one_minus_beta1 * gradient);
    store(MOMENT, 0u, i, floatBitsToUint(fma(push.beta2, m, push.one_minus_beta2 * gradient)));
    const float u = between > 0.0 ? 1.0 : between < 0.0 ? -1.0 : between;
    return fma(push.weight_decay, weight, u);
}

void main() { update_all(push.count); }
