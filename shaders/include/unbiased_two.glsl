// Two of four entries kept at random so that the expectation of what is kept is the group: which, and their values.
//
//   Two least_variance(x, u), one_of_each_two(x, u), two_draws(x, u)     u uniform in [0, 1), multiples of 2^-23
//
//   a = |x|, m the largest, r the sum of the others, h = (min(m, r) + r) / 2, s = Σ a
//   least_variance    each with probability min(a / h, 1), value ± max(a, h): T = u · h falls between two prefix sums P of
//                     min(a, h), and between two of P - h; these two entries are kept. The largest comes first in P, changing
//                     places with entry 0, so that it is surely kept where m > r
//   one_of_each_two   one of x0 x1 and one of x2 x3, each with probability a / (sum of its two), value ± that sum
//   two_draws         i with probability t_i = a_i / s, then j ≠ i with a_j / (s - a_i); values x / p, with
//                     p_i = t_i (1 + Σ_{j≠i} a_j / (s - a_j)) the chance to be kept
//
// least_variance decides by additions, multiplications and comparisons alone, all of them exact or rounded to nearest, so that
// every device keeps the same entries. Two are kept whatever the rounding: P is at or above h after three entries, and a
// step of P - h never passes the step of P before it.

// Two kept entries, the first in front of the second.
struct Two {
    uvec2 places;
    vec2 values;
};

float at(vec4 v, uint i) { return v[i]; }
float with_sign_of(float magnitude, float x) { return mix(magnitude, -magnitude, x < 0.0); }

uint place_of_largest(vec4 a) {
    const uint low = uint(a.y > a.x), high = 2 + uint(a.w > a.z);
    return mix(low, high, max(a.z, a.w) > max(a.x, a.y));
}

Two in_order(uint i, float value_i, uint j, float value_j) {
    const bvec2 swap = bvec2(j < i);
    return Two(mix(uvec2(i, j), uvec2(j, i), swap), mix(vec2(value_i, value_j), vec2(value_j, value_i), swap));
}

// One of three that T, below their sum, falls upon; the last if rounding leaves it none.
uint one_of_three(vec3 a, float t) {
    precise const float two = a.x + a.y;
    return mix(mix(2u, 1u, t < two), 0u, t < a.x);
}

vec3 without(vec4 v, uint i) { return mix(v.xyz, v.yzw, lessThan(uvec3(i), uvec3(1, 2, 3))); }

Two least_variance(vec4 x, float u) {
    const vec4 a = abs(x);
    const uint top = place_of_largest(a);
    const float m = at(a, top);
    // The largest changes places with entry 0.
    const vec3 rest = mix(a.yzw, a.xxx, equal(uvec3(top), uvec3(1, 2, 3)));
    precise const float two = rest.x + rest.y;
    precise const float r = two + rest.z;
    const float p1 = min(m, r);
    precise const float sum = p1 + r;
    const float h = sum * 0.5;
    precise const float t = u * h;
    precise const float p2_sum = p1 + rest.x;
    // Rounding must not open a step for an entry that is zero: it may be one behind the last column.
    const float p2 = mix(p2_sum, max(p2_sum, h), min(rest.y, rest.z) == 0.0);
    precise const float p3_sum = p2 + rest.y;
    const float p3 = max(p3_sum, h);
    precise const float q2_step = p2 - h;
    precise const float q3_step = p3 - h;
    const float q2 = min(q2_step, p1), q3 = mix(mix(min(q3_step, p2), h, rest.z == 0.0), q2, rest.y == 0.0);
    const uint first = mix(mix(2u, 1u, t < p2), 0u, t < p1), second = mix(mix(1u, 2u, t >= q2), 3u, t >= q3);
    const uint i = mix(mix(first, 0u, first == top), top, first == 0), j = mix(second, 0u, second == top);
    // Alone in its group, the largest is kept beside a zero.
    const bool alone = h == 0.0;
    return in_order(mix(i, top, alone), mix(with_sign_of(mix(h, max(m, h), first == 0), at(x, i)), at(x, top), alone),
                    mix(j, uint(top == 0), alone), mix(with_sign_of(h, at(x, j)), 0.0, alone));
}

// One of two, and the value that it then has.
vec2 one_of_two(vec2 x, float u) {
    precise const float sum = abs(x.x) + abs(x.y);
    precise const float t = u * sum;
    const bool second = mix(false, t >= abs(x.x), sum > 0.0);
    return vec2(float(second), with_sign_of(sum, mix(x.x, x.y, second)));
}

Two one_of_each_two(vec4 x, vec2 u) {
    const vec2 low = one_of_two(x.xy, u.x), high = one_of_two(x.zw, u.y);
    return Two(uvec2(uint(low.x), 2 + uint(high.x)), vec2(low.y, high.y));
}

Two two_draws(vec4 x, vec2 u) {
    const vec4 a = abs(x);
    const float s = a.x + a.y + (a.z + a.w);
    if (s == 0.0) return Two(uvec2(0, 1), vec2(0.0));
    const float t = u.x * s;
    uint i = t < a.x ? 0u : t < a.x + a.y ? 1u : t < a.x + a.y + a.z ? 2u : 3u;
    if (at(a, i) == 0.0) i = place_of_largest(a);  // rounding fell upon a zero at the end
    const vec3 others = without(a, i);
    const float rest = others.x + others.y + others.z;
    uint j = rest == 0.0 ? 0u : one_of_three(others, u.y * rest);
    j += j >= i ? 1u : 0u;
    // p_i = t_i (1 + Σ_{j≠i} a_j / (s - a_j)); an entry that is all of s leaves the others nothing to be drawn by.
    const vec4 left = vec4(a.y + a.z + a.w, a.x + a.z + a.w, a.x + a.y + a.w, a.x + a.y + a.z);
    const vec4 ratio = mix(a / left, vec4(0.0), equal(left, vec4(0.0)));
    const vec3 but_i = without(ratio, i), but_j = without(ratio, j);
    const float p_i = at(a, i) / s * (1.0 + (but_i.x + but_i.y + but_i.z));
    const float p_j = at(a, j) / s * (1.0 + (but_j.x + but_j.y + but_j.z));
    return in_order(i, at(x, i) / p_i, j, p_j > 0.0 ? at(x, j) / p_j : 0.0);
}
