// Verifying and timing one case.
//
// Device and yardstick take turns in short batches within one run, so that a busy neighbour or a changing
// clock meets both; the ratio is the median of the turns' ratios. google-benchmark was looked at and is not
// used: it runs all iterations of one benchmark before the next (its random interleaving shuffles whole
// repetitions of the whole suite), and keeps the mean of a repetition rather than its samples, so neither the
// pairing nor medians over dispatches can be had from it.
#pragma once

#include "blas.hpp"
#include "cases.hpp"

#include <optional>
#include <string>
#include <vector>

namespace danaus::bench {

struct MeasureOptions {
    double min_time = 0.3;      ///< seconds of device time per case
    unsigned repetitions = 15;  ///< turns, at least
};

struct Statistics {
    double median = 0.0, minimum = 0.0, maximum = 0.0;  ///< nanoseconds
    std::size_t samples = 0;
};
[[nodiscard]] Statistics statistics(std::vector<double> samples);

struct Measurement {
    /// "timestamp": device timestamps around every dispatch, summed over the operation's dispatches.
    /// "submit": host time of a submitted batch and the wait for it, per operation; for operations without
    /// dispatches (buffer copies) and devices without timestamps.
    std::string timing;
    std::size_t dispatches = 0;  ///< of one operation, as far as timestamps see them
    Statistics device;
    std::optional<Statistics> yardstick;
    std::optional<double> speedup;  ///< yardstick's time over the device's
};

/// A stream with timestamps where the device has them.
[[nodiscard]] Stream profiling_stream(const Device& device);

/// Throws Error(vulkan) naming the first element unless the job's results equal the oracle's, bit for bit.
void verify(Stream& stream, const Job& job);

/// Times the job on random reals. `blas` may be null.
[[nodiscard]] Measurement measure(Stream& stream, const Job& job, const Blas* blas,
                                  const MeasureOptions& options);

/// Times what is recorded, without a yardstick.
[[nodiscard]] Measurement measure(Stream& stream, const std::function<void(Recorder&)>& record,
                                  const MeasureOptions& options);

}  // namespace danaus::bench
