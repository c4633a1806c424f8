// Packs the rows of a weight for multiplies that read it again and again (tile_a.glsl, A_LAYOUT 2).
//
//   batch b, panel p, block j, row r, column d  =  W[b][p * PANEL_ROWS + r][j * PANEL_DEPTH + d], 0 behind the edges
//
//   one panel of PANEL_ROWS rows:   [block 0: r0 d0 d1 …, r1 d0 d1 …, …] [block 1: …] …      blocks = ceil(k / PANEL_DEPTH)
//
// W is dense with any strides (WEIGHT_DENSE), or 2:4 compressed by rows or tiles and expanded on the way (WEIGHT_SPARSE24: the
// layout of tile_b_sparse24.glsl). Where k_stride is not 0, W is the transpose of what is compressed. Nothing is rounded.
// x: rows of panels, block after block    z: batch · panels     any grid is right: each is walked with the grid's stride
// One invocation writes PANEL_DEPTH elements of a row: whole words, since PANEL_DEPTH is even, or 1 of f32.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint rows, k, batch, panels, blocks; \
    uint row_stride, k_stride, batch_stride; \
    uint meta;
#define SLOT_0 readonly
#include "access.glsl"
#include "types.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TYPE = 0;
layout(constant_id = 2) const uint PANEL_ROWS = 128;
layout(constant_id = 3) const uint PANEL_DEPTH = 12;
layout(constant_id = 4) const uint OUT_TYPE = 0;  // TYPE, or F32: decoded once, here, instead of in every multiply

#define FROM 0
#define TO 1

#if defined(WEIGHT_SPARSE24)
#include "nibbles24.glsl"
#endif

const uint PER_WORD = OUT_TYPE == F32 ? 1 : 2;
const uint ROW_WORDS = PANEL_DEPTH / PER_WORD;

uint size_rows = push.rows, size_k = push.k;
uint row_stride = push.row_stride, k_stride = push.k_stride, batch_stride = push.batch_stride;

// W[row][k] of a batch; a place behind the last column is read at that and then dropped, so that no load leaves the operand.
uint weight_bits(uint batch, uint row, uint k) {
    const uint c = min(k, size_k - 1);
#if defined(WEIGHT_DENSE)
    const uint bits = load_bits(FROM, TYPE, batch * batch_stride + row * row_stride + c * k_stride);
#elif defined(WEIGHT_SPARSE24)
    const bool across = k_stride != 0;
    const uint line = across ? c : row, column = across ? row : c, group = column / 4;
    const uint lines = across ? size_k : size_rows, columns = across ? size_rows : size_k;
    const uint word = push.meta + (batch * place_lines(lines) + line_of(line)) * place_words(columns) + word_of(group);
    const uint nibble = nibble_of(load(FROM, 0u, word), group, place_terms(line));
    const uint values = batch * batch_stride + line * (across ? k_stride : row_stride) + group * 2;
    const uint first = load_bits(FROM, TYPE, values), second = load_bits(FROM, TYPE, values + 1), place = column & 3u;
    const uint bits = ((nibble & 3u) == place ? first : 0u) | ((nibble >> 2 & 3u) == place ? second : 0u);
#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif
    const uint stored = OUT_TYPE == TYPE ? bits : floatBitsToUint(decode_pair(TYPE, bits).x);
    return k < size_k ? stored : 0u;
}

void pack_panel(uint batch, uint panel, uint to) {
    const uint count = push.blocks * PANEL_ROWS, step = gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    do {
        const uint row = panel * PANEL_ROWS + i % PANEL_ROWS, k = i / PANEL_ROWS * PANEL_DEPTH;
        const uint r = min(row, size_rows - 1);
        uint words[ROW_WORDS];
        [[unroll]] for (uint w = 0; w < ROW_WORDS; ++w) {
            words[w] = weight_bits(batch, r, k + w * PER_WORD);
            if (PER_WORD == 2) words[w] |= weight_bits(batch, r, k + w * 2 + 1) << 16;
        }
        [[unroll]] for (uint w = 0; w < ROW_WORDS; ++w)
            store(TO, to, i * ROW_WORDS + w, row < size_rows ? words[w] : 0u);
        i += step;
    } while (i < count);
}

void main() {
    const uint panels = push.panels, total = push.batch * panels;
    uint z = gl_WorkGroupID.z;
    do {
        pack_panel(z / panels, z % panels, z * push.blocks * PANEL_ROWS * ROW_WORDS);
        z += gl_NumWorkGroups.z;
    } while (z < total);
}
