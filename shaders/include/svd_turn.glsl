// The plane rotation that makes two working vectors (svd.glsl) orthogonal, for real.glsl's REAL and, with ELEMENT_COMPLEX,
// for elements of two neighbouring rows, real and imaginary part.
//
//   real      [x y] = [x y] · [ ii ji ]        complex    the same of x and y·conj(phase), phase = (x·y) / |x·y|, with
//                             [ ij jj ]                   x·y = Σ conj(x) y: then their product is real
//
// The longer one becomes x. Rows are taken two at a time.

#ifdef ELEMENT_COMPLEX
const uint ELEMENT_ROWS = 2;
#else
const uint ELEMENT_ROWS = 1;
#endif

struct Sums {
    REAL ii, jj, ij;
#ifdef ELEMENT_COMPLEX
    REAL imaginary;  // of x·y, whose real part is ij
#endif
};

struct Turn {
    REAL ii, ij, ji, jj;
#ifdef ELEMENT_COMPLEX
    REAL across_ij, across_jj;  // of the other part of y
#endif
};

#ifdef ELEMENT_COMPLEX
const Sums NO_SUMS = Sums(REAL(0), REAL(0), REAL(0), REAL(0));
#else
const Sums NO_SUMS = Sums(REAL(0), REAL(0), REAL(0));
#endif

Sums with_rows(Sums sums, REAL x, REAL x2, REAL y, REAL y2) {
    sums.ii = fma(x2, x2, fma(x, x, sums.ii));
    sums.jj = fma(y2, y2, fma(y, y, sums.jj));
    sums.ij = fma(x2, y2, fma(x, y, sums.ij));
#ifdef ELEMENT_COMPLEX
    sums.imaginary = fma(-x2, y, fma(x, y2, sums.imaginary));
#endif
    return sums;
}

// A step of Newton's makes up for divisions and roots that are not rounded well, so that lengths do not drift.
REAL inverse_root(REAL square) {
    const REAL root = REAL(1) / sqrt(square);
    return fma(REAL(0.5) * root, fma(-root * root, square, REAL(1)), root);
}

Turn turn_of(Sums sums, inout float largest) {
    const bool live = min(sums.ii, sums.jj) > REAL(LEAST_SQUARE);
    const REAL lengths = live ? sqrt(sums.ii) * sqrt(sums.jj) : REAL(1);
#ifdef ELEMENT_COMPLEX
    // By the larger part, as squares of small ones vanish.
    const REAL part = max(abs(sums.ij), abs(sums.imaginary));
    // Below that a division may find zeros where a comparison found subnormal numbers.
    const bool some = part > REAL(1e-37);
    const REAL unit = some ? part : REAL(1);
    const REAL re = some ? sums.ij / unit : REAL(1);
    const REAL im = some ? sums.imaginary / unit : REAL(0);
    const REAL inverse = inverse_root(fma(re, re, im * im));
    const REAL ij = part * (fma(re, re, im * im) * inverse);
#else
    const REAL ij = sums.ij;
#endif
    const REAL cosine = live ? abs(ij) / lengths : REAL(0);
    largest = max(largest, float(cosine));
    const bool turns = cosine > REAL(LEAST_COSINE);
    const REAL zeta = (sums.jj - sums.ii) / (turns ? REAL(2) * ij : REAL(1));
    const REAL tangent = (zeta < REAL(0) ? REAL(-1) : REAL(1)) / (abs(zeta) + sqrt(fma(zeta, zeta, REAL(1))));
    const REAL cosine_of = inverse_root(fma(tangent, tangent, REAL(1)));
    const REAL c = turns ? cosine_of : REAL(1);
    const REAL s = turns ? cosine_of * tangent : REAL(0);
    const bool swaps = sums.jj > sums.ii;
    const REAL by_ij = swaps ? c : -s;
    const REAL by_jj = swaps ? s : c;
#ifdef ELEMENT_COMPLEX
    const REAL cos_phase = turns ? re * inverse : REAL(1);
    const REAL sin_phase = turns ? im * inverse : REAL(0);
    return Turn(swaps ? s : c, by_ij * cos_phase, swaps ? -c : s, by_jj * cos_phase, by_ij * sin_phase,
                by_jj * sin_phase);
#else
    return Turn(swaps ? s : c, by_ij, swaps ? -c : s, by_jj);
#endif
}

#ifdef ELEMENT_COMPLEX
#define TURNED_X(by, x, y, y2) fma(by.ij, y, fma(by.across_ij, y2, by.ii * x))
#define TURNED_X2(by, x2, y, y2) fma(by.ij, y2, fma(-by.across_ij, y, by.ii * x2))
#define TURNED_Y(by, x, y, y2) fma(by.jj, y, fma(by.across_jj, y2, by.ji * x))
#define TURNED_Y2(by, x2, y, y2) fma(by.jj, y2, fma(-by.across_jj, y, by.ji * x2))
#else
#define TURNED_X(by, x, y, y2) fma(by.ij, y, by.ii * x)
#define TURNED_X2(by, x2, y, y2) fma(by.ij, y2, by.ii * x2)
#define TURNED_Y(by, x, y, y2) fma(by.jj, y, by.ji * x)
#define TURNED_Y2(by, x2, y, y2) fma(by.jj, y2, by.ji * x2)
#endif
