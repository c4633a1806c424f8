// Multiply through shared memory, for GPUs and products that fill them.
//
//   C[b][m][n] = epilogue(sum over k of A[b][m][k] * B[b][k][n]),   fp32 accumulation
//
// A workgroup computes BLOCK_M × BLOCK_N of C in steps of BLOCK_K. While it multiplies one step's blocks of A and B out of
// shared memory, the next step's are on their way into registers; they go to the other half of shared memory, so that
// one barrier a step does. B is dense, or row-wise 2:4 compressed (tile_b_sparse24.glsl has the format) and expanded on the
// way into shared memory. Slots, push block and most constants are multiply.glsl's.
// Grid: (ceil(n / BLOCK_N), outer * inner, ceil(m / BLOCK_M)).
//
//                    [ BLOCK_N: LANES_X invocations × TILE_COLUMNS ]
//   [ BLOCK_M:         C: TILE_ROWS × TILE_COLUMNS an invocation
//     LANES / LANES_X  in pairs of columns, a pair of one invocation beside that of the next
//     × TILE_ROWS ]
//
//   A_LAYOUT  0: any strides, neighbours along k      1: runs of 16 bytes along k: a_k = 1, k a multiple of a run
//             2: any strides, neighbours along m      3: runs of 16 bytes along m: a_m = 1, m a multiple of a run
//             and with runs the other strides, batches and the operand start at multiples of 16 bytes
//   B_LAYOUT  likewise with n in place of m; of a compressed weight 0: contraction along its columns, 2: along its rows
//   EXACT     bit 0: m is a multiple of BLOCK_M; bit 1: n of BLOCK_N; bit 2: k of BLOCK_K
//   K_UNROLL  steps of the inner loop that are unrolled, a divisor of BLOCK_K
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define TILE_FIRST_ROW (gl_WorkGroupID.z * BLOCK_M + lane_y * TILE_ROWS)
#define TILE_COLUMN(c) (gl_WorkGroupID.x * BLOCK_N + (lane_x + (c) / 2 * LANES_X) * 2 + ((c) & 1))
#define TILE_DECLARATIONS \
    layout(constant_id = 13) const uint LANES_X = 8; \
    layout(constant_id = 14) const uint BLOCK_K = 16; \
    const uint LANES = gl_WorkGroupSize.x; \
    const uint BLOCK_M = LANES / LANES_X * TILE_ROWS; \
    const uint BLOCK_N = LANES_X * TILE_COLUMNS; \
    uint lane = gl_LocalInvocationID.x; \
    uint lane_x = lane % LANES_X; \
    uint lane_y = lane / LANES_X;
#include "multiply.glsl"
#include "runs.glsl"
#include "tile_store.glsl"

const bool EXACT_K = (EXACT & 4) != 0;
const uint RUN = OPERAND_TYPE == F32 ? 4 : 8;  // elements of 16 bytes
// Rows are skewed by 16 bytes, so that columns do not fall into one bank.
const uint PITCH_M = BLOCK_M + 4;
const uint PITCH_N = BLOCK_N + 4;
const uint SHARE_A = BLOCK_M * BLOCK_K / LANES;  // elements of an invocation, a multiple of 8
const uint SHARE_B = BLOCK_N * BLOCK_K / LANES;

shared float a_block[2 * BLOCK_K * PITCH_M];
shared float b_block[2 * BLOCK_K * PITCH_N];
float a_next[SHARE_A];
float b_next[SHARE_B];

bool in_runs(uint layout_) { return (layout_ & 1) != 0; }
bool along_k(uint layout_) { return layout_ < 2; }

// Where unit `i` of this invocation begins in a block of `lines` rows of A or columns of B: (line, k). A unit is one
// element, or `length` of them along k or along the lines.
uvec2 unit_place(uint layout_, uint i, uint lines, uint length) {
    const uint unit = i * LANES + lane;
    if (along_k(layout_)) return uvec2(unit / (BLOCK_K / length), unit % (BLOCK_K / length) * length);
    return uvec2(unit % (lines / length) * length, unit / (lines / length));
}

// The share of this invocation in the block that begins at (first, k) of an operand with `extent` lines. Indices are
// clamped; what lies behind the last k is zero.
#define LOAD_SHARE_(slot, layout_, batch, first, extent, stride, stride_k, lines, share, k, next) \
    do { \
        const uint length_ = in_runs(layout_) ? RUN : 1; \
        [[unroll]] for (uint i_ = 0; i_ < (share) / length_; ++i_) { \
            const uvec2 place_ = unit_place(layout_, i_, lines, length_); \
            const uint line_ = min((first) + place_.x, (extent) - (along_k(layout_) ? 1 : length_)); \
            const uint at_k_ = EXACT_K ? (k) + place_.y : min((k) + place_.y, size_k - (along_k(layout_) ? length_ : 1)); \
            const bool real_ = EXACT_K || (k) + place_.y < size_k; \
            const uint offset_ = (batch) + line_ * (stride) + at_k_ * (stride_k); \
            if (in_runs(layout_)) { \
                uint run_[MAX_RUN_WORDS]; \
                LOAD_RUN(slot, 4, 4, 0u, run_words(OPERAND_TYPE, offset_), run_) \
                [[unroll]] for (uint e_ = 0; e_ < RUN; ++e_) \
                    next[i_ * RUN + e_] = real_ ? run_element(OPERAND_TYPE, run_, e_) : 0.0; \
            } else { \
                const float element_ = load_float(slot, OPERAND_TYPE, 0u, offset_); \
                next[i_] = real_ ? element_ : 0.0; \
            } \
        } \
    } while (false)

