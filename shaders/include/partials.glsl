// The share of one lane in `count` pairs of floats at slot PARTIALS: pairs lane, lane + LANES, …
// All lanes walk the same number of steps (see loss_finish.comp).

vec2 lane_partials(uint count) {
    vec2 sum = vec2(0.0);
    uint start = 0;
    do {
        const uint i = start + gl_LocalInvocationID.x;
        const uint at = 2 * min(i, max(count, 1u) - 1);
        const vec2 pair = uintBitsToFloat(uvec2(load(PARTIALS, 0u, at), load(PARTIALS, 0u, at + 1)));
        sum += i < count ? pair : vec2(0.0);
        start += LANES;
    } while (start < count);
    return sum;
}
