// copy: destination[i] = source[i] for all indices i of a box of up to four dimensions, converted from in_type to
// out_type (32-bit words are copied bit for bit when the types are equal).
//
//   sizes (n0, n1, n2, n3); element strides of either side, any of the source's may be 0
//   x: lanes along n3, the destination's smallest stride      y: n2      z: n0 · n1
//   pairs = true: an invocation owns elements 2x and 2x + 1 of a row, one word of a 16-bit destination whose rows
//   start at even elements; else each element is stored on its own
//
// Any grid is right: every dimension is walked with the grid's stride. Called for conversion, transposition, stride
// permutations and blocks in and out of dense matrices: all of them are strides.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uvec4 sizes; uvec4 source_strides; uvec4 destination_strides;
#define SLOT_0 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint in_type = 0;
layout(constant_id = 2) const uint out_type = 0;
layout(constant_id = 3) const bool pairs = false;

#define FROM 0
#define TO 1

void copy_one(uint from, uint to) {
    if (!is_16_bit(in_type) && in_type == out_type) {
        store(TO, 0u, to, load(FROM, 0u, from));
    } else {
        const float value = load_float(FROM, in_type, 0u, from);
        store_float(TO, out_type, 0u, to, value);
    }
}

void copy_row(uint from_row, uint to_row) {
    const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x * (pairs ? 2 : 1);
    uint i = gl_GlobalInvocationID.x * (pairs ? 2 : 1);
    if (i >= push.sizes.w) return;
    do {
        const uint from = from_row + i * push.source_strides.w;
        const uint to = to_row + i * push.destination_strides.w;
        if (pairs && i + 1 < push.sizes.w) {
            const uint next = from + push.source_strides.w;
            const vec2 value = vec2(load_float(FROM, in_type, 0u, from), load_float(FROM, in_type, 0u, next));
            store_float_pair(TO, out_type, 0u, to, value);
        } else {
            copy_one(from, to);
        }
        i += step;
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
            const uvec3 from = index * push.source_strides.xyz;
            const uvec3 to = index * push.destination_strides.xyz;
            copy_row(from.x + from.y + from.z, to.x + to.y + to.z);
            y += gl_NumWorkGroups.y;
        } while (y < push.sizes.z);
        z += gl_NumWorkGroups.z;
    } while (z < outer);
}
