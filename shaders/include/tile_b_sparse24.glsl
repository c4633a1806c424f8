// The B tile of a row-wise 2:4 compressed weight W (rows = out, columns = in), decoded into b_tile.
//
//   group g of row r:  values[r][2g], values[r][2g + 1]       2 * ceil(in / 4) values a row, padding is 0
//                      their places in the group              (nibbles24.glsl), behind the values of all batches at
//                                                             word `meta` from B's start
//
//   B_LAYOUT 0: contraction along in  (k = in, n = out): b_n = values of a row, K_UNROLL a multiple of 4 or 0;
//                                                        each lane expands groups of its own rows of W
//            1: contraction along out (k = out, n = in): b_k = values of a row;
//                                                        each lane expands its half group of row k
//   The other stride is unused. Values start at a multiple of two elements; batch strides count whole matrices.

#include "nibbles24.glsl"

const bool ALONG_IN = B_LAYOUT == 0;

uint words_per_line = place_words(ALONG_IN ? size_k : size_n);
uint values_per_row = ALONG_IN ? stride_b_n : stride_b_k;
uint weight_rows = ALONG_IN ? size_n : size_k;
uint batch_meta =
    push.meta + batch_b / max(weight_rows * values_per_row, 1) * place_lines(weight_rows) * words_per_line;

uint b_column[TILE_COLUMNS];   // row of W, or first column of the pair, of each column of C
ivec4 b_terms[TILE_COLUMNS];  // of that row

// The first column of the pair that c belongs to; the last pair may reach one column behind the matrix.
uint pair_column(uint c) { return clamped_column(c) & ~1u; }

// Once, in front of the loops.
void place_b_tile() {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
        b_column[c] = ALONG_IN ? clamped_column(c) : pair_column(c);
        b_terms[c] = place_terms(b_column[c]);
    }
}

// Entry `place` of a group.
float expand(vec2 values, uint nibble, uint place) {
    return ((nibble & 3) == place ? values.x : 0.0) + ((nibble >> 2 & 3) == place ? values.y : 0.0);
}

float b_element(uint k, uint c) {
    const uint column = b_column[c] + (ALONG_IN ? 0 : c & 1);
    const uint group = (ALONG_IN ? k : column) / 4;
    const uint place = (ALONG_IN ? k : column) & 3;
    const uint word = ALONG_IN ? load(MATRIX_B, batch_meta + word_of(group), line_of(column) * words_per_line)
                               : load(MATRIX_B, batch_meta + line_of(k) * words_per_line, word_of(group));
    const vec2 values = ALONG_IN ? load_float_pair(MATRIX_B, OPERAND_TYPE, batch_b + group * 2, column * values_per_row)
                                 : load_float_pair(MATRIX_B, OPERAND_TYPE, batch_b + k * values_per_row, group * 2);
    return expand(values, nibble_of(word, group, ALONG_IN ? b_terms[c] : place_terms(k)), place);
}

// Rows k … k + K_UNROLL - 1 into b_tile.
void load_b_tile(uint k) {
    if (ALONG_IN) {
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
            const uint row = b_column[c];
            // Rows of a pair lie in one band, so that its word is loaded once.
            const uint line = TILE_CODES ? line_of(b_column[c & ~1u]) : row;
            [[unroll]] for (uint j = 0; j < K_STEP; j += 4) {
                const uint group = k / 4 + j / 4;
                const uint word = load(MATRIX_B, batch_meta + word_of(group), line * words_per_line);
                const uint nibble = nibble_of(word, group, b_terms[c]);
                const vec2 values = load_float_pair(MATRIX_B, OPERAND_TYPE, batch_b + group * 2, row * values_per_row);
                [[unroll]] for (uint place = 0; place < 4; ++place)
                    b_tile[j + place][c] = expand(values, nibble, place);
            }
        }
    } else {
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; c += 2) {
            const uint column = b_column[c];
            const uint group = column / 4;
            [[unroll]] for (uint j = 0; j < K_STEP; ++j) {
                // k is a multiple of four here, and j says which row of its band k + j is.
                const uint line = TILE_CODES ? k / 4 + j / 4 : k + j;
                const uint word = load(MATRIX_B, batch_meta + line * words_per_line, word_of(group));
                const uint nibble = nibble_of(word, group, place_terms(j));
                const vec2 values =
                    load_float_pair(MATRIX_B, OPERAND_TYPE, batch_b + (k + j) * values_per_row, group * 2);
                b_tile[j][c] = expand(values, nibble, column & 3);
                b_tile[j][c + 1] = expand(values, nibble, (column & 3) + 1);
            }
        }
    }
}
