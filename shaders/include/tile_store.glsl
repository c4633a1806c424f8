// The C tile: epilogue and store of this invocation's TILE_ROWS × TILE_COLUMNS sums.
//
//   lane      0      1      2  …
//   row 0   [# #]  [# #]  [# #]        C_LAYOUT 0: row after row, element by element
//   row 1   [# #]  [# #]  [# #]                 1: a pair of columns is one store
//                                               2: column after column along all rows, which are contiguous: a cache
//                                                  line is filled before the next one is touched
//                                               3: likewise, two rows of a column are one store: 16-bit results

// A shader that finds its bias elsewhere says so.
#ifndef BIAS_BASE
#define BIAS_BASE (inner_index * push.bias_inner)
#endif

const bool BY_COLUMNS = C_LAYOUT >= 2;
const bool ROW_PAIRS = C_LAYOUT == 3;
const uint C_STEP = BY_COLUMNS ? 1 : 2;
const uint R_STEP = ROW_PAIRS ? 2 : 1;

#define STORE_SUM_(slot, row, column, value) \
    if (EXACT_N || (column) < size_n) store_float(slot, OUTPUT_TYPE, row, (column) * stride_c_n, value)

#define STORE_SUMS_(slot, row, r, c, value) \
    do { \
        const uint column_ = tile_column(c); \
        const vec2 stored_ = (value); \
        if (C_LAYOUT == 1 && (EXACT_N || column_ + 1 < size_n)) { \
            store_float_pair(slot, OUTPUT_TYPE, row, column_, stored_); \
        } else if (ROW_PAIRS && (EXACT_M || first_row + r + 1 < size_m)) { \
            if (EXACT_N || column_ < size_n) \
                store_float_pair(slot, OUTPUT_TYPE, row, column_ * stride_c_n, stored_); \
        } else { \
            STORE_SUM_(slot, row, column_, stored_.x); \
            if (C_STEP == 2) STORE_SUM_(slot, row, tile_column((c) + 1), stored_.y); \
        } \
    } while (false)

float bias_element(uint base, uint c, uint stride) {
    return load_float(BIAS, BIAS_TYPE, base, clamped_column(c) * stride);
}

float residual_element(uint row, uint c) {
    return load_float(RESIDUAL, OUTPUT_TYPE, row, clamped_column(c) * stride_c_n);
}

void store_tile() {
    const float scale = push.scale;
    const uint bias_base = BIAS_BASE;
    const uint bias_stride = push.bias_stride;
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; c += C_STEP) {
        const uint d = c + C_STEP - 1;  // the pair's other column, or the same
        vec2 bias = vec2(0.0);
        if (HAS_BIAS && !BIAS_ON_ROWS)
            bias = vec2(bias_element(bias_base, c, bias_stride), bias_element(bias_base, d, bias_stride));
        [[unroll]] for (uint r = 0; r < TILE_ROWS; r += R_STEP) {
            const uint s = r + R_STEP - 1;  // likewise of rows
            const uint row = batch_c + tile_row(r) * stride_c_m, row_s = batch_c + tile_row(s) * stride_c_m;
            if (BIAS_ON_ROWS)
                bias = vec2(load_float(BIAS, BIAS_TYPE, bias_base + tile_row(r) * bias_stride, 0),
                            load_float(BIAS, BIAS_TYPE, bias_base + tile_row(s) * bias_stride, 0));
            const vec2 z = fma(vec2(scale), vec2(accumulator[r][c], accumulator[s][d]), bias);
            vec2 y = vec2(activate(ACTIVATION, z.x), activate(ACTIVATION, z.y));
            if (HAS_RESIDUAL) y += vec2(residual_element(row, c), residual_element(row_s, d));
            if (EXACT_M || first_row + r < size_m) {
                if (HAS_AUX) STORE_SUMS_(AUX, row, r, c, z);
                STORE_SUMS_(MATRIX_C, row, r, c, y);
            }
        }
    }
}
