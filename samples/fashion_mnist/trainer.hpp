// One run of training, step by step: batches, recorded programs, masks, learning rate.
#pragma once

#include "arms.hpp"
#include "dataset.hpp"
#include "report.hpp"

#include <cstdint>
#include <random>
#include <vector>

namespace sample {

struct TrainOptions {
    std::uint64_t batch = 256;  // a multiple of 4: gradients are pruned in groups along it
    std::uint64_t steps = 0;
    std::uint64_t seed = 1;
    float learning_rate = 2e-3f;     // AdamW's, falling linearly to 0
    float fine_tuning_rate = 1e-3f;  // the same, behind a projection
    std::uint64_t mask_refresh_steps = 40;
    std::uint64_t test_images = 10000;  // a slow device tests on the first of them only
};

/// A batch on its way to the device, and the program that takes it from there: recorded once, emitted for
/// every batch.
class Pass {
public:
    Pass(danaus::Stream& stream, std::uint64_t tokens)
        : tokens_(tokens),
          x_(stream.device(), danaus::DataType::f32, {tokens, image_size}),
          labels_(stream.device(), danaus::DataType::u32, {tokens}) {}

    template <typename Body>
    void record(Body&& body) {
        using namespace danaus;
        ProgramRecorder recorder(x_.device());
        const Tensor x(recorder.slot("x", x_.elements() * 4), DataType::f32, x_.shape());
        const Tensor labels(recorder.slot("labels", labels_.elements() * 4), DataType::u32, labels_.shape());
        body(recorder, x, labels);
        program_ = Program(std::move(recorder));
    }
    void run(danaus::Stream& stream, const Images& images, const std::uint32_t* indices);

private:
    std::uint64_t tokens_;
    danaus::Tensor x_, labels_;
    danaus::Program program_;
    std::vector<float> rows_;
    std::vector<std::uint32_t> batch_labels_;
};

class Trainer {
public:
    /// `decay` is λ of the pruned weights, for arms that have it.
    Trainer(const danaus::Device& device, const Dataset& data, const Arm& arm, const TrainOptions& options,
            float decay = 0.0f);

    /// Steps are queued; the stream waits only when several submissions are in flight, or to read how many
    /// mask entries flipped.
    void step();
    void finish() { stream_.finish(); }
    /// The dense network becomes the nearest Monarch one, and takes `steps` more from here on.
    void project(std::uint64_t steps);

    [[nodiscard]] std::uint64_t steps_per_epoch() const { return data_.train.count() / options_.batch; }
    [[nodiscard]] std::uint64_t steps_done() const { return done_; }
    [[nodiscard]] double epoch() const { return epoch_of(done_); }
    [[nodiscard]] const Model& model() const { return model_; }
    /// The epoch at which a dense finish begins; 0: there is none.
    [[nodiscard]] double dense_from() const { return turns_dense_ ? epoch_of(schedule_.dense_from()) : 0.0; }
    /// Flip rate of every refresh so far.
    [[nodiscard]] const std::vector<Point>& flips() const { return flips_; }

    /// Mean loss since the last call.
    double take_loss();
    double test_accuracy();

private:
    [[nodiscard]] double epoch_of(std::uint64_t steps) const {
        return static_cast<double>(steps) / static_cast<double>(steps_per_epoch());
    }
    void record();
    void shuffle();

    danaus::Stream stream_;
    const Dataset& data_;
    TrainOptions options_;
    danaus::SparseSchedule schedule_;
    bool turns_dense_, decays_;
    Model model_;
    danaus::Optimizer optimizer_;
    danaus::LossMetrics train_metrics_, test_metrics_;
    Pass train_pass_, test_pass_;
    std::vector<std::uint32_t> order_;
    std::mt19937 shuffle_;
    std::uint64_t done_ = 0;
    // Between these steps the learning rate falls from `rate_` to 0.
    std::uint64_t from_ = 0, until_;
    float rate_;
    std::vector<Point> flips_;
};

}  // namespace sample
