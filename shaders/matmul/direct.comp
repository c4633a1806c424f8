// Strided, batched matrix multiply in registers: no shared memory, no subgroup operations, any device.
//
//   C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]),   fp32 accumulation
//
// Called for every multiply of the library: the host folds transposes, permutations, blocks and factors into strides
// (multiply.glsl has slots, push block, constants and promises). B is the weight, dense (WEIGHT_DENSE) or row-wise 2:4
// compressed (WEIGHT_SPARSE24); or A is, packed or vector-wise sparse (tile_a.glsl).
// Grid: (ceil(n / (LANES * TILE_COLUMNS)), outer * inner, ceil(m / TILE_ROWS)).
//
//               lane 0  lane 1  …            each lane: TILE_COLUMNS columns of B, K_UNROLL deep, in registers
//                B B     B B
//                B B     B B
//   A A A A     [C C]   [C C]                A: scalars, uniform over the workgroup
//   A A A A     [C C]   [C C]                C: TILE_ROWS × TILE_COLUMNS accumulators of a lane
//   A A A A     [C C]   [C C]
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#include "multiply.glsl"
#include "tile_a.glsl"
#if defined(WEIGHT_DENSE)
#include "tile_b_dense.glsl"
#elif defined(WEIGHT_SPARSE24)
#include "tile_b_sparse24.glsl"
#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif
#include "tile_store.glsl"

// accumulator += A tile · B tile, for rows k … k + K_UNROLL - 1 of B.
void multiply_tile(uint k) {
    if (ROWS_TOGETHER) {
        [[unroll]] for (uint r = 0; r < TILE_ROWS; r += 2) {
            [[unroll]] for (uint j = 0; j < K_UNROLL; ++j) {
                const vec2 a = a_rows(r, k, j);
                [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
                    accumulator[r][c] = fma(a.x, b_tile[j][c], accumulator[r][c]);
                    accumulator[r + 1][c] = fma(a.y, b_tile[j][c], accumulator[r + 1][c]);
                }
            }
        }
        return;
    }
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        [[unroll]] for (uint j = 0; j < K_UNROLL; j += 2) {
            const vec2 a = a_pair(r, k, j);
            [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
                accumulator[r][c] = fma(a.x, b_tile[j][c], accumulator[r][c]);
                accumulator[r][c] = fma(a.y, b_tile[j + 1][c], accumulator[r][c]);
            }
        }
    }
}

// accumulator += column k of A · row k of B.
void multiply_element(uint k) {
    float b[TILE_COLUMNS];
    const uint row = row_of_b(k);
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) b[c] = b_element(row, c);
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        const float a = a_element(r, k);
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = fma(a, b[c], accumulator[r][c]);
    }
}

void main() {
    place_a_tile();
    place_b_tile();
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = 0.0;

    // What K_UNROLL leaves over comes first, one k at a time. The clamp is for lavapipe, which runs the body of a loop
    // or of an if with all lanes masked, and whose uniform loads obey no mask. The loop's place is measured: behind the
    // main loop it costs a quarter of the speed; with no such loop the driver computes row addresses in every step.
    const uint left_over = K_UNROLL == 0 ? size_k : size_k % K_STEP;
    for (uint k = size_k - left_over; k < size_k; ++k) multiply_element(min(k, size_k - 1));

    // Tested at the bottom, so that no masked run reaches behind the last k. Only a packed A may be deeper than k.
    if (K_UNROLL != 0 && (!A_PACKED || size_k >= K_UNROLL)) {
        uint k = 0;
        do {
            load_b_tile(k);
            multiply_tile(k);
            k += K_UNROLL;
        } while (k + K_UNROLL <= size_k);
    }

    store_tile();
}
