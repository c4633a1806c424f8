#include "flat.hpp"
#include "optimizer_checks.hpp"
#include "reduce.hpp"

#include <danaus/kernels.hpp>

#include <algorithm>
#include <array>
#include <bit>

namespace danaus {
namespace {

using detail::require;
using detail::require_nonnegative;
using detail::require_range;

// The words of the state; shaders/include/training_state.glsl says what they hold.
enum StateWord : std::uint64_t {
    state_step,
    state_loss_scale,
    state_good_steps,
    state_found_inf,
    state_norm,
    state_unscale,
    state_learning_rate,
    state_correction1,
    state_correction2,
    state_skipped,
    state_clip,
    state_frozen,
    state_words  // and behind them λ of each parameter, f32
};

struct PrepareFields {
    std::uint32_t partials, growth_interval;
    float growth, backoff, max_norm, beta1, beta2, one_minus_beta1, one_minus_beta2;
};
struct UpdateFields {  // of every method (update_fields.glsl), and then its own
    std::uint32_t count, decay_word, mask_first, mask_columns, mask_words, mask_factor, mask_shift;
};
template <std::size_t Count>
struct Fields {
    UpdateFields common;
    std::array<float, Count> own;
};
template <std::size_t Count>
Fields(UpdateFields, std::array<float, Count>) -> Fields<Count>;

template <typename... Calls>
struct Overloaded : Calls... {
    using Calls::operator()...;
};
template <typename... Calls>
Overloaded(Calls...) -> Overloaded<Calls...>;

// The part of the mask that elements first … first + count - 1 need, and how to find an element's bit in it.
Operand add_mask(UpdateFields& fields, const Parameter& parameter, std::uint64_t first, std::uint64_t count) {
    const Tensor& mask = parameter.masked_decay.mask;
    const std::uint64_t columns = parameter.master.size(parameter.master.rank() - 1);
    // Rows of whole words are one long row.
    const bool whole = columns % 32 == 0;
    const std::uint64_t row = whole ? 32 : columns, words = detail::divide_up(row, 32);
    const std::uint64_t skipped = first % row, rows = detail::divide_up(skipped + count, row);
    fields.mask_first = static_cast<std::uint32_t>(skipped);
    fields.mask_columns = ~0u;
    if (!whole) {
        // 2^(31 + s) / columns rounded up: exact for places below 2^31.
        const auto shift = static_cast<std::uint32_t>(std::bit_width(columns - 1));
        fields.mask_columns = static_cast<std::uint32_t>(columns);
        fields.mask_words = static_cast<std::uint32_t>(words);
        fields.mask_factor = static_cast<std::uint32_t>(detail::divide_up(1ull << (31 + shift), columns));
        fields.mask_shift = shift;
    }
    return detail::flat_operand(mask, first / row * words, rows * words, Touch::read);
}

}  // namespace

Optimizer::Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const SgdOptions& options,
                     const StepOptions& step)
    : parameters_(std::move(parameters)), method_(options), step_(step) {
    require_nonnegative("learning_rate", options.learning_rate);
    require_nonnegative("momentum", options.momentum);
    require(std::isfinite(options.dampening), "dampening: {}, a finite number is needed", options.dampening);
    require_nonnegative("weight_decay", options.weight_decay);
    require(!options.nesterov || (options.momentum > 0.0f && options.dampening == 0.0f),
            "nesterov: momentum {} and dampening {}, momentum above 0 and dampening 0 are needed",
            options.momentum, options.dampening);
    create(recorder, options.learning_rate, options.momentum > 0.0f ? 1 : 0);
}

Optimizer::Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const AdamWOptions& options,
                     const StepOptions& step)
    : parameters_(std::move(parameters)), method_(options), step_(step) {
    require_nonnegative("learning_rate", options.learning_rate);
    require_range("beta1", options.beta1, 0.0, 1.0 - 0x1p-24);
    require_range("beta2", options.beta2, 0.0, 1.0 - 0x1p-24);
    require_nonnegative("epsilon", options.epsilon);
    require_nonnegative("weight_decay", options.weight_decay);
    create(recorder, options.learning_rate, 2);
}

Optimizer::Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const LionOptions& options,
                     const StepOptions& step)
    : parameters_(std::move(parameters)), method_(options), step_(step) {
    require_nonnegative("learning_rate", options.learning_rate);
    require_range("beta1", options.beta1, 0.0, 1.0);
    require_range("beta2", options.beta2, 0.0, 1.0);
    require_nonnegative("weight_decay", options.weight_decay);
    create(recorder, options.learning_rate, 1);
}

