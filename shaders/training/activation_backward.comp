// activation_backward: dz[i] = dy[i] · activation'(aux[i]) for all indices i of a box of three dimensions.
//
//   sizes (n0, n1, n2) and element strides of dz, dy and aux; n2 is the dimension of dz's smallest stride
//   x: lanes along n2      y: n1      z: n0      (all walked with the grid's stride, so any grid is right)
//   pairs = true: an invocation owns elements 2x and 2x + 1 of a row, one word of a 16-bit dz whose rows start at
//   even elements; else each element is stored on its own
//
// dz may be dy itself when an invocation owns whole words: each element is read before its own word is written.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint n0; uint n1; uint n2; uint dz0; uint dz1; uint dz2; uint dy0; uint dy1; uint dy2; uint aux0; uint aux1; uint aux2;
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2
#include "access.glsl"
#include "types.glsl"
#include "epilogue.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint type = 0;
layout(constant_id = 2) const uint activation = 0;
layout(constant_id = 3) const bool pairs = false;

#define DY 0
#define AUX 1
#define DZ 2

float gradient(uint dy, uint aux) {
    const float slope = activation_gradient(activation, load_float(AUX, type, 0u, aux));
    const float value = load_float(DY, type, 0u, dy);
    return value * slope;
}

void main() {
    const uint width = pairs ? 2 : 1;
    const uint step = gl_NumWorkGroups.x * gl_WorkGroupSize.x * width;
    uint z = gl_WorkGroupID.z;
    do {
        uint y = gl_WorkGroupID.y;
        do {
            uint i = gl_GlobalInvocationID.x * width;
            if (i < push.n2) {
                do {
                    const uint dz = z * push.dz0 + y * push.dz1 + i * push.dz2;
                    const uint dy = z * push.dy0 + y * push.dy1 + i * push.dy2;
                    const uint aux = z * push.aux0 + y * push.aux1 + i * push.aux2;
                    if (pairs && i + 1 < push.n2) {
                        const vec2 value = vec2(gradient(dy, aux), gradient(dy + push.dy2, aux + push.aux2));
                        store_float_pair(DZ, type, 0u, dz, value);
                    } else {
                        const float value = gradient(dy, aux);
                        store_float(DZ, type, 0u, dz, value);
                    }
                    i += step;
                } while (i < push.n2);
            }
            y += gl_NumWorkGroups.y;
        } while (y < push.n1);
        z += gl_NumWorkGroups.z;
    } while (z < push.n0);
}
