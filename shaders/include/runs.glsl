// Runs: consecutive elements along k that one invocation loads by as wide loads as the host promises.
//
//   LOAD_RUN(slot, vector, words, u, l, run)    run[0 … words) = the 32-bit words from word u + l on
//   run_element(type, run, i)                   element i of what was loaded
//
// `vector` is the number of words of one load, 1, 2 or 4, a constant: the run starts at a multiple of as many words, and
// so does the operand. u is uniform over the workgroup, l a multiple of `vector`.

const uint MAX_RUN_WORDS = 16;

#define LOAD_RUN(slot, vector, words, u, l, run) \
    [[unroll]] for (uint at_ = 0; at_ < (words); at_ += (vector)) { \
        if ((vector) == 4) { \
            const uvec4 quad_ = load_quad(slot, u, (l) + at_); \
            run[at_] = quad_.x; \
            run[at_ + 1] = quad_.y; \
            run[at_ + 2] = quad_.z; \
            run[at_ + 3] = quad_.w; \
        } else if ((vector) == 2) { \
            const uvec2 pair_ = load_pair(slot, u, (l) + at_); \
            run[at_] = pair_.x; \
            run[at_ + 1] = pair_.y; \
        } else { \
            run[at_] = load(slot, u, (l) + at_); \
        } \
    }

// Words of `elements` elements, an even number of a 16-bit type.
uint run_words(uint type, uint elements) { return type == F32 ? elements : elements / 2; }

float run_element(uint type, uint run[MAX_RUN_WORDS], uint i) {
    if (type == F32) return uintBitsToFloat(run[i]);
    const vec2 pair = decode_pair(type, run[i / 2]);
    return (i & 1) == 0 ? pair.x : pair.y;
}
