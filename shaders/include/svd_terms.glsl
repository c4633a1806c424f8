// Where the terms σ u vᵀ of a block's decomposition go.
//
// TERMS 0: of a decomposition: batch (outer, inner), all `kept` terms.
// TERMS 1, 2: of a Monarch projection: block (K, L) = (outer, inner) of A is the product of rows K·q + Q of w1 with K·q + Q = L
// modulo l, which are term 0, 1, …, and the columns R = (K·q + Q) / l of w2[L]. 1 is the side of w1, 2 that of w2. Some
// blocks have more such rows than others when l does not divide q; terms from `kept` on are zero.
//
// A dispatch has the blocks from (first_outer, first_inner) on, and results begin with theirs. A shader's push block has
// inner, first_outer, first_inner, q, l, kept, out_outer, out_inner, out_term.

struct Terms {
    uint count;  // of rows of w1 and columns of w2, or of the decomposition
    uint start;  // the element of the first one in the result
    uint step;   // between two of them
};

Terms terms_of(uint matrix) {
    const uint outer = matrix / push.inner;
    const uint inner = matrix % push.inner;
    if (TERMS == 0) return Terms(push.kept, outer * push.out_outer + inner * push.out_inner, push.out_term);
    const uint before = (push.first_outer + outer) * push.q;
    const uint first = (push.first_inner + inner + push.l - before % push.l) % push.l;
    const uint count = first < push.q ? (push.q - 1 - first) / push.l + 1 : 0;
    return TERMS == 1 ? Terms(count, outer * push.out_outer + first * push.out_term, push.l * push.out_term)
                      : Terms(count, inner * push.out_inner + (before + first) / push.l * push.out_term, push.out_term);
}
