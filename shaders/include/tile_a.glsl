// The A tile: TILE_ROWS × K_UNROLL scalars, the same for all invocations of a workgroup, loaded where they are used.
//
//            k k+1
//   row r     x  y      a_pair(r, k) = (A[row r][k], A[row r][k + 1]),  a_element(r, k) = A[row r][k]

uint a_row[TILE_ROWS];  // offset of each row's start

// Once, in front of the loops.
void place_a_tile() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) a_row[r] = batch_a + tile_row(r) * stride_a_m;
}

float a_element(uint r, uint k) {
    return load_float(MATRIX_A, OPERAND_TYPE, a_row[r], k * stride_a_k);
}

vec2 a_pair(uint r, uint k) {
    if (is_16_bit(OPERAND_TYPE) && A_PAIRS == 1)
        return load_float_pair(MATRIX_A, OPERAND_TYPE, a_row[r], k);
    return vec2(a_element(r, k), a_element(r, k + 1));
}
