// gated: gated linear units, element by element, over a box of three dimensions.
//
//   RESULT_PRODUCT    out = dy · act(g)    the forward pass, with x in the place of dy, and dx alone
//   RESULT_GRADIENTS  out = dy · act(g), and `other` elements behind it dy · x · act'(g)
//   RESULT_SLOPE      out = dy · x · act'(g)
//
//   sizes (n0, n1, n2) and element strides of out, of x and g (the same), and of dy; n2 is the dimension of out's
//   smallest stride
//   A unit is an element, or with pairs = 1 and 2 a word of a 16-bit out whose rows are contiguous: two elements of a row,
//   but for the first and the last, which may be one. With pairs = 2 those of x, g and dy lie in one word each, too.
//   TILE units a lane, all loads in front of all stores: along n2, or with rows = true along n1, for transposes.
//   whole = true: no unit lacks an element and no lane or row of a tile is left over, so that nothing is masked
//   Every dimension is walked with the grid's stride, so any grid is right.
//
// f32 arithmetic, rounded once; the same bits whatever the constants.
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require

#define PUSH_FIELDS \
    uint n0; uint n1; uint n2; uint out0; uint out1; uint out2; uint x0; uint x1; uint x2; uint dy0; uint dy1; uint dy2; \
    uint other;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 readonly
#define SLOT_3
#include "access.glsl"
#include "types.glsl"
#define EPILOGUE_PRECISE precise
#include "epilogue.glsl"
#include "gates.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint type = 0;
layout(constant_id = 2) const uint gate = 0;
layout(constant_id = 3) const uint result = 0;
layout(constant_id = 4) const uint pairs = 0;
layout(constant_id = 5) const uint TILE = 1;
layout(constant_id = 6) const bool rows = false;
layout(constant_id = 7) const bool whole = false;

#define X 0
#define G 1
#define DY 2
#define OUT 3

const uint RESULT_PRODUCT = 0;
const uint RESULT_GRADIENTS = 1;
const uint RESULT_SLOPE = 2;
const uint WIDTH = pairs > 0 ? 2 : 1;

// Elements first and second of a unit, which are the same where there is but one.
#define load_unit(slot, first, second) \
    (pairs == 2 ? decode_pair(type, load(slot, 0u, (first) + start_half(slot) >> 1)) \
                : vec2(load_float(slot, type, 0u, first), pairs > 0 ? load_float(slot, type, 0u, second) : 0.0))

// A unit of row n1 = row: elements first … second of it, at offsets `out_row`, `x_row`, `dy_row`.
struct Unit {
    uint first, second;
    bool inside, lower;  // whether there is an element, and whether the first one lies in the lower half of its word
};

Unit unit_at(uint u, uint out_row) {
    if (whole) return Unit(u * WIDTH, u * WIDTH + WIDTH - 1, true, true);
    const uint odd = pairs > 0 ? out_row + start_half(OUT) & 1u : 0;
    const uint behind = u * WIDTH + WIDTH - odd;  // at least 1
    const uint last = push.n2 - 1;
    Unit unit;
    unit.inside = behind < push.n2 + WIDTH;
    unit.second = min(behind - 1, last);
    unit.first = min(behind > WIDTH ? behind - WIDTH : 0, last);
    unit.lower = behind >= WIDTH;
    return unit;
}

void store_unit(uint out_row, Unit unit, vec2 value) {
    const uint at = out_row + unit.first * push.out2;
    if (pairs > 0 && (whole || unit.first < unit.second))
        store(OUT, 0u, at + start_half(OUT) >> 1, encode_16(type, value.x) | encode_16(type, value.y) << 16);
    else
        store_float(OUT, type, 0u, at, unit.lower ? value.x : value.y);
}

struct Pair {
    vec2 value, slope;
};

precise Pair gates_at(vec2 g) {
    const Gate a = gate_at(gate, g.x);
    if (pairs == 0) return Pair(vec2(a.value, 0.0), vec2(a.slope, 0.0));
    const Gate b = gate_at(gate, g.y);
    return Pair(vec2(a.value, b.value), vec2(a.slope, b.slope));
}

void walk(uint z, uint y) {
    // Units of a row; where it begins with the upper half of a word there is one more than its length tells.
    const uint most = push.n2 / WIDTH + (pairs > 0 && !whole ? 1 : 0);
    const uint ahead = rows ? 0 : gl_WorkGroupSize.x, chunk = gl_WorkGroupSize.x * (rows ? 1 : TILE);
    uint u = gl_WorkGroupID.x * chunk + gl_LocalInvocationID.x;
    if (u >= most) return;
    do {
        vec2 x[TILE], g[TILE], dy[TILE];
        [[unroll]] for (uint r = 0; r < TILE; ++r) {
            const uint row = rows ? (whole ? y + r : min(y + r, push.n1 - 1)) : y;
            const Unit unit = unit_at(u + r * ahead, z * push.out0 + row * push.out1);
            const uint from = z * push.x0 + row * push.x1;
            g[r] = load_unit(G, from + unit.first * push.x2, from + unit.second * push.x2);
            x[r] = vec2(0.0);
            if (result != RESULT_PRODUCT)
                x[r] = load_unit(X, from + unit.first * push.x2, from + unit.second * push.x2);
            const uint of_dy = z * push.dy0 + row * push.dy1;
            dy[r] = load_unit(DY, of_dy + unit.first * push.dy2, of_dy + unit.second * push.dy2);
        }
        [[unroll]] for (uint r = 0; r < TILE; ++r) {
            const uint row = rows ? y + r : y;
            const uint out_row = z * push.out0 + row * push.out1;
            const Unit unit = unit_at(u + r * ahead, out_row);
            const Pair at = gates_at(g[r]);
            precise const vec2 product = dy[r] * at.value;
            precise const vec2 gradient = dy[r] * x[r] * at.slope;
            if (!whole && (!unit.inside || row >= push.n1)) continue;
            store_unit(out_row, unit, result == RESULT_SLOPE ? gradient : product);
            if (result == RESULT_GRADIENTS) store_unit(out_row + push.other, unit, gradient);
        }
        u += gl_NumWorkGroups.x * chunk;
    } while (u < most);
}

void main() {
    const uint height = rows ? TILE : 1;
    uint z = gl_WorkGroupID.z;
    do {
        uint y = gl_WorkGroupID.y * height;
        do {
            walk(z, y);
            y += gl_NumWorkGroups.y * height;
        } while (y < push.n1);
        z += gl_NumWorkGroups.z;
    } while (z < push.n0);
}
