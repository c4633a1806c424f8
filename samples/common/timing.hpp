// How long the device works: timestamps where it has them, the clock where not.
#pragma once

#include <danaus/danaus.hpp>

#include <functional>
#include <vector>

namespace sample {

struct TimedStream {
    explicit TimedStream(const danaus::Device& device);
    /// Of what `record` puts on the stream; waits for what is there before, and for it.
    double seconds(const std::function<void()>& record);

    bool timestamps;
    danaus::Stream stream;
};

/// The upper one of two; 0 of nothing.
double median(std::vector<double> values);

}  // namespace sample
