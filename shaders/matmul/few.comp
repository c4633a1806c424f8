// Multiply of few rows (tokens) by a weight whose rows run along k: a matrix-vector product and its next of kin.
//
//   C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]),   fp32 accumulation
//
// The lanes of a workgroup lie along k, so that neighbours load neighbouring words of the weight, each word once; the
// lanes' sums are added at the end. Slots, push block and most constants are multiply.glsl's. B is dense or row-wise 2:4
// compressed with the contraction along its columns (tile_b_sparse24.glsl has the format). Right for every stride, fast
// where k is contiguous. Grid: (ceil(n / TILE_COLUMNS), outer * inner, ceil(m / TILE_ROWS)).
//
//              k →   lane 0    lane 1    …        K_LANE elements of a row a lane and step
//   A row 0        [a a a a] [a a a a]            TILE_ROWS tokens
//   B column 0     [b b b b] [b b b b]            TILE_COLUMNS rows of the weight, each multiplied with all tokens
//   B column 1     [b b b b] [b b b b]
//
//   K_UNROLL       steps of the unrolled loop, at least 1
//   A_LAYOUT       words of one load of A; a_k = 1, and rows, batches and operand start at multiples of as many words.
//                  0: any strides, element by element
//   B_LAYOUT       likewise of B, b_k = 1; a compressed weight always starts its rows at multiples of two elements
//   ONE_SUBGROUP   the workgroup is one subgroup
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#define TILE_COLUMN(c) (gl_WorkGroupID.x * TILE_COLUMNS + (c))
#include "multiply.glsl"
#include "runs.glsl"
#include "tile_store.glsl"

layout(constant_id = 13) const uint K_LANE = 4;  // of a compressed weight whole groups of four
layout(constant_id = 14) const uint ONE_SUBGROUP = 0;

const uint LANES = gl_WorkGroupSize.x;
const uint STEP = LANES * K_LANE;
const uint SUMS = TILE_ROWS * TILE_COLUMNS;

// One row of sums for each subgroup; none has fewer than four lanes.
shared float sums[(LANES / 4) * SUMS];

uint lane = gl_LocalInvocationID.x;
uint a_row[TILE_ROWS];        // offset of each token's row
uint b_column[TILE_COLUMNS];  // offset of each row of the weight
float a_run[TILE_ROWS][K_LANE];

// The tokens' elements k + lane * K_LANE …, of which those behind the last k are zero if `last`.
void load_a_runs(uint k, bool last) {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        if (A_LAYOUT != 0 && !last) {
            uint run[MAX_RUN_WORDS];
            LOAD_RUN(MATRIX_A, A_LAYOUT, run_words(OPERAND_TYPE, K_LANE), run_words(OPERAND_TYPE, a_row[r] + k),
                     run_words(OPERAND_TYPE, lane * K_LANE), run)
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) a_run[r][i] = run_element(OPERAND_TYPE, run, i);
        } else {
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) {
                const uint at = k + lane * K_LANE + i;
                const float a = load_float(MATRIX_A, OPERAND_TYPE, a_row[r], min(at, size_k - 1) * stride_a_k);
                a_run[r][i] = !last || at < size_k ? a : 0.0;
            }
        }
    }
}

void multiply_run(uint c, float b, uint i) {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) accumulator[r][c] = fma(a_run[r][i], b, accumulator[r][c]);
}

#if defined(WEIGHT_DENSE)

void place_b() {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) b_column[c] = batch_b + clamped_column(c) * stride_b_n;
}

void multiply_step(uint k, bool last) {
    load_a_runs(k, last);
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
        if (B_LAYOUT != 0 && !last) {
            uint run[MAX_RUN_WORDS];
            LOAD_RUN(MATRIX_B, B_LAYOUT, run_words(OPERAND_TYPE, K_LANE), run_words(OPERAND_TYPE, b_column[c] + k),
                     run_words(OPERAND_TYPE, lane * K_LANE), run)
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) multiply_run(c, run_element(OPERAND_TYPE, run, i), i);
        } else {
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) {
                const uint at = k + lane * K_LANE + i;
                const float b = load_float(MATRIX_B, OPERAND_TYPE, b_column[c], min(at, size_k - 1) * stride_b_k);
                multiply_run(c, !last || at < size_k ? b : 0.0, i);
            }
        }
    }
}

#elif defined(WEIGHT_SPARSE24)

#include "few_sparse24.glsl"

#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif

// Adds the lanes' sums; every lane has the result.
void add_lanes() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = subgroupAdd(accumulator[r][c]);
    if (ONE_SUBGROUP == 1) return;
    if (subgroupElect())
        [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
            [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c)
                sums[gl_SubgroupID * SUMS + r * TILE_COLUMNS + c] = accumulator[r][c];
    barrier();
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = 0.0;
    // The loop over subgroups outside: around it NVIDIA's open driver (NVK) does not unroll, and puts the sums in memory.
    for (uint s = 0; s < gl_NumSubgroups; ++s)
        [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
            [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c)
                accumulator[r][c] += sums[s * SUMS + r * TILE_COLUMNS + c];
}

void main() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        a_row[r] = batch_a + tile_row(r) * stride_a_m;
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = 0.0;
    }
    place_b();

    // Loops over memory are tested at the bottom: see direct.comp.
    uint k = 0;
    if (size_k >= K_UNROLL * STEP) {
        do {
            [[unroll]] for (uint u = 0; u < K_UNROLL; ++u) multiply_step(k + u * STEP, false);
            k += K_UNROLL * STEP;
        } while (k + K_UNROLL * STEP <= size_k);
    }
    if (K_UNROLL > 1 && k + STEP <= size_k) {
        do {
            multiply_step(k, false);
            k += STEP;
        } while (k + STEP <= size_k);
    }
    // The rest lane by lane of whole runs; what lies behind the last k counts as zero.
    if (k < size_k) multiply_step(k, true);

    add_lanes();
    if (lane == 0) store_tile();
}
