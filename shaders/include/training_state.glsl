// The words of an optimizer's state on the device (api/src/optimizer.cpp has the same list).

const uint STATE_STEP = 0;           // updates applied
const uint STATE_LOSS_SCALE = 1;     // f32: the loss is multiplied by it before the backward pass
const uint STATE_GOOD_STEPS = 2;     // updates since the loss scale last changed
const uint STATE_FOUND_INF = 3;      // 1: the last step met a gradient that is not finite, and changed nothing
const uint STATE_NORM = 4;           // f32: global norm of the last step's gradients, unscaled and before clipping
const uint STATE_UNSCALE = 5;        // f32: the last step's gradients were multiplied by this, 1 / loss scale,
const uint STATE_LEARNING_RATE = 6;  // f32
const uint STATE_CORRECTION_1 = 7;   // f32: 1 - β1^step
const uint STATE_CORRECTION_2 = 8;   // f32: 1 - β2^step
const uint STATE_SKIPPED = 9;        // steps that changed nothing
const uint STATE_CLIP = 10;          // f32: and then by this (the product of the two may be subnormal)
const uint STATE_FROZEN = 11;        // 1: from the second update on, AdamW's second moment and its correction stay
const uint STATE_WORDS = 12;         // and behind them an f32 for each parameter: the factor of its masked decay
