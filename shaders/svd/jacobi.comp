// One-sided Jacobi (Hestenes): turns the working vectors of a batch of matrices (svd.glsl) by plane rotations until every
// two are orthogonal. Their lengths are then the singular values, longest first but for ties.
//
//   for every sweep, vector i, vector j > i:           c  s         an invocation is a matrix, so that neither sums nor
//     angle from |wi|², |wj|², wi·wj            [wi wj]             branches cross lanes
//     rows of both, and of what follows them          -s  c
//
// The sums run over `dot_rows` rows; the rows behind them, if any, are turned along. With KEPT > 0 all rows, PARTS times
// KEPT = dot_rows, stay in registers while j runs; 0: all stay in memory. The longer vector of a pair becomes the first
// (de Rijk). A matrix is done after a sweep that found no cosine above `tolerance`. A dispatch is either whole sweeps (first = 0, last = vectors - 1)
// or the vectors i in [first, last) of one.
// GRAM: matrices are Gram matrices of pairs of panels, KEPT = vectors = dot_rows; the rows behind them begin as the unit
// matrix and are written to ROTATIONS (pair, row, vector). MEASURES has the
// largest cosine of each pair in this sweep; nothing is turned where it is `negligible`.
// Grid: groups of matrices from first_group on.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint vectors, rows, dot_rows; \
    uint first, last, sweeps; \
    float tolerance, negligible; \
    uint first_group; \
    uint pairs, fresh;
#define WORK 0
#define STATE 1
#define ROTATIONS 2
#define MEASURES 3
#include "access.glsl"
#include "real.glsl"
#include "svd.glsl"

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

struct Sums {
    REAL ii, jj, ij;
};
struct Turn {
    REAL ii, ij, ji, jj;
};

Sums sums_of(uint i, uint j) {
    Sums sums = Sums(REAL(0), REAL(0), REAL(0));
    if (KEPT > 0) {
        [[unroll]] for (uint r = 0; r < KEPT; ++r) {
            other[r] = get(j, r);
            sums.ii = fma(pivot[r], pivot[r], sums.ii);
            sums.jj = fma(other[r], other[r], sums.jj);
            sums.ij = fma(pivot[r], other[r], sums.ij);
        }
        [[unroll]] for (uint r = KEPT; r < HELD; ++r) other[r] = get(j, r);
        return sums;
    }
    uint start = 0;
    do {
        [[unroll]] for (uint r = 0; r < STEP; ++r) {
            const REAL x = get(i, start + r);
            const REAL y = get(j, start + r);
            sums.ii = fma(x, x, sums.ii);
            sums.jj = fma(y, y, sums.jj);
            sums.ij = fma(x, y, sums.ij);
        }
        start += STEP;
    } while (start < dot_rows);
    return sums;
}

Turn turn_of(Sums sums) {
    const bool live = min(sums.ii, sums.jj) > REAL(LEAST_SQUARE);
    const REAL lengths = live ? sqrt(sums.ii) * sqrt(sums.jj) : REAL(1);
    const REAL cosine = live ? abs(sums.ij) / lengths : REAL(0);
    largest = max(largest, float(cosine));
    const bool turns = cosine > REAL(LEAST_COSINE);
    const REAL zeta = (sums.jj - sums.ii) / (turns ? REAL(2) * sums.ij : REAL(1));
    const REAL tangent = (zeta < REAL(0) ? REAL(-1) : REAL(1)) / (abs(zeta) + sqrt(fma(zeta, zeta, REAL(1))));
    const REAL square = fma(tangent, tangent, REAL(1));
    // A step of Newton's makes up for divisions and roots that are not rounded well, so that lengths do not drift.
    REAL c = REAL(1) / sqrt(square);
    c = fma(REAL(0.5) * c, fma(-c * c, square, REAL(1)), c);
    c = turns ? c : REAL(1);
    const REAL s = turns ? c * tangent : REAL(0);
    const bool swaps = sums.jj > sums.ii;
    return Turn(swaps ? s : c, swaps ? c : -s, swaps ? -c : s, swaps ? s : c);
}

void turn(uint i, uint j, Turn by) {
    [[unroll]] for (uint r = 0; r < HELD; ++r) {
        const REAL x = pivot[r];
        const REAL y = other[r];
        pivot[r] = fma(by.ij, y, by.ii * x);
        set(j, r, fma(by.jj, y, by.ji * x));
    }
    if (KEPT > 0) return;
    uint start = 0;
    do {
        [[unroll]] for (uint r = 0; r < STEP; ++r) {
            const REAL x = get(i, start + r);
            const REAL y = get(j, start + r);
            set(i, start + r, fma(by.ij, y, by.ii * x));
            set(j, start + r, fma(by.jj, y, by.ji * x));
        }
        start += STEP;
    } while (start < rows);
}

// The largest cosine of a pair of panels, and the unit matrix behind its Gram matrix.
float begin_gram(uint end) {
    REAL most = REAL(0);
    uint j = 0;
    do {
        const REAL jj = get(j, j);
        uint i = 0;
        do {
            const REAL ii = get(i, i);
            const bool live = i != j && min(ii, jj) > REAL(LEAST_SQUARE);
            const REAL lengths = live ? sqrt(ii) * sqrt(jj) : REAL(1);
            most = max(most, live ? abs(get(j, i)) / lengths : REAL(0));
            set(j, dot_rows + i, i == j ? REAL(1) : REAL(0));
        } while (++i < end);
    } while (++j < end);
    return float(most);
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
        const float measured = begin_gram(reach);
        const float before = push.fresh != 0 ? 0.0 : uintBitsToFloat(load(MEASURES, 0u, matrix));
        store(MEASURES, 0u, matrix, floatBitsToUint(done ? 0.0 : max(measured, before)));
        done = done || !(measured > push.negligible);
    }
    const bool was_done = done;
    const uint first = push.first;
    const uint last = push.last;
    const uint sweeps = push.sweeps;
    uint sweep = 0;
    while (sweep < sweeps && !done) {
        largest = first == 0 ? 0.0 : largest;
        uint i = first;
        do {
            [[unroll]] for (uint r = 0; r < HELD; ++r) pivot[r] = get(i, r);
            uint j = i + 1;
            do {
                turn(i, j, turn_of(sums_of(i, j)));
                ++j;
            } while (j < vectors);
            [[unroll]] for (uint r = 0; r < HELD; ++r) set(i, r, pivot[r]);
            ++i;
        } while (i < last);
        done = last + 1 >= vectors && !(largest > tolerance);
        ++sweep;
    }
    if (GRAM) {
        uint j = 0;
        do {
            uint i = 0;
            do {
                store(ROTATIONS, 0u, (matrix * vectors + i) * vectors + j,
                      floatBitsToUint(float(get(j, dot_rows + i))));
            } while (++i < reach);
        } while (++j < reach);
    } else if (!was_done) {
        store(STATE, 0u, state + DONE, done ? 1u : 0u);
        store(STATE, 0u, state + LARGEST, floatBitsToUint(largest));
    }
}
