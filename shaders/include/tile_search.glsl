// The best transposable pattern of a 4×4 mask tile: of the 90 that keep two entries of every row and column the one with the
// largest score, ties the lowest pattern. A pattern has bit 4 · row + column set where an entry is kept.
//
//   uint best_pattern(uvec4 keys[4])       keys[row][column] as magnitude_key gives them; 0 where there is no entry
//
// Scores are whole numbers, so that no order of summation shows: an entry counts |w| in units of 2^-27 of the power of two
// at or below the tile's largest, rounded down. In a tile with infinities or NaN the finite entries count 2^-8 of that, an
// infinity 2^23 and a NaN 2^27 units: as many NaN as possible are kept, then as many infinities, then the largest sum.
//
// Rows 0 and 1 of a pattern, and rows 2 and 3, take one of six pairs of columns each. What two rows keep of each column, the
// others must complete to two. So both rows take one pair p twice (the others its complement), or a pair and its complement
// (so do the others), or two pairs that share a column, in either order (the others their complements, in either order):
// 6 + 1 + 12 cases for 90 patterns, each the sum of two maxima. Choices are mix(), not ?: or &&, which become branches: on
// SwiftShader hundreds of them take minutes to compile.

const uint PAIRS[6] = uint[6](3u, 5u, 6u, 9u, 10u, 12u);  // the complement of pair p is pair 5 - p

const uint MANTISSA_BITS = TYPE == F32 ? 23 : TYPE == F16 ? 10 : 7;
const uint HIDDEN_BIT = 1u << MANTISSA_BITS;

uint largest_of(uvec4 keys) { return max(max(keys.x, keys.y), max(keys.z, keys.w)); }

uvec4 finite(uvec4 keys) { return mix(keys, uvec4(0), greaterThanEqual(keys, uvec4(INFINITY_KEY))); }

// `top` is the exponent of the largest finite entry; `fewer` the bits that finite entries lose.
uvec4 units(uvec4 keys, uint top, uint fewer) {
    const uvec4 hidden = mix(uvec4(0), uvec4(HIDDEN_BIT), greaterThanEqual(keys, uvec4(HIDDEN_BIT)));
    const uvec4 significand = (keys & HIDDEN_BIT - 1) | hidden;
    const uvec4 below = min(top - min(max(keys >> MANTISSA_BITS, 1u), top) + fewer, uvec4(31));
    const uvec4 counted = significand << 27 - MANTISSA_BITS >> below;
    return mix(mix(counted, uvec4(1u << 23), equal(keys, uvec4(INFINITY_KEY))), uvec4(1u << 27),
               greaterThan(keys, uvec4(INFINITY_KEY)));
}

void consider(inout uint score, inout uint pattern, uint candidate_score, uint candidate) {
    const bool better = mix(candidate_score > score, candidate < pattern, candidate_score == score);
    score = mix(score, candidate_score, better);
    pattern = mix(pattern, candidate, better);
}

// Two rows take pairs p and q, in either order; sums[row][pair]. The lower pattern has the lower pair in the upper row.
uvec2 either_order(uint first[6], uint second[6], uint p, uint q) {
    const uint low = min(p, q), high = max(p, q);
    const uint lower = first[high] + second[low], upper = first[low] + second[high];
    return mix(uvec2(lower, PAIRS[high] | PAIRS[low] << 4), uvec2(upper, PAIRS[low] | PAIRS[high] << 4), bvec2(upper > lower));
}

uvec2 complements(uint first[6], uint second[6]) {
    uvec2 best = either_order(first, second, 0u, 5u);
    [[unroll]] for (uint p = 1; p < 3; ++p) {
        const uvec2 other = either_order(first, second, p, 5 - p);
        consider(best.x, best.y, other.x, other.y);
    }
    return best;
}

uint best_pattern(uvec4 keys[4]) {
    uint all = 0, top = 0;
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        all = max(all, largest_of(keys[r]));
        top = max(top, largest_of(finite(keys[r])));
    }
    top = max(top >> MANTISSA_BITS, 1u);
    const uint fewer = all >= INFINITY_KEY ? 8 : 0;

    uint sums[4][6];  // of a row's pairs
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        const uvec4 u = units(keys[r], top, fewer);
        sums[r] = uint[6](u.x + u.y, u.x + u.z, u.y + u.z, u.x + u.w, u.y + u.w, u.z + u.w);
    }

    uint score = 0, pattern = 0xffffu;
    [[unroll]] for (uint p = 0; p < 6; ++p) {
        consider(score, pattern, sums[0][p] + sums[1][p] + sums[2][5 - p] + sums[3][5 - p],
                 PAIRS[p] * 0x11u | PAIRS[5 - p] * 0x1100u);
        [[unroll]] for (uint q = p + 1; q < 6; ++q)
            if (q != 5 - p) {
                const uvec2 low = either_order(sums[0], sums[1], p, q);
                const uvec2 high = either_order(sums[2], sums[3], 5 - p, 5 - q);
                consider(score, pattern, low.x + high.x, low.y | high.y << 8);
            }
    }
    const uvec2 low = complements(sums[0], sums[1]), high = complements(sums[2], sums[3]);
    consider(score, pattern, low.x + high.x, low.y | high.y << 8);
    return pattern;
}
