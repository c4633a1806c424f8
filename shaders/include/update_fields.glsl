// Push fields of an optimizer's update, behind its own (update.glsl).
//
//   place = mask_first + i      row = place / mask_columns = (2 · place · mask_factor / 2³²) >> mask_shift
//
// of element i in its mask, whose rows take mask_words words. A mask factor of 0 makes all of it one row, for rows of whole
// words. decay_word: where the state has the factor λ of the masked decay.

#define UPDATE_FIELDS \
    uint count; uint decay_word; uint mask_first; uint mask_columns; uint mask_words; uint mask_factor; uint mask_shift;
