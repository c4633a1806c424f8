// stream_copy: ref[1][i] = ref[0][i] for 0 <= i < count, in 32-bit words: the device's copy bandwidth.
//
//   workgroup w = y · columns of the grid + x copies words [w, w + 1) · local_size · steps · WIDTH; in each of its `steps` steps neighbouring
//   lanes move neighbouring groups of WIDTH words, 16 bytes where WIDTH is 4.
//
// Count is a multiple of what a workgroup copies, both operands start at a multiple of 16 bytes, and the grid has
// count ÷ (local_size · steps · WIDTH) workgroups in two dimensions.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint count;
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint WIDTH = 4;
layout(constant_id = 2) const uint STEPS = 4;

void main() {
    const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint base = group * gl_WorkGroupSize.x * STEPS * WIDTH;
    if (base >= push.count) return;
    uint word = gl_LocalInvocationID.x * WIDTH;
    uint step_ = 0;
    do {
        if (WIDTH == 4)
            store_quad(1, base, word, load_quad(0, base, word));
        else
            store_pair(1, base, word, load_pair(0, base, word));
        word += gl_WorkGroupSize.x * WIDTH;
        step_++;
    } while (step_ < STEPS);
}
