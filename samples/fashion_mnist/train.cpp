#include "train.hpp"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <random>

#include <fmt/format.h>

namespace sample {
namespace {

using namespace danaus;
using Clock = std::chrono::steady_clock;

constexpr std::uint64_t test_batch = 500;
constexpr std::uint64_t report_steps =
    39;  // steps between two points of the loss curve: six to an epoch of 234

double seconds(Clock::duration time) {
    return std::chrono::duration<double>(time).count();
}

double median(std::vector<double> values) {
    if (values.empty()) return 0.0;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

// A batch on its way to the device, and the program that takes it from there. Recorded once, emitted every
// step.
class Pass {
public:
    Pass(Stream& stream, std::uint64_t tokens)
        : tokens_(tokens),
          x_(stream.device(), DataType::f32, {tokens, image_size}),
          labels_(stream.device(), DataType::u32, {tokens}) {}

    template <typename Body>
    void record(const Device& device, Body&& body) {
        ProgramRecorder recorder(device);
        const Tensor x(recorder.slot("x", x_.elements() * 4), DataType::f32, x_.shape());
        const Tensor labels(recorder.slot("labels", labels_.elements() * 4), DataType::u32, labels_.shape());
        body(recorder, x, labels);
        program_ = Program(std::move(recorder));
    }

    void run(Stream& stream, const Images& images, const std::uint32_t* indices) {
        gather(images, indices, tokens_, rows_, batch_labels_);
        upload_into(stream, x_, std::span<const float>(rows_));
        upload_into(stream, labels_, std::span<const std::uint32_t>(batch_labels_));
        program_.emit(stream, {{"x", x_.buffer()}, {"labels", labels_.buffer()}});
    }

private:
    std::uint64_t tokens_;
    Tensor x_, labels_;
    Program program_;
    std::vector<float> rows_;
    std::vector<std::uint32_t> batch_labels_;
};

class Trainer {
public:
    Trainer(const Device& device, const Dataset& data, Structure hidden, const TrainOptions& options)
        : stream_(device),
          data_(data),
          options_(options),
          model_(stream_, hidden, options.seed),
          optimizer_(stream_, model_.parameters(), AdamWOptions{.learning_rate = options.learning_rate}),
          train_metrics_(stream_),
          test_metrics_(stream_),
          train_pass_(stream_, options.batch),
          test_pass_(stream_, test_batch),
          order_(data.train.count()),
          shuffle_(static_cast<std::mt19937::result_type>(options.seed)) {
        train_pass_.record(device, [&](Recorder& recorder, const Tensor& x, const Tensor& labels) {
            const Tensor logits = model_.forward(recorder, x);
            const Tensor gradient = softmax_cross_entropy(recorder, train_metrics_, logits, labels,
                                                          {.loss_scale = {}, .accumulate = true});
            model_.backward(recorder, gradient);
            optimizer_.step(recorder);
        });
        test_pass_.record(device, [&](Recorder& recorder, const Tensor& x, const Tensor& labels) {
            const Tensor logits = model_.forward(recorder, x);
            softmax_cross_entropy_into(recorder, test_metrics_, {}, logits, labels,
                                       {.loss_scale = {}, .accumulate = true});
        });
        std::iota(order_.begin(), order_.end(), 0u);
    }

    [[nodiscard]] std::uint64_t steps_per_epoch() const { return data_.train.count() / options_.batch; }
    [[nodiscard]] const Model& model() const { return model_; }

    // Steps are queued; the stream waits only when several submissions are in flight.
    void step(std::uint64_t index) {
        const std::uint64_t within = index % steps_per_epoch();
        if (within == 0) shuffle();
        if (index % options_.mask_refresh_steps == 0) model_.refresh_masks(stream_);
        const double left = 1.0 - static_cast<double>(index) /
                                      static_cast<double>(std::max<std::uint64_t>(1, options_.steps));
        optimizer_.set_learning_rate(stream_, static_cast<float>(options_.learning_rate * left));
        train_pass_.run(stream_, data_.train, order_.data() + within * options_.batch);
        stream_.flush();
    }

    void finish() { stream_.finish(); }

    // Mean loss since the last call.
    double take_loss() {
        const LossSummary summary = train_metrics_.read(stream_);
        train_metrics_.clear(stream_);
        return summary.counted ? summary.loss_sum / static_cast<double>(summary.counted) : 0.0;
    }

    double test_accuracy() {
        std::vector<std::uint32_t> indices(std::min<std::size_t>(data_.test.count(), options_.test_images));
        std::iota(indices.begin(), indices.end(), 0u);
        test_metrics_.clear(stream_);
        for (std::size_t i = 0; i + test_batch <= indices.size(); i += test_batch)
            test_pass_.run(stream_, data_.test, indices.data() + i);
        const LossSummary summary = test_metrics_.read(stream_);
        return static_cast<double>(summary.correct) / static_cast<double>(summary.counted);
    }

private:
    // Fisher-Yates by hand: std::shuffle's order differs between standard libraries.
    void shuffle() {
        for (std::size_t i = order_.size() - 1; i > 0; --i)
            std::swap(order_[i], order_[shuffle_() % (i + 1)]);
    }

    Stream stream_;
    const Dataset& data_;
    TrainOptions options_;
    Model model_;
    Optimizer optimizer_;
    LossMetrics train_metrics_, test_metrics_;
    Pass train_pass_, test_pass_;
    std::vector<std::uint32_t> order_;
    std::mt19937 shuffle_;
};

}  // namespace

Arm train(const Device& device, const Dataset& data, Structure hidden, const TrainOptions& options) {
    Arm arm;
    arm.name = to_string(hidden);
    Progress progress(arm.name, options.steps);
    progress.update(0, "compiling");
    Trainer trainer(device, data, hidden, options);
    arm.parameters = trainer.model().kept_parameters();
    arm.hidden_parameters = trainer.model().hidden_parameters();
    arm.multiply_adds = trainer.model().multiply_adds();
    arm.weight_bytes = trainer.model().weight_bytes();

    const auto epoch_of = [&](std::uint64_t steps) {
        return static_cast<double>(steps) / static_cast<double>(trainer.steps_per_epoch());
    };
    std::vector<double> step_times;
    Clock::time_point since = Clock::now();
    std::uint64_t counted = 0;
    for (std::uint64_t i = 0; i < options.steps; ++i) {
        trainer.step(i);
        const std::uint64_t done = i + 1;
        const bool last = done == options.steps, epoch_ends = done % trainer.steps_per_epoch() == 0;
        if (done % report_steps != 0 && !last && !epoch_ends) continue;
        const double loss = trainer.take_loss();
        const std::uint64_t steps = done - counted;
        step_times.push_back(seconds(Clock::now() - since) / static_cast<double>(steps));
        arm.loss.push_back({epoch_of(done), loss});
        if (epoch_ends || last) {
            arm.test_accuracy = trainer.test_accuracy();
            arm.accuracy.push_back({epoch_of(done), arm.test_accuracy});
        }
        const std::string tested =
            arm.accuracy.empty() ? std::string() : fmt::format("test {:.2f} %  ", 100.0 * arm.test_accuracy);
        progress.update(done,
                        fmt::format("loss {:.3f}  {}{:.1f} ms/step", loss, tested, 1e3 * step_times.back()));
        counted = done;
        since = Clock::now();
    }
    arm.ms_per_step = 1e3 * median(step_times);
    progress.finish(fmt::format("{} steps, loss {:.3f}, test accuracy {:.2f} %, {:.2f} ms/step",
                                options.steps, arm.loss.empty() ? 0.0 : arm.loss.back().value,
                                100.0 * arm.test_accuracy, arm.ms_per_step));
    return arm;
}

double seconds_per_step(const Device& device, const Dataset& data, const TrainOptions& options) {
    Trainer trainer(device, data, Structure::dense, options);
    trainer.step(1);
    trainer.finish();
    constexpr std::uint64_t steps = 5;
    const Clock::time_point since = Clock::now();
    for (std::uint64_t i = 0; i < steps; ++i) trainer.step(2 + i);
    trainer.finish();
    return seconds(Clock::now() - since) / steps;
}

double multiply_ratio(const Device& device, Structure structure) {
    if (structure == Structure::dense) return 1.0;
    StreamOptions profiled;
    profiled.profile = device.capabilities().timestamp_bits > 0;
    Stream stream(device, profiled);
    const auto x = Tensor(device, DataType::f32, {timed_tokens, timed_features});
    uniform_into(stream, x, -1.0f, 1.0f, 1);
    const auto dense = make_layer(stream, Structure::dense, timed_features, timed_features, 2);
    const auto other = make_layer(stream, structure, timed_features, timed_features, 3);
    // What the layer multiplies with is ready after its first forward; only multiplies are timed.
    const auto time_of = [&](Layer& layer) {
        stream.finish();
        (void)stream.timings();
        const Clock::time_point since = Clock::now();
        layer.multiply(stream, x);
        stream.finish();
        if (!profiled.profile) return seconds(Clock::now() - since);
        double total = 0.0;
        for (const Timing& timing : stream.timings()) total += timing.nanoseconds;
        return total;
    };
    (void)other->forward(stream, x, {});
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
