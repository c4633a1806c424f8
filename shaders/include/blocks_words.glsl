// The blocks of A and B of a multiply by matrix units: from memory into registers, and from there into shared memory.
//
//   void load_a(k), load_b(k)    this invocation's share of the blocks that begin at k, into registers
//   void keep_blocks(h)          what was loaded, into half h of shared memory (tile_words.glsl)
//   uint block_a(h), block_b(h)  the words of `block` at which they begin
//   uint fragment_word(layout, lines, line, k)   where a fragment begins behind that
// Needs BLOCK_M, BLOCK_N, BLOCK_K, LANES, lane.

// Both halves; A's part and B's have room for either order.
const uint WORDS_A = BLOCK_M * (BLOCK_K / 2 + 4);
const uint WORDS_B = BLOCK_N * (BLOCK_K / 2 + 4);
shared uint block[2 * (WORDS_A + WORDS_B)];
#include "tile_words.glsl"

const uint SHARE_A = BLOCK_M * BLOCK_K / 2 / LANES;  // words of an invocation, a multiple of 4
const uint SHARE_B = BLOCK_N * BLOCK_K / 2 / LANES;
uint a_next[SHARE_A];
uint b_next[SHARE_B];

void load_a(uint k) {
    LOAD_SHARE(MATRIX_A, A_LAYOUT, batch_a, gl_WorkGroupID.z * BLOCK_M, size_m, stride_a_m, stride_a_k, BLOCK_M, SHARE_A, k,
               a_next);
}

#if defined(WEIGHT_DENSE)
const uint UNIT_WORDS_B = (B_LAYOUT & 1) != 0 ? RUN / 2 : 1;

void load_b(uint k) {
    LOAD_SHARE(MATRIX_B, B_LAYOUT, batch_b, gl_WorkGroupID.x * BLOCK_N, size_n, stride_b_n, stride_b_k, BLOCK_N, SHARE_B, k,
               b_next);
}
#elif defined(WEIGHT_SPARSE24)
#include "words_sparse24.glsl"
#else
#error "the build defines WEIGHT_DENSE or WEIGHT_SPARSE24"
#endif

uint block_a(uint half_) { return half_ * (WORDS_A + WORDS_B); }
uint block_b(uint half_) { return block_a(half_) + WORDS_A; }

void keep_blocks(uint half_) {
    KEEP_SHARE(A_LAYOUT, BLOCK_M, unit_words(A_LAYOUT), SHARE_A, block_a(half_), a_next);
    KEEP_SHARE(B_LAYOUT, BLOCK_N, UNIT_WORDS_B, SHARE_B, block_b(half_), b_next);
}

// The word of `block` at which the fragment of an operand at (line, k) begins.
uint fragment_word(uint layout_, uint lines, uint line, uint k) {
    return along_k(layout_) ? line * pitch_words(layout_, lines) + k / 2 : k * pitch_words(layout_, lines) + line / 2;
}
