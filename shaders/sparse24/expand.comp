// W[b][r][4g + place] = value, zero elsewhere: the dense form (blocks, rows, cols) of 2:4 values and their places.
//
//   values       b d       e f      …        2 a group, whose places are nibbles or codes of tiles (nibbles24.glsl)
//   W row        0 b 0 d | e f 0 0 | …       any strides; places behind the last column are dropped
//
// A lane is GROUPS groups of a row, 1 or 8: all of a word of nibbles. WHOLE: cols is a multiple of 32. Grid: (lanes of a
// row, rows, blocks), walked with the grid's stride but for blocks. The host joins rows that follow each other, but for
// tiles. Called for to_dense.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, cols; \
    uint out_block, out_row, out_column; \
    uint values_block, places_block;
#define VALUES 0
#define PLACES 1
#define W 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool OUT_PAIRS = false;
layout(constant_id = 3) const uint GROUPS = 1;
layout(constant_id = 4) const bool WHOLE = false;

#define DENSE_OUT W
#define OUT_COLUMN push.out_column
#include "groups24.glsl"
#include "nibbles24.glsl"

uvec2 load_values(uint group) {
    if (TYPE == F32) return load_pair(VALUES, 0u, group * 2);
    const uint word = load(VALUES, 0u, group);
    return uvec2(word & 0xffffu, word >> 16);
}

// The one of two values that lies at `place`, or 0.
uint entry_at(uint place, uint nibble, uvec2 values) {
    return (nibble & 3) == place ? values.x : nibble >> 2 == place ? values.y : 0u;
}

void main() {
    const uint groups = (push.cols + 3) / 4, words = place_words(push.cols);
    const uint block = gl_WorkGroupID.z;
    uint y = gl_WorkGroupID.y;
    do {
        const uint values_row = block * push.values_block + y * groups;
        const uint line = block * push.places_block + line_of(y) * words;
        const ivec4 terms = place_terms(y);
        const uint out_row = block * push.out_block + y * push.out_row;
        uint first = gl_GlobalInvocationID.x * GROUPS;
        if (first < groups) do {
            uint word = 0;
            [[unroll]] for (uint i = 0; i < GROUPS; ++i) {
                const uint group = first + i;
                if (WHOLE || group < groups) {
                    if (i % WORD_GROUPS == 0)
                        word = load(PLACES, 0u, line + word_of(group)) >> group % WORD_GROUPS * (32 / WORD_GROUPS);
                    const uint nibble = nibble_of(word, i, terms) & 15;
                    const uvec2 values = load_values(values_row + group);
                    store_group(out_row, group, WHOLE ? 4u : min(push.cols - group * 4, 4u),
                                uvec4(entry_at(0, nibble, values), entry_at(1, nibble, values),
                                      entry_at(2, nibble, values), entry_at(3, nibble, values)));
                }
            }
            first += gl_NumWorkGroups.x * gl_WorkGroupSize.x * GROUPS;
        } while (first < groups);
        y += gl_NumWorkGroups.y;
    } while (y < push.rows);
}
