// The test host's own work: data[first + i] += 1 for 0 <= i < count, a read and a write of each element.
#version 450
layout(local_size_x = 64) in;
layout(set = 0, binding = 0, std430) buffer Data { float data[]; };
layout(push_constant) uniform Push { uint first; uint count; };

void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i < count) data[first + i] += 1.0;
}
