// A Monarch product, both factors in one dispatch: what is between them stays in shared memory.
//
//   inner[o1] = sum over e1 of W1[b1][o1][e1] * x[e1]        for every block b1; rounded to OPERAND_TYPE
//   y[o2]     = epilogue(sum over e2 of W2[b2][o2][e2] * inner[e2])
//
// A workgroup computes TOKENS tokens whole. Of a factor's blocks a lane takes TILE_COLUMNS rows at a time, a unit, and
// walks from unit to unit. Feature f of `blocks` blocks of `size`: block * size + element, or interleaved,
// element * blocks + block. Transposed products are the same with the factors exchanged and each W read the other way.
// Grid: (ceil(tokens / TOKENS), outer batch).
//
//             token lanes: TILE_ROWS tokens each
//            [x x] [x x]            inner[token][feature], of 16-bit types two tokens a word
//   feature  [. .] [. .]  unit
//   lanes    [. .] [. .]  unit      sums of a lane: its tokens × TILE_COLUMNS features
//
//   TILE_COLUMNS  rows of a block, or with NEIGHBOURS as many blocks of TILE_COLUMNS / NEIGHBOURS rows: of an interleaved
//                 result neighbouring blocks are neighbours in memory (second factor)
//   K_STEP        unrolled steps of the contraction: 16 bytes of OPERAND_TYPE
//   X_LAYOUT, W1_LAYOUT, W2_LAYOUT   4: loads of 16 bytes along the contraction, whose stride is 1 then; blocks, rows, batches
//                 and operand start at multiples of them. 0: any strides, element by element
//   C_LAYOUT      tile_store.glsl's; 1: pairs of features are of one lane and both there, or neither is
//   ORDER         1: features of x are interleaved, 2: of y, 4: of the intermediate where the first factor writes it, else
//                 where the second one reads it
//   INNER_WORDS   of the intermediate, at least what TOKENS and the push block's sizes need
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint tokens; \
    uint blocks, rows, depth; /* of the first factor in the lower half, of the second in the upper */ \
    uint x_token, x_feature, x_outer; \
    uint y_token, y_feature, y_outer; \
    uint w1_block, w1_row, w1_column; \
    uint w2_block, w2_row, w2_column; \
    uint bias_stride; \
    float scale;

#define MATRIX_X 0
#define MATRIX_W1 1
#define MATRIX_C 2
#define BIAS 3
#define RESIDUAL 4
#define AUX 5
#define MATRIX_W2 6
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_3 readonly
#define SLOT_4 readonly
#define SLOT_6 readonly
#include "access.glsl"
#include "types.glsl"
#include "epilogue.glsl"
#include "runs.glsl"

layout(local_size_x_id = 0) in;  // LANES
layout(constant_id = 1) const uint OPERAND_TYPE = 0;
layout(constant_id = 2) const uint OUTPUT_TYPE = 0;
layout(constant_id = 3) const uint BIAS_TYPE = 0;
layout(constant_id = 4) const uint TILE_ROWS = 2;     // even for 16-bit types
layout(constant_id = 5) const uint TILE_COLUMNS = 4;  // even
layout(constant_id = 6) const uint K_STEP = 4;        // even
layout(constant_id = 7) const uint X_LAYOUT = 0;
layout(constant_id = 8) const uint W1_LAYOUT = 0;
layout(constant_id = 9) const uint C_LAYOUT = 0;
layout(constant_id = 10) const uint W2_LAYOUT = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint EPILOGUE = 0;  // 1: bias, 2: residual, 4: aux
layout(constant_id = 13) const uint TOKEN_LANES = 4;
layout(constant_id = 14) const uint NEIGHBOURS = 1;
layout(constant_id = 15) const uint ORDER = 2;
layout(constant_id = 16) const uint INNER_WORDS = 4096;

const uint FEATURE_LANES = gl_WorkGroupSize.x / TOKEN_LANES;
const uint TOKENS = TOKEN_LANES * TILE_ROWS;
const bool X_INTERLEAVED = (ORDER & 1) != 0;
const bool Y_INTERLEAVED = (ORDER & 2) != 0;
const bool WRITES_INTERLEAVED = (ORDER & 4) != 0;

shared uint inner[INNER_WORDS];

uint lane = gl_LocalInvocationID.x;
// Feature lanes are neighbours, so that they load and store neighbouring features. A CPU has one: all that does not
// depend on the token is then uniform.
uint feature_lane = FEATURE_LANES == 1 ? 0 : lane % FEATURE_LANES;
uint token_lane = FEATURE_LANES == 1 ? lane : lane / FEATURE_LANES;

