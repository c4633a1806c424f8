// The dense form (blocks, rows, cols) of vector-wise N:M values and indices (compress.comp): zero where nothing is kept.
//
//   indices   0     3 | …       of a panel of V rows
//   values    [a a] [d d] …
//   W         a 0 0 d | …       any strides
//             a 0 0 d | …
//
// A lane is two neighbouring columns of a panel. Grid: (any, blocks), pairs of all panels are walked with the grid's
// stride. Called for to_dense and for multiplies by the transposed matrix.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows, cols, panels, kept; \
    uint keep, group, panel_rows; \
    uint out_block, out_row, out_column;
#define VALUES 0
#define INDICES 1
#define DENSE_OUT 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#define OUT_COLUMN push.out_column
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool OUT_PAIRS = false;

#include "groups24.glsl"

const uint NONE = 0xffffffffu;

// Where `column` is among the kept ones of a panel whose indices start at `first`.
uint place_of(uint first, uint column) {
    const uint start = column / push.group * push.keep;
    uint place = NONE;
    for (uint i = start; i < min(start + push.keep, push.kept); ++i)
        if (load(INDICES, 0u, first + min(i, push.kept - 1)) == column) place = first + i;
    return place;
}

uint value_bits(uint place, uint first, uint r) {
    const uint bits = load_bits(VALUES, TYPE, (place == NONE ? first : place) * push.panel_rows + r);
    return place == NONE ? 0u : bits;
}

void main() {
    const uint pairs = (push.cols + 1) / 2, count = push.panels * pairs, block = gl_WorkGroupID.y;
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    do {
        const uint panel = i / pairs, column = i % pairs * 2, present = min(push.cols - column, 2u);
        const uint first = (block * push.panels + panel) * push.kept;
        const uvec2 places = uvec2(place_of(first, column), present > 1 ? place_of(first, column + 1) : NONE);
        const uint height = min(push.panel_rows, push.rows - panel * push.panel_rows);
        uint row = block * push.out_block + panel * push.panel_rows * push.out_row;
        for (uint r = 0; r < height; ++r) {
            store_two(row, column, present, uvec2(value_bits(places.x, first, r), value_bits(places.y, first, r)));
            row += push.out_row;
        }
        i += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (i < count);
}
