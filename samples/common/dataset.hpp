// The Fashion-MNIST images and labels, from the gzipped IDX files that Debian's dataset-fashion-mnist
// installs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace sample {

inline constexpr std::size_t image_size = 28 * 28;
inline constexpr std::size_t class_count = 10;

struct Images {
    std::vector<std::uint8_t> pixels;  // count × 784, row-major
    std::vector<std::uint8_t> labels;  // count, below 10
    [[nodiscard]] std::size_t count() const { return labels.size(); }
};

struct Dataset {
    Images train, test;
};

/// Reads the four files of `folder`. Throws std::runtime_error with one line naming the file and what is
/// wrong with it: missing, cut, not gzip, not IDX, another size than expected, a label above 9.
Dataset load_dataset(const std::filesystem::path& folder);
/// The 10,000 test images alone, from two of the files.
Images load_test_images(const std::filesystem::path& folder);

/// The brightness of a pixel is p/255, shifted and scaled by the training set's mean and deviation (0.2860,
/// 0.3530, as published with the data set).
inline constexpr float pixel_mean = 0.2860f, pixel_deviation = 0.3530f;

/// Writes images `indices` as rows of 784 floats, and their labels.
void gather(const Images& images, const std::uint32_t* indices, std::size_t count, std::vector<float>& rows,
            std::vector<std::uint32_t>& labels);

}  // namespace sample
