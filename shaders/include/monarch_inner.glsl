// The intermediate of a Monarch product in shared memory: monarch.comp's lanes write their sums of the first factor and
// read what the second one walks. Of 16-bit types two tokens share a word.
//
//   void store_inner()           the sums of the unit at hand, rounded to OPERAND_TYPE; none behind the last row
//   void load_inner(k, count)    steps k … k + count - 1 of each NEIGHBOURS blocks into source[][][]

// Where token r of this lane begins in the intermediate.
uint inner_row(uint r) {
    const uint token = token_lane * TILE_ROWS + r;
    return (is_16_bit(OPERAND_TYPE) ? token / 2 : token) * inner_pitch;
}

void store_inner() {
    [[unroll]] for (uint c = 0; c < TILE_COLUMNS; ++c) {
        const uint at = feature(WRITES_INTERLEAVED, unit_block, unit_row + c, blocks_1, rows_1);
        if (unit_row + c < rows_1) {
            if (is_16_bit(OPERAND_TYPE)) {
                [[unroll]] for (uint r = 0; r < TILE_ROWS; r += 2)
                    inner[inner_row(r) + at] = encode_16(OPERAND_TYPE, accumulator[r][c]) |
                                               encode_16(OPERAND_TYPE, accumulator[min(r + 1, TILE_ROWS - 1)][c]) << 16;
            } else {
                [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
                    inner[inner_row(r) + at] = floatBitsToUint(accumulator[r][c]);
            }
        }
    }
}

void load_inner(uint k, uint count) {
    [[unroll]] for (uint j = 0; j < NEIGHBOURS; ++j) {
        const uint block = min(unit_block + j, blocks_2 - 1);
        [[unroll]] for (uint i = 0; i < count; ++i) {
            const uint at = feature(!WRITES_INTERLEAVED, block, k + i, blocks_2, depth_2);
            if (is_16_bit(OPERAND_TYPE)) {
                [[unroll]] for (uint r = 0; r < TILE_ROWS; r += 2) {
                    const vec2 pair = decode_pair(OPERAND_TYPE, inner[inner_row(r) + at]);
                    source[j][r][i] = pair.x;
                    source[j][min(r + 1, TILE_ROWS - 1)][i] = TILE_ROWS == 1 ? pair.x : pair.y;
                }
            } else {
                [[unroll]] for (uint r = 0; r < TILE_ROWS; ++r)
                    source[j][r][i] = uintBitsToFloat(inner[inner_row(r) + at]);
            }
        }
    }
}
