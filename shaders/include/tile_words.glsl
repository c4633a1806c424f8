// Operand blocks of a multiply in shared memory as words of two 16-bit elements, for matrix units.
//
//   half h of `block`, A behind it B:          along k: line after line        along the lines: k after k
//   [ lines × BLOCK_K elements ]                 line l  [ k0 k1 | k2 k3 …]      k  [ l0 l1 | l2 l3 …]
//
// A line is a row of A or a column of B. Lines (or ks) are skewed by 16 bytes, so that columns do not fall into one bank,
// and start at multiples of 16 bytes. What lies behind the last k is zero in both operands; what lies behind the last
// line repeats others, for results that nobody stores.
//
//   LOAD_SHARE(slot, layout, batch, first, extent, stride, stride_k, lines, share, k, next)
//        this invocation's words of the block of `lines` lines from `first` on and BLOCK_K ks from k on, into `next`
//   KEEP_SHARE(layout, lines, words, share, base, next)
//        puts them into `block` from word `base` on, in units of `words` words
// Layouts and EXACT are those of shared.comp. Needs LANES, lane and BLOCK_K.

const bool EXACT_K = (EXACT & 4) != 0;
const uint RUN = 8;  // elements of 16 bytes

bool in_runs(uint layout_) { return (layout_ & 1) != 0; }
bool along_k(uint layout_) { return layout_ < 2; }
uint unit_words(uint layout_) { return in_runs(layout_) ? RUN / 2 : 1; }
uint pitch_words(uint layout_, uint lines) { return (along_k(layout_) ? BLOCK_K : lines) / 2 + 4; }

// Where unit `i` of this invocation begins in a block: (line, k). A unit is `length` elements along k or the lines.
uvec2 unit_place(uint layout_, uint i, uint lines, uint length) {
    const uint unit = i * LANES + lane;
    if (along_k(layout_)) return uvec2(unit / (BLOCK_K / length), unit % (BLOCK_K / length) * length);
    return uvec2(unit % (lines / length) * length, unit / (lines / length));
}

// A neighbour of an index, along the dimension in which a word runs.
uint clamped(uint index, bool next, uint extent) { return min(index + uint(next), extent - 1); }

#define LOAD_SHARE(slot, layout_, batch, first, extent, stride, stride_k, lines, share, k, next) \
    do { \
        const bool along_k_ = along_k(layout_); \
        [[unroll]] for (uint i_ = 0; i_ < (share) / unit_words(layout_); ++i_) { \
            const uvec2 place_ = unit_place(layout_, i_, lines, 2 * unit_words(layout_)); \
            const uint from_ = (first) + place_.x, k_ = (k) + place_.y; \
            if (in_runs(layout_)) { \
                const uint line_ = min(from_, (extent) - (along_k_ ? 1 : RUN)); \
                const uint at_k_ = EXACT_K ? k_ : min(k_, size_k - (along_k_ ? RUN : 1)); \
                const uvec4 quad_ = load_quad(slot, 0u, ((batch) + line_ * (stride) + at_k_ * (stride_k)) / 2); \
                [[unroll]] for (uint e_ = 0; e_ < RUN / 2; ++e_) \
                    next[i_ * (RUN / 2) + e_] = EXACT_K || k_ < size_k ? quad_[e_] : 0u; \
            } else { \
                next[i_] = 0; \
                [[unroll]] for (uint e_ = 0; e_ < 2; ++e_) { \
                    const uint line_ = clamped(from_, !along_k_ && e_ == 1, extent); \
                    const uint at_k_ = clamped(k_, along_k_ && e_ == 1, size_k); \
                    const uint bits_ = load_bits(slot, OPERAND_TYPE, (batch) + line_ * (stride) + at_k_ * (stride_k)); \
                    if (EXACT_K || k_ + (along_k_ ? e_ : 0) < size_k) next[i_] |= bits_ << 16 * e_; \
                } \
            } \
        } \
    } while (false)

#define KEEP_SHARE(layout_, lines, words, share, base, next) \
    do { \
        [[unroll]] for (uint i_ = 0; i_ < (share) / (words); ++i_) { \
            const uvec2 place_ = unit_place(layout_, i_, lines, 2 * (words)); \
            const uint line_ = along_k(layout_) ? place_.x : place_.y; \
            const uint at_ = (base) + line_ * pitch_words(layout_, lines) + (along_k(layout_) ? place_.y : place_.x) / 2; \
            [[unroll]] for (uint e_ = 0; e_ < (words); ++e_) block[at_ + e_] = next[i_ * (words) + e_]; \
        } \
    } while (false)
