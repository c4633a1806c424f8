// Push fields of an optimizer's update, behind its own (update.glsl).
//
//   place = mask_first + i      row = place / mask_columns = (2 · place · mask_factor / 2³²) >> mask_shift
//
// of element i in its mask, whose rows take mask_words words. For rows of whole words all of it is one row: mask_factor is
// 0, and mask_columns is never reached. decay_word: where the state has the factor λ of the masked decay.

#define UPDATE_FIELDS \
    uint count; uint decay_word; uint mask_first; uint mask_columns; uint mask_words; uint mask_factor; uint mask_shift;
