// What a device can do at best, measured: the roofs that every row is held against.
#pragma once

#include "measure.hpp"

#include <string>

namespace danaus::bench {

struct Rates {
    double copy_bytes_per_ns = 0.0;        ///< of the fastest of our own copy kernels, read + written
    double driver_bytes_per_ns = 0.0;      ///< of the driver's buffer copy, likewise
    double flops_per_ns = 0.0;             ///< of f32 multiply-adds in registers, two each
    double launch_ns = 0.0;                ///< of a dispatch that writes one word
    std::string copy_kernel, peak_kernel;  ///< the constants of the fastest ones

    /// The roof of memory: the faster copy.
    [[nodiscard]] double memory() const;
};

/// Runs the micro-kernels of shaders/bench, each checked for its result first. The fastest of a few sizes
/// stand for the device. Throws Error(vulkan) on a wrong result.
[[nodiscard]] Rates measure_rates(Stream& stream, const MeasureOptions& options);

}  // namespace danaus::bench
