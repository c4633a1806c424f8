// An example for the tests of the table: it needs no include, so that the library's shaders may change freely.
// Slot 0 is read, slot 1 is written, slot 2 is updated, slot 3 is used by sparse24 alone.
#version 460
#ifdef ACCESS_ADDRESS
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#endif

layout(push_constant) uniform Push {
    uvec2 ref[SLOTS];
    uint count;
} push;

#ifdef ACCESS_ADDRESS
layout(buffer_reference, buffer_reference_align = 4, std430) buffer Words { uint words[]; };
#define WORD(slot, i) Words(push.ref[slot]).words[i]
#else
layout(set = 0, binding = 0, std430) readonly buffer Slot0 { uint words[]; } slot_0;
layout(set = 0, binding = 1, std430) writeonly buffer Slot1 { uint words[]; } slot_1;
layout(set = 0, binding = 2, std430) buffer Slot2 { uint words[]; } slot_2;
layout(set = 0, binding = 3, std430) buffer Slot3 { uint words[]; } slot_3;
#define WORD(slot, i) slot_##slot.words[push.ref[slot].x + i]
#endif

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool negate = false;
layout(constant_id = 2) const float factor = 1.0;
layout(constant_id = 3) const float offset = 0.5;

void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i >= push.count) return;
    float value = fma(uintBitsToFloat(WORD(0, i)), factor, offset);
#ifdef WEIGHT_SPARSE24
    value *= uintBitsToFloat(WORD(3, i));
#endif
    WORD(1, i) = floatBitsToUint(negate ? -value : value);
    atomicAdd(WORD(2, 0), 1u);
}
