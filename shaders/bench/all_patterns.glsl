// best_pattern of tile_search.glsl by trying all 90 patterns in ascending order, as the published search does (a convolution
// with 90 patterns and the largest of its results): what the search by cases is timed against. Sums of a row's pairs are
// shared between patterns, and no score is stored.

uint best_of_all_patterns(uvec4 keys[4]) {
    const uint sums[4][6] = pair_scores(keys);
    uint score = 0, pattern = NO_PATTERN;
    [[unroll]] for (uint p3 = 0; p3 < 6; ++p3)
        [[unroll]] for (uint p2 = 0; p2 < 6; ++p2)
            [[unroll]] for (uint p1 = 0; p1 < 6; ++p1)
                [[unroll]] for (uint p0 = 0; p0 < 6; ++p0) {
                    const uint a = PAIRS[p0], b = PAIRS[p1], c = PAIRS[p2];
                    // Two of each column: an even number of all four rows, and never three of three.
                    if ((a ^ b ^ c) == PAIRS[p3] && (a & b & c) == 0) {
                        const uint sum = sums[0][p0] + sums[1][p1] + (sums[2][p2] + sums[3][p3]);
                        const bool better = sum > score || pattern == NO_PATTERN;
                        score = mix(score, sum, better);
                        pattern = mix(pattern, a | b << 4 | c << 8 | PAIRS[p3] << 12, better);
                    }
                }
    return pattern;
}
