// The transforms of one image, on the device, beside what FFTW makes of it.
#pragma once

#include "image.hpp"

#include <danaus/danaus.hpp>

#include <string>

namespace sample {

struct Row {
    std::string name;
    std::string factors;  // the patterns, in the order in which they are applied
    std::uint64_t weight_bytes = 0;
    double dense_bytes = 0.0;  // of the same matrix without structure
    double error = 0.0;        // the largest, of all outputs
    double largest = 0.0;      // output
    double seconds = 0.0;      // on the device, a median

    // What is no number passes no bound.
    [[nodiscard]] double relative() const { return largest > 0.0 ? error / largest : error; }
};

struct Measurement {
    std::vector<Row> rows;
    // The image, its spectrum, its cosine spectrum; what the lowest sixteenth of that keeps, blurred, edges.
    std::array<Grey, 6> pictures;
};

/// `image` is n × n, 0 to 1, n at least 4.
Measurement measure(const danaus::Device& device, const std::vector<float>& image, std::size_t n);

}  // namespace sample
