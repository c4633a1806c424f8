// Multiply by the matrix units of subgroups (VK_KHR_cooperative_matrix), for 16-bit operands.
//
//   C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]),   fp32 accumulation
//
// A workgroup computes BLOCK_M × BLOCK_N of C in steps of BLOCK_K, as shared.comp does: while one step's blocks are
// multiplied out of shared memory, the next step's are on their way into registers. Each subgroup computes SUB_M × SUB_N
// of it in fragments of MATRIX_M × MATRIX_N, a shape that the device lists:
//
//   [ BLOCK_M:     [ SUB_N      ]   subgroup s: row s / (BLOCK_N / SUB_N), column s % (BLOCK_N / SUB_N)
//                  [ #### ####  ]   # a fragment; sums go to memory a row of fragments at a time, through this
//                  [ #### ####  ]   subgroup's part of shared memory, for nobody knows which lane holds what
//     × BLOCK_N ]
//
// B is dense, or row-wise 2:4 compressed (tile_b_sparse24.glsl has the format) and expanded on the way into shared memory.
// Slots, push block and most constants are multiply.glsl's, layouts and EXACT shared.comp's.
// Grid: (ceil(n / BLOCK_N), outer * inner, ceil(m / BLOCK_M)).
//
// Promises of the host: subgroups are full and have SUBGROUP lanes; the conditions of kernels.json; TILE_COLUMNS is 2.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#include "matrix_element.glsl"

#define TILE_FIRST_ROW 0
#define TILE_COLUMN(c) (first_column + (c))
#define TILE_DECLARATIONS \
    layout(constant_id = 13) const uint BLOCK_M = 64; \
    layout(constant_id = 14) const uint BLOCK_N = 64; \
    layout(constant_id = 15) const uint BLOCK_K = 32; \
    layout(constant_id = 16) const uint SUB_M = 32; \
    layout(constant_id = 17) const uint SUB_N = 32; \
    layout(constant_id = 18) const uint SUBGROUP = 32; \
    layout(constant_id = 19) const uint MATRIX_M = 16; \
    layout(constant_id = 20) const uint MATRIX_N = 16; \
    layout(constant_id = 21) const uint MATRIX_K = 16; \
    const uint LANES = gl_WorkGroupSize.x; \
    uint lane = gl_LocalInvocationID.x; \
    uint first_column = 0;
#include "multiply.glsl"
#include "tile_store.glsl"

#include "blocks_words.glsl"

const uint FRAGMENTS_M = SUB_M / MATRIX_M;
const uint FRAGMENTS_N = SUB_N / MATRIX_N;
uint sub_row = gl_SubgroupID / (BLOCK_N / SUB_N) * SUB_M;  // of this subgroup, in the block
uint sub_column = gl_SubgroupID % (BLOCK_N / SUB_N) * SUB_N;

coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator> sums[FRAGMENTS_M * FRAGMENTS_N];

void multiply_block(uint half_) {
    [[unroll]] for (uint k = 0; k < BLOCK_K; k += MATRIX_K) {
        coopmat<MATRIX_ELEMENT, gl_ScopeSubgroup, MATRIX_M, MATRIX_K, gl_MatrixUseA> a[FRAGMENTS_M];
        [[unroll]] for (uint i = 0; i < FRAGMENTS_M; ++i) {
            const uint at = block_a(half_) + fragment_word(A_LAYOUT, BLOCK_M, sub_row + i * MATRIX_M, k);
            if (along_k(A_LAYOUT))
                coopMatLoad(a[i], block, at, pitch_words(A_LAYOUT, BLOCK_M), gl_CooperativeMatrixLayoutRowMajor);
            else
                coopMatLoad(a[i], block, at, pitch_words(A_LAYOUT, BLOCK_M), gl_CooperativeMatrixLayoutColumnMajor);
        }
        [[unroll]] for (uint j = 0; j < FRAGMENTS_N; ++j) {
            coopmat<MATRIX_ELEMENT, gl_ScopeSubgroup, MATRIX_K, MATRIX_N, gl_MatrixUseB> b;
            const uint at = block_b(half_) + fragment_word(B_LAYOUT, BLOCK_N, sub_column + j * MATRIX_N, k);
            if (along_k(B_LAYOUT))
                coopMatLoad(b, block, at, pitch_words(B_LAYOUT, BLOCK_N), gl_CooperativeMatrixLayoutColumnMajor);
            else
                coopMatLoad(b, block, at, pitch_words(B_LAYOUT, BLOCK_N), gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint i = 0; i < FRAGMENTS_M; ++i)
                sums[i * FRAGMENTS_N + j] = coopMatMulAdd(a[i], b, sums[i * FRAGMENTS_N + j]);
        }
    }
}

// A row of fragments at a time: SUB_N / 2 lanes share a row of C, each with a pair of columns and TILE_ROWS rows.
void store_sums() {
    const uint stage = gl_SubgroupID * MATRIX_M * SUB_N;
    const uint row = gl_SubgroupInvocationID / (SUB_N / 2) * TILE_ROWS;
    const uint column = gl_SubgroupInvocationID % (SUB_N / 2) * 2;
    first_column = gl_WorkGroupID.x * BLOCK_N + sub_column + column;
    [[unroll]] for (uint i = 0; i < FRAGMENTS_M; ++i) {
        [[unroll]] for (uint j = 0; j < FRAGMENTS_N; ++j)
            coopMatStore(sums[i * FRAGMENTS_N + j], block, stage + j * MATRIX_N, SUB_N, gl_CooperativeMatrixLayoutRowMajor);
        subgroupBarrier();
        first_row = gl_WorkGroupID.z * BLOCK_M + sub_row + i * MATRIX_M + row;
        [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
            [[unroll]] for (uint c = 0; c < 2; ++c)
                accumulator[r][c] = uintBitsToFloat(block[stage + (row + r) * SUB_N + column + c]);
        store_tile();
        subgroupBarrier();
    }
}

void main() {
    [[unroll]] for (uint i = 0; i < FRAGMENTS_M * FRAGMENTS_N; ++i)
        sums[i] = coopmat<float, gl_ScopeSubgroup, MATRIX_M, MATRIX_N, gl_MatrixUseAccumulator>(0.0);

    load_a(0);
    load_b(0);
    keep_blocks(0);
    barrier();
    uint k = BLOCK_K, half_ = 0;
    // All but the last step; every bound is the same for the whole workgroup.
    while (k < size_k) {
        load_a(k);
        load_b(k);
        multiply_block(half_);
        half_ ^= 1;
        keep_blocks(half_);
        barrier();
        k += BLOCK_K;
    }
    multiply_block(half_);
    barrier();  // the sums' way leads through what other subgroups may still read
    store_sums();
}
