// Random numbers on the device: Philox 4x32-10, counter-based, the same stream on every device.
//
// J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
#pragma once

#include <danaus/tensor.hpp>

namespace danaus {

// A stream is named by `seed`. It consists of blocks of four 32-bit words; `offset` is the first block used,
// and an element's words depend on seed, offset and the element's row-major index only: not on layout, type
// or device. A fill of n elements uses philox_blocks(n) blocks; add that to `offset` for the next one. All
// forms take out of f32, f16 or bf16, of any strides and size, and throw Error(invalid_argument) naming the
// argument otherwise.

/// Blocks of the stream that a fill of `elements` elements uses: ⌈elements / 4⌉.
[[nodiscard]] constexpr std::uint64_t philox_blocks(std::uint64_t elements) noexcept {
    return elements / 4 + (elements % 4 != 0 ? 1 : 0);
}

/// out[i] = low + (high - low) · u, u = (word i >> 8) · 2⁻²⁴ in [0, 1), one multiplication and one addition
/// in f32, then rounded to the type of `out` (rounding may give `high` itself). The same bits on every device
/// that rounds f32 to nearest. low <= high, finite, and so is their difference.
DANAUS_EXPORT void uniform_into(Recorder& recorder, const Tensor& out, float low, float high,
                                std::uint64_t seed, std::uint64_t offset = 0);
[[nodiscard]] DANAUS_EXPORT Tensor uniform(Recorder& recorder, DataType type, const Shape& shape, float low,
                                           float high, std::uint64_t seed, std::uint64_t offset = 0);

/// out[i] = mean + stddev · n, n standard normal by Box-Muller from words 2j and 2j + 1 for i = 2j and 2j +
/// 1: √(-2 ln(1 - u₀)) · (cos 2πu₁, sin 2πu₁). |n| is below 5.8, and within 4·10⁻⁶ · max(1, |n|) of its exact
/// value on every device (division and square root are the only operations a device may round in its own
/// way). mean and stddev >= 0 are finite.
DANAUS_EXPORT void normal_into(Recorder& recorder, const Tensor& out, float mean, float stddev,
                               std::uint64_t seed, std::uint64_t offset = 0);
[[nodiscard]] DANAUS_EXPORT Tensor normal(Recorder& recorder, DataType type, const Shape& shape, float mean,
                                          float stddev, std::uint64_t seed, std::uint64_t offset = 0);

/// The initialisation of weights with `fan_in` inputs per output (of a structured matrix: those that are not
/// zero by its structure): uniform in ±gain · √(3 / fan_in), which has variance gain² / fan_in. gain √2 keeps
/// the variance through ReLU layers (K. He et al., "Delving deep into rectifiers", ICCV 2015).
DANAUS_EXPORT void kaiming_uniform_into(Recorder& recorder, const Tensor& out, std::uint64_t fan_in,
                                        std::uint64_t seed, std::uint64_t offset = 0,
                                        float gain = 1.41421356f);
/// Uniform in ±1 / √fan_in: the customary choice for the weights and the bias of a linear layer.
DANAUS_EXPORT void fan_in_uniform_into(Recorder& recorder, const Tensor& out, std::uint64_t fan_in,
                                       std::uint64_t seed, std::uint64_t offset = 0);

}  // namespace danaus
