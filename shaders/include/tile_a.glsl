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
//            3: vector-wise sparse (vector/compress.comp): panels of a_k rows, a_m elements each, that keep k columns: all
//               rows of a column together. Which row of B a column multiplies is a word of its own, k words a panel,
//               at word `meta` from A's start; the panels of all batches follow each other in both. TILE_ROWS divides
//               a_k, A starts at a multiple of two elements
//
// Packed, all that a step reads lies together: rows that are a power of two apart share few cache lines' places, and 64
// of them drive each other out.

layout(constant_id = 13) const uint A_TYPE = 0;  // OPERAND_TYPE, or F32 of a packed A

layout(constant_id = 14) const uint PANEL_ROWS = 0;  // a_k of A_LAYOUT 3, or 0

// A constant saves a CPU a register for each unrolled k.
uint panel_rows() { return PANEL_ROWS > 0 ? PANEL_ROWS : stride_a_k; }

const bool A_PACKED = A_LAYOUT == 2;
const bool A_PICKS = A_LAYOUT == 3;
// Of 16-bit types a word holds two rows of a column.
const bool ROWS_TOGETHER = A_PICKS && A_TYPE != F32;

uint a_row[TILE_ROWS];  // offset of each row's start
uint picks;             // where the rows of B to read are listed

// Once, in front of the loops.
void place_a_tile() {
    if (A_PICKS) {
        const uint panel = batch_a / max(stride_a_m, 1u) + first_row / panel_rows();
        picks = push.meta + panel * size_k;
        a_row[0] = panel * stride_a_m + first_row % panel_rows();
        return;
    }
    const uint panel = A_PACKED ? batch_a + first_row / stride_a_k * stride_a_m + first_row % stride_a_k * K_STEP : 0;
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        a_row[r] = A_PACKED ? panel + r * K_STEP : batch_a + tile_row(r) * stride_a_m;
}

// Offset of column k in a row.
uint a_column(uint k) { return A_PACKED ? k / K_STEP * K_STEP * stride_a_k + k % K_STEP : k * stride_a_k; }

// The row of B that column k of A multiplies.
uint row_of_b(uint k) { return A_PICKS ? load(MATRIX_A, picks, k) : k; }

// Rows r and r + 1 of column k + j, r even; only where ROWS_TOGETHER.
vec2 a_rows(uint r, uint k, uint j) {
    return load_float_pair(MATRIX_A, A_TYPE, a_row[0] + k * panel_rows(), j * panel_rows() + r);
}

float a_element(uint r, uint k) {
    if (ROWS_TOGETHER) {
        const vec2 both = a_rows(r & ~1u, k, 0);
        return (r & 1) == 0 ? both.x : both.y;
    }
    if (A_PICKS) return load_float(MATRIX_A, A_TYPE, a_row[0] + k * panel_rows(), r);
    return load_float(MATRIX_A, A_TYPE, a_row[r], a_column(k));
}

// Columns k + j and k + j + 1, k a multiple of K_UNROLL, j even and below it.
vec2 a_pair(uint r, uint k, uint j) {
    if (A_PACKED) {
        const uint block = k * stride_a_k + r * K_STEP + j;
        if (is_16_bit(A_TYPE)) return load_float_pair(MATRIX_A, A_TYPE, a_row[0], block);
        return vec2(load_float(MATRIX_A, A_TYPE, a_row[0] + k * stride_a_k, r * K_STEP + j),
                    load_float(MATRIX_A, A_TYPE, a_row[0] + k * stride_a_k, r * K_STEP + j + 1));
    }
    if (A_PICKS)
        return vec2(load_float(MATRIX_A, A_TYPE, a_row[0] + k * panel_rows(), j * panel_rows() + r),
                    load_float(MATRIX_A, A_TYPE, a_row[0] + k * panel_rows(), (j + 1) * panel_rows() + r));
    if (is_16_bit(A_TYPE) && A_LAYOUT == 1) return load_float_pair(MATRIX_A, A_TYPE, a_row[r], k + j);
    return vec2(a_element(r, k + j), a_element(r, k + j + 1));
}
