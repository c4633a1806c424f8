#include "timing.hpp"

#include <algorithm>
#include <chrono>

namespace sample {

TimedStream::TimedStream(const danaus::Device& device)
    : timestamps(device.capabilities().timestamp_bits > 0), stream(device, {.profile = timestamps}) {}

double TimedStream::seconds(const std::function<void()>& record) {
    using Clock = std::chrono::steady_clock;
    stream.finish();
    if (timestamps) (void)stream.timings();
    const Clock::time_point since = Clock::now();
    record();
    stream.finish();
    if (!timestamps) return std::chrono::duration<double>(Clock::now() - since).count();
    double nanoseconds = 0.0;
    for (const danaus::Timing& timing : stream.timings()) nanoseconds += timing.nanoseconds;
    return 1e-9 * nanoseconds;
}

double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

}  // namespace sample
