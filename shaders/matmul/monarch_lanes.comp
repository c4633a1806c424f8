// A factor of a Monarch product with lanes along features, for CPUs (docs/kernels.md). Tokens of all operands are
// contiguous; weights are packed (pack.comp, panels of GROUP rows, depth 1), so that lanes read neighbours.
//
//   first factor    inner[t][·] = sum over k of x[t][b·DEPTH + k] · w1[b][·][k]       lanes: outputs of block b
//   second factor   y[t][j·l + L] = sum over r of inner[t][r·l + L] · w2[L][j][r]     lanes: blocks L
//
//   inner, of one token:  group of blocks L / GROUP, then r, then L % GROUP: the second factor reads it in one stream
//   w1: block, group of rows, k, row        w2: row j, group of blocks, r, block
//
// Grid, first:  (groups of a block, blocks, tiles of tokens)        second: (groups of blocks, chunks of rows j, tiles of tokens)
//
// The host promises DEPTH and depth to be what the sums have, and whole groups. With ONE_SUBGROUP, a workgroup of one
// subgroup, a lane's number is a constant to lavapipe, whose compiler then makes one vector load of the eight uniform
// words that load_vector() picks from. Tokens behind the last one repeat it, and store its results again.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require

#define PUSH_FIELDS \
    uint tokens, tile; \
    uint in_token, out_token; \
    uint blocks, depth, rows, chunk; \
    uint bias_stride; \
    float scale;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_3 readonly
#include "access.glsl"
#include "epilogue.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TOKENS = 4;    // of a tile
layout(constant_id = 2) const uint GROUP = 16;    // features of a group, a multiple of LANES
layout(constant_id = 3) const uint DEPTH = 32;    // of the first factor: unrolled whole, since a loop costs masks
layout(constant_id = 4) const uint ROWS = 2;      // of the second factor's blocks, in registers
layout(constant_id = 5) const uint STEP = 8;      // of sums whose weights are in registers
layout(constant_id = 6) const uint ACTIVATION = 0;
layout(constant_id = 7) const uint HAS_BIAS = 0;
layout(constant_id = 8) const uint ONE_SUBGROUP = 0;

#define IN 0
#define WEIGHT 1
#define OUT 2
#define BIAS 3

const uint LANES = 8;
const uint PARTS = GROUP / LANES;

uint lane = ONE_SUBGROUP != 0 ? gl_SubgroupInvocationID : gl_LocalInvocationID.x;

float pick(uvec4 low, uvec4 high) {
    uint word = low.x;
    word = lane == 1 ? low.y : word;
    word = lane == 2 ? low.z : word;
    word = lane == 3 ? low.w : word;
    word = lane == 4 ? high.x : word;
    word = lane == 5 ? high.y : word;
    word = lane == 6 ? high.z : word;
    word = lane == 7 ? high.w : word;
    return uintBitsToFloat(word);
}
// Words offset + constant … + 7, one a lane.
#define load_vector(slot, offset, constant) pick(load_quad(slot, offset, constant), load_quad(slot, offset, (constant) + 4))

uint tokens = push.tokens, in_token = push.in_token, out_token = push.out_token;

#if defined(STAGE_FIRST)

void main() {
    const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint from = gl_WorkGroupID.y * DEPTH, weight = group * DEPTH * GROUP;
    const uint output_ = group * GROUP, blocks = push.blocks;
    const uint to = (output_ % blocks / GROUP * push.depth + output_ / blocks) * GROUP;
    uint token = gl_WorkGroupID.z * push.tile;
    const uint end = min(token + push.tile, tokens);
    do {
        uint row[TOKENS];
        float sum[TOKENS][PARTS];
        [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
            row[t] = min(token + t, tokens - 1);
            [[unroll]] for (uint p = 0; p < PARTS; ++p) sum[t][p] = 0.0;
        }
        [[unroll]] for (uint k = 0; k < DEPTH; k += STEP)
            [[unroll]] for (uint p = 0; p < PARTS; ++p) {
                float w[STEP];
                [[unroll]] for (uint i = 0; i < STEP; ++i) w[i] = load_vector(WEIGHT, weight, (k + i) * GROUP + p * LANES);
                [[unroll]] for (uint t = 0; t < TOKENS; ++t)
                    [[unroll]] for (uint i = 0; i < STEP; ++i)
                        sum[t][p] = fma(uintBitsToFloat(load(IN, from + row[t] * in_token, k + i)), w[i], sum[t][p]);
            }
        [[unroll]] for (uint t = 0; t < TOKENS; ++t)
            [[unroll]] for (uint p = 0; p < PARTS; ++p)
                store(OUT, to + row[t] * out_token, lane + p * LANES, floatBitsToUint(sum[t][p]));
        token += TOKENS;
    } while (token < end);
}

#elif defined(STAGE_SECOND)

void main() {
    const float scale = push.scale;
    const uint blocks = push.blocks, depth = push.depth, bias_stride = push.bias_stride;
    const uint group = gl_WorkGroupID.x, groups = gl_NumWorkGroups.x, token = gl_WorkGroupID.z * TOKENS;
    uint from[TOKENS], to[TOKENS];
    [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
        const uint row = min(token + t, tokens - 1);
        from[t] = row * in_token + group * depth * GROUP;
        to[t] = row * out_token + group * GROUP;
    }
    uint j = gl_WorkGroupID.y * push.chunk;
    const uint end = min(j + push.chunk, push.rows);
    do {
        float sum[TOKENS][ROWS][PARTS];
        [[unroll]] for (uint t = 0; t < TOKENS; ++t)
            [[unroll]] for (uint r = 0; r < ROWS; ++r)
                [[unroll]] for (uint p = 0; p < PARTS; ++p) sum[t][r][p] = 0.0;
        uint k = 0;
        do {
            [[unroll]] for (uint p = 0; p < PARTS; ++p) {
                float w[ROWS][STEP];
                [[unroll]] for (uint i = 0; i < STEP; ++i)
                    [[unroll]] for (uint r = 0; r < ROWS; ++r)
                        w[r][i] = load_vector(WEIGHT, (((j + r) * groups + group) * depth + k) * GROUP, i * GROUP + p * LANES);
                [[unroll]] for (uint t = 0; t < TOKENS; ++t)
                    [[unroll]] for (uint i = 0; i < STEP; ++i) {
                        const float x = load_vector(IN, from[t] + k * GROUP, i * GROUP + p * LANES);
                        [[unroll]] for (uint r = 0; r < ROWS; ++r) sum[t][r][p] = fma(x, w[r][i], sum[t][r][p]);
                    }
            }
            k += STEP;
        } while (k < depth);
        [[unroll]] for (uint r = 0; r < ROWS; ++r)
            [[unroll]] for (uint p = 0; p < PARTS; ++p) {
                const uint column = (j + r) * blocks;
                float bias = 0.0;
                if (HAS_BIAS != 0)
                    bias = uintBitsToFloat(
                        load(BIAS, (column + group * GROUP) * bias_stride, (lane + p * LANES) * bias_stride));
                [[unroll]] for (uint t = 0; t < TOKENS; ++t) {
                    const float y = activate(ACTIVATION, fma(scale, sum[t][r][p], bias));
                    store(OUT, to[t] + column, lane + p * LANES, floatBitsToUint(y));
                }
            }
        j += ROWS;
    } while (j < end);
}

#else
#error "the build defines STAGE_FIRST or STAGE_SECOND"
#endif
