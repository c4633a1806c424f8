// Multiply by the matrix units of whole workgroups (VK_NV_cooperative_matrix2), for 16-bit operands.
//
//   C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]),   fp32 accumulation
//
// As coopmat.comp, but the workgroup's BLOCK_M × BLOCK_N sums are one matrix, which the driver spreads over its subgroups;
// it goes to memory through the shared memory that the operands no longer need. Layouts and EXACT are shared.comp's.
// Grid: (ceil(n / BLOCK_N), outer * inner, ceil(m / BLOCK_M)).
//
// Promises of the host: the device lists BLOCK_M, BLOCK_N, BLOCK_K as multiples of its steps at this local size; the
// conditions of kernels.json; TILE_COLUMNS is 2. Compiled, never executed: no device at hand has it.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_NV_cooperative_matrix2 : require
#include "matrix_element.glsl"

#define TILE_FIRST_ROW (gl_WorkGroupID.z * BLOCK_M + lane / (BLOCK_N / 2) * TILE_ROWS)
#define TILE_COLUMN(c) (gl_WorkGroupID.x * BLOCK_N + lane % (BLOCK_N / 2) * 2 + (c))
#define TILE_DECLARATIONS \
    layout(constant_id = 13) const uint BLOCK_M = 64; \
    layout(constant_id = 14) const uint BLOCK_N = 64; \
    layout(constant_id = 15) const uint BLOCK_K = 32; \
    const uint LANES = gl_WorkGroupSize.x; \
    uint lane = gl_LocalInvocationID.x;
#include "multiply.glsl"
#include "tile_store.glsl"
#include "blocks_words.glsl"

coopmat<float, gl_ScopeWorkgroup, BLOCK_M, BLOCK_N, gl_MatrixUseAccumulator> sum;

void multiply_block(uint half_) {
    coopmat<MATRIX_ELEMENT, gl_ScopeWorkgroup, BLOCK_M, BLOCK_K, gl_MatrixUseA> a;
    coopmat<MATRIX_ELEMENT, gl_ScopeWorkgroup, BLOCK_K, BLOCK_N, gl_MatrixUseB> b;
    const uint pitch_a = pitch_words(A_LAYOUT, BLOCK_M), pitch_b = pitch_words(B_LAYOUT, BLOCK_N);
    if (along_k(A_LAYOUT))
        coopMatLoad(a, block, block_a(half_), pitch_a, gl_CooperativeMatrixLayoutRowMajor);
    else
        coopMatLoad(a, block, block_a(half_), pitch_a, gl_CooperativeMatrixLayoutColumnMajor);
    if (along_k(B_LAYOUT))
        coopMatLoad(b, block, block_b(half_), pitch_b, gl_CooperativeMatrixLayoutColumnMajor);
    else
        coopMatLoad(b, block, block_b(half_), pitch_b, gl_CooperativeMatrixLayoutRowMajor);
    sum = coopMatMulAdd(a, b, sum);
}

// BLOCK_N / 2 lanes share a row of C, each with a pair of columns and TILE_ROWS rows.
void store_sums() {
    coopMatStore(sum, block, 0, BLOCK_N, gl_CooperativeMatrixLayoutRowMajor);
    barrier();
    const uint row = lane / (BLOCK_N / 2) * TILE_ROWS, column = lane % (BLOCK_N / 2) * 2;
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < 2; ++c)
            accumulator[r][c] = uintBitsToFloat(block[(row + r) * BLOCK_N + column + c]);
    store_tile();
}

void main() {
    sum = coopmat<float, gl_ScopeWorkgroup, BLOCK_M, BLOCK_N, gl_MatrixUseAccumulator>(0.0);

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
