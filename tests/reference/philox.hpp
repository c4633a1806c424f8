// Philox 4x32-10, the counter-based generator: the same bits on every device from (seed, offset).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace danaus::reference {

using PhiloxCounter = std::array<std::uint32_t, 4>;
using PhiloxKey = std::array<std::uint32_t, 2>;

/// Ten rounds of c -> (hi(M1 c2) ^ c1 ^ k0, lo(M1 c2), hi(M0 c0) ^ c3 ^ k1, lo(M0 c0)), the key growing by
/// the Weyl constants between rounds; M0 = D2511F53, M1 = CD9E8D57.
PhiloxCounter philox4x32(PhiloxCounter counter, PhiloxKey key);

/// Word i of a stream: word i % 4 of the block with counter {lo, hi of i / 4 + offset, 0, 0} and key {lo, hi
/// of seed}.
std::uint32_t philox_word(std::uint64_t seed, std::uint64_t offset, std::uint64_t i);

/// The first `count` words of the stream.
std::vector<std::uint32_t> philox_words(std::uint64_t seed, std::uint64_t offset, std::size_t count);

/// (bits >> 8) 2^-24, in [0, 1), exact in fp32.
double uniform_from_bits(std::uint32_t bits);

/// Box-Muller: r = sqrt(-2 ln(1 - u0)), {r cos(2 pi u1), r sin(2 pi u1)}, u from uniform_from_bits. 1 - u0 is
/// in (0, 1] and exact in fp32, so the logarithm is finite.
std::array<double, 2> normal_from_bits(std::uint32_t bits0, std::uint32_t bits1);

/// `count` uniforms in [0, 1), one word each.
std::vector<double> philox_uniform(std::uint64_t seed, std::uint64_t offset, std::size_t count);

/// `count` standard normals; words 2j and 2j + 1 give normals 2j and 2j + 1.
std::vector<double> philox_normal(std::uint64_t seed, std::uint64_t offset, std::size_t count);

}  // namespace danaus::reference
