// best_pattern of tile_search.glsl by trying all 90 patterns in ascending order, as the published search does (a convolution
// with 90 patterns and the largest of its results): what the search by cases is timed against. Sums of a row's pairs are
// shared between patterns, and no score is stored. Written out, since optimizers take minutes to unroll the loops.

#define TRY(p0, p1, p2, p3) \
    { \
        const uint sum = sums[0][p0] + sums[1][p1] + (sums[2][p2] + sums[3][p3]); \
        const bool better = sum > score; \
        score = mix(score, sum, better); \
        pattern = mix(pattern, PAIRS[p0] | PAIRS[p1] << 4 | PAIRS[p2] << 8 | PAIRS[p3] << 12, better); \
    }

uint best_of_all_patterns(uvec4 keys[4]) {
    const uint sums[4][6] = pair_scores(keys);
    uint score = 0, pattern = 0x33ccu;  // the lowest of all
    TRY(5,5,0,0) TRY(5,4,1,0) TRY(4,5,1,0) TRY(5,3,2,0) TRY(3,5,2,0) TRY(5,2,3,0)
    TRY(2,5,3,0) TRY(5,1,4,0) TRY(1,5,4,0) TRY(5,0,5,0) TRY(4,1,5,0) TRY(3,2,5,0)
    TRY(2,3,5,0) TRY(1,4,5,0) TRY(0,5,5,0) TRY(5,4,0,1) TRY(4,5,0,1) TRY(4,4,1,1)
    TRY(4,3,2,1) TRY(3,4,2,1) TRY(4,2,3,1) TRY(2,4,3,1) TRY(5,0,4,1) TRY(4,1,4,1)
    TRY(3,2,4,1) TRY(2,3,4,1) TRY(1,4,4,1) TRY(0,5,4,1) TRY(4,0,5,1) TRY(0,4,5,1)
    TRY(5,3,0,2) TRY(3,5,0,2) TRY(4,3,1,2) TRY(3,4,1,2) TRY(3,3,2,2) TRY(5,0,3,2)
    TRY(4,1,3,2) TRY(3,2,3,2) TRY(2,3,3,2) TRY(1,4,3,2) TRY(0,5,3,2) TRY(3,1,4,2)
    TRY(1,3,4,2) TRY(3,0,5,2) TRY(0,3,5,2) TRY(5,2,0,3) TRY(2,5,0,3) TRY(4,2,1,3)
    TRY(2,4,1,3) TRY(5,0,2,3) TRY(4,1,2,3) TRY(3,2,2,3) TRY(2,3,2,3) TRY(1,4,2,3)
    TRY(0,5,2,3) TRY(2,2,3,3) TRY(2,1,4,3) TRY(1,2,4,3) TRY(2,0,5,3) TRY(0,2,5,3)
    TRY(5,1,0,4) TRY(1,5,0,4) TRY(5,0,1,4) TRY(4,1,1,4) TRY(3,2,1,4) TRY(2,3,1,4)
    TRY(1,4,1,4) TRY(0,5,1,4) TRY(3,1,2,4) TRY(1,3,2,4) TRY(2,1,3,4) TRY(1,2,3,4)
    TRY(1,1,4,4) TRY(1,0,5,4) TRY(0,1,5,4) TRY(5,0,0,5) TRY(4,1,0,5) TRY(3,2,0,5)
    TRY(2,3,0,5) TRY(1,4,0,5) TRY(0,5,0,5) TRY(4,0,1,5) TRY(0,4,1,5) TRY(3,0,2,5)
    TRY(0,3,2,5) TRY(2,0,3,5) TRY(0,2,3,5) TRY(1,0,4,5) TRY(0,1,4,5) TRY(0,0,5,5)
    return pattern;
}
