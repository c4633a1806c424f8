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

#if defined(ACCESS_ADDRESS)
layout(buffer_reference, buffer_reference_align = 16, std430) buffer WordQuads { uvec4 quads[]; };
#define copy_quad(base, word) \
    WordQuads(address_of(operand[1], base)).quads[(word) >> 2] = \
        WordQuads(address_of(operand[0], base)).quads[(word) >> 2]
#else
#define copy_quad(base, word) \
    do { \
        const uvec2 low_ = load_pair(0, base, word), high_ = load_pair(0, base, (word) + 2); \
        store_pair(1, base, word, low_); \
        store_pair(1, base, (word) + 2, high_); \
    } while (false)
#endif

void main() {
    const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint base = group * gl_WorkGroupSize.x * STEPS * WIDTH;
    if (base >= push.count) return;
    uint word = gl_LocalInvocationID.x * WIDTH;
    uint step_ = 0;
    do {
        if (WIDTH == 4)
            copy_quad(base, word);
        else
            store_pair(1, base, word, load_pair(0, base, word));
        word += gl_WorkGroupSize.x * WIDTH;
        step_++;
    } while (step_ < STEPS);
}
