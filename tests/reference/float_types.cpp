#include "reference/float_types.hpp"

#include "reference/matrix.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace danaus::reference {
namespace {

/// value / 2^shift rounded to nearest, ties to even, on integers; 1 <= shift <= 31.
std::uint32_t shift_right_to_nearest_even(std::uint32_t value, unsigned shift) {
    const std::uint32_t quotient = value >> shift;
    const std::uint32_t remainder = value & ((1u << shift) - 1u);
    const std::uint32_t half = 1u << (shift - 1u);
    const bool up = remainder > half || (remainder == half && (quotient & 1u) != 0u);
    return quotient + (up ? 1u : 0u);
}

/// Significand bits (with the hidden one) and smallest normal exponent of a type.
struct Format {
    int precision;
    int min_exponent;
};

Format format_of(FloatType type) {
    switch (type) {
        case FloatType::f16:
            return {11, -14};
        case FloatType::bf16:
            return {8, -126};
        case FloatType::f32:
            break;
    }
    return {24, -126};
}

}  // namespace

std::size_t size_of(FloatType type) {
    return type == FloatType::f32 ? 4 : 2;
}

double unit_roundoff(FloatType type) {
    return std::ldexp(1.0, -format_of(type).precision);
}

double largest_finite(FloatType type) {
    const Format format = format_of(type);
    return std::ldexp(2.0 - std::ldexp(1.0, 1 - format.precision), 1 - format.min_exponent);
}

double smallest_normal(FloatType type) {
    return std::ldexp(1.0, format_of(type).min_exponent);
}

double smallest_subnormal(FloatType type) {
    const Format format = format_of(type);
    return std::ldexp(1.0, format.min_exponent - format.precision + 1);
}

std::uint16_t f16_from_f32(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const std::uint32_t sign = (bits >> 16) & 0x8000u;
    const std::uint32_t exponent = (bits >> 23) & 0xffu;
    const std::uint32_t fraction = bits & 0x7fffffu;
    std::uint32_t magnitude = 0;
    if (exponent == 0xffu) {
        magnitude = fraction == 0u ? 0x7c00u : 0x7e00u | (fraction >> 13);
    } else if (exponent > 112u) {
        // Normal in f16 (bias 127 becomes 15). A carry out of the fraction raises the exponent, as it should;
        // past the largest exponent the result saturates to infinity.
        const std::uint32_t rebased = ((exponent - 112u) << 23) | fraction;
        magnitude = std::min(shift_right_to_nearest_even(rebased, 13), 0x7c00u);
    } else if (exponent >= 102u) {
        // Subnormal in f16, in units of 2^-24: significand * 2^(exponent - 150) = significand >> (126 -
        // exponent).
        magnitude = shift_right_to_nearest_even(fraction | 0x800000u, 126u - exponent);
    }
    return static_cast<std::uint16_t>(sign | magnitude);
}

float f32_from_f16(std::uint16_t bits) {
    const std::uint32_t sign = (bits & 0x8000u) << 16;
    const std::uint32_t exponent = (bits >> 10) & 0x1fu;
    const std::uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0x1fu) {
        const std::uint32_t quiet = fraction == 0u ? 0u : 0x400000u;
        return std::bit_cast<float>(sign | 0x7f800000u | quiet | (fraction << 13));
    }
    if (exponent == 0u) {
        const float magnitude = std::ldexp(static_cast<float>(fraction), -24);
        return sign != 0u ? -magnitude : magnitude;
    }
    return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
}

std::uint16_t bf16_from_f32(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
    const std::uint32_t magnitude = shift_right_to_nearest_even(bits & 0x7fffffffu, 16);
    return static_cast<std::uint16_t>(((bits >> 16) & 0x8000u) | magnitude);
}

float f32_from_bf16(std::uint16_t bits) {
    const std::uint32_t quiet = (bits & 0x7fffu) > 0x7f80u ? 0x400000u : 0u;
    return std::bit_cast<float>((static_cast<std::uint32_t>(bits) << 16) | quiet);
}

double round_to(FloatType type, double value) {
    // By arithmetic, not by bit patterns: this checks the conversions above independently.
    if (!std::isfinite(value) || value == 0.0) return value;
    const Format format = format_of(type);
    const int exponent = std::max(std::ilogb(value), format.min_exponent);
    const double unit = std::ldexp(1.0, exponent - format.precision + 1);
    const double quotient = value / unit;
    double rounded = std::floor(quotient);
    const double excess = quotient - rounded;
    if (excess > 0.5 || (excess == 0.5 && std::fmod(rounded, 2.0) != 0.0)) rounded += 1.0;
    const double result = rounded * unit;
    if (std::abs(result) > largest_finite(type)) return std::copysign(HUGE_VAL, value);
    return std::copysign(result, value);
}

std::vector<float> round_to(FloatType type, std::span<const float> values) {
    std::vector<float> result;
    result.reserve(values.size());
    for (const float value : values) result.push_back(static_cast<float>(round_to(type, double{value})));
    return result;
}

std::vector<double> round_to(FloatType type, std::span<const double> values) {
    std::vector<double> result;
    result.reserve(values.size());
    for (const double value : values) result.push_back(round_to(type, value));
    return result;
}

std::vector<std::byte> encode(FloatType type, std::span<const float> values) {
    const std::size_t width = size_of(type);
    std::vector<std::byte> bytes;
    bytes.reserve(values.size() * width);
    for (const float value : values) {
        std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
        if (type == FloatType::f16) bits = f16_from_f32(value);
        if (type == FloatType::bf16) bits = bf16_from_f32(value);
        for (std::size_t i = 0; i < width; ++i)
            bytes.push_back(static_cast<std::byte>((bits >> (8 * i)) & 0xffu));
    }
    return bytes;
}

std::vector<float> decode(FloatType type, std::span<const std::byte> bytes) {
    const std::size_t width = size_of(type);
    require(bytes.size() % width == 0, "decode: the byte count must be a multiple of the element size");
    std::vector<float> values;
    values.reserve(bytes.size() / width);
    for (std::size_t first = 0; first < bytes.size(); first += width) {
        std::uint32_t bits = 0;
        for (std::size_t i = 0; i < width; ++i)
            bits |= std::to_integer<std::uint32_t>(bytes[first + i]) << (8 * i);
        if (type == FloatType::f16) {
            values.push_back(f32_from_f16(static_cast<std::uint16_t>(bits)));
        } else if (type == FloatType::bf16) {
            values.push_back(f32_from_bf16(static_cast<std::uint16_t>(bits)));
        } else {
            values.push_back(std::bit_cast<float>(bits));
        }
    }
    return values;
}

}  // namespace danaus::reference