#define KEEP_SHARE_(layout_, lines, pitch, share, half_, next, block) \
    do { \
        const uint length_ = in_runs(layout_) ? RUN : 1; \
        [[unroll]] for (uint i_ = 0; i_ < (share) / length_; ++i_) { \
            const uvec2 place_ = unit_place(layout_, i_, lines, length_); \
            [[unroll]] for (uint e_ = 0; e_ < length_; ++e_) { \
                const uint line_ = place_.x + (along_k(layout_) ? 0 : e_); \
                const uint k_ = place_.y + (along_k(layout_) ? e_ : 0); \
                block[((half_) * BLOCK_K + k_) * (pitch) + line_] = next[i_ * length_ + e_]; \
            } \
        } \
    } while (false)

void load_a(uint k) {
    LOAD_SHARE_(MATRIX_A, A_LAYOUT, batch_a, gl_WorkGroupID.z * BLOCK_M, size_m, stride_a_m, stride_a_k, BLOCK_M, SHARE_A,
                k, a_next);
}
void keep_a(uint half_) { KEEP_SHARE_(A_LAYOUT, BLOCK_M, PITCH_M, SHARE_A, half_, a_next, a_block); }

#if defined(WEIGHT_DENSE)

void load_b(uint k) {
    LOAD_SHARE_(MATRIX_B, B_LAYOUT, batch_b, gl_WorkGroupID.x * BLOCK_N, size_n, stride_b_n, stride_b_k, BLOCK_N, SHARE_B,
                k, b_next);
}
void keep_b(uint half_) { KEEP_SHARE_(B_LAYOUT, BLOCK_N, PITCH_N, SHARE_B, half_, b_next, b_block); }

#elif defined(WEIGHT_SPARSE24)

#include "nibbles24.glsl"

const bool ALONG_IN = B_LAYOUT == 0;

uint words_per_line = place_words(ALONG_IN ? size_k : size_n);
uint values_per_row = ALONG_IN ? stride_b_n : stride_b_k;
uint weight_rows = ALONG_IN ? size_n : size_k;
uint batch_meta =
    push.meta + batch_b / max(weight_rows * values_per_row, 1) * place_lines(weight_rows) * words_per_line;

// A unit is a group of four.
void load_b(uint k) {
    [[unroll]] for (uint i = 0; i < SHARE_B / 4; ++i) {
        const uvec2 place = unit_place(B_LAYOUT, i, BLOCK_N, 4);
        const uint n = gl_WorkGroupID.x * BLOCK_N + place.x, at_k = k + place.y;
        const uint row = ALONG_IN ? min(n, size_n - 1) : min(at_k, size_k - 1);
        const uint group = (ALONG_IN ? min(at_k, size_k - 1) : min(n, size_n - 1)) / 4;
        const vec2 values = load_float_pair(MATRIX_B, OPERAND_TYPE, 0u, batch_b + row * values_per_row + group * 2);
        const uint word = load(MATRIX_B, 0u, batch_meta + line_of(row) * words_per_line + word_of(group));
        // Blocks begin at multiples of four in either direction.
        const uint nibble = nibble_of(word, group, place_terms(ALONG_IN ? place.x : place.y));
        const bool real = at_k < size_k;
        [[unroll]] for (uint e = 0; e < 4; ++e)
            b_next[4 * i + e] = !real ? 0.0
                                      : ((nibble & 3) == e ? values.x : 0.0) + ((nibble >> 2 & 3) == e ? values.y : 0.0);
    }
}

void keep_b(uint half_) {
    [[unroll]] for (uint i = 0; i < SHARE_B / 4; ++i) {
        const uvec2 place = unit_place(B_LAYOUT, i, BLOCK_N, 4);
        [[unroll]] for (uint e = 0; e < 4; ++e)
            b_block[(half_ * BLOCK_K + place.y + (ALONG_IN ? e : 0)) * PITCH_N + place.x + (ALONG_IN ? 0 : e)] =
                b_next[4 * i + e];
    }
}

#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif

void multiply_block(uint half_) {
    uint k = 0;
    do {
        [[unroll]] for (uint j = 0; j < K_UNROLL; ++j) {
            const uint a_at = (half_ * BLOCK_K + k + j) * PITCH_M + lane_y * TILE_ROWS;
            const uint b_at = (half_ * BLOCK_K + k + j) * PITCH_N + lane_x * 2;
            float b[TILE_COLUMNS];
            [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) b[c] = b_block[b_at + c / 2 * LANES_X * 2 + (c & 1)];
            [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r) {
                const float a = a_block[a_at + r];
                [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = fma(a, b[c], accumulator[r][c]);
            }
        }
        k += K_UNROLL;
    } while (k < BLOCK_K);
}

void main() {
    [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
        [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) accumulator[r][c] = 0.0;

    load_a(0);
    load_b(0);
    keep_a(0);
    keep_b(0);
    barrier();
    uint k = BLOCK_K, half_ = 0;
    // All but the last step; every bound is the same for the whole workgroup.
    while (k < size_k) {
        load_a(k);
        load_b(k);
        multiply_block(half_);
        half_ ^= 1;
        keep_a(half_);
        keep_b(half_);
        barrier();
        k += BLOCK_K;
    }
    multiply_block(half_);
    store_tile();
}
