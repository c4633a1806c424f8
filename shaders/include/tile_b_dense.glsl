// The B tile of a dense weight: K_UNROLL × TILE_COLUMNS values of this invocation's own columns, held in b_tile.
//
//          c c+1          B_LAYOUT 0: any strides, one element a load
//      k   #--#                    1: pairs along n: b_n = 1; b_k, b_outer, b_inner and n even
//     k+1  |                       2: pairs along k: b_k = 1; b_n, b_outer, b_inner even
//          #              and with pairs B starts at a multiple of two elements
// The rows that stand for k are those that A names (row_of_b, tile_a.glsl); with pairs along k they are k itself.
// Pairs serve 16-bit types (one load for two elements); for f32 on a CPU they gain nothing.

uint b_column[TILE_COLUMNS];  // offset of each column

// Once, in front of the loops.
void place_b_tile() {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) b_column[c] = clamped_column(c) * stride_b_n;
}

float b_element(uint k, uint c) {
    return load_float(MATRIX_B, OPERAND_TYPE, batch_b + k * stride_b_k, b_column[c]);
}

// Rows k … k + K_UNROLL - 1 into b_tile.
void load_b_tile(uint k) {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; c += 2) {
        [[unroll]] for (uint j = 0; j < K_STEP; ++j) {
            if (B_LAYOUT == 1) {
                const vec2 pair =
                    load_float_pair(MATRIX_B, OPERAND_TYPE, batch_b + row_of_b(k + j) * stride_b_k, b_column[c] & ~1u);
                b_tile[j][c] = pair.x;
                b_tile[j][c + 1] = pair.y;
            } else if (B_LAYOUT == 2) {
                if ((j & 1) == 0) {
                    [[unroll]] for (uint h = 0; h < 2; ++h) {
                        const vec2 pair = load_float_pair(MATRIX_B, OPERAND_TYPE, batch_b + k + j, b_column[c + h]);
                        b_tile[j][c + h] = pair.x;
                        b_tile[j + 1][c + h] = pair.y;
                    }
                }
            } else {
                const uint row = row_of_b(k + j);
                b_tile[j][c] = b_element(row, c);
                b_tile[j][c + 1] = b_element(row, c + 1);
            }
        }
    }
}
