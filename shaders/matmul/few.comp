// Multiply of few rows (tokens) by a weight whose rows run along k: a matrix-vector product and its next of kin.
//
//   C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]),   fp32 accumulation
//
// The lanes of a workgroup lie along k, so that neighbours load neighbouring words of the weight, each word once; the
// lanes' sums are added at the end. Slots, push block and most constants are multiply.glsl's. B is dense or row-wise 2:4
// compressed with the contraction along its columns (tile_b_sparse24.glsl has the format). Right for every stride, fast
// where k is contiguous. Grid: (ceil(n / TILE_COLUMNS), outer * inner, ceil(m / TILE_ROWS)).
//
//              k →   lane 0    lane 1    …        K_LANE elements of a row a lane and step
//   A row 0        [a a a a] [a a a a]            TILE_ROWS tokens
//   B column 0     [b b b b] [b b b b]            TILE_COLUMNS rows of the weight, each multiplied with all tokens
//   B column 1     [b b b b] [b b b b]
//
//   K_UNROLL       steps of the unrolled loop, at least 1
//   A_LAYOUT       words of one load of A; a_k = 1, and rows, batches and operand start at multiples of as many words.
//                  0: any strides, element by element
//   B_LAYOUT       likewise of B, b_k = 1; a compressed weight always starts its rows at multiples of two elements
//   ONE_SUBGROUP   the workgroup is one subgroup
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require

#define TILE_COLUMN(c) (gl_WorkGroupID.x * TILE_COLUMNS + (c))
#include "multiply.glsl"
#include "runs.glsl"
#include "tile_store.glsl"

layout(constant_id = 13) const uint K_LANE = 4;  // of a compressed weight whole groups of four
layout(constant_id = 14) const uint ONE_SUBGROUP = 0;

const uint LANES = gl_WorkGroupSize.x;
const uint STEP = LANES * K_LANE;
const uint SUMS = TILE_ROWS * TILE_COLUMNS;

// One row of sums for each subgroup; none has fewer than four lanes.
shared float sums[(LANES / 4) * SUMS];

uint lane = gl_LocalInvocationID.x;
uint a_row[TILE_ROWS];        // offset of each token's row
uint b_column[TILE_COLUMNS];  // offset of each row of the weight
float a_run[TILE_ROWS][K_LANE];

// The tokens' elements k + lane * K_LANE …, of which those behind the last k are zero if `last`.
void load_a_runs(uint k, bool last) {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        if (A_LAYOUT != 0 && !last) {
            uint run[MAX_RUN_WORDS];
            LOAD_RUN(MATRIX_A, A_LAYOUT, run_words(OPERAND_TYPE, K_LANE), run_words(OPERAND_TYPE, a_row[r] + k),
                     run_words(OPERAND_TYPE, lane * K_LANE), run)
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) a_run[r][i] = run_element(OPERAND_TYPE, run, i);
        } else {
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) {
                const uint at = k + lane * K_LANE + i;
                const float a = load_float(MATRIX_A, OPERAND_TYPE, a_row[r], min(at, size_k - 1) * stride_a_k);
                a_run[r][i] = !last || at < size_k ? a : 0.0;
            }
        }
    }
}

void multiply_run(uint c, float b, uint i) {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) accumulator[r][c] = fma(a_run[r][i], b, accumulator[r][c]);
}

#if defined(WEIGHT_DENSE)

void place_b() {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) b_column[c] = batch_b + clamped_column(c) * stride_b_n;
}

void multiply_step(uint k, bool last) {
    load_a_runs(k, last);
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
        if (B_LAYOUT != 0 && !last) {
            uint run[MAX_RUN_WORDS];
            LOAD_RUN(MATRIX_B, B_LAYOUT, run_words(OPERAND_TYPE, K_LANE), run_words(OPERAND_TYPE, b_column[c] + k),
                     run_words(OPERAND_TYPE, lane * K_LANE), run)
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) multiply_run(c, run_element(OPERAND_TYPE, run, i), i);
        } else {
            [[unroll]] for (uint i = 0; i < K_LANE; ++i) {
                const uint at = k + lane * K_LANE + i;
                const float b = load_float(MATRIX_B, OPERAND_TYPE, b_column[c], min(at, size_k - 1) * stride_b_k);
                multiply_run(c, !last || at < size_k ? b : 0.0, i);
            }
        }
    }
}

#elif defined(WEIGHT_SPARSE24)

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

#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif

// Adds the lanes' sums; every lane has the result.
void add_lanes() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = subgroupAdd(accumulator[r][c]);
    if (ONE_SUBGROUP == 1) return;
    if (subgroupElect())
        [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
            [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c)
                sums[gl_SubgroupID * SUMS + r * TILE_COLUMNS + c] = accumulator[r][c];
    barrier();
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = 0.0;
    // The loop over subgroups outside: around it NVIDIA's open driver (NVK) does not unroll, and puts the sums in memory.
    for (uint s = 0; s < gl_NumSubgroups; ++s)
        [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
            [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c)
                accumulator[r][c] += sums[s * SUMS + r * TILE_COLUMNS + c];
}

void main() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
        a_row[r] = batch_a + tile_row(r) * stride_a_m;
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = 0.0;
    }
    place_b();

    // Loops over memory are tested at the bottom: see direct.comp.
    uint k = 0;
    if (size_k >= K_UNROLL * STEP) {
        do {
            [[unroll]] for (uint u = 0; u < K_UNROLL; ++u) multiply_step(k + u * STEP, false);
            k += K_UNROLL * STEP;
        } while (k + K_UNROLL * STEP <= size_k);
    }
    if (K_UNROLL > 1 && k + STEP <= size_k) {
        do {
            multiply_step(k, false);
            k += STEP;
        } while (k + STEP <= size_k);
    }
    // The rest lane by lane of whole runs; what lies behind the last k counts as zero.
    if (k < size_k) multiply_step(k, true);

    add_lanes();
    if (lane == 0) store_tile();
}
