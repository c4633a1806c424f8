// What every direct multiply shares: slots, push block, specialization constants, this invocation's place, registers.
//
//   C[b][m][n] = act(scale * sum over k of A[b][m][k] * B[b][k][n] + bias[n]) + residual[b][m][n]
//
// b = outer * inner + i. Strides count elements and may be anything, 0 included (but no two elements of C coincide);
// offsets inside an operand stay below 2^31. m, n, k >= 1. The bias of column n is element
// n * bias_stride + i * bias_inner; where EPILOGUE says so it runs along the rows, m * bias_stride + i * bias_inner.
// residual and aux have C's strides and type; residual may be C itself. Slots that EPILOGUE does not use are never
// read. Included before the tiles (tile_a, tile_b_*, tile_store).
// Promises the host makes with the constants below; the shader relies on them and checks nothing:
//   K_UNROLL    the depth of the unrolled loop: k >= K_UNROLL unless A is packed; 0: there is no such loop, only the loop over single k
//   A_LAYOUT    see tile_a.glsl
//   B_LAYOUT    see the B tile in use
//   C_LAYOUT    see tile_store.glsl; 1: c_n = 1, c_m, c_outer, c_inner even, C, residual and aux start at a multiple of
//               two elements; 3: the same of c_m = 1 and c_n; 0 and 2 promise nothing
//   EXACT       bit 0: m is a multiple of TILE_ROWS; bit 1: n is a multiple of LANES * TILE_COLUMNS
// Clear flags are always right. Where a size is not exact, indices are clamped to the last row or column, so that
// no load leaves its operand even in an invocation, or a masked branch, that stores nothing.

#define PUSH_FIELDS \
    uint m, n, k, inner; \
    uint a_m, a_k, a_outer, a_inner; \
    uint b_k, b_n, b_outer, b_inner; \
    uint c_m, c_n, c_outer, c_inner; \
    uint bias_stride, bias_inner; \
    float scale; \
    uint meta;

#define MATRIX_A 0
#define MATRIX_B 1
#define MATRIX_C 2
#define BIAS 3
#define RESIDUAL 4
#define AUX 5
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_3 readonly
#define SLOT_4 readonly
#include "access.glsl"
#include "types.glsl"
#include "epilogue.glsl"

layout(local_size_x_id = 0) in;  // LANES
layout(constant_id = 1) const uint OPERAND_TYPE = 0;
layout(constant_id = 2) const uint OUTPUT_TYPE = 0;
layout(constant_id = 3) const uint BIAS_TYPE = 0;
layout(constant_id = 4) const uint TILE_ROWS = 64;
layout(constant_id = 5) const uint TILE_COLUMNS = 2;  // even
layout(constant_id = 6) const uint K_UNROLL = 8;      // 0, or even
layout(constant_id = 7) const uint A_LAYOUT = 0;
layout(constant_id = 8) const uint B_LAYOUT = 0;
layout(constant_id = 9) const uint C_LAYOUT = 0;
layout(constant_id = 10) const uint EXACT = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint EPILOGUE = 0;  // 1: bias, 2: residual, 4: aux, 8: bias along m

// A shader whose tiles lie otherwise says here what TILE_FIRST_ROW and TILE_COLUMN are made of.
#ifdef TILE_DECLARATIONS
TILE_DECLARATIONS
#endif

const bool EXACT_M = (EXACT & 1) != 0;
const bool EXACT_N = (EXACT & 2) != 0;
const bool HAS_BIAS = (EPILOGUE & 1) != 0;
const bool BIAS_ON_ROWS = (EPILOGUE & 9) == 9;
const bool HAS_RESIDUAL = (EPILOGUE & 2) != 0;
const bool HAS_AUX = (EPILOGUE & 4) != 0;
const uint K_STEP = K_UNROLL + uint(K_UNROLL == 0);

// Copied for the same reason as the references (access.glsl).
uint size_m = push.m, size_n = push.n, size_k = push.k;
uint stride_a_m = push.a_m, stride_a_k = push.a_k;
uint stride_b_k = push.b_k, stride_b_n = push.b_n;
uint stride_c_m = push.c_m, stride_c_n = push.c_n;

// Workgroup (x, y, z) is (column tile, batch, row tile): the blocks of one row tile run one after the other and share
// the cache lines of A and C.
uint inner_index = gl_WorkGroupID.y % push.inner;
uint outer_index = gl_WorkGroupID.y / push.inner;
uint batch_a = outer_index * push.a_outer + inner_index * push.a_inner;
uint batch_b = outer_index * push.b_outer + inner_index * push.b_inner;
uint batch_c = outer_index * push.c_outer + inner_index * push.c_inner;
#ifndef TILE_FIRST_ROW
#define TILE_FIRST_ROW (gl_WorkGroupID.z * TILE_ROWS)
#endif
uint first_row = TILE_FIRST_ROW;  // of this invocation

float accumulator[TILE_ROWS][TILE_COLUMNS];
float b_tile[K_STEP][TILE_COLUMNS];

// Row `r` of the tile, in the matrix; never behind the last one.
uint tile_row(uint r) { return EXACT_M ? first_row + r : min(first_row + r, size_m - 1); }

// Column `c` of this invocation, in the matrix, unclamped: pairs of neighbours, a pair of one invocation lies beside
// that of the next. c is even or one more.
uint tile_column(uint c) {
#ifdef TILE_COLUMN
    return TILE_COLUMN(c);
#else
    const uint pair = (gl_WorkGroupID.x * (TILE_COLUMNS / 2) + c / 2) * gl_WorkGroupSize.x + gl_LocalInvocationID.x;
    return pair * 2 + (c & 1);
#endif
}

uint clamped_column(uint c) { return EXACT_N ? tile_column(c) : min(tile_column(c), size_n - 1); }