void Optimizer::create(Recorder& recorder, float learning_rate, std::size_t moments) {
    detail::check_step_options(step_);
    detail::check_parameters(recorder, parameters_);
    const Device device = recorder.device();
    state_ = Tensor(device, DataType::u32, {state_words + parameters_.size()});
    for (const Parameter& parameter : parameters_) {
        moments_.emplace_back();
        for (std::size_t i = 0; i < moments; ++i)
            moments_.back().emplace_back(device, DataType::f32, parameter.master.shape());
    }
    for (const auto& tensors : moments_)
        for (const Tensor& tensor : tensors) fill_into(recorder, tensor, 0.0);
    fill_into(recorder, state_, 0.0);
    fill_into(recorder, loss_scale(), step_.loss_scaling.enabled ? step_.loss_scaling.initial : 1.0f);
    set_learning_rate(recorder, learning_rate);
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        if (parameters_[i].masked_decay.factor > 0.0f)
            set_masked_decay(recorder, i, parameters_[i].masked_decay.factor);
}

Optimizer Optimizer::with_parameters(Recorder& recorder, std::vector<Parameter> parameters) const {
    require(static_cast<bool>(state_), "optimizer: a default-constructed one has no state");
    Optimizer next;
    next.parameters_ = std::move(parameters);
    next.method_ = method_;
    next.step_ = step_;
    next.create(recorder, 0.0f, moments_.empty() ? 0 : moments_.front().size());
    convert_into(recorder, next.word(DataType::u32, 0, state_words), word(DataType::u32, 0, state_words));
    for (std::size_t i = 0; i < next.parameters_.size(); ++i) {
        const auto same = std::find_if(parameters_.begin(), parameters_.end(), [&](const Parameter& own) {
            return detail::same_master(own, next.parameters_[i]);
        });
        if (same == parameters_.end()) continue;
        const auto j = static_cast<std::size_t>(same - parameters_.begin());
        for (std::size_t k = 0; k < moments_[j].size(); ++k)
            convert_into(recorder, next.moments_[i][k], moments_[j][k]);
        convert_into(recorder, next.word(DataType::u32, state_words + i),
                     word(DataType::u32, state_words + j));
    }
    return next;
}

Tensor Optimizer::bias_corrections() const {
    return word(DataType::f32, state_correction1, 2);
}

Tensor Optimizer::loss_scale() const {
    return word(DataType::f32, state_loss_scale);
}

Tensor Optimizer::word(DataType type, std::uint64_t first, std::uint64_t count) const {
    require(static_cast<bool>(state_), "optimizer: a default-constructed one has no state");
    return Tensor(state_.buffer(), type, {count}, first);
}

Tensor Optimizer::step_count() const {
    require(static_cast<bool>(state_), "optimizer: a default-constructed one has no state");
    return Tensor(state_.buffer(), DataType::u32, {1}, state_step);
}

void Optimizer::set_learning_rate(Recorder& recorder, float learning_rate) const {
    const Tensor rate = word(DataType::f32, state_learning_rate);
    require_nonnegative("learning_rate", learning_rate);
    fill_into(recorder, rate, learning_rate);
}

void Optimizer::set_masked_decay(Recorder& recorder, float factor) const {
    const Tensor factors = word(DataType::f32, state_words, parameters_.size());
    require_nonnegative("masked_decay", factor);
    require(std::any_of(parameters_.begin(), parameters_.end(),
                        [](const Parameter& p) { return static_cast<bool>(p.masked_decay.mask); }),
            "masked_decay: {}, but no parameter has a mask", factor);
    fill_into(recorder, factors, factor);
}

void Optimizer::set_masked_decay(Recorder& recorder, std::size_t parameter, float factor) const {
    require(parameter < parameters_.size(), "parameter: {}, there are {}", parameter, parameters_.size());
    require_nonnegative("masked_decay", factor);
    require(static_cast<bool>(parameters_[parameter].masked_decay.mask),
            "masked_decay: {}, but parameters[{}] has no mask", factor, parameter);
    fill_into(recorder, word(DataType::f32, state_words + parameter), factor);
}

void Optimizer::freeze_second_moment(Recorder& recorder, bool frozen) const {
    const Tensor flag = word(DataType::u32, state_frozen);
    require(std::holds_alternative<AdamWOptions>(method_),
            "freeze_second_moment: {}, but only AdamW has second moments", frozen);
    fill_into(recorder, flag, frozen ? 1.0 : 0.0);
}

void Optimizer::zero_gradients(Recorder& recorder) const {
    for (const Parameter& parameter : parameters_) fill_into(recorder, parameter.gradient, 0.0);
}

void Optimizer::step(Recorder& recorder, float learning_rate) const {
    set_learning_rate(recorder, learning_rate);
    step(recorder);
}

