// The C tile: epilogue and store of this invocation's TILE_ROWS × TILE_COLUMNS sums.
//
//   lane      0      1      2  …
//   row 0   [# #]  [# #]  [# #]        a pair of columns is one store where C_PAIRS promises it,
//   row 1   [# #]  [# #]  [# #]        two stores where not

#define STORE_PAIR_(slot, row, c, value) \
    do { \
        const uint column_ = tile_column(c); \
        const vec2 stored_ = (value); \
        if (C_PAIRS == 1 && (EXACT_N || column_ + 1 < size_n)) { \
            store_float_pair(slot, OUTPUT_TYPE, row, column_, stored_); \
        } else { \
            if (EXACT_N || column_ < size_n) store_float(slot, OUTPUT_TYPE, row, column_ * stride_c_n, stored_.x); \
            if (EXACT_N || column_ + 1 < size_n) \
                store_float(slot, OUTPUT_TYPE, row, (column_ + 1) * stride_c_n, stored_.y); \
        } \
    } while (false)

float residual_element(uint row, uint c) {
    return load_float(RESIDUAL, OUTPUT_TYPE, row, clamped_column(c) * stride_c_n);
}

void store_tile() {
    const float scale = push.scale;
    const uint bias_base = inner_index * push.bias_inner;
    const uint bias_stride = push.bias_stride;
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; c += 2) {
        vec2 bias = vec2(0.0);
        if (HAS_BIAS && !BIAS_ON_ROWS)
            bias = vec2(load_float(BIAS, BIAS_TYPE, bias_base, clamped_column(c) * bias_stride),
                        load_float(BIAS, BIAS_TYPE, bias_base, clamped_column(c + 1) * bias_stride));
        [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
            const uint row = batch_c + tile_row(r) * stride_c_m;
            if (BIAS_ON_ROWS) bias = vec2(load_float(BIAS, BIAS_TYPE, bias_base + tile_row(r) * bias_stride, 0));
            const vec2 z = fma(vec2(scale), vec2(accumulator[r][c], accumulator[r][c + 1]), bias);
            vec2 y = vec2(activate(ACTIVATION, z.x), activate(ACTIVATION, z.y));
            if (HAS_RESIDUAL) y += vec2(residual_element(row, c), residual_element(row, c + 1));
            if (EXACT_M || first_row + r < size_m) {
                if (HAS_AUX) STORE_PAIR_(AUX, row, c, z);
                STORE_PAIR_(MATRIX_C, row, c, y);
            }
        }
    }
}
