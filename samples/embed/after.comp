// The host's own work after the layer: y[i] = 2 · y[i] + 1, in place.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer Y { float y[]; };
layout(push_constant) uniform Push { uint count; };

void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i < count) y[i] = 2.0 * y[i] + 1.0;
}
