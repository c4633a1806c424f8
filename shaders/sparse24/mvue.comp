// A gradient G (blocks, rows, cols) pruned to 2:4 at random without bias, and compressed (compress.comp has the format).
//
//   unbiased_two.glsl says which two of a group are kept, by METHOD 0: least variance, 1: one of each two, 2: two draws
//
// A group with NaN or infinity keeps its two largest as they are. A group of zeros keeps two zeros.
// A lane is eight groups, a word of the metadata: 2 blocks of Philox words (METHOD 0), or 4, from block_low, block_high on;
// word 2 of the counter is STEP's value. ROWS_FIRST: neighbouring lanes take neighbouring rows, for G whose rows are
// contiguous in memory, else words of a row. WHOLE: cols is a multiple of 32. Grid: (rows or words, words or rows, blocks), walked but for blocks.
// Called for compress_unbiased.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint g_block, g_row, g_column; \
    uint values_block, meta_block; \
    uint seed_low, seed_high, block_low, block_high, has_step;
#define G 0
#define STEP 1
#define VALUES 2
#define META 3
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#define SLOT_3 writeonly
#include "access.glsl"
#include "types.glsl"
#include "philox.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const uint METHOD = 0;
layout(constant_id = 3) const bool ROWS_FIRST = false;
layout(constant_id = 4) const bool WHOLE = false;

#define IN_PAIRS false
#define DENSE_IN G
#define IN_COLUMN push.g_column
#include "groups24.glsl"

const uint PHILOX_BLOCKS = METHOD == 0 ? 2 : 4;  // a lane
const float UNIT_23 = 1.1920928955078125e-7;     // 2^-23

#include "unbiased_two.glsl"

// The nibble, and the two values as bits.
uvec3 prune(uint row, uint group, float u, float v) {
    const uint present = WHOLE ? 4u : min(push.cols - group * 4, 4u);
    uvec4 entries = load_group(row, group, present);
    uvec4 keys;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        if (!WHOLE) entries[i] = i < present ? entries[i] : 0u;
        keys[i] = magnitude_key(entries[i]);
    }
    const vec4 x = TYPE == F32 ? uintBitsToFloat(entries)
                               : vec4(decode_pair(TYPE, entries.x | entries.y << 16),
                                      decode_pair(TYPE, entries.z | entries.w << 16));
    Two kept;
    if (METHOD == 0) kept = least_variance(x, u);
    if (METHOD == 1) kept = one_of_each_two(x, vec2(u, v));
    if (METHOD == 2) kept = two_draws(x, vec2(u, v));
    const uvec2 bits = TYPE == F32 ? floatBitsToUint(kept.values)
                                   : uvec2(encode_16(TYPE, kept.values.x), encode_16(TYPE, kept.values.y));
    const bvec4 two = keep_two(keys);
    const bool finite = max(max(keys.x, keys.y), max(keys.z, keys.w)) < INFINITY_KEY;
    return finite ? uvec3(kept.places.x | kept.places.y << 2, bits)
                  : uvec3(first_of_two(two) | second_of_two(two) << 2, entries_of_two(entries, two));
}

void main() {
    const uint groups = (push.cols + 3) / 4, words = (groups + 7) / 8, block = gl_WorkGroupID.z;
    const uint step = push.has_step != 0 ? load(STEP, 0u, 0u) : 0u;
    const uint xs = ROWS_FIRST ? push.rows : words, ys = ROWS_FIRST ? words : push.rows;
    uint y = gl_WorkGroupID.y;
    do {
        uint x = gl_GlobalInvocationID.x;
        if (x < xs) do {
            const uint row = ROWS_FIRST ? x : y, word = ROWS_FIRST ? y : x;
            const uint g_row = block * push.g_block + row * push.g_row;
            const uint values = block * push.values_block + row * groups;
            const uint line = block * push.rows + row;
            // 64 bits of line · words + word times the blocks of a lane, behind the first block.
            uint high, low, carry;
            umulExtended(line, words * PHILOX_BLOCKS, high, low);
            low = uaddCarry(low, word * PHILOX_BLOCKS, carry);
            high += carry;
            low = uaddCarry(low, push.block_low, carry);
            high += carry + push.block_high;
            uint meta = 0, i = 0;
            do {
                const uint counter = low + (METHOD == 0 ? i / 4 : i / 2);
                const uvec4 bits =
                    philox(uvec4(counter, high + (counter < low ? 1u : 0u), step, 0), uvec2(push.seed_low, push.seed_high));
                const vec4 u = vec4(bits >> 9) * UNIT_23;
                const uint of_block = METHOD == 0 ? 4 : 2;
                [[unroll]] for (uint k = 0; k < of_block; ++k) {
                    const uint group = word * 8 + i + k;
                    if (WHOLE || group < groups) {
                        const uvec3 kept = prune(g_row, group, METHOD == 0 ? u[k] : u[2 * k & 3], u[2 * k + 1 & 3]);
                        meta |= kept.x << (i + k) * 4;
                        if (TYPE == F32)
                            store_wide(VALUES, 0u, (values + group) * 2, kept.yz);
                        else
                            store(VALUES, 0u, values + group, kept.y | kept.z << 16);
                    }
                }
                i += of_block;
            } while (i < 8);
            store(META, 0u, block * push.meta_block + row * words + word, meta);
            x += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
        } while (x < xs);
        y += gl_NumWorkGroups.y;
    } while (y < ys);
}
