// Packs the rows of a weight for multiplies that read it again and again (tile_a.glsl, A_LAYOUT 2).
//
//   batch b, panel p, block j, row r, column d  =  W[b][p * PANEL_ROWS + r][j * PANEL_DEPTH + d], 0 behind the edges
//
//   one panel of PANEL_ROWS rows:   [block 0: r0 d0 d1 …, r1 d0 d1 …, …] [block 1: …] …      blocks = ceil(k / PANEL_DEPTH)
//
// W is dense with any strides (WEIGHT_DENSE), or row-wise 2:4 compressed and expanded on the way (WEIGHT_SPARSE24: the
// layout of tile_b_sparse24.glsl; PANEL_DEPTH a multiple of 4). Bits are moved, nothing is rounded.
// x: words of a block    y: blocks    z: batch · panels     any grid is right: each is walked with the grid's stride
// One invocation owns a word of the result: a 16-bit pair lies in one row, since PANEL_DEPTH is even.
#version 460
#extension GL_GOOGLE_include_directive : require

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

#define FROM 0
#define TO 1

const uint PER_WORD = TYPE == F32 ? 1 : 2;
const uint BLOCK_WORDS = PANEL_ROWS * PANEL_DEPTH / PER_WORD;

uint size_rows = push.rows, size_k = push.k;
uint row_stride = push.row_stride, k_stride = push.k_stride, batch_stride = push.batch_stride;

// Element `element` of the operand, in the low bits.
uint bits_at(uint element) {
    if (TYPE == F32) return load(FROM, 0u, element);
    const uint e = element + start_half(FROM);
    return load(FROM, 0u, e >> 1) >> (e & 1u) * 16u & 0xffffu;
}

// W[row][k]; a place behind the edge is read at the edge and then dropped, so that no load leaves the operand.
uint weight_bits(uint batch, uint row, uint k) {
    const bool inside = row < size_rows && k < size_k;
    const uint r = min(row, size_rows - 1), c = min(k, size_k - 1);
#if defined(WEIGHT_DENSE)
    const uint bits = bits_at(batch * batch_stride + r * row_stride + c * k_stride);
#elif defined(WEIGHT_SPARSE24)
    const uint group = c / 4, words_per_row = (size_k + 31) / 32;
    const uint word = load(FROM, 0u, push.meta + (batch * size_rows + r) * words_per_row + group / 8);
    const uint nibble = word >> (group & 7u) * 4;
    const uint value = batch * batch_stride + r * row_stride + group * 2;
    const uint first = bits_at(value), second = bits_at(value + 1);
    const uint bits = ((nibble & 3u) == (c & 3u) ? first : 0u) | ((nibble >> 2 & 3u) == (c & 3u) ? second : 0u);
#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif
    return inside ? bits : 0u;
}

void pack_block(uint batch, uint panel, uint block, uint to) {
    uint word = gl_GlobalInvocationID.x;
    if (word >= BLOCK_WORDS) return;
    do {
        const uint element = word * PER_WORD;
        const uint row = panel * PANEL_ROWS + element / PANEL_DEPTH;
        const uint k = block * PANEL_DEPTH + element % PANEL_DEPTH;
        uint bits = weight_bits(batch, row, k);
        if (PER_WORD == 2) bits |= weight_bits(batch, row, k + 1) << 16;
        store(TO, 0u, to + word, bits);
        word += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (word < BLOCK_WORDS);
}

void main() {
    const uint blocks = push.blocks, panels = push.panels, total = push.batch * panels;
    uint z = gl_WorkGroupID.z;
    do {
        uint y = gl_WorkGroupID.y;
        do {
            pack_block(z / panels, z % panels, y, (z * blocks + y) * BLOCK_WORDS);
            y += gl_NumWorkGroups.y;
        } while (y < blocks);
        z += gl_NumWorkGroups.z;
    } while (z < total);
}
