// Vector-wise N:M of W (blocks, rows, cols): of every M neighbouring columns the same N are kept for V rows at a time.
// Selects them by magnitude, or takes them from a mask, and writes the mask, the compressed form, or both.
//
//   panel of V rows   a b c d | e f g h | …  | y z      groups of M columns, the last one may be partial
//                     a b c d | e f g h | …  | y z
//   score of column   7 1 3 9   4 4 4 0        1 0      Σ |w| over the panel's rows
//   mask bits         1 0 0 1   1 1 0 0        1 1      the same for each of its rows; bit c % 32 of word c / 32
//   indices           0     3 | 4 5   | …  | y z        columns, ascending; min(N, present) a group
//   values            [a a] [d d] [e e] [f f] …         V rows of one kept column after those of the last, 0 behind `rows`
//
// A score is exact whatever the order of rows: each magnitude counts in units of 2^-23 of the power of two at or below the
// column's largest, rounded down. NaN above infinity above all sums; ties keep the lower column. A group whose mask (that
// of the panel's first row) keeps more than N keeps its first N; one that keeps fewer is completed with zeros at its
// first free columns.
// A workgroup takes a panel and `chunk` columns, whole groups and whole mask words; a lane is a column.
// Grid: (any, blocks), chunks of all panels are walked with the grid's stride. Called for select_mask, compress and both.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows, cols, panels, kept; \
    uint keep, group, panel_rows, chunk; \
    uint w_block, w_row, w_column; \
    uint mask_block, mask_row, mask_word;
#define W 0
#define MASK_IN 1
#define MASK_OUT 2
#define VALUES 3
#define INDICES 4
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#define SLOT_3 writeonly
#define SLOT_4 writeonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const bool BY_MAGNITUDE = true;
layout(constant_id = 3) const bool WRITE_MASK = true;
layout(constant_id = 4) const bool WRITE_COMPRESSED = true;

#include "groups24.glsl"

const uint MOST_COLUMNS = 992;  // of a chunk: 31 · 32
const uint MANTISSA = TYPE == F32 ? 23 : TYPE == F16 ? 10 : 7;
const uint HIDDEN_BIT = 1u << MANTISSA;
const uint NO = 0, YES = 1, AS_ZERO = 2;

shared uint score_high[MOST_COLUMNS];  // compared first
shared uint score_low[MOST_COLUMNS];
shared uint kept[MOST_COLUMNS];

// Rows that the panel has, and where its first one starts.
uint panel_height, first_row, w_panel, mask_panel;

uint weight_bits(uint column, uint r) {
    return load_bits(W, TYPE, w_panel + min(r, panel_height - 1) * push.w_row + column * push.w_column);
}

uvec2 score(uint column) {
    uint largest = 0;
    for (uint r = 0; r < panel_height; ++r) largest = max(largest, magnitude_key(weight_bits(column, r)));
    if (largest >= INFINITY_KEY) return uvec2(0xffffffffu, largest);
    const uint top = max(largest >> MANTISSA, 1u);
    uint sum = 0;  // below 2^24 · 128
    for (uint r = 0; r < panel_height; ++r) {
        const uint magnitude = magnitude_key(weight_bits(column, r));
        const uint significand =
            (magnitude & HIDDEN_BIT - 1) | (magnitude >= HIDDEN_BIT ? HIDDEN_BIT : 0u);
        sum += significand << 23 - MANTISSA >> min(top - min(max(magnitude >> MANTISSA, 1u), top), 31u);
    }
    if (sum == 0) return uvec2(0);
    const uint highest = findMSB(sum);
    return uvec2(top + highest, sum << 31 - highest);
}

void score_columns(uint first, uint columns) {
    for (uint i = gl_LocalInvocationID.x; i < columns; i += gl_WorkGroupSize.x) {
        uvec2 s;
        if (BY_MAGNITUDE) {
            s = score(first + i);
        } else {
            const uint word = load(MASK_IN, 0u, mask_panel + (first + i) / 32 * push.mask_word);
            s = uvec2(word >> (first + i & 31u) & 1u, 0u);
        }
        score_high[i] = s.x;
        score_low[i] = s.y;
    }
}

void choose_columns(uint columns) {
    for (uint i = gl_LocalInvocationID.x; i < columns; i += gl_WorkGroupSize.x) {
        const uint start = i / push.group * push.group, end = min(start + push.group, columns);
        const uvec2 own = uvec2(score_high[i], score_low[i]);
        uint above = 0;
        for (uint j = start; j < end; ++j) {
            const uvec2 other = uvec2(score_high[j], score_low[j]);
            const bool equal = other == own;
            above += uint(equal ? j < i : other.x > own.x || (other.x == own.x && other.y > own.y));
        }
        kept[i] = above >= push.keep ? NO : BY_MAGNITUDE || own.x != 0 ? YES : AS_ZERO;
    }
}

void store_columns(uint first, uint columns, uint matrix_kept) {
    for (uint i = gl_LocalInvocationID.x; i < columns; i += gl_WorkGroupSize.x) {
        if (kept[i] == NO) continue;
        uint place = matrix_kept + (first + i) / push.group * push.keep;
        for (uint j = i / push.group * push.group; j < i; ++j) place += uint(kept[j] != NO);
        store(INDICES, 0u, place, first + i);
        const bool zero = kept[i] == AS_ZERO;
        const uint values = place * push.panel_rows;
        for (uint r = 0; r < push.panel_rows; r += 2) {
            const uint low = zero || r >= panel_height ? 0u : weight_bits(first + i, r),
                       high = zero || r + 1 >= panel_height ? 0u : weight_bits(first + i, r + 1);
            if (TYPE == F32)
                store_pair(VALUES, 0u, values + r, uvec2(low, high));
            else
                store(VALUES, 0u, values + r >> 1, low | high << 16);
        }
    }
}

void store_masks(uint first, uint columns) {
    const uint words = (columns + 31) / 32;
    for (uint w = gl_LocalInvocationID.x; w < words; w += gl_WorkGroupSize.x) {
        uint bits = 0;
        for (uint i = w * 32; i < min(w * 32 + 32, columns); ++i) bits |= uint(kept[i] == YES) << (i & 31u);
        for (uint r = 0; r < panel_height; ++r)
            store(MASK_OUT, 0u, mask_panel + r * push.mask_row + (first / 32 + w) * push.mask_word, bits);
    }
}

void main() {
    const uint chunks = (push.cols + push.chunk - 1) / push.chunk;
    const uint items = push.panels * chunks, block = gl_WorkGroupID.y;
    uint item = gl_WorkGroupID.x;
    do {
        const uint panel = item / chunks, first = item % chunks * push.chunk;
        const uint columns = min(push.chunk, push.cols - first);
        first_row = panel * push.panel_rows;
        panel_height = min(push.panel_rows, push.rows - first_row);
        w_panel = block * push.w_block + first_row * push.w_row;
        mask_panel = block * push.mask_block + first_row * push.mask_row;
        score_columns(first, columns);
        barrier();
        choose_columns(columns);
        barrier();
        if (WRITE_COMPRESSED) store_columns(first, columns, (block * push.panels + panel) * push.kept);
        if (WRITE_MASK) store_masks(first, columns);
        barrier();
        item += gl_NumWorkGroups.x;
    } while (item < items);
}
