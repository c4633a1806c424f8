// The best transposable pattern of a 4×4 mask tile: of the 90 that keep two entries of every row and column the one with the
// largest score, ties the lowest pattern. A pattern has bit 4 · row + column set where an entry is kept.
//
//   uint best_pattern(uvec4 keys[4])       keys[row][column] as magnitude_key gives them; 0 where there is no entry
//
// Scores are whole numbers, so that no order of summation shows: an entry counts |w| in units of 2^-27 of the power of two
// at or below the tile's largest, but of 2^-126 at least, rounded down. Infinities and NaN count as 2^128.
//
// Rows 0 and 1 of a pattern, and rows 2 and 3, take one of six pairs of columns each. What two rows keep of each column, the
// others must complete to two. So both rows take one pair p twice (the others its complement), or a pair and its complement
// (so do the others), or two pairs that share a column, in either order (the others their complements, in either order):
// 6 + 1 + 12 cases for 90 patterns, each the sum of two maxima. Choices are mix(), not ?: or &&, which become branches: on
// SwiftShader hundreds of them take minutes to compile.

const uint PAIRS[6] = uint[6](3u, 5u, 6u, 9u, 10u, 12u);  // the complement of pair p is pair 5 - p
const uint NO_PATTERN = 0xffffu;

// |w| with the exponent where f32 has it, NaN as infinity; f16 keeps its exponents, but infinity's. In whole numbers, since
// decoding may flush f16's subnormals.
uvec4 magnitudes(uvec4 keys) {
    if (TYPE == F16) return mix(keys << 13, uvec4(0x7f800000u), greaterThanEqual(keys, uvec4(INFINITY_KEY)));
    return min(keys << (TYPE == F32 ? 0 : 16), uvec4(0x7f800000u));
}

// `exponent` is the largest one, from LEAST_EXPONENT on. Without a hidden bit an entry of f32 is shifted out. (Conversions from
// f32 would do it in half the operations, but lavapipe makes them one lane at a time.)
const uint LEAST_EXPONENT = TYPE == F16 ? 1 : 28;
uvec4 units(uvec4 magnitudes, uint exponent) {
    uvec4 significands = magnitudes & 0x7fffffu | 0x800000u, exponents = magnitudes >> 23;
    if (TYPE == F16) {
        significands = mix(significands, magnitudes, lessThan(magnitudes, uvec4(0x800000u)));
        exponents = max(exponents, uvec4(1));
    }
    return significands << 4 >> min(exponent - exponents, uvec4(31));
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

// Scores of each row's pairs.
uint[4][6] pair_scores(uvec4 keys[4]) {
    uvec4 most = uvec4(0), bits[4];
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        bits[r] = magnitudes(keys[r]);
        most = max(most, bits[r]);
    }
    const uint exponent = max(max(max(most.x, most.y), max(most.z, most.w)) >> 23, LEAST_EXPONENT);
    uint sums[4][6];
    [[unroll]] for (uint r = 0; r < 4; ++r) {
        const uvec4 u = units(bits[r], exponent);
        sums[r] = uint[6](u.x + u.y, u.x + u.z, u.y + u.z, u.x + u.w, u.y + u.w, u.z + u.w);
    }
    return sums;
}

uint best_pattern(uvec4 keys[4]) {
    const uint sums[4][6] = pair_scores(keys);
    uint score = 0, pattern = NO_PATTERN;
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
