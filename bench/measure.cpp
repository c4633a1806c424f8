#include "measure.hpp"

#include "host.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>

#include <fmt/format.h>

namespace danaus::bench {
namespace {

using Clock = std::chrono::steady_clock;

double nanoseconds_since(Clock::time_point start) {
    return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

// Emits the operation again and again and returns nanoseconds per operation.
class DeviceSide {
public:
    DeviceSide(Stream& stream, const std::function<void(Recorder&)>& record) : stream_(stream) {
        ProgramRecorder recorder(stream.device());
        record(recorder);
        program_ = Program(std::move(recorder));
        run_once();  // may still compile
        dispatches_ = run_once().size();
    }

    [[nodiscard]] std::size_t dispatches() const { return dispatches_; }

    /// `count` operations after one that is not counted: caches and clocks are then the operation's own.
    [[nodiscard]] std::vector<double> run(std::size_t count) {
        if (dispatches_ == 0) {
            run_once();
            const Clock::time_point start = Clock::now();
            for (std::size_t i = 0; i < count; ++i) program_.emit(stream_);
            stream_.finish();
            return {nanoseconds_since(start) / static_cast<double>(count)};
        }
        for (std::size_t i = 0; i <= count; ++i) program_.emit(stream_);
        stream_.finish();
        const std::vector<Timing> timings = stream_.timings();
        if (timings.size() != (count + 1) * dispatches_)
            throw Error(ErrorKind::vulkan, fmt::format("{} timestamps for {} operations of {} dispatches",
                                                       timings.size(), count + 1, dispatches_));
        std::vector<double> samples(count);
        for (std::size_t i = dispatches_; i < timings.size(); ++i)
            samples[i / dispatches_ - 1] += timings[i].nanoseconds;
        return samples;
    }

private:
    std::vector<Timing> run_once() {
        program_.emit(stream_);
        stream_.finish();
        return stream_.timings();
    }

    Stream& stream_;
    Program program_;
    std::size_t dispatches_ = 0;
};

std::vector<double> run_yardstick(const std::function<void()>& call, std::size_t count) {
    call();
    std::vector<double> samples(count);
    for (double& sample : samples) {
        const Clock::time_point start = Clock::now();
        call();
        sample = nanoseconds_since(start);
    }
    return samples;
}

double median(std::vector<double> samples) {
    const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
    std::nth_element(samples.begin(), middle, samples.end());
    if (samples.size() % 2) return *middle;
    return (*middle + *std::max_element(samples.begin(), middle)) / 2;
}

Measurement take_turns(DeviceSide& device, const std::function<void()>& yardstick,
                       const MeasureOptions& options) {
    constexpr double most_operations = 200.0;                            // a turn
    const double wanted = 1e9 * options.min_time / options.repetitions;  // nanoseconds a turn
    const auto batch_of = [&](double once) {
        return static_cast<std::size_t>(std::clamp(wanted / std::max(once, 1.0), 1.0, most_operations));
    };
    const std::size_t batch = batch_of(median(device.run(1)));
    const std::size_t yardstick_batch = yardstick ? batch_of(median(run_yardstick(yardstick, 1))) : 0;

    std::vector<double> samples, yardstick_samples, ratios;
    double total = 0.0;
    const Clock::time_point start = Clock::now();
    for (unsigned turn = 0; turn < options.repetitions || total < 1e9 * options.min_time; ++turn) {
        // A slow device, or a busy machine, does not get all of its turns.
        if (turn >= 3 && nanoseconds_since(start) > 1e9 * (1.0 + 20.0 * options.min_time)) break;
        if (yardstick) settle();
        const std::vector<double> own = device.run(batch);
        samples.insert(samples.end(), own.begin(), own.end());
        total += median(own) * static_cast<double>(batch);
        if (!yardstick) continue;
        const std::vector<double> other = run_yardstick(yardstick, yardstick_batch);
        yardstick_samples.insert(yardstick_samples.end(), other.begin(), other.end());
        ratios.push_back(median(other) / median(own));
    }
    Measurement result;
    result.timing = device.dispatches() ? "timestamp" : "submit";
    result.dispatches = device.dispatches();
    result.device = statistics(std::move(samples));
    if (yardstick) {
        result.yardstick = statistics(std::move(yardstick_samples));
        result.speedup = median(std::move(ratios));
    }
    return result;
}

std::vector<float> narrowed(const std::vector<double>& values) {
    return {values.begin(), values.end()};
}

}  // namespace

Statistics statistics(std::vector<double> samples) {
    const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
    Statistics result{0.0, *low, *high, samples.size()};
    result.median = median(std::move(samples));
    return result;
}

Stream profiling_stream(const Device& device) {
    StreamOptions options;
    options.profile = device.capabilities().timestamp_bits > 0;
    return Stream(device, options);
}

void verify(Stream& stream, const Job& job) {
    std::mt19937 engine(1);
    std::uniform_int_distribution<int> draw(-job.magnitude, job.magnitude);
    std::vector<std::vector<double>> values;
    for (const Operand& operand : job.operands) {
        values.emplace_back(operand.elements);
        if (operand.role == Role::input && !operand.derived)
            for (double& value : values.back()) value = draw(engine);
    }
    job.oracle(values);
    for (std::size_t i = 0; i < job.operands.size(); ++i) {
        const Operand& operand = job.operands[i];
        if (operand.role == Role::input) upload_into(stream, operand.tensor, narrowed(values[i]));
        if (operand.role == Role::output)
            fill_into(stream, operand.tensor, std::numeric_limits<double>::quiet_NaN());
    }
    if (job.prepare) job.prepare(stream);
    job.record(stream);
    for (std::size_t i = 0; i < job.operands.size(); ++i) {
        if (job.operands[i].role != Role::output) continue;
        const std::vector<float> actual = download(stream, job.operands[i].tensor);
        for (std::size_t at = 0; at < actual.size(); ++at)
            if (static_cast<double>(actual[at]) != values[i][at])
                throw Error(
                    ErrorKind::vulkan,
                    fmt::format("wrong result: element {} of {} of operand {} is {}, the oracle has {}", at,
                                actual.size(), i, actual[at], values[i][at]));
    }
}

Measurement measure(Stream& stream, const Job& job, const Blas* blas, const MeasureOptions& options) {
    const bool compared = blas && job.yardstick.run;
    // Zeros and small integers would flatter a GPU, whose clock follows its power.
    std::mt19937 engine(2);
    std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
    std::vector<std::vector<float>> values(job.operands.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        const Operand& operand = job.operands[i];
        if (operand.role != Role::input && !compared) continue;
        values[i].resize(operand.elements);
        for (float& value : values[i]) value = draw(engine);
        if (operand.role == Role::input) upload_into(stream, operand.tensor, values[i]);
    }
    if (job.prepare) job.prepare(stream);
    stream.finish();
    static_cast<void>(stream.timings());
    DeviceSide device(stream, job.record);
    std::function<void()> yardstick;
    if (compared) yardstick = [&] { job.yardstick.run(*blas, values); };
    return take_turns(device, yardstick, options);
}

Measurement measure(Stream& stream, const std::function<void(Recorder&)>& record,
                    const MeasureOptions& options) {
    stream.finish();
    static_cast<void>(stream.timings());
    DeviceSide device(stream, record);
    return take_turns(device, {}, options);
}

}  // namespace danaus::bench
