// The A tile: TILE_ROWS × K_UNROLL scalars, the same for all invocations of a workgroup, loaded where they are used.
//
//            k k+1
//   row r     x  y      a_pair(r, k) = (A[row r][k], A[row r][k + 1]),  a_element(r, k) = A[row r][k]
//
//   A_LAYOUT 0: any strides
//            1: pairs along k, of 16-bit types: a_k = 1; a_m, a_outer, a_inner even; A starts at a word
//            2: packed (pack.comp): panels of a_k rows, a_m elements each; a panel is a run of blocks of a_k × K_UNROLL
//               elements, row after row, one for every K_UNROLL steps of k; padded with zeros. K_UNROLL and batch strides
//               even, A starts at a multiple of two elements; TILE_ROWS divides a_k
//
// Packed, all that a step reads lies together: rows that are a power of two apart share few cache lines' places, and 64
// of them drive each other out.

layout(constant_id = 13) const uint A_TYPE = 0;  // OPERAND_TYPE, or F32 of a packed A

const bool A_PACKED = A_LAYOUT == 2;

uint a_row[TILE_ROWS];  // offset of each row's start

// Once, in front of the loops.
void place_a_tile() {
    const uint panel = A_PACKED ? batch_a + first_row / stride_a_k * stride_a_m + first_row % stride_a_k * K_STEP : 0;
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        a_row[r] = A_PACKED ? panel + r * K_STEP : batch_a + tile_row(r) * stride_a_m;
}

// Offset of column k in a row.
uint a_column(uint k) { return A_PACKED ? k / K_STEP * K_STEP * stride_a_k + k % K_STEP : k * stride_a_k; }

float a_element(uint r, uint k) { return load_float(MATRIX_A, A_TYPE, a_row[r], a_column(k)); }

// Columns k + j and k + j + 1, k a multiple of K_UNROLL, j even and below it.
vec2 a_pair(uint r, uint k, uint j) {
    if (A_PACKED) {
        const uint block = k * stride_a_k + r * K_STEP + j;
        if (is_16_bit(A_TYPE)) return load_float_pair(MATRIX_A, A_TYPE, a_row[0], block);
        return vec2(load_float(MATRIX_A, A_TYPE, a_row[0] + k * stride_a_k, r * K_STEP + j),
                    load_float(MATRIX_A, A_TYPE, a_row[0] + k * stride_a_k, r * K_STEP + j + 1));
    }
    if (is_16_bit(A_TYPE) && A_LAYOUT == 1) return load_float_pair(MATRIX_A, A_TYPE, a_row[r], k + j);
    return vec2(a_element(r, k + j), a_element(r, k + j + 1));
}
