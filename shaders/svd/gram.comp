// Gram matrices of pairs of panels of working vectors: G[i][j] = wi·wj, in the layout that jacobi.comp takes them in; of
// complex ones Σ conj(wi) wj, row i of vector j.
//
//   matrix       panel  0 1 2 3 …        round: which two meet (svd.glsl)
//                         └─┼─┘          G     TILE × COLUMNS LANES a workgroup; only tiles that reach above the diagonal,
//   pair                  i   j                and both halves are written
//
// Nothing is summed for a matrix that is done. Grid: (tiles of G, pairs, matrices).
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS uint vectors, rows, dot_rows, round, lanes;
#define WORK 0
#define STATE 1
#define GRAMS 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 writeonly
#include "access.glsl"
#include "svd.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint SIZE = 64;  // vectors of a pair of panels
layout(constant_id = 2) const uint TILE = 16;  // rows of G; a panel holds whole ones
layout(constant_id = 3) const uint COLUMNS = 1;  // of G, of an invocation

#ifdef ELEMENT_COMPLEX
const uint ELEMENT = 2;  // rows of an element
#else
const uint ELEMENT = 1;
#endif
const uint COLUMN = SIZE * ELEMENT;  // rows of a vector of G, in front of as many others
const uint STEP = 8;  // of rows; there are a multiple of it
const uint LANES = gl_WorkGroupSize.x;
const uint WIDTH = LANES * COLUMNS;

// Read once (access.glsl).
uint rows = push.rows;

void main() {
    // Tile column t has the tile rows that begin at or before its last column.
    uint tile_column = 0;
    uint tile_row = gl_WorkGroupID.x;
    uint tall = (WIDTH + TILE - 1) / TILE;
    while (tile_row >= tall) {
        tile_row -= tall;
        ++tile_column;
        tall = ((tile_column + 1) * WIDTH + TILE - 1) / TILE;
    }
    const uint matrix = gl_WorkGroupID.z;
    const uvec2 panels = meeting_panels(push.round, gl_WorkGroupID.y, push.vectors / (SIZE / 2));
    const uvec2 first = (uvec2(matrix * push.vectors) + panels * (SIZE / 2)) * rows;
    const uint i = tile_row * TILE;
    const uint rows_i = first[i / (SIZE / 2)] + i % (SIZE / 2) * rows;
    const bool done = load(STATE, matrix * STATE_WORDS, DONE) != 0;
    const uint sum_rows = done ? STEP : push.dot_rows;
    uint j[COLUMNS];
    uint row_j[COLUMNS];
    float sums[TILE][COLUMNS];
#ifdef ELEMENT_COMPLEX
    float imaginary[TILE][COLUMNS];
#endif
    [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
        j[c] = tile_column * WIDTH + c * LANES + gl_LocalInvocationID.x;
        row_j[c] = first[j[c] / (SIZE / 2)] + j[c] % (SIZE / 2) * rows;
        [[unroll]] for (uint t = 0; t < TILE; ++t) {
            sums[t][c] = 0.0;
#ifdef ELEMENT_COMPLEX
            imaginary[t][c] = 0.0;
#endif
        }
    }
    uint row = 0;
    do {
        float x[STEP][COLUMNS];
        [[unroll]] for (uint r = 0; r < STEP; ++r)
            [[unroll]] for (uint c = 0; c < COLUMNS; ++c) x[r][c] = uintBitsToFloat(load(WORK, 0u, row_j[c] + row + r));
        [[unroll]] for (uint t = 0; t < TILE; ++t) {
            [[unroll]] for (uint r = 0; r < STEP; ++r) {
                const float y = uintBitsToFloat(load(WORK, rows_i + t * rows + row, r));
                [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
                    sums[t][c] = fma(y, x[r][c], sums[t][c]);
#ifdef ELEMENT_COMPLEX
                    const float across = r % 2 == 0 ? x[r + 1][c] : -x[r - 1][c];
                    imaginary[t][c] = fma(y, across, imaginary[t][c]);
#endif
                }
            }
        }
        row += STEP;
    } while (row < sum_rows);

    const uint pair = matrix * gl_NumWorkGroups.y + gl_WorkGroupID.y;
    const uint to = vector_start(pair, 0, SIZE, 2 * COLUMN, push.lanes);
    [[unroll]] for (uint t = 0; t < TILE; ++t) {
        [[unroll]] for (uint c = 0; c < COLUMNS; ++c) {
            const uint k = i + t;
            const uint value = floatBitsToUint(sums[t][c]);
            const uint above = (j[c] * 2 * COLUMN + k * ELEMENT) * push.lanes;
            const uint below = (k * 2 * COLUMN + j[c] * ELEMENT) * push.lanes;
            if (k <= j[c]) store(GRAMS, to, above, value);
            if (k < j[c]) store(GRAMS, to, below, value);
#ifdef ELEMENT_COMPLEX
            const float across = k < j[c] ? imaginary[t][c] : 0.0;
            if (k <= j[c]) store(GRAMS, to, above + push.lanes, floatBitsToUint(across));
            if (k < j[c]) store(GRAMS, to, below + push.lanes, floatBitsToUint(-across));
#endif
        }
    }
}
