// Training one arm, choosing a decay factor, and timing each structure's multiply against dense.
#pragma once

#include "trainer.hpp"

namespace sample {

/// Trains a classifier and tests it at the end of every epoch. `decay` is λ, for arms that decay.
Result train(const danaus::Device& device, const Dataset& data, const Arm& arm, const TrainOptions& options,
             float decay);

/// Chooses λ for `arm`: short runs with one λ after another, and one whose masks are only observed, all from
/// the same weights and over the same batches. Empty when `options.steps` are too few for a single refresh.
std::optional<WarmUp> warm_up(const danaus::Device& device, const Dataset& data, const Arm& arm,
                              const TrainOptions& options);

/// Seconds of one dense training step, kernels already compiled.
double seconds_per_step(const danaus::Device& device, const Dataset& data, const TrainOptions& options);

/// The shape at which structures are timed.
inline constexpr std::uint64_t timed_tokens = 1024, timed_features = 1024;

/// Time of a dense forward multiply ÷ time of the same layer with `structure`, medians of interleaved runs.
double multiply_ratio(const danaus::Device& device, Structure structure);

}  // namespace sample
