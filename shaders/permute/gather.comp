// out[…][i][…] = in[…][index[i]][…]: a gather along one dimension of a box of four, elements moved bit for bit.
//
//   sizes (n0, n1, n2, n3); element strides of either side
//   x: lanes along n3, the destination's smallest stride      y: n2      z: n0 · n1
//   FEATURES = 3: the gathered dimension is n3 (features contiguous in out);  2: it is n2 (tokens contiguous)
//
//   index   2 0 1          An index that is not below `features` gives 0: nothing outside `in` is read.
//   in      a b c
//   out     c a b          PAIRS: an invocation owns elements 2x and 2x + 1 of a row, one word of a 16-bit
//                          destination whose rows start at even elements
//
// Any grid is right: every dimension is walked with the grid's stride. Called for index permutations and their inverses.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint features, index_stride; \
    uvec4 sizes; uvec4 source_strides; uvec4 destination_strides;
#define FROM 0
#define INDEX 1
#define TO 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#include "access.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const bool NARROW = false;  // 16-bit elements
layout(constant_id = 2) const uint FEATURES = 3;
layout(constant_id = 3) const bool PAIRS = false;

// Element `feature` of the gathered dimension, at `base` plus its stride; 0 when there is none.
uint gathered(uint base, uint feature, uint stride) {
    const uint at = base + min(feature, push.features - 1) * stride;
    const uint e = at + (NARROW ? start_half(FROM) : 0u);
    const uint word = load(FROM, 0u, NARROW ? e >> 1 : e);
    const uint bits = NARROW ? word >> (e & 1u) * 16u & 0xffffu : word;
    return feature < push.features ? bits : 0u;
}

uint source(uvec3 start, uint i) {
    if (FEATURES == 3) {
        const uint feature = load(INDEX, 0u, min(i, push.sizes.w - 1) * push.index_stride);
        return gathered(start.x + start.y + start.z, feature, push.source_strides.w);
    }
    return gathered(start.x + start.y + min(i, push.sizes.w - 1) * push.source_strides.w, start.z,
                    push.source_strides.z);
}

void store_one(uint to, uint bits) {
    if (!NARROW) {
        store(TO, 0u, to, bits);
    } else {
        const uint e = to + start_half(TO);
        const uint shift = (e & 1u) * 16u;
        atomic_and(TO, e >> 1, 0xffff0000u >> shift);
        atomic_or(TO, e >> 1, bits << shift);
    }
}

// start.z is an offset (FEATURES == 3) or the feature to read (FEATURES == 2).
void gather_row(uvec3 start, uint to_row) {
    const uint width = PAIRS ? 2 : 1;
    uint i = gl_GlobalInvocationID.x * width;
    if (i >= push.sizes.w) return;
    do {
        const uint to = to_row + i * push.destination_strides.w;
        const uint first = source(start, i);
        if (PAIRS && i + 1 < push.sizes.w)
            store(TO, 0u, to >> 1, first | source(start, i + 1) << 16);
        else
            store_one(to, first);
        i += gl_NumWorkGroups.x * gl_WorkGroupSize.x * width;
    } while (i < push.sizes.w);
}

void main() {
    const uint outer = push.sizes.x * push.sizes.y;
    uint z = gl_WorkGroupID.z;
    do {
        const uvec2 zi = uvec2(z / push.sizes.y, z % push.sizes.y);
        uint y = gl_WorkGroupID.y;
        do {
            const uvec3 index = uvec3(zi, y);
            uvec3 from = index * push.source_strides.xyz;
            if (FEATURES == 2) from.z = load(INDEX, y * push.index_stride, 0u);
            const uvec3 to = index * push.destination_strides.xyz;
            gather_row(from, to.x + to.y + to.z);
            y += gl_NumWorkGroups.y;
        } while (y < push.sizes.z);
        z += gl_NumWorkGroups.z;
    } while (z < outer);
}
