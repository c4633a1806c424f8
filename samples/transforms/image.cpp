#include "image.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>
#include <png.h>

namespace sample {

Grey scaled(std::vector<float> values, float factor) {
    for (float& value : values) value *= factor;
    return values;
}

Grey log_magnitude(const std::vector<float>& values) {
    Grey grey(values.size());
    std::transform(values.begin(), values.end(), grey.begin(),
                   [](float value) { return std::log1p(std::abs(value)); });
    const float largest = *std::max_element(grey.begin(), grey.end());
    return scaled(std::move(grey), largest > 0.0f ? 1.0f / largest : 0.0f);
}

Grey centred_log_magnitude(const std::vector<std::complex<float>>& spectrum, std::size_t n) {
    std::vector<float> magnitudes(spectrum.size());
    for (std::size_t row = 0; row < n; ++row)
        for (std::size_t column = 0; column < n; ++column)
            magnitudes[(row + n / 2) % n * n + (column + n / 2) % n] = std::abs(spectrum[row * n + column]);
    return log_magnitude(magnitudes);
}

Grey real_parts(const std::vector<std::complex<float>>& values) {
    Grey grey(values.size());
    std::transform(values.begin(), values.end(), grey.begin(),
                   [](const std::complex<float>& value) { return value.real(); });
    return grey;
}

Grey signed_around_grey(const std::vector<std::complex<float>>& values) {
    Grey grey = real_parts(values);
    float largest = 0.0f;
    for (const float value : grey) largest = std::max(largest, std::abs(value));
    for (float& value : grey) value = largest > 0.0f ? 0.5f + 0.5f * value / largest : 0.5f;
    return grey;
}

void write_sheet(const std::filesystem::path& file, const std::array<Grey, 6>& pictures, std::size_t n) {
    constexpr std::size_t columns = 3, gap = 4;
    const std::size_t lines = pictures.size() / columns, width = columns * (n + gap) - gap,
                      height = lines * (n + gap) - gap;
    std::vector<png_byte> bytes(width * height, 255);
    for (std::size_t i = 0; i < pictures.size(); ++i)
        for (std::size_t row = 0; row < n; ++row)
            for (std::size_t column = 0; column < n; ++column)
                bytes[(i / columns * (n + gap) + row) * width + i % columns * (n + gap) + column] =
                    static_cast<png_byte>(
                        std::lround(255.0f * std::clamp(pictures[i][row * n + column], 0.0f, 1.0f)));
    png_image image;
    std::memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    image.width = static_cast<png_uint_32>(width);
    image.height = static_cast<png_uint_32>(height);
    image.format = PNG_FORMAT_GRAY;
    if (!png_image_write_to_file(&image, file.string().c_str(), 0, bytes.data(), 0, nullptr))
        throw std::runtime_error(fmt::format("{}: {}", file.string(), image.message));
}

}  // namespace sample
