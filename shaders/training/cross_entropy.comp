// cross_entropy: softmax cross-entropy of logits (rows, classes) with one label per row, and its gradient.
//
//   loss[r] = ln Σ_c exp(x[r][c] - max) - (x[r][label] - max)
//   gradient[r][c] = (exp(x[r][c] - max) / Σ - [c = label]) · scale / counted
//   partials[group] = {Σ loss, rows whose argmax is the label} over the rows of the workgroup
//
//            lanes of a row (local_size_x)
//   row r    ▏c0 c1 c2 … ▏      three walks over a row: maximum, sum of exponentials, gradient; lanes are combined by
//   row r+1  ▏           ▏      trees. local_size_y rows at once; workgroups walk the rows with the grid's stride
//
// Few classes: one lane per row, no tree. A row whose label is not below `classes` adds nothing and has a zero
// gradient; nothing is read outside the row. `counted` is the sum of the label_count words.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows; uint classes; uint row_stride; uint class_stride; uint label_stride; uint gradient_row; \
    uint gradient_class; uint counts;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2 readonly
#define SLOT_3 writeonly
#define SLOT_4 readonly
#define SLOT_5
#include "access.glsl"
#include "types.glsl"
#include "math.glsl"

layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint type = 0;
layout(constant_id = 3) const bool has_gradient = true;
layout(constant_id = 4) const bool has_scale = false;
layout(constant_id = 5) const bool pairs = false;

#define LOGITS 0
#define LABELS 1
#define COUNTS 2
#define PARTIALS 3
#define SCALE 4
#define GRADIENT 5

const uint lanes = gl_WorkGroupSize.x;
const uint height = gl_WorkGroupSize.y;
const uint none = 0xffffffffu;

shared float values[lanes * height];
shared uint indices[lanes * height];

uint me() { return gl_LocalInvocationIndex; }
float logit(uint row, uint c) { return load_float(LOGITS, type, 0u, row * push.row_stride + c * push.class_stride); }

// The largest value and its lowest index over the lanes of a row.
void reduce_maximum(inout float value, inout uint index) {
    if (lanes == 1) return;
    barrier();
    values[me()] = value;
    indices[me()] = index;
    barrier();
    uint step = lanes / 2;
    while (step > 0) {
        if (gl_LocalInvocationID.x < step) {
            const float other = values[me() + step];
            const uint other_index = indices[me() + step];
            if (other > values[me()] || (other == values[me()] && other_index < indices[me()])) {
                values[me()] = other;
                indices[me()] = other_index;
            }
        }
        barrier();
        step /= 2;
    }
    value = values[gl_LocalInvocationID.y * lanes];
    index = indices[gl_LocalInvocationID.y * lanes];
}

float reduce_sum(float value) {
    if (lanes == 1) return value;
    barrier();
    values[me()] = value;
    barrier();
    uint step = lanes / 2;
    while (step > 0) {
        if (gl_LocalInvocationID.x < step) values[me()] += values[me() + step];
        barrier();
        step /= 2;
    }
    return values[gl_LocalInvocationID.y * lanes];
}

void write_gradient(uint row, uint label, float maximum, float factor, float sum) {
    const uint width = pairs ? 2 : 1;
    const bool ignored = label >= push.classes;
    const float inverse = 1.0 / sum;
    uint c = gl_LocalInvocationID.x * width;
    if (c >= push.classes) return;
    do {
        const uint next = min(c + 1, push.classes - 1);
        vec2 g = vec2(inverse * exponential(logit(row, c) - maximum), 0.0);
        if (pairs) g.y = inverse * exponential(logit(row, next) - maximum);
        g -= vec2(c == label ? 1.0 : 0.0, next == label ? 1.0 : 0.0);
        g = ignored ? vec2(0.0) : g * factor;
        const uint to = row * push.gradient_row + c * push.gradient_class;
        if (pairs && c + 1 < push.classes) {
            store_float_pair(GRADIENT, type, 0u, to, g);
        } else {
            store_float(GRADIENT, type, 0u, to, g.x);
        }
        c += lanes * width;
    } while (c < push.classes);
}

void main() {
    uint counted = 0;
    uint i = 0;
    do {
        counted += load(COUNTS, i, 0u);
        ++i;
    } while (i < push.counts);
    float factor = 1.0 / float(max(counted, 1u));
    if (has_scale) factor *= uintBitsToFloat(load(SCALE, 0u, 0u));

    float losses = 0.0;
    uint correct = 0;
    uint first = gl_WorkGroupID.x * height;
    do {
        const bool inside = first + gl_LocalInvocationID.y < push.rows;
        const uint row = min(first + gl_LocalInvocationID.y, push.rows - 1);
        const uint label = load(LABELS, 0u, row * push.label_stride);

        float maximum = uintBitsToFloat(0xff800000u);
        uint best = none;
        // All lanes of a row walk the same number of steps (see loss_finish.comp).
        uint start = 0;
        do {
            const uint c = start + gl_LocalInvocationID.x;
            const float x = logit(row, min(c, push.classes - 1));
            if (c < push.classes && x > maximum) {
                maximum = x;
                best = c;
            }
            start += lanes;
        } while (start < push.classes);
        reduce_maximum(maximum, best);

        float sum = 0.0;
        start = 0;
        do {
            const uint c = start + gl_LocalInvocationID.x;
            const float e = exponential(logit(row, min(c, push.classes - 1)) - maximum);
            sum += c < push.classes ? e : 0.0;
            start += lanes;
        } while (start < push.classes);
        sum = reduce_sum(sum);

        const float at_label = logit(row, min(label, push.classes - 1)) - maximum;
        if (inside && label < push.classes) {
            losses += natural_log(sum) - at_label;
            correct += label == (best == none ? 0 : best) ? 1 : 0;
        }
        if (has_gradient && inside) write_gradient(row, label, maximum, factor, sum);
        first += gl_NumWorkGroups.x * height;
    } while (first < push.rows);

    barrier();
    values[me()] = losses;
    indices[me()] = correct;
    barrier();
    uint step = height / 2;
    while (step > 0) {
        if (gl_LocalInvocationID.y < step) {
            values[me()] += values[me() + step * lanes];
            indices[me()] += indices[me() + step * lanes];
        }
        barrier();
        step /= 2;
    }
    if (me() == 0) {
        store(PARTIALS, 0u, 2 * gl_WorkGroupID.x, floatBitsToUint(values[0]));
        store(PARTIALS, 0u, 2 * gl_WorkGroupID.x + 1, indices[0]);
    }
}
