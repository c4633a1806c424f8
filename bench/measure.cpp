#include "measure.hpp"

#include "host.hpp"
#include "noise.hpp"
#include "packets.hpp"

#include <algorithm>
#include <chrono>

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
    DeviceSide(Stream& stream, const std::function<void(Recorder&)>& record, TimingMode mode)
        : stream_(stream), mode_(mode) {
        ProgramRecorder recorder(stream.device());
        PacketList list(recorder);
        record(list);
        dispatches_ = list.packets.size();
        program_ = Program(std::move(recorder));
        once();  // may still compile
        const std::size_t timestamps = once();
        if (mode == TimingMode::automatic) mode_ = timestamps ? TimingMode::timestamp : TimingMode::dispatch;
        if (mode == TimingMode::timestamp && dispatches_ == 0) mode_ = TimingMode::dispatch;
    }

    [[nodiscard]] std::size_t dispatches() const { return dispatches_; }
    [[nodiscard]] TimingMode mode() const { return mode_; }

    /// Samples of `count` operations after one that is not counted: caches and clocks are then the
    /// operation's own.
    [[nodiscard]] std::vector<double> run(std::size_t count) {
        if (mode_ == TimingMode::timestamp) return by_timestamps(count);
        once();
        if (mode_ == TimingMode::dispatch) return {host_time(count) / static_cast<double>(count)};
        std::vector<double> samples(count);
        for (double& sample : samples) sample = host_time(1);
        return samples;
    }

private:
    [[nodiscard]] double host_time(std::size_t count) {
        const Clock::time_point start = Clock::now();
        for (std::size_t i = 0; i < count; ++i) program_.emit(stream_);
        stream_.finish();
        const double time = nanoseconds_since(start);
        static_cast<void>(stream_.timings());
        return time;
    }

    [[nodiscard]] std::vector<double> by_timestamps(std::size_t count) {
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

    std::size_t once() {
        program_.emit(stream_);
        stream_.finish();
        return stream_.timings().size();
    }

    Stream& stream_;
    TimingMode mode_;
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

Measurement take_turns(DeviceSide& device, const std::function<void()>& yardstick, DeviceSide* rival,
                       const MeasureOptions& options) {
    constexpr double most_operations = 200.0;                            // a turn
    const double wanted = 1e9 * options.min_time / options.repetitions;  // nanoseconds a turn
    const auto batch_of = [&](double once) {
        return static_cast<std::size_t>(std::clamp(wanted / std::max(once, 1.0), 1.0, most_operations));
    };
    const std::size_t batch = batch_of(median(device.run(1)));
    const std::size_t yardstick_batch = yardstick ? batch_of(median(run_yardstick(yardstick, 1))) : 0;

    std::vector<double> samples, yardstick_samples, ratios, rival_samples, rival_ratios;
    double total = 0.0;
    const Clock::time_point start = Clock::now();
    for (unsigned turn = 0; turn < options.repetitions || total < 1e9 * options.min_time; ++turn) {
        // A slow device, or a busy machine, does not get all of its turns.
        if (turn >= 3 && nanoseconds_since(start) > 1e9 * (1.0 + 20.0 * options.min_time)) break;
        if (yardstick) settle();
        // Whoever comes second finds caches and clocks as the other left them: they take turns at that, too.
        std::vector<double> own, other;
        if (rival && turn % 2) other = rival->run(batch);
        own = device.run(batch);
        if (rival && turn % 2 == 0) other = rival->run(batch);
        samples.insert(samples.end(), own.begin(), own.end());
        total += median(own) * static_cast<double>(batch);
        if (rival) {
            rival_samples.insert(rival_samples.end(), other.begin(), other.end());
            rival_ratios.push_back(median(other) / median(own));
        }
        if (!yardstick) continue;
        const std::vector<double> blas = run_yardstick(yardstick, yardstick_batch);
        yardstick_samples.insert(yardstick_samples.end(), blas.begin(), blas.end());
        ratios.push_back(median(blas) / median(own));
    }
    Measurement result;
    result.timing = device.mode();
    result.dispatches = device.dispatches();
    result.device = statistics(std::move(samples));
    if (yardstick) {
        result.yardstick = statistics(std::move(yardstick_samples));
        result.speedup = median(std::move(ratios));
    }
    if (rival) {
        result.rival = statistics(std::move(rival_samples));
        result.rival_ratio = median(std::move(rival_ratios));
    }
    return result;
}

}  // namespace

Statistics statistics(std::vector<double> samples) {
    const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
    Statistics result{0.0, *low, *high, samples.size()};
    result.median = median(std::move(samples));
    return result;
}

const char* to_string(TimingMode mode) {
    constexpr const char* names[] = {"automatic", "submit", "dispatch", "timestamp"};
    return names[static_cast<std::size_t>(mode)];
}

Stream stream_for(const Device& device, TimingMode mode) {
    StreamOptions options;
    options.profile = mode == TimingMode::timestamp ||
                      (mode == TimingMode::automatic && device.capabilities().timestamp_bits > 0);
    return Stream(device, options);
}

Measurement measure(Stream& stream, const Job& job, const Blas* blas, const MeasureOptions& options) {
    const bool compared = blas && job.yardstick.run && (!job.yardstick.needs_lapack || blas->has_lapack());
    // Zeros and small integers would flatter a GPU, whose clock follows its power.
    Noise noise(2, std::uniform_real_distribution<float>(-1.0f, 1.0f));
    std::vector<std::vector<float>> values(job.operands.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        const Operand& operand = job.operands[i];
        if (operand.role != Role::input && !compared) continue;
        values[i].resize(operand.elements);
        noise.fill(values[i]);
        if (operand.role == Role::input) upload_into(stream, operand.tensor, values[i]);
    }
    if (job.prepare) job.prepare(stream);
    stream.finish();
    static_cast<void>(stream.timings());
    DeviceSide device(stream, job.record, options.timing);
    std::function<void()> yardstick;
    if (compared) yardstick = [&] { job.yardstick.run(*blas, values); };
    std::optional<DeviceSide> rival;
    if (job.rival.record) rival.emplace(stream, job.rival.record, options.timing);
    return take_turns(device, yardstick, rival ? &*rival : nullptr, options);
}

Measurement measure(Stream& stream, const std::function<void(Recorder&)>& record,
                    const MeasureOptions& options) {
    stream.finish();
    static_cast<void>(stream.timings());
    DeviceSide device(stream, record, options.timing);
    return take_turns(device, {}, nullptr, options);
}

}  // namespace danaus::bench
