// The walk of an optimizer's update over its elements, and the one place that writes a weight.
//
//   element pair p = elements 2p - h, 2p + 1 - h     h = 1 when a 16-bit working copy starts in the middle of a word
//
// so that an invocation owns whole words of the working copy. Master and moments are f32, all contiguous. The shader
// defines slots STATE, GRADIENT, MASTER, WORKING and MASK, the constants gradient_type, working_type and masked_decay, and
//   float direction(uint i, float gradient, float weight)  the weight goes by -learning_rate times that; reads and writes the
//                                                          moments of element i
// The gradient arrives unscaled and clipped. MASKED_DECAY adds λ · weight where the bit mask is clear: 1, to the gradient,
// so that it enters the moments; 2, to the direction. With λ = 0 or a full mask all bits are those of MASKED_DECAY 0. When
// the state says found_inf nothing at all is written. Every invocation reads the state once: nothing tells the compiler that
// the words stay as they are while weights are written.

const uint NO_WORKING_COPY = 3;  // the master is the working copy
const uint BEFORE_MOMENTS = 1;
const uint OUTSIDE_MOMENTS = 2;

float state_value(uint word) { return uintBitsToFloat(load(STATE, word, 0u)); }

uint step_count = load(STATE, STATE_STEP, 0u);
float unscale = state_value(STATE_UNSCALE);
float clip = state_value(STATE_CLIP);
float learning_rate = state_value(STATE_LEARNING_RATE);

// Read once, as operand[] is (access.glsl).
uint mask_first = push.mask_first;
uint mask_columns = push.mask_columns;
uint mask_words = push.mask_words;
uint mask_factor = push.mask_factor;
uint mask_shift = push.mask_shift;

float factor_of_decay() {
    if (masked_decay != 0) return state_value(push.decay_word);
    return 0.0;
}

float decay = factor_of_decay();

float direction(uint i, float gradient, float weight);

// Of elements i and i + 1, as far as there are any: whether the mask leaves them out. Mostly they share a word.
bvec2 pruned_pair(uint i, bool has_second) {
    const uint place = mask_first + i;
    uint high, low;
    umulExtended(2 * place, mask_factor, high, low);
    uint row = high >> mask_shift;
    uint column = place - row * mask_columns;
    uint bits = load(MASK, 0u, row * mask_words + column / 32) >> column % 32;
    const bool first = (bits & 1u) == 0u;
    bits >>= 1;
    ++column;
    if (column == mask_columns) {
        ++row;
        column = 0;
    }
    if (has_second && column % 32 == 0u) bits = load(MASK, 0u, row * mask_words + column / 32);
    return bvec2(first, (bits & 1u) == 0u);
}

float updated(uint i, bool pruned) {
    const float gradient = load_float(GRADIENT, gradient_type, 0u, i);
    const float weight = uintBitsToFloat(load(MASTER, 0u, i));
    precise float plain = gradient * unscale;  // first, since unscale · clip may be subnormal
    float g = plain * clip;
    if (masked_decay == BEFORE_MOMENTS && pruned) g = fma(decay, weight, g);
    float d = direction(i, g, weight);
    if (masked_decay == OUTSIDE_MOMENTS && pruned) d = fma(decay, weight, d);
    const float result = fma(-learning_rate, d, weight);
    store(MASTER, 0u, i, floatBitsToUint(result));
    return result;
}

// `masked` is a literal.
void walk(uint count, bool masked) {
    const bool narrow = working_type == F16 || working_type == BF16;
    const uint shift = narrow ? start_half(WORKING) : 0u;
    const uint pairs = (count + shift + 1) / 2;
    uint p = gl_GlobalInvocationID.x;
    if (p >= pairs) return;
    do {
        const uint first = 2 * p - shift;  // wraps for the half in front of element 0
        const bool has_first = first < count;
        const bool has_second = first + 1 < count;
        bvec2 pruned = bvec2(false);
        if (masked) {
            pruned = pruned_pair(has_first ? first : 0u, has_first && has_second);
            if (!has_first) pruned.y = pruned.x;
        }
        vec2 value = vec2(0.0);
        if (has_first) value.x = updated(first, pruned.x);
        if (has_second) value.y = updated(first + 1, pruned.y);
        if (narrow && has_first && has_second) {
            store(WORKING, 0u, p, encode_16(working_type, value.x) | encode_16(working_type, value.y) << 16);
        } else if (working_type != NO_WORKING_COPY) {
            if (has_first) store_float(WORKING, working_type, 0u, first, value.x);
            if (has_second) store_float(WORKING, working_type, 0u, first + 1, value.y);
        }
        p += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
    } while (p < pairs);
}

void update_all(uint count) {
    if (load(STATE, STATE_FOUND_INF, 0u) != 0u) return;
    if (masked_decay != 0 && decay != 0.0)
        walk(count, true);
    else
        walk(count, false);
}
