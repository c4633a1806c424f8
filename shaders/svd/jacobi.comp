// One-sided Jacobi (Hestenes): turns the working vectors of a batch of matrices (svd.glsl) by plane rotations until every
// two are orthogonal. Their lengths are then the singular values, longest first but for ties.
//
//   for every sweep, vector i, vector j > i:           c  s         an invocation is a matrix, so that neither sums nor
//     angle from |wi|², |wj|², wi·wj            [wi wj]             branches cross lanes
//     rows of both, and of what follows them          -s  c
//
// The sums run over `dot_rows` rows; the rows behind them, if any, are turned along. With KEPT > 0 all rows, PARTS times
// KEPT = dot_rows, stay in registers while j runs; 0: all stay in memory. The longer vector of a pair becomes the first
// (de Rijk). A matrix is done after a sweep that found no cosine above `tolerance`. A dispatch is either whole sweeps
// (first = 0, last = vectors - 1) or the vectors i in [first, last) of one.
// GRAM: matrices are Gram matrices of pairs of panels, KEPT = dot_rows; vectors i meet those j from `other` on, and the
// rows behind them begin as the unit matrix and are written to ROTATIONS (pair, row, vector). MEASURES has, of each pair in
// this sweep, the largest cosine of two that meet, but for those below LEAST_TERM of the matrix's longest, and the longest
// square; nothing is turned where all cosines are `negligible`.
// Grid: groups of matrices from first_group on.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint vectors, rows, dot_rows; \
    uint first, last, sweeps; \
    float tolerance, negligible; \
    uint first_group; \
    uint pairs, fresh, other;
#define WORK 0
#define STATE 1
#define ROTATIONS 2
#define MEASURES 3
#include "access.glsl"
#include "real.glsl"
#include "svd.glsl"
#include "svd_turn.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint KEPT = 0;
layout(constant_id = 2) const bool GRAM = false;
layout(constant_id = 3) const uint PARTS = 1;  // 2: as many rows behind those KEPT are kept too

const uint STEP = 8;  // of rows that stay in memory; their numbers are multiples of it
const uint LANES = gl_WorkGroupSize.x;
const uint HELD = KEPT * PARTS;

REAL pivot[HELD + 1];
REAL other[HELD + 1];
uint base;
uint lane = gl_LocalInvocationID.x;
float largest;
// Read once (access.glsl).
uint vectors = push.vectors;
uint rows = push.rows;
uint dot_rows = push.dot_rows;
float tolerance = push.tolerance;

#define AT(vector, row) (base + ((vector) * rows + (row)) * LANES)
#define get(vector, row) load_real(WORK, AT(vector, row), lane)
#define set(vector, row, value) store_real(WORK, AT(vector, row), lane, value)

Sums sums_of(uint i, uint j) {
    Sums sums = NO_SUMS;
    if (KEPT > 0) {
        [[unroll]] for (uint r = 0; r < KEPT; r += 2) {
            other[r] = get(j, r);
            other[r + 1] = get(j, r + 1);
            sums = with_rows(sums, pivot[r], pivot[r + 1], other[r], other[r + 1]);
        }
        [[unroll]] for (uint r = KEPT; r < HELD; ++r) other[r] = get(j, r);
        return sums;
    }
    uint start = 0;
    do {
        [[unroll]] for (uint r = 0; r < STEP; r += 2)
            sums = with_rows(sums, get(i, start + r), get(i, start + r + 1), get(j, start + r), get(j, start + r + 1));
        start += STEP;
    } while (start < dot_rows);
    return sums;
}

void turn(uint i, uint j, Turn by) {
    [[unroll]] for (uint r = 0; r < HELD; r += 2) {
        const REAL x = pivot[r];
        const REAL x2 = pivot[r + 1];
        const REAL y = other[r];
        const REAL y2 = other[r + 1];
        pivot[r] = TURNED_X(by, x, y, y2);
        pivot[r + 1] = TURNED_X2(by, x2, y, y2);
        set(j, r, TURNED_Y(by, x, y, y2));
        set(j, r + 1, TURNED_Y2(by, x2, y, y2));
    }
    if (KEPT > 0) return;
    uint start = 0;
    do {
        [[unroll]] for (uint r = 0; r < STEP; r += 2) {
            const REAL x = get(i, start + r);
            const REAL x2 = get(i, start + r + 1);
            const REAL y = get(j, start + r);
            const REAL y2 = get(j, start + r + 1);
            set(i, start + r, TURNED_X(by, x, y, y2));
            set(i, start + r + 1, TURNED_X2(by, x2, y, y2));
            set(j, start + r, TURNED_Y(by, x, y, y2));
            set(j, start + r + 1, TURNED_Y2(by, x2, y, y2));
        }
        start += STEP;
    } while (start < rows);
}

