// The steps of few.comp over a weight that is 2:4 compressed by rows or by tiles (nibbles24.glsl): each lane multiplies the two
// kept values of its groups by the tokens' entries at their places.
//
//   void place_b()                          once, in front of the loops
//   void multiply_step(uint k, bool last)   STEP entries from k on; `last`: fewer

#include "nibbles24.glsl"

const uint GROUPS = K_LANE / 4;  // of a lane and step
const bool EIGHT_GROUPS = LANES * GROUPS == 8;   // … of all lanes
const bool WHOLE_BANDS = TILE_COLUMNS % 4 == 0;  // rows of the weight

uint words_per_line = place_words(size_k);
uint batch_meta = push.meta + batch_b / max(size_n * stride_b_n, 1) * place_lines(size_n) * words_per_line;
uint last_group = (size_k - 1) / 4;

void place_b() {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) b_column[c] = batch_b + clamped_column(c) * stride_b_n;
}

// Bits are brought to the sign, which a CPU tests for less than any other. Places ascend, so that the first value is at
// 0, 1 or 2 and the second at 1, 2 or 3.
bool bit(uint word, uint shift) { return int(word << shift) < 0; }

// Where the places of column c begin, and which row of its band it is.
uint line_of_column(uint c) {
    if (TILE_CODES && WHOLE_BANDS) return batch_meta + min(tile_column(c & ~3u) / 4, (size_n - 1) / 4) * words_per_line;
    return batch_meta + line_of(clamped_column(c)) * words_per_line;
}
ivec4 terms_of_column(uint c) { return place_terms(WHOLE_BANDS ? c : tile_column(c)); }

// Two values, whose places are those of group `index` in `word`, times the tokens' group g.
void multiply_group(uint c, uint g, vec2 values, uint word, uint index) {
    if (TILE_CODES) word = nibble_of(word, index, terms_of_column(c));
    const uint shift = TILE_CODES ? 31 : 31 - 4 * index;
    const bool b0 = bit(word, shift), b1 = bit(word, shift - 1), b2 = bit(word, shift - 2), b3 = bit(word, shift - 3);
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        const float first = b1 ? a_run[r][4 * g + 2] : b0 ? a_run[r][4 * g + 1] : a_run[r][4 * g];
        const float second = b3 ? (b2 ? a_run[r][4 * g + 3] : a_run[r][4 * g + 2]) : a_run[r][4 * g + 1];
        accumulator[r][c] = fma(first, values.x, accumulator[r][c]);
        accumulator[r][c] = fma(second, values.y, accumulator[r][c]);
    }
}

// The word with the places of this lane's groups. Where a step is one word of nibbles or two of codes, these are loaded
// uniformly; the clamp is for masked steps (direct.comp).
uint word_of_step(uint line, uint k, uint first) {
    if (!EIGHT_GROUPS) return load(MATRIX_B, line, word_of(first));
    const uint at = k / 4 / WORD_GROUPS, last_word = words_per_line - 1;
    const uint word = load(MATRIX_B, line + min(at, last_word), 0u);
    if (!TILE_CODES) return word;
    return mix(word, load(MATRIX_B, line + min(at + 1, last_word), 0u), lane * GROUPS >= 4);
}

void multiply_step(uint k, bool last) {
    load_a_runs(k, last);
    const uint first = k / 4 + lane * GROUPS;
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
        const uint line = line_of_column(c);
        if (B_LAYOUT != 0 && !last) {
            uint run[MAX_RUN_WORDS];
            LOAD_RUN(MATRIX_B, B_LAYOUT, run_words(OPERAND_TYPE, GROUPS * 2),
                     run_words(OPERAND_TYPE, b_column[c] + k / 2), run_words(OPERAND_TYPE, lane * GROUPS * 2), run)
            const uint word = word_of_step(line, k, first);
            [[unroll]] for (uint g = 0; g < GROUPS; ++g)
                multiply_group(c, g,
                               vec2(run_element(OPERAND_TYPE, run, 2 * g), run_element(OPERAND_TYPE, run, 2 * g + 1)),
                               word, (EIGHT_GROUPS ? lane * GROUPS : first) % WORD_GROUPS + g);
        } else {
            [[unroll]] for (uint g = 0; g < GROUPS; ++g) {
                const uint group = min(first + g, last_group);
                const vec2 values = load_float_pair(MATRIX_B, OPERAND_TYPE, b_column[c], group * 2);
                multiply_group(c, g, first + g <= last_group ? values : vec2(0.0), load(MATRIX_B, line, word_of(group)),
                               group % WORD_GROUPS);
            }
        }
    }
}
