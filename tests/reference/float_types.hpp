// The storage types f32, f16 and bf16: exact conversions, unit roundoffs, packing to bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace danaus::reference {

enum class FloatType { f32, f16, bf16 };

/// Bytes of one element: 4, 2, 2.
std::size_t size_of(FloatType type);

/// Unit roundoff u of round-to-nearest: 2^-24, 2^-11, 2^-8; half the distance from 1 to the next number.
double unit_roundoff(FloatType type);

/// Largest finite value: (2 - 2^-23) 2^127, 65504, (2 - 2^-7) 2^127.
double largest_finite(FloatType type);

/// Smallest positive normal value: 2^-126, 2^-14, 2^-126.
double smallest_normal(FloatType type);

/// Smallest positive subnormal value: 2^-149, 2^-24, 2^-133.
double smallest_subnormal(FloatType type);

// Conversions on bit patterns. Narrowing rounds to nearest, ties to even, through subnormals and to infinity;
// a NaN keeps its sign and its leading payload bits and becomes quiet. Widening is exact.
std::uint16_t f16_from_f32(float value);
float f32_from_f16(std::uint16_t bits);
std::uint16_t bf16_from_f32(float value);
float f32_from_bf16(std::uint16_t bits);

/// The nearest value of the type, ties to even, rounded once from double. (float -> f16 -> double equals this
/// only for values that a float holds: rounding double -> f32 -> f16 rounds twice.)
double round_to(FloatType type, double value);

/// round_to of every element; what a test uploads and gives to the oracle, so that input rounding plays no
/// part.
std::vector<float> round_to(FloatType type, std::span<const float> values);
std::vector<double> round_to(FloatType type, std::span<const double> values);

/// The elements' bytes as a buffer holds them, packed without gaps, little endian.
std::vector<std::byte> encode(FloatType type, std::span<const float> values);

/// The inverse of encode; the byte count must be a multiple of size_of(type).
std::vector<float> decode(FloatType type, std::span<const std::byte> bytes);

}  // namespace danaus::reference
