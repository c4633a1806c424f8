// The host's own work before the layer: x[i] = ((i · 37 + 11) mod 17 - 8) / 8. Read again on the CPU, in main.cpp.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) writeonly buffer X { float x[]; };
layout(push_constant) uniform Push { uint count; };

void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i < count) x[i] = (float((i * 37u + 11u) % 17u) - 8.0) / 8.0;
}
