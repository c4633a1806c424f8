// Timing one case.
//
// Device and yardstick take turns in short batches within one run, so that a busy neighbour or a changing
// clock meets both; the ratio is the median of the turns' ratios. google-benchmark was looked at and is not
// used: it runs all iterations of one benchmark before the next (its random interleaving shuffles whole
// repetitions of the whole suite), and keeps the mean of a repetition rather than its samples, so neither the
// pairing nor medians over dispatches can be had from it.
#pragma once

#include "blas.hpp"
#include "cases.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace danaus::bench {

/// What one sample is.
enum class TimingMode : std::uint32_t {
    automatic,  ///< timestamp where device and operation have timestamps, else dispatch
    submit,     ///< host time of one operation: recorded, submitted and waited for
    dispatch,   ///< host time of a batch of them submitted at once, per operation
    timestamp,  ///< device time of the operation's dispatches, summed; buffer copies have none: dispatch
};
[[nodiscard]] const char* to_string(TimingMode mode);

struct MeasureOptions {
    TimingMode timing = TimingMode::automatic;
    double min_time = 0.3;      ///< seconds of device time per case
    unsigned repetitions = 15;  ///< turns, at least
};

struct Statistics {
    double median = 0.0, minimum = 0.0, maximum = 0.0;  ///< nanoseconds
    std::size_t samples = 0;
};
[[nodiscard]] Statistics statistics(std::vector<double> samples);

struct Measurement {
    TimingMode timing = TimingMode::timestamp;  ///< never automatic
    std::size_t dispatches = 0;                 ///< of one operation; buffer copies do not count
    Statistics device;
    std::optional<Statistics> yardstick;
    std::optional<double> speedup;  ///< yardstick's time over the device's
    std::optional<Statistics> rival;
    std::optional<double> rival_ratio;  ///< the rival's time over the operation's
};

/// The stream to measure on. Error(unsupported) where timestamps are asked for that the device lacks.
[[nodiscard]] Stream stream_for(const Device& device, TimingMode mode);

/// Times the job on random reals. `blas` may be null.
[[nodiscard]] Measurement measure(Stream& stream, const Job& job, const Blas* blas,
                                  const MeasureOptions& options);

/// Times what is recorded, without a yardstick.
[[nodiscard]] Measurement measure(Stream& stream, const std::function<void(Recorder&)>& record,
                                  const MeasureOptions& options);

}  // namespace danaus::bench
