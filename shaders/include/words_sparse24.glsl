// A row-wise 2:4 compressed weight expanded into words of two 16-bit elements (tile_words.glsl), for matrix units.
// tile_b_sparse24.glsl has the format. B_LAYOUT 0: contraction along the weight's columns, 2: along its rows.
// A unit is a group of four columns: two words.

#include "nibbles24.glsl"

const bool ALONG_IN = B_LAYOUT == 0;
const uint UNIT_WORDS_B = 2;

uint words_per_line = place_words(ALONG_IN ? size_k : size_n);
uint values_per_row = ALONG_IN ? stride_b_n : stride_b_k;
uint weight_rows = ALONG_IN ? size_n : size_k;
uint batch_meta =
    push.meta + batch_b / max(weight_rows * values_per_row, 1) * place_lines(weight_rows) * words_per_line;

// Entry `place` of a group with these two values.
uint entry_bits(uint values, uint nibble, uint place) {
    return ((nibble & 3) == place ? values & 0xffffu : 0u) | ((nibble >> 2 & 3) == place ? values >> 16 : 0u);
}

void load_b(uint k) {
    [[unroll]] for (uint i = 0; i < SHARE_B / 2; ++i) {
        const uvec2 place = unit_place(B_LAYOUT, i, BLOCK_N, 4);
        const uint n = gl_WorkGroupID.x * BLOCK_N + place.x, at_k = k + place.y;
        const uint row = ALONG_IN ? min(n, size_n - 1) : min(at_k, size_k - 1);
        const uint group = (ALONG_IN ? min(at_k, size_k - 1) : min(n, size_n - 1)) / 4;
        const uint values = load(MATRIX_B, 0u, (batch_b + row * values_per_row + group * 2) / 2);
        const uint word = load(MATRIX_B, 0u, batch_meta + line_of(row) * words_per_line + word_of(group));
        // Blocks begin at multiples of four in either direction.
        const uint nibble = nibble_of(word, group, place_terms(ALONG_IN ? place.x : place.y));
        [[unroll]] for (uint e = 0; e < 2; ++e)
            b_next[2 * i + e] = at_k < size_k ? entry_bits(values, nibble, 2 * e) | entry_bits(values, nibble, 2 * e + 1) << 16
                                              : 0u;
    }
}
