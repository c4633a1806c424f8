// inverse[index[i]] = i for 0 <= i < count: the inverse of a permutation of indices.
//
//   i         0 1 2
//   index     2 0 1        An index that is not below count is dropped; where no i leads, `inverse` keeps what it
//   inverse   1 2 0        held; where several lead, one of them is stored.
//
// Any grid is right. Called once for each permutation made from a device tensor.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint count; uint index_stride;
#define INDEX 0
#define INVERSE 1
#define SLOT_0 readonly
#define SLOT_1 writeonly
#include "access.glsl"

layout(local_size_x_id = 0) in;

void main() {
    uint i = gl_GlobalInvocationID.x;
    if (i >= push.count) return;
    do {
        const uint to = load(INDEX, 0u, i * push.index_stride);
        if (to < push.count) store(INVERSE, 0u, to, i);
        i += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (i < push.count);
}