void Optimizer::step(Recorder& recorder) const {
    detail::require_tensor(recorder, "optimizer", state_);
    std::vector<Tensor> gradients;
    for (const Parameter& parameter : parameters_)
        gradients.push_back(parameter.gradient.is_contiguous() ? parameter.gradient
                                                               : contiguous(recorder, parameter.gradient));
    const bool measured = step_.max_norm > 0.0f || step_.loss_scaling.enabled;
    const detail::SquareSums sums = detail::record_square_sums(
        recorder, measured ? std::span<const Tensor>(gradients) : std::span<const Tensor>(), state_);
    const kernels::StepPrepare kernel;
    const LossScaling& scaling = step_.loss_scaling;
    const auto* adamw = std::get_if<AdamWOptions>(&method_);
    const double beta1 = adamw ? adamw->beta1 : 0.0, beta2 = adamw ? adamw->beta2 : 0.0;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.operands[0] = detail::operand(sums.partials, Touch::read);
    packet.operands[1] = detail::operand(state_, Touch::read_write);
    packet.set_fields(PrepareFields{sums.count, scaling.enabled ? scaling.growth_interval : 0, scaling.growth,
                                    scaling.backoff, step_.max_norm, static_cast<float>(beta1),
                                    static_cast<float>(beta2), static_cast<float>(1.0 - beta1),
                                    static_cast<float>(1.0 - beta2)});
    packet.work = sums.count;
    packet.label = "step_prepare";
    recorder.record(packet);
    for (std::size_t i = 0; i < parameters_.size(); ++i) update(recorder, i, gradients[i]);
}

void Optimizer::update(Recorder& recorder, std::size_t index, const Tensor& gradient) const {
    const Parameter& parameter = parameters_[index];
    const std::vector<Tensor>& moments = moments_[index];
    const Tensor working = detail::has_copy(parameter) ? parameter.working : Tensor{};
    detail::for_pieces(recorder, gradient.elements(), [&](std::uint64_t first, std::uint64_t count) {
        Packet packet;
        packet.operands[0] = detail::operand(state_, Touch::read);
        packet.operands[1] = detail::flat_operand(gradient, first, count, Touch::read);
        packet.operands[2] = detail::flat_operand(parameter.master, first, count, Touch::read_write);
        packet.operands[3] = detail::flat_operand(working, first, count, Touch::read_write);
        for (std::size_t i = 0; i < moments.size(); ++i)
            packet.operands[4 + i] = detail::flat_operand(moments[i], first, count, Touch::read_write);
        const auto emit = [&](auto kernel, std::size_t mask_slot, const char* label, const auto& fields) {
            constexpr std::uint32_t no_copy = 3;
            kernel.gradient_type = static_cast<std::uint32_t>(gradient.type());
            kernel.working_type = working ? static_cast<std::uint32_t>(working.type()) : no_copy;
            const MaskedDecay& decay = parameter.masked_decay;
            UpdateFields common{};
            common.count = static_cast<std::uint32_t>(count);
            if (decay.mask) {
                kernel.masked_decay = decay.form == DecayForm::before_moments ? 1 : 2;
                common.decay_word = static_cast<std::uint32_t>(state_words + index);
                packet.operands[mask_slot] = add_mask(common, parameter, first, count);
            }
            packet.kernel = kernel.kernel();
            packet.grid = {detail::flat_grid(count / 2 + 1, kernel.local_size), 1, 1};
            packet.set_fields(Fields{common, fields});
            packet.work = 8 * count;
            packet.label = label;
            recorder.record(packet);
        };
        std::visit(
            Overloaded{
                [&](const SgdOptions& sgd) {
                    kernels::Sgd kernel;
                    kernel.has_momentum = !moments.empty();
                    kernel.nesterov = sgd.nesterov;
                    emit(kernel, 5, "sgd", std::array{sgd.momentum, 1.0f - sgd.dampening, sgd.weight_decay});
                },
                [&](const AdamWOptions& adamw) {
                    emit(
                        kernels::Adamw{}, 6, "adamw",
                        std::array{static_cast<float>(adamw.beta1), static_cast<float>(adamw.beta2),
                                   static_cast<float>(1.0 - adamw.beta1),
                                   static_cast<float>(1.0 - adamw.beta2), adamw.epsilon, adamw.weight_decay});
                },
                [&](const LionOptions& lion) {
                    emit(kernels::Lion{}, 5, "lion",
                         std::array{static_cast<float>(lion.beta1), static_cast<float>(lion.beta2),
                                    static_cast<float>(1.0 - lion.beta1),
                                    static_cast<float>(1.0 - lion.beta2), lion.weight_decay});
                }},
            method_);
    });
}

OptimizerStatus Optimizer::status(Stream& stream) const {
    detail::require_tensor(stream, "optimizer", state_);
    const std::vector<std::uint32_t> words = download_u32(stream, state_);
    const auto real = [&](StateWord word) { return std::bit_cast<float>(words.at(word)); };
    return {words.at(state_step),      words.at(state_skipped),    words.at(state_found_inf) != 0,
            real(state_norm),          real(state_loss_scale),     words.at(state_good_steps),
            real(state_learning_rate), words.at(state_frozen) != 0};
}

}  // namespace danaus
