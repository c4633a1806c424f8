// sgd: one parameter's update by stochastic gradient descent with momentum, master and working copy in one pass.
//
//   g ← clip · unscale · gradient + weight_decay · w
//   v ← first step ? g : momentum · v + (1 - dampening) · g          (momentum only)
//   w ← w - learning_rate · (nesterov ? g + momentum · v : v)
//
//   state ─ unscale, clip, learning rate, step      gradient, master, velocity: count elements, contiguous (update.glsl,
//                                                   which may add a masked decay)
#version 460
#extension GL_GOOGLE_include_directive : require

#include "update_fields.glsl"
#define PUSH_FIELDS UPDATE_FIELDS float momentum; float keep; float weight_decay;
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
layout(constant_id = 3) const bool has_momentum = false;
layout(constant_id = 4) const bool nesterov = false;
layout(constant_id = 5) const uint masked_decay = 0;

#define STATE 0
#define GRADIENT 1
#define MASTER 2
#define WORKING 3
#define VELOCITY 4
#define MASK 5

#include "update.glsl"

float direction(uint i, float gradient, float weight) {
    const float g = fma(push.weight_decay, weight, gradient);
    if (!has_momentum) return g;
    const bool first = step_count == 1u;
    const float old = uintBitsToFloat(load(VELOCITY, 0u, i));
    const float velocity = first ? g : fma(push.momentum, old, push.keep * g);
    store(VELOCITY, 0u, i, floatBitsToUint(velocity));
    return nesterov ? fma(push.momentum, velocity, g) : velocity;
}

void main() { update_all(push.count); }