#define diagonal(i) get(i, (i) * ELEMENT_ROWS)
#ifdef ELEMENT_COMPLEX
#define magnitude(j, i) length(vec2(get(j, (i) * 2), get(j, (i) * 2 + 1)))
#else
#define magnitude(j, i) abs(get(j, i))
#endif

struct Measured {
    float all, counted;  // the largest cosine of two vectors that meet, and of two that are longer than `least`
    float longest;       // the longest square
};

// What a pair of panels begins with; behind its Gram matrix, the unit matrix.
Measured begin_gram(uint end, float least) {
    Measured found = Measured(0.0, 0.0, 0.0);
    uint j = 0;
    do {
        const REAL jj = diagonal(j);
        found.longest = max(found.longest, float(jj));
        uint i = 0;
        do {
            const REAL ii = diagonal(i);
            const bool live = min(ii, jj) > REAL(LEAST_SQUARE) && i < push.last && j >= max(i + 1, push.other);
            const float cosine = live ? float(magnitude(j, i) / (sqrt(ii) * sqrt(jj))) : 0.0;
            found.all = max(found.all, cosine);
            found.counted = max(found.counted, float(min(ii, jj)) > least ? cosine : 0.0);
            [[unroll]] for (uint r = 0; r < ELEMENT_ROWS; ++r)
                set(j, dot_rows + i * ELEMENT_ROWS + r, i == j && r == 0 ? REAL(1) : REAL(0));
        } while (++i < end);
    } while (++j < end);
    return found;
}

void main() {
    const uint matrix = (push.first_group + gl_WorkGroupID.x) * LANES + lane;
    base = (push.first_group + gl_WorkGroupID.x) * vectors * rows * LANES;
    const uint state = (GRAM ? matrix / push.pairs : matrix) * STATE_WORDS;
    bool done = load(STATE, 0u, state + DONE) != 0;
    largest = push.first == 0 ? 0.0 : uintBitsToFloat(load(STATE, 0u, state + LARGEST));
    // Of a matrix that is done nobody reads the rotations.
    const uint reach = done ? 1 : vectors;
    if (GRAM) {
        const float least = LEAST_TERM * LEAST_TERM * uintBitsToFloat(load(STATE, 0u, state + LONGEST));
        const Measured found = begin_gram(reach, least);
        const vec2 before = uintBitsToFloat(load_pair(MEASURES, 0u, 2 * matrix));
        const vec2 now = max(vec2(found.counted, found.longest), push.fresh != 0 ? vec2(0.0) : before);
        store_pair(MEASURES, 0u, 2 * matrix, floatBitsToUint(done ? vec2(0.0) : now));
        done = done || !(found.all > push.negligible);
    }
    const bool was_done = done;
    const uint first = push.first;
    const uint last = push.last;
    const uint sweeps = push.sweeps;
    const uint other_first = push.other;
    uint sweep = 0;
    while (sweep < sweeps && !done) {
        largest = first == 0 ? 0.0 : largest;
        uint i = first;
        do {
            [[unroll]] for (uint r = 0; r < HELD; ++r) pivot[r] = get(i, r);
            uint j = max(i + 1, other_first);
            do {
                turn(i, j, turn_of(sums_of(i, j), largest));
                ++j;
            } while (j < vectors);
            [[unroll]] for (uint r = 0; r < HELD; ++r) set(i, r, pivot[r]);
            ++i;
        } while (i < last);
        done = last + 1 >= vectors && !(largest > tolerance);
        ++sweep;
    }
    if (GRAM) {
        const uint to = matrix * vectors * vectors * ELEMENT_ROWS;
        uint j = 0;
        do {
            uint i = 0;
            do {
                [[unroll]] for (uint r = 0; r < ELEMENT_ROWS; ++r)
                    store(ROTATIONS, 0u, to + (i * vectors + j) * ELEMENT_ROWS + r,
                          floatBitsToUint(float(get(j, dot_rows + i * ELEMENT_ROWS + r))));
            } while (++i < reach);
        } while (++j < reach);
    } else if (!was_done) {
        store(STATE, 0u, state + DONE, done ? 1u : 0u);
        store(STATE, 0u, state + LARGEST, floatBitsToUint(largest));
    }
}
