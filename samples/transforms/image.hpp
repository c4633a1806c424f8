// Square grey pictures, and a sheet of them as a PNG file.
#pragma once

#include <array>
#include <complex>
#include <cstdint>
#include <filesystem>
#include <vector>

namespace sample {

/// n × n brightnesses, row-major; what lies outside 0 … 1 is drawn as the nearer of both.
using Grey = std::vector<float>;

/// log(1 + |value|) over its largest.
Grey log_magnitude(const std::vector<float>& values);
/// The same with frequency 0 in the middle of the picture instead of its corner (fftshift).
Grey centred_log_magnitude(const std::vector<std::complex<float>>& spectrum, std::size_t n);
Grey scaled(std::vector<float> values, float factor);
Grey real_parts(const std::vector<std::complex<float>>& values);
/// 0 in the middle of the grey scale, the largest magnitude at one of its ends.
Grey signed_around_grey(const std::vector<std::complex<float>>& values);

/// Two lines of three pictures. Throws std::runtime_error naming the file when it cannot be written.
void write_sheet(const std::filesystem::path& file, const std::array<Grey, 6>& pictures, std::size_t n);

}  // namespace sample
