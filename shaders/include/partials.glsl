// The share of one lane in `count` pairs of floats at slot PARTIALS: pairs lane, lane + LANES, …

vec2 lane_partials(uint count) {
    vec2 sum = vec2(0.0);
    uint i = gl_LocalInvocationID.x;
    if (i < count) {
        do {
            sum += uintBitsToFloat(uvec2(load(PARTIALS, 0u, 2 * i), load(PARTIALS, 0u, 2 * i + 1)));
            i += LANES;
        } while (i < count);
    }
    return sum;
}
