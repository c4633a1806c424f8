#include "train.hpp"

#include "timing.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

#include <fmt/format.h>

namespace sample {
namespace {

using namespace danaus;
using Clock = std::chrono::steady_clock;

// Steps between two points of the loss curve: six to an epoch of 234.
constexpr std::uint64_t report_steps = 39;

// λ that the warm-up tries. Gradients of a mean loss are small, and λ·w is compared with them.
constexpr std::array decays{1e-4f, 2e-4f, 4e-4f, 8e-4f, 1.6e-3f, 3.2e-3f};
// A full run warms up for five refreshes; short ones do with a sixth of their steps, at least one refresh.
constexpr std::uint64_t most_warm_up_refreshes = 5;

double seconds(Clock::duration time) {
    return std::chrono::duration<double>(time).count();
}

double mean(const std::vector<Point>& curve) {
    double sum = 0.0;
    for (const Point& point : curve) sum += point.value;
    return curve.empty() ? 0.0 : sum / static_cast<double>(curve.size());
}

}  // namespace

Result train(const Device& device, const Dataset& data, const Arm& arm, const TrainOptions& options,
             float decay) {
    Result result;
    result.name = arm.name;
    const auto further =
        static_cast<std::uint64_t>(std::ceil(arm.fine_tuning * static_cast<double>(options.steps)));
    Progress progress(result.name, options.steps + further);
    progress.update(0, "compiling");
    Trainer trainer(device, data, arm, options, decay);
    std::vector<double> step_times;
    const auto test = [&] {
        result.test_accuracy = trainer.test_accuracy();
        result.accuracy.push_back({trainer.epoch(), result.test_accuracy});
    };
    const auto train_until = [&](std::uint64_t end) {
        Clock::time_point since = Clock::now();
        std::uint64_t counted = trainer.steps_done();
        while (trainer.steps_done() < end) {
            trainer.step();
            const std::uint64_t done = trainer.steps_done();
            const bool last = done == end, epoch_ends = done % trainer.steps_per_epoch() == 0;
            if (done % report_steps != 0 && !last && !epoch_ends) continue;
            const double loss = trainer.take_loss();
            step_times.push_back(seconds(Clock::now() - since) / static_cast<double>(done - counted));
            result.loss.push_back({trainer.epoch(), loss});
            if (epoch_ends || last) test();
            const std::string tested = result.accuracy.empty()
                                           ? std::string()
                                           : fmt::format("test {:.2f} %  ", 100.0 * result.test_accuracy);
            progress.update(
                done, fmt::format("loss {:.3f}  {}{:.1f} ms/step", loss, tested, 1e3 * step_times.back()));
            counted = done;
            since = Clock::now();
        }
    };
    train_until(options.steps);
    if (further > 0) {
        result.projection = {further, result.test_accuracy, 0.0};
        trainer.project(further);
        test();
        result.projection->after = result.test_accuracy;
        train_until(options.steps + further);
    }
    if (arm.decay) result.decay = decay;
    result.dense_from = trainer.dense_from();
    result.flips = trainer.flips();
    result.size = trainer.model().size();
    result.hidden_parameters = trainer.model().hidden_parameters();
    result.ms_per_step = 1e3 * median(step_times);
    progress.finish(fmt::format("{} steps, loss {:.3f}, test accuracy {:.2f} %, {:.2f} ms/step",
                                trainer.steps_done(), result.loss.empty() ? 0.0 : result.loss.back().value,
                                100.0 * result.test_accuracy, result.ms_per_step));
    return result;
}

std::optional<WarmUp> warm_up(const Device& device, const Dataset& data, const Arm& arm,
                              const TrainOptions& options) {
    const std::uint64_t every = options.mask_refresh_steps;
    if (options.steps < every) return std::nullopt;
    WarmUp result;
    result.steps = every * std::clamp<std::uint64_t>(options.steps / (6 * every), 1, most_warm_up_refreshes);
    Progress progress("warm-up", result.steps * (1 + decays.size()));
    std::uint64_t done = 0;
    const auto flip_rate = [&](double dense_fraction, float decay) {
        Arm trial = arm;
        trial.dense_fraction = dense_fraction;
        Trainer trainer(device, data, trial, options, decay);
        while (trainer.steps_done() < result.steps) {
            trainer.step();
            progress.update(++done, dense_fraction == 1.0 ? "dense" : fmt::format("λ = {:g}", decay));
        }
        return mean(trainer.flips());
    };
    result.dense_flip_rate = flip_rate(1.0, 0.0f);
    for (const float decay : decays) result.trials.push_back({decay, flip_rate(0.0, decay)});
    const auto chosen = choose_decay(result.trials, result.dense_flip_rate, least_ratio, most_ratio);
    result.settled = chosen.has_value();
    const auto distance = [&](const DecayTrial& trial) {
        return chosen ? std::abs(trial.decay - *chosen)
                      : std::abs(result.ratio(trial) - (least_ratio + most_ratio) / 2);
    };
    result.chosen = *std::min_element(
        result.trials.begin(), result.trials.end(),
        [&](const DecayTrial& a, const DecayTrial& b) { return distance(a) < distance(b); });
    progress.finish(describe(result));
    return result;
}

double seconds_per_step(const Device& device, const Dataset& data, const TrainOptions& options) {
    Trainer trainer(device, data, find_arm("dense"), options);
    trainer.step();
    trainer.finish();
    constexpr std::uint64_t steps = 5;
    const Clock::time_point since = Clock::now();
    for (std::uint64_t i = 0; i < steps; ++i) trainer.step();
    trainer.finish();
    return seconds(Clock::now() - since) / steps;
}

double multiply_ratio(const Device& device, Structure structure) {
    if (structure == Structure::dense) return 1.0;
    TimedStream timed(device);
    Stream& stream = timed.stream;
    const auto x = Tensor(device, DataType::f32, {timed_tokens, timed_features});
    uniform_into(stream, x, -1.0f, 1.0f, 1);
    const auto dense = make_layer(stream, {}, timed_features, timed_features, 2);
    const auto other = make_layer(stream, {.structure = structure}, timed_features, timed_features, 3);
    const auto time_of = [&](const Linear& layer) {
        return timed.seconds([&] { static_cast<void>(layer.forward(stream, x)); });
    };
    std::vector<double> dense_times, other_times;
    for (int i = 0; i < 10; ++i) {
        const double a = time_of(*dense), b = time_of(*other);
        if (i == 0) continue;  // compiles
        dense_times.push_back(a);
        other_times.push_back(b);
    }
    return median(dense_times) / median(other_times);
}

}  // namespace sample
