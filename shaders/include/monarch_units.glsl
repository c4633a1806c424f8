// Units of a factor, TILE_COLUMNS rows of its blocks that a lane takes at a time, and their sums.
//
//   uint count_units(blocks, rows, neighbours)
//   void place_unit(base, interleaved, blocks, rows, neighbours)    sets unit_block, unit_row
//   PLACE_ROWS_(…)        sets w_row, and the sums to zero
//   MULTIPLY_STEPS_(…)    accumulator += weight · source
//   MULTIPLY_(multiply, depth)    walks the contraction by multiply(k, count)

uint w_row[TILE_COLUMNS];  // offset of each row of the weight
uint units;

// Neighbouring lanes take neighbouring blocks where features are interleaved, else neighbouring rows.
void place_unit(uint base, bool interleaved, uint blocks, uint rows, uint neighbours) {
    const uint unit = min(base + feature_lane, units - 1);
    const uint across = (blocks + neighbours - 1) / neighbours, height = TILE_COLUMNS / neighbours;
    const uint down = units / across;
    unit_block = (interleaved ? unit % across : unit / down) * neighbours;
    unit_row = (interleaved ? unit / across : unit % down) * height;
}
uint count_units(uint blocks, uint rows, uint neighbours) {
    const uint height = TILE_COLUMNS / neighbours;
    return (blocks + neighbours - 1) / neighbours * ((rows + height - 1) / height);
}

#define PLACE_ROWS_(neighbours, block_stride, row_stride, blocks, rows) \
    [[unroll]] for (uint c_ = 0; c_ < TILE_COLUMNS; ++c_) { \
        w_row[c_] = min(unit_block + c_ % (neighbours), (blocks) - 1) * (block_stride) + \
                    min(unit_row + c_ / (neighbours), (rows) - 1) * (row_stride); \
        [[unroll]] for (uint r_ = 0; r_ < TILE_ROWS; ++r_) accumulator[r_][c_] = 0.0; \
    }

// accumulator += weight · source for `count` steps from k on: K_STEP of them, or one. source[neighbour][row][step].
float source[NEIGHBOURS][TILE_ROWS][K_STEP];
#define MULTIPLY_STEPS_(slot, layout_, neighbours, column_stride, k, count) \
    [[unroll]] for (uint c_ = 0; c_ < TILE_COLUMNS; ++c_) { \
        uint run_[MAX_RUN_WORDS]; \
        const bool in_runs_ = (layout_) != 0 && (count) == K_STEP; \
        if (in_runs_) { \
            LOAD_RUN(slot, layout_, run_words(OPERAND_TYPE, K_STEP), run_words(OPERAND_TYPE, w_row[c_] + (k)), 0u, run_) \
        } \
        [[unroll]] for (uint i_ = 0; i_ < (count); ++i_) { \
            const float w_ = in_runs_ ? run_element(OPERAND_TYPE, run_, i_) \
                                      : load_float(slot, OPERAND_TYPE, w_row[c_] + ((k) + i_) * (column_stride), 0u); \
            [[unroll]] for (uint r_ = 0; r_ < TILE_ROWS; ++r_) \
                accumulator[r_][c_] = fma(source[c_ % (neighbours)][r_][i_], w_, accumulator[r_][c_]); \
        } \
    }

// Tested at the bottom, and clamped: see direct.comp.
#define MULTIPLY_(multiply, depth) \
    do { \
        uint k_ = 0; \
        if ((depth) >= K_STEP) { \
            do { \
                multiply(k_, K_STEP); \
                k_ += K_STEP; \
            } while (k_ + K_STEP <= (depth)); \
        } \
        if (k_ < (depth)) { \
            do { \
                multiply(min(k_, (depth) - 1), 1); \
                ++k_; \
            } while (k_ < (depth)); \
        } \
    } while (false)
