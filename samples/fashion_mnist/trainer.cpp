#include "trainer.hpp"

#include <algorithm>
#include <numeric>

namespace sample {

using namespace danaus;

namespace {

constexpr std::uint64_t test_batch = 500;

}  // namespace

void Pass::run(Stream& stream, const Images& images, const std::uint32_t* indices) {
    gather(images, indices, tokens_, rows_, batch_labels_);
    upload_into(stream, x_, std::span<const float>(rows_));
    upload_into(stream, labels_, std::span<const std::uint32_t>(batch_labels_));
    program_.emit(stream, {{"x", x_.buffer()}, {"labels", labels_.buffer()}});
}

Trainer::Trainer(const Device& device, const Dataset& data, const Arm& arm, const TrainOptions& options,
                 float decay)
    : stream_(device),
      data_(data),
      options_(options),
      schedule_{options.steps, options.mask_refresh_steps, arm.dense_fraction},
      turns_dense_(arm.dense_fraction > 0.0 && arm.dense_fraction < 1.0),
      decays_(arm.decay),
      model_(stream_, arm.hidden, options.seed, schedule_, arm.decay ? decay : 0.0f),
      optimizer_(stream_, model_.parameters(), AdamWOptions{.learning_rate = options.learning_rate}),
      train_metrics_(stream_),
      test_metrics_(stream_),
      train_pass_(stream_, options.batch),
      test_pass_(stream_, test_batch),
      order_(data.train.count()),
      shuffle_(static_cast<std::mt19937::result_type>(options.seed)),
      until_(std::max<std::uint64_t>(1, options.steps)),
      rate_(options.learning_rate) {
    std::iota(order_.begin(), order_.end(), 0u);
    record();
}

void Trainer::record() {
    // The device counts the steps, so that one recording draws new numbers at every step.
    model_.follow(optimizer_);
    train_pass_.record([&](Recorder& recorder, const Tensor& x, const Tensor& labels) {
        Model::Saved saved;
        const Tensor logits = model_.forward(recorder, x, &saved);
        const Tensor gradient = softmax_cross_entropy(recorder, train_metrics_, logits, labels,
                                                      {.loss_scale = {}, .accumulate = true});
        model_.backward(recorder, gradient, saved);
        optimizer_.step(recorder);
    });
    test_pass_.record([&](Recorder& recorder, const Tensor& x, const Tensor& labels) {
        const Tensor logits = model_.forward(recorder, x);
        softmax_cross_entropy_into(recorder, test_metrics_, {}, logits, labels,
                                   {.loss_scale = {}, .accumulate = true});
    });
}

void Trainer::step() {
    if (turns_dense_ && done_ == schedule_.dense_from()) {
        optimizer_ = model_.become_dense(stream_, optimizer_);
        if (decays_) optimizer_.set_masked_decay(stream_, 0.0f);
        record();
    }
    const std::uint64_t within = done_ % steps_per_epoch();
    if (within == 0) shuffle();
    const double left = 1.0 - static_cast<double>(done_ - from_) / static_cast<double>(until_ - from_);
    optimizer_.set_learning_rate(stream_, static_cast<float>(rate_ * left));
    train_pass_.run(stream_, data_.train, order_.data() + within * options_.batch);
    model_.after_step(stream_, done_);
    stream_.flush();
    const bool refreshed = model_.has_masks() && schedule_.refreshes_after(done_);
    ++done_;
    if (refreshed) flips_.push_back({epoch(), model_.flip_rate(stream_)});
}

void Trainer::project(std::uint64_t steps) {
    model_.project(stream_);
    optimizer_ = Optimizer(stream_, model_.parameters(), AdamWOptions{});
    from_ = done_;
    until_ = done_ + std::max<std::uint64_t>(1, steps);
    rate_ = options_.fine_tuning_rate;
    record();
}

double Trainer::take_loss() {
    const LossSummary summary = train_metrics_.read(stream_);
    train_metrics_.clear(stream_);
    return summary.counted ? summary.loss_sum / static_cast<double>(summary.counted) : 0.0;
}

double Trainer::test_accuracy() {
    std::vector<std::uint32_t> indices(std::min<std::size_t>(data_.test.count(), options_.test_images));
    std::iota(indices.begin(), indices.end(), 0u);
    test_metrics_.clear(stream_);
    for (std::size_t i = 0; i + test_batch <= indices.size(); i += test_batch)
        test_pass_.run(stream_, data_.test, indices.data() + i);
    const LossSummary summary = test_metrics_.read(stream_);
    return static_cast<double>(summary.correct) / static_cast<double>(summary.counted);
}

// Fisher-Yates by hand: std::shuffle's order differs between standard libraries.
void Trainer::shuffle() {
    for (std::size_t i = order_.size() - 1; i > 0; --i) std::swap(order_[i], order_[shuffle_() % (i + 1)]);
}

}  // namespace sample
