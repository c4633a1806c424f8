// Sums over a workgroup in a fixed order, so that a result depends on sizes only and never on timing. A shader
// defines LANES, its number of invocations along the reduced axis (a power of two), before including this file.
//
//   vec2 workgroup_sum(lane, value)     the sum over lanes 0 … LANES-1, component by component, in every invocation
//
//   lane   0    1    2    3        each round adds the upper half onto the lower
//          └────┼────┘    │
//               └─────────┘
// Called by every invocation of the workgroup, from uniform control flow.

shared vec2 sums[LANES];

vec2 workgroup_sum(uint lane, vec2 value) {
    barrier();  // the previous sum has been read
    sums[lane] = value;
    barrier();
    uint step = LANES / 2;
    while (step > 0) {
        if (lane < step) sums[lane] += sums[lane + step];
        barrier();
        step /= 2;
    }
    return sums[0];
}
