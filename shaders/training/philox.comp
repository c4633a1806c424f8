// philox: fills a contiguous tensor with uniform or normal numbers of Philox 4x32-10.
//
//   block b of the stream = Philox(counter = {lo, hi of first_block + b, 0, 0}, key = {lo, hi of seed}), four words
//   invocation b owns elements 4b … 4b+3:      word 0   word 1   word 2   word 3
//     uniform   low + (high - low) · u          u0       u1       u2       u3        u = (word >> 8) 2^-24
//     normal    mean + stddev · n               (n0      n1)     (n2      n3)        Box-Muller of two words
//
//   n0, n1 = r cos 2πu1, r sin 2πu1 with r = √(-2 ln(1 - u0)); 1 - u0 is exact and never zero
//
// Any grid is right. The value of an element depends on seed, first_block and its index only. `precise` keeps the
// scaling of uniforms one multiplication and one addition everywhere, so that they have the same bits too.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS uint count; uint seed_low; uint seed_high; uint block_low; uint block_high; float base; float scale;
#define SLOT_0
#include "access.glsl"
#include "types.glsl"
#include "math.glsl"
#include "philox.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint out_type = 0;
layout(constant_id = 2) const bool normal = false;

#define OUT 0

vec4 distribute(uvec4 words) {
    const vec4 u = vec4(words >> 8) * 5.9604644775390625e-8;
    vec4 unit = u;
    if (normal) {
        const float r0 = sqrt(max(0.0, -2.0 * natural_log(1.0 - u.x)));
        const float r1 = sqrt(max(0.0, -2.0 * natural_log(1.0 - u.z)));
        unit = vec4(r0 * cos_sin_of_turns(u.y), r1 * cos_sin_of_turns(u.w));
    }
    precise vec4 scaled = unit * push.scale;
    precise vec4 shifted = scaled + push.base;
    return shifted;
}

void main() {
    const uint blocks = (push.count + 3) / 4;
    const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    uint b = gl_GlobalInvocationID.x;
    if (b >= blocks) return;
    do {
        uint carry;
        const uint low = uaddCarry(push.block_low, b, carry);
        const vec4 value =
            distribute(philox(uvec4(low, push.block_high + carry, 0, 0), uvec2(push.seed_low, push.seed_high)));
        const uint first = 4 * b;
        if (is_16_bit(out_type) && start_half(OUT) == 0 && first + 4 <= push.count) {
            store(OUT, 0u, 2 * b, encode_16(out_type, value.x) | encode_16(out_type, value.y) << 16);
            store(OUT, 0u, 2 * b + 1, encode_16(out_type, value.z) | encode_16(out_type, value.w) << 16);
        } else {
            const uint last = min(push.count, first + 4);
            uint i = first;
            do {
                store_float(OUT, out_type, 0u, i, value[i - first]);
                ++i;
            } while (i < last);
        }
        b += step;
    } while (b < blocks);
}
