// Training one arm, and timing each structure's multiply against dense.
#pragma once

#include "dataset.hpp"
#include "model.hpp"
#include "report.hpp"

#include <cstdint>

namespace sample {

struct TrainOptions {
    std::uint64_t batch = 256;
    std::uint64_t steps = 0;
    std::uint64_t seed = 1;
    float learning_rate = 2e-3f;  // AdamW's, falling linearly to 0
    std::uint64_t mask_refresh_steps = 40;
    std::uint64_t test_images = 10000;  // a slow device tests on the first of them only
};

/// Trains a classifier with `hidden` layers and tests it at the end of every epoch.
Arm train(const danaus::Device& device, const Dataset& data, Structure hidden, const TrainOptions& options);

/// Seconds of one dense training step, kernels already compiled.
double seconds_per_step(const danaus::Device& device, const Dataset& data, const TrainOptions& options);

/// The shape at which structures are timed.
inline constexpr std::uint64_t timed_tokens = 1024, timed_features = 1024;

/// Time of a dense forward multiply ÷ time of the same layer with `structure`, medians of interleaved runs.
double multiply_ratio(const danaus::Device& device, Structure structure);

}  // namespace sample
