// Patterns of a 4×4 mask tile that cheaper searches find, to hold the best one against. keys[row][column] as magnitude_key
// gives them; of equal ones the lower bit 4 · row + column comes first, and what is missing comes before all that is there.
//
//   uint greedy_pattern(keys, real)      entries by descending magnitude, kept while row and column keep fewer than two
//   uint two_approximation(keys, real)   entries by ascending magnitude, pruned while row or column has fewer than two pruned:
//                                        what is pruned is less than twice what the best pattern prunes
//
// `real` has the bits of the entries that exist. A greedy pattern may keep fewer than eight.

uint row_of(uint bit) { return 0xfu << (bit & 12u); }
uint column_of(uint bit) { return 0x1111u << (bit & 3u); }

// The bit of `open` with the largest key, or the smallest; 16 if there is none.
uint extreme_of(uvec4 keys[4], uint real, uint open, bool largest) {
    uint best = 0, found = 16;
    [[unroll]] for (uint i = 0; i < 16; ++i) {
        const uint rank = (keys[i / 4][i % 4] + 1) * (real >> i & 1u);
        const bool first = mix(mix(rank < best, rank > best, largest), true, found == 16);
        const bool better = mix(false, first, (open >> i & 1u) != 0);
        best = mix(best, rank, better);
        found = mix(found, i, better);
    }
    return found;
}

uint greedy_pattern(uvec4 keys[4], uint real) {
    uint kept = 0, open = 0xffffu, round = 0;
    do {
        const uint i = extreme_of(keys, real, open, true);
        kept |= 1u << i & 0xffffu;  // none is left: bit 16
        open &= ~(1u << i);
        open &= ~mix(0u, row_of(i), bitCount(kept & row_of(i)) == 2);
        open &= ~mix(0u, column_of(i), bitCount(kept & column_of(i)) == 2);
        ++round;
    } while (round < 8);
    return kept;
}

uint two_approximation(uvec4 keys[4], uint real) {
    uint pruned = 0, open = 0xffffu, round = 0;
    do {
        const uint i = extreme_of(keys, real, open, false);
        open &= ~(1u << i);
        pruned |= uint(min(bitCount(pruned & row_of(i)), bitCount(pruned & column_of(i))) < 2) << i;
        ++round;
    } while (round < 16);
    return ~pruned & 0xffffu;
}
