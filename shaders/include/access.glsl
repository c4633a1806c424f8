// Reaching memory: one source, two ways, chosen by the build.
//
//   ACCESS_ADDRESS     push.ref[s] is a 64-bit device address
//   ACCESS_DESCRIPTOR  push.ref[s] = {word offset, words in range} in the buffer bound at set 0, binding s;
//                      with JOINED all operands lie in one buffer, bound at set 0, binding 0
//
// A shader defines before including this file
//   PUSH_FIELDS        the push block behind ref[SLOTS]
//   SLOT_0 … SLOT_7    readonly, writeonly, or nothing for read-write
// and the build defines SLOTS, the number of operand slots, 1 … 8.
//
// Offsets count 32-bit words and stay below 2^31. `uniform_offset` is the same for all invocations of a workgroup,
// `lane_offset` need not be. `slot` is a literal, or a macro that expands to one.
//
//   uint  load(slot, uniform_offset, lane_offset)
//   uvec2 load_pair(slot, uniform_offset, lane_offset)
//   uvec4 load_quad(slot, uniform_offset, lane_offset)
//   void  store(slot, uniform_offset, lane_offset, value)
//   void  store_pair(slot, uniform_offset, lane_offset, value)
//   void  store_quad(slot, uniform_offset, lane_offset, value)
//   void  store_wide(slot, uniform_offset, lane_offset, value)      store_pair for lanes whose pairs are no neighbours
//   uint  compare_exchange(slot, offset, expected, desired)
//   uint  atomic_and(slot, offset, bits), atomic_or(slot, offset, bits), atomic_add(slot, offset, value)
//   uint  start_half(slot)
//
// A pair is two consecutive words; the caller promises that it starts at a multiple of 8 bytes from the operand's
// start, which itself is a multiple of 8 bytes, and that lane_offset is even. A quad is four, with 16 bytes in place of 8
// and lane_offset a multiple of 4.
// Operands of 16-bit elements may start in the middle of a word: bit 1 of the address says so; under descriptors the
// host sets bit 31 of the word offset. start_half is 1 then; load and store drop both bits.

#if defined(ACCESS_ADDRESS)
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#elif !defined(ACCESS_DESCRIPTOR)
#error "the build defines ACCESS_ADDRESS or ACCESS_DESCRIPTOR"
#endif

layout(push_constant) uniform Push {
    uvec2 ref[SLOTS];
    PUSH_FIELDS
} push;

// Read once, at the start of main: lavapipe guards every read of push constants by a branch, and a branch inside a
// loop keeps the compiler from interleaving the loop's loads with its arithmetic (half the speed of a multiply).
uvec2 operand[SLOTS] = push.ref;

#if defined(ACCESS_ADDRESS)

layout(buffer_reference, buffer_reference_align = 4, std430) buffer Words { uint words[]; };
layout(buffer_reference, buffer_reference_align = 8, std430) buffer WordPairs { uvec2 pairs[]; };
layout(buffer_reference, buffer_reference_align = 16, std430) buffer WordQuads { uvec4 quads[]; };
// A pair as one address, 64 bits: lavapipe scatters vectors a component at a time. For lanes whose pairs lie apart; neighbours
// are faster by store_pair. (Of an array without a size glslc wants capabilities of descriptors.)
layout(buffer_reference, buffer_reference_align = 8, std430) buffer Wide { uint unused; };
layout(buffer_reference, buffer_reference_align = 8, std430) buffer WideWords { Wide words[1 << 30]; };

// The address `offset` words behind a reference, without 64-bit integers.
uvec2 address_of(uvec2 ref, uint offset) {
    uint carry;
    const uint low = uaddCarry(ref.x & ~3u, offset << 2, carry);
    return uvec2(low, ref.y + (offset >> 30) + carry);
}

#define WORD_(slot, u, l) Words(address_of(operand[slot], u)).words[l]
#define PAIR_(slot, u, l) WordPairs(address_of(operand[slot], u)).pairs[(l) >> 1]
#define load_pair(slot, uniform_offset, lane_offset) PAIR_(slot, uniform_offset, lane_offset)
#define QUAD_(slot, u, l) WordQuads(address_of(operand[slot], u)).quads[(l) >> 2]
#define load_quad(slot, u, l) QUAD_(slot, u, l)
#define store_quad(slot, u, l, value) QUAD_(slot, u, l) = (value)
#define store_pair(slot, uniform_offset, lane_offset, value) PAIR_(slot, uniform_offset, lane_offset) = (value)
#define store_wide(slot, u, l, value) WideWords(address_of(operand[slot], u)).words[(l) >> 1] = Wide(value)
#define start_half(slot) (operand[slot].x >> 1 & 1u)

#else

#if defined(JOINED)
layout(set = 0, binding = 0, std430) buffer Joined { uint words[]; } joined;
#define BLOCK_(slot) joined
#else
#define DECLARE_(s) layout(set = 0, binding = s, std430) SLOT_##s buffer Slot_##s { uint words[]; } slot_##s;
#include "access_slots.glsl"
#define BLOCK_(slot) PASTE_(slot)
#define PASTE_(slot) slot_##slot
#endif

#define WORD_(slot, u, l) BLOCK_(slot).words[(operand[slot].x & 0x7fffffffu) + (u) + (l)]
#define load_pair(slot, uniform_offset, lane_offset) \
    uvec2(WORD_(slot, uniform_offset, lane_offset), WORD_(slot, uniform_offset, (lane_offset) + 1))
#define load_quad(slot, u, l) \
    uvec4(WORD_(slot, u, l), WORD_(slot, u, (l) + 1), WORD_(slot, u, (l) + 2), WORD_(slot, u, (l) + 3))
#define store_pair(slot, uniform_offset, lane_offset, value) \
    do { \
        const uvec2 pair_ = (value); \
        WORD_(slot, uniform_offset, lane_offset) = pair_.x; \
        WORD_(slot, uniform_offset, (lane_offset) + 1) = pair_.y; \
    } while (false)
#define store_quad(slot, u, l, value) \
    do { \
        const uvec4 quad_ = (value); \
        store_pair(slot, u, l, quad_.xy); \
        store_pair(slot, u, (l) + 2, quad_.zw); \
    } while (false)
#define store_wide(slot, u, l, value) store_pair(slot, u, l, value)
#define start_half(slot) (operand[slot].x >> 31)

#endif

#define load(slot, uniform_offset, lane_offset) WORD_(slot, uniform_offset, lane_offset)
#define store(slot, uniform_offset, lane_offset, value) WORD_(slot, uniform_offset, lane_offset) = (value)
#define compare_exchange(slot, offset, expected, desired) atomicCompSwap(WORD_(slot, 0u, offset), expected, desired)
#define atomic_and(slot, offset, bits) atomicAnd(WORD_(slot, 0u, offset), bits)
#define atomic_or(slot, offset, bits) atomicOr(WORD_(slot, 0u, offset), bits)
#define atomic_add(slot, offset, value) atomicAdd(WORD_(slot, 0u, offset), value)
