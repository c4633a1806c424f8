// copy: destination[i] = source[i] for all indices i of a box of up to four dimensions, converted from in_type to
// out_type (bit for bit when the types are equal).
//
//   sizes (n0, n1, n2, n3); element strides of either side, any of the source's may be 0
//   x: lanes along n3, the destination's smallest stride      y: tiles of TILE along n2      z: n0 · n1
//   pairs = true: an invocation owns elements 2x and 2x + 1 of a row, one word of a 16-bit destination whose rows
//   start at even elements; else each element is stored on its own
//   TILE > 1: a lane takes its elements of that many rows. In a transpose n2 is the source's smallest stride, and the lane
//   uses up the cache line that its first load brought
//   wide = true, for transposes: an invocation owns two elements, 8 apart, so that 8 lanes fill a cache line of f32
//   negates = true: f32 with the sign exchanged, for imaginary parts of conjugates
//
// Any grid is right: every dimension is walked with the grid's stride. Called for conversion, transposition, stride
// permutations and blocks in and out of dense matrices: all of them are strides.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS uvec4 sizes; uvec4 source_strides; uvec4 destination_strides;
#define SLOT_0 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint in_type = 0;
layout(constant_id = 2) const uint out_type = 0;
layout(constant_id = 3) const bool pairs = false;
layout(constant_id = 4) const uint TILE = 1;
layout(constant_id = 5) const bool wide = false;
layout(constant_id = 6) const bool negates = false;

#define FROM 0
#define TO 1

const bool MOVES = in_type == out_type;
const bool TWO = pairs || wide;
const uint OTHER = pairs ? 1 : 8;  // the second element's distance

uint load_one(uint from) {
    return MOVES ? load_bits(FROM, in_type, from) ^ (negates ? 0x80000000u : 0u)
                 : floatBitsToUint(load_float(FROM, in_type, 0u, from));
}

void store_one(uint to, uint bits) {
    if (!MOVES)
        store_float(TO, out_type, 0u, to, uintBitsToFloat(bits));
    else if (out_type == F32)
        store(TO, 0u, to, bits);
    else
        store_half(TO, to, bits);
}

void store_neighbours(uint to, uint first, uint second) {
    if (MOVES)
        store(TO, 0u, to >> 1, first | second << 16);
    else
        store_float_pair(TO, out_type, 0u, to, uintBitsToFloat(uvec2(first, second)));
}

// Rows y … y + TILE - 1 of n2, whose first elements lie at `from` and `to`. All loads stand in front of all stores, which
// no compiler would exchange: they wait for memory together.
void copy_tile(uint y, uint from, uint to) {
    const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x * (TWO ? 2 : 1);
    const uint from_row = push.source_strides.z, to_row = push.destination_strides.z;
    const uint from_step = push.source_strides.w, to_step = push.destination_strides.w;
    const uint count = push.sizes.w, last_row = push.sizes.z - y - 1;
    const uint id = gl_GlobalInvocationID.x;
    uint i = pairs ? id * 2 : wide ? id / 8 * 16 + id % 8 : id;
    if (i >= count) return;
    do {
        const uint source = from + i * from_step, destination = to + i * to_step;
        const bool both = TWO && i + OTHER < count;
        uint first[TILE], second[TILE];
        [[unroll]] for (uint r = 0; r < TILE; ++r) {
            const uint at = source + min(r, last_row) * from_row;
            first[r] = load_one(at);
        }
        [[unroll]] for (uint r = 0; r < TILE; ++r) {
            const uint at = source + min(r, last_row) * from_row;
            second[r] = TWO ? load_one(at + (both ? OTHER * from_step : 0)) : 0;
        }
        [[unroll]] for (uint r = 0; r < TILE; ++r) {
            if (TILE > 1 && r > last_row) continue;
            const uint at = destination + r * to_row;
            if (pairs && both) {
                store_neighbours(at, first[r], second[r]);
            } else {
                store_one(at, first[r]);
                if (wide && both) store_one(at + OTHER * to_step, second[r]);
            }
        }
        i += step;
    } while (i < count);
}

void main() {
    const uint outer = push.sizes.x * push.sizes.y;
    uint z = gl_WorkGroupID.z;
    do {
        const uvec2 zi = uvec2(z / push.sizes.y, z % push.sizes.y);
        uint y = gl_WorkGroupID.y * TILE;
        do {
            const uvec3 index = uvec3(zi, y);
            const uvec3 from = index * push.source_strides.xyz;
            const uvec3 to = index * push.destination_strides.xyz;
            copy_tile(y, from.x + from.y + from.z, to.x + to.y + to.z);
            y += gl_NumWorkGroups.y * TILE;
        } while (y < push.sizes.z);
        z += gl_NumWorkGroups.z;
    } while (z < outer);
}
