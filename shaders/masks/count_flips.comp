// count += the bits in which two masks (blocks, rows, words) of any strides differ.
//
//   A words ─┐ xor, count the bits, sum over the workgroup
//   B words ─┘ one atomic addition each to COUNT, one word. Whole numbers: the order shows nowhere.
//
// Grid: (words of a row, rows, blocks), walked with the grid's stride but for blocks. The host sets COUNT to zero first and
// joins rows that follow each other. Called for count_flips.
#version 460
#extension GL_GOOGLE_include_directive : require

#define PUSH_FIELDS \
    uint rows, words; \
    uint a_block, a_row, a_word; \
    uint b_block, b_row, b_word;
#define A 0
#define B 1
#define COUNT 2
#define SLOT_0 readonly
#define SLOT_1 readonly
#define SLOT_2
#include "access.glsl"

layout(local_size_x_id = 0) in;

shared uint total;

void main() {
    if (gl_LocalInvocationID.x == 0) total = 0;
    barrier();
    const uint block = gl_WorkGroupID.z;
    uint flips = 0, y = gl_WorkGroupID.y;
    do {
        const uint a_row = block * push.a_block + y * push.a_row, b_row = block * push.b_block + y * push.b_row;
        uint x = gl_WorkGroupID.x * gl_WorkGroupSize.x;
        do {
            const uint word = min(x + gl_LocalInvocationID.x, push.words - 1);
            const uint differs = load(A, 0u, a_row + word * push.a_word) ^ load(B, 0u, b_row + word * push.b_word);
            flips += x + gl_LocalInvocationID.x < push.words ? bitCount(differs) : 0u;
            x += gl_NumWorkGroups.x * gl_WorkGroupSize.x;
        } while (x < push.words);
        y += gl_NumWorkGroups.y;
    } while (y < push.rows);
    atomicAdd(total, flips);
    barrier();
    if (gl_LocalInvocationID.x == 0 && total != 0) atomic_add(COUNT, 0u, total);
}