uint blocks_1 = push.blocks & 0xffffu, blocks_2 = push.blocks >> 16;
uint rows_1 = push.rows & 0xffffu, rows_2 = push.rows >> 16;
uint depth_1 = push.depth & 0xffffu, depth_2 = push.depth >> 16;
uint inner_pitch = blocks_1 * rows_1;

// What tile_store.glsl stores by: tokens are its rows, features of y its columns.
const bool EXACT_M = false;
const bool EXACT_N = false;
const bool HAS_BIAS = (EPILOGUE & 1) != 0;
const bool BIAS_ON_ROWS = false;
const bool HAS_RESIDUAL = (EPILOGUE & 2) != 0;
const bool HAS_AUX = (EPILOGUE & 4) != 0;
#define BIAS_BASE 0
uint size_m = push.tokens, size_n = blocks_2 * rows_2;
uint stride_c_m = push.y_token, stride_c_n = push.y_feature;
uint batch_c = gl_WorkGroupID.y * push.y_outer;
uint first_row = gl_WorkGroupID.x * TOKENS + token_lane * TILE_ROWS;
float accumulator[TILE_ROWS][TILE_COLUMNS];

uint tile_row(uint r) { return min(first_row + r, size_m - 1); }

// The unit at hand: its first block and row, and how many there are. Nothing of a unit behind the last one is stored.
uint unit_block, unit_row;
const uint OUTSIDE = 0x7fffffff;

uint feature(bool interleaved, uint block, uint element, uint blocks, uint size) {
    return interleaved ? element * blocks + block : block * size + element;
}
uint tile_column(uint c) {
    const uint block = unit_block + c % NEIGHBOURS, row = unit_row + c / NEIGHBOURS;
    return block < blocks_2 && row < rows_2 ? feature(Y_INTERLEAVED, block, row, blocks_2, rows_2) : OUTSIDE;
}
uint clamped_column(uint c) { return min(tile_column(c), size_n - 1); }
#include "tile_store.glsl"

#include "monarch_units.glsl"

uint x_row[TILE_ROWS];  // offset of each token
uint stride_x = push.x_feature, batch_x = gl_WorkGroupID.y * push.x_outer;

void load_x(uint k, uint count) {
    const uint at = batch_x + feature(X_INTERLEAVED, unit_block, k, blocks_1, depth_1) * stride_x;
    const uint step = (X_INTERLEAVED ? blocks_1 : 1) * stride_x;
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        if (X_LAYOUT != 0 && count == K_STEP) {
            uint run[MAX_RUN_WORDS];
            LOAD_RUN(MATRIX_X, X_LAYOUT, run_words(OPERAND_TYPE, K_STEP), run_words(OPERAND_TYPE, at),
                     run_words(OPERAND_TYPE, x_row[r]), run)
            [[unroll]] for (uint i = 0; i < K_STEP; ++i) source[0][r][i] = run_element(OPERAND_TYPE, run, i);
        } else {
            [[unroll]] for (uint i = 0; i < count; ++i)
                source[0][r][i] = load_float(MATRIX_X, OPERAND_TYPE, at + i * step, x_row[r]);
        }
    }
}

uint stride_w1 = push.w1_column, stride_w2 = push.w2_column;

void multiply_first(uint k, uint count) {
    load_x(k, count);
    MULTIPLY_STEPS_(MATRIX_W1, W1_LAYOUT, 1, stride_w1, k, count)
}

#include "monarch_inner.glsl"

void multiply_second(uint k, uint count) {
    load_inner(k, count);
    MULTIPLY_STEPS_(MATRIX_W2, W2_LAYOUT, NEIGHBOURS, stride_w2, k, count)
}

void main() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) x_row[r] = tile_row(r) * push.x_token;

    units = count_units(blocks_1, rows_1, 1);
    uint base = 0;
    do {
        place_unit(base, X_INTERLEAVED, blocks_1, rows_1, 1);
        PLACE_ROWS_(1, push.w1_block, push.w1_row, blocks_1, rows_1)
        MULTIPLY_(multiply_first, depth_1);
        if (base + feature_lane >= units) unit_row = rows_1;
        store_inner();
        base += FEATURE_LANES;
    } while (base < units);
    barrier();

    units = count_units(blocks_2, rows_2, NEIGHBOURS);
    base = 0;
    do {
        place_unit(base, Y_INTERLEAVED, blocks_2, rows_2, NEIGHBOURS);
        PLACE_ROWS_(NEIGHBOURS, push.w2_block, push.w2_row, blocks_2, rows_2)
        MULTIPLY_(multiply_second, depth_2);
        if (base + feature_lane >= units) unit_row = rows_2;
        store_tile();
        base += FEATURE_LANES;
    } while (base < units);
}
