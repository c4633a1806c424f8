// Working vectors of a batch of matrices that are being decomposed. Vectors are the matrix's columns or its rows, whichever
// there are fewer of; `rows` elements each, the last of which may be the vectors of the other side, carried along.
//
//   matrix 0 … lanes-1, vector 0    row 0 of all, row 1 of all, …      matrices side by side, so that an invocation each
//                       vector 1    row 0 of all, …                    loads neighbours; lanes = 1: one matrix after another
//   matrix lanes …
//
// An element of a complex matrix takes two rows, its real and its imaginary part.
//
// state: four words a matrix. SCALE is the power of two that its elements were multiplied by, NaN where it holds NaN or
// infinities; DONE says that it needs no more rotations; LARGEST is the largest |cosine| between two vectors of the last sweep, and
// LONGEST, of panels, the longest square.
const uint STATE_WORDS = 4;
const uint SCALE = 0;
const uint DONE = 1;
const uint LARGEST = 2;
const uint LONGEST = 3;

// Lengths whose squares sums no longer tell apart from rounding are zero. Elements are scaled to the range of 1.
const float LEAST_SQUARE = 1e-30;

// Vectors this much shorter than the longest are what rounding left, in any direction: not terms of a projection, whose
// other side is computed from their directions.
const float LEAST_TERM = 1.0 / 1048576.0;

// Below this a rotation changes nothing, in f32 or in f64.
const float LEAST_COSINE = 1e-18;

// Where row 0 of a vector lies; row r lies r · lanes further on.
uint vector_start(uint matrix, uint vector, uint vectors, uint rows, uint lanes) {
    return (matrix / lanes * vectors + vector) * rows * lanes + matrix % lanes;
}

// The two panels of columns that meet as pair `pair` of `panels` / 2 in a round: a round robin, so that after panels - 1
// rounds every two have met. Panels is even, and the lower one comes first.
uvec2 meeting_panels(uint round, uint pair, uint panels) {
    const uint ring = max(panels - 1, 1);
    const uint one = (round + pair) % ring;
    const uint other = pair == 0 ? panels - 1 : (round + ring - pair) % ring;
    return uvec2(min(one, other), max(one, other));
}
