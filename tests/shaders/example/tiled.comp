// An example with tiles of subgroups, shared memory and more operands than every device binds.
#version 460
#ifdef ACCESS_ADDRESS
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#endif

layout(push_constant) uniform Push {
    uvec2 ref[SLOTS];
} push;

#if defined(ACCESS_ADDRESS)
layout(buffer_reference, buffer_reference_align = 4, std430) buffer Words { uint words[]; };
#define WORD(slot, i) Words(push.ref[slot]).words[i]
#elif defined(JOINED)
layout(set = 0, binding = 0, std430) buffer Joined { uint words[]; } joined;
#define WORD(slot, i) joined.words[push.ref[slot].x + i]
#else
layout(set = 0, binding = 0, std430) readonly buffer Slot0 { uint words[]; } slot_0;
layout(set = 0, binding = 1, std430) readonly buffer Slot1 { uint words[]; } slot_1;
layout(set = 0, binding = 2, std430) readonly buffer Slot2 { uint words[]; } slot_2;
layout(set = 0, binding = 3, std430) readonly buffer Slot3 { uint words[]; } slot_3;
layout(set = 0, binding = 4, std430) writeonly buffer Slot4 { uint words[]; } slot_4;
#define WORD(slot, i) slot_##slot.words[push.ref[slot].x + i]
#endif

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint TILE_ROWS = 64;
layout(constant_id = 2) const uint TILE_COLUMNS = 64;
layout(constant_id = 3) const uint SUBGROUP_ROWS = 32;
layout(constant_id = 4) const uint SUBGROUP_COLUMNS = 32;

const uint pitch = TILE_COLUMNS + 4;
shared vec2 tile[TILE_ROWS * pitch / 2];
struct Mark { uint lane; float value; };
shared Mark marks[gl_WorkGroupSize.x][2];

void main() {
    const uint i = gl_LocalInvocationID.x;
    tile[i % (TILE_ROWS * pitch / 2)] = vec2(uintBitsToFloat(WORD(0, i)), uintBitsToFloat(WORD(1, i)));
    marks[i][i % SUBGROUP_ROWS % 2] = Mark(i % SUBGROUP_COLUMNS, uintBitsToFloat(WORD(2, i) + WORD(3, i)));
    barrier();
    WORD(4, i) = floatBitsToUint(tile[0].x + marks[0][1].value) + marks[i][0].lane;
}
