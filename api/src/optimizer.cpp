#include "check.hpp"
#include "flat.hpp"
#include "reduce.hpp"

#include <danaus/kernels.hpp>
#include <danaus/optimizer.hpp>

#include <bit>
#include <cmath>

namespace danaus {
namespace {

using detail::require;

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
    state_words
};

struct PrepareFields {
    std::uint32_t partials, growth_interval;
    float growth, backoff, max_norm, beta1, beta2, one_minus_beta1, one_minus_beta2;
};
struct SgdFields {
    std::uint32_t count;
    float momentum, keep, weight_decay;
};
struct AdamWFields {
    std::uint32_t count;
    float beta1, beta2, one_minus_beta1, one_minus_beta2, epsilon, weight_decay;
};

void require_range(const char* name, double value, double low, double high) {
    require(std::isfinite(value) && value >= low && value <= high, "{}: {}, a number from {} to {} is needed",
            name, value, low, high);
}
void require_nonnegative(const char* name, float value) {
    require(std::isfinite(value) && value >= 0.0f, "{}: {}, a finite number >= 0 is needed", name, value);
}

bool has_copy(const Parameter& parameter) {
    return parameter.working && !(parameter.working.type() == DataType::f32 &&
                                  parameter.working.buffer() == parameter.master.buffer() &&
                                  parameter.working.offset() == parameter.master.offset());
}

void check(const Recorder& recorder, const std::string& name, const Parameter& parameter) {
    const std::string master = name + ".master", working = name + ".working", gradient = name + ".gradient";
    detail::require_tensor(recorder, master.c_str(), parameter.master);
    detail::require_type(master.c_str(), parameter.master, DataType::f32);
    require(parameter.master.is_contiguous(), "{}: must be contiguous", master);
    detail::require_tensor(recorder, gradient.c_str(), parameter.gradient);
    detail::require_floating(gradient.c_str(), parameter.gradient);
    detail::require_shape(gradient.c_str(), parameter.gradient, parameter.master.shape());
    detail::require_disjoint(master.c_str(), parameter.master, gradient.c_str(), parameter.gradient);
    if (!parameter.working) return;
    detail::require_tensor(recorder, working.c_str(), parameter.working);
    detail::require_floating(working.c_str(), parameter.working);
    detail::require_shape(working.c_str(), parameter.working, parameter.master.shape());
    require(parameter.working.is_contiguous(), "{}: must be contiguous", working);
    if (!has_copy(parameter)) return;
    detail::require_disjoint(working.c_str(), parameter.working, master.c_str(), parameter.master);
    detail::require_disjoint(working.c_str(), parameter.working, gradient.c_str(), parameter.gradient);
}

// What a step writes must not be what another parameter's step reads or writes.
void check_apart(const std::vector<Parameter>& parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
        for (std::size_t j = 0; j < parameters.size(); ++j) {
            if (i == j) continue;
            const auto apart = [&](const Tensor& written, const char* what, const Tensor& other,
                                   const char* touched) {
                require(!detail::may_overlap(written, other),
                        "parameters[{}].{}: overlaps parameters[{}].{} in memory", i, what, j, touched);
            };
            apart(parameters[i].master, "master", parameters[j].master, "master");
            apart(parameters[i].master, "master", parameters[j].gradient, "gradient");
            apart(parameters[i].master, "master", parameters[j].working, "working");
            apart(parameters[i].working, "working", parameters[j].working, "working");
            apart(parameters[i].working, "working", parameters[j].gradient, "gradient");
        }
}

void check(const StepOptions& step) {
    require_nonnegative("max_norm", step.max_norm);
    const LossScaling& scaling = step.loss_scaling;
    if (!scaling.enabled) return;
    require(scaling.initial >= 0x1p-126f && scaling.initial <= 0x1p126f,
            "loss_scaling.initial: {}, a positive number from 2^-126 to 2^126 is needed", scaling.initial);
    require(std::isfinite(scaling.growth) && scaling.growth >= 1.0f,
            "loss_scaling.growth: {}, at least 1 is needed", scaling.growth);
    require(scaling.backoff > 0.0f && scaling.backoff <= 1.0f,
            "loss_scaling.backoff: {}, a number above 0, at most 1, is needed", scaling.backoff);
}

}  // namespace

Parameter new_parameter(const Device& device, const Shape& shape, DataType working, DataType gradient) {
    require(is_floating(working), "working: type {}, one of f32, f16, bf16 is needed", to_string(working));
    require(is_floating(gradient), "gradient: type {}, one of f32, f16, bf16 is needed", to_string(gradient));
    Parameter parameter;
    parameter.master = Tensor(device, DataType::f32, shape);
    parameter.working = working == DataType::f32 ? parameter.master : Tensor(device, working, shape);
    parameter.gradient = Tensor(device, gradient, shape);
    return parameter;
}

void refresh_working(Recorder& recorder, const Parameter& parameter) {
    check(recorder, "parameter", parameter);
    if (has_copy(parameter)) convert_into(recorder, parameter.working, parameter.master);
}

Optimizer::Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const SgdOptions& options,
                     const StepOptions& step)
    : parameters_(std::move(parameters)), sgd_(options), step_(step) {
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
    : parameters_(std::move(parameters)), adam_(true), adamw_(options), step_(step) {
    require_nonnegative("learning_rate", options.learning_rate);
    require_range("beta1", options.beta1, 0.0, 1.0 - 0x1p-24);
    require_range("beta2", options.beta2, 0.0, 1.0 - 0x1p-24);
    require_nonnegative("epsilon", options.epsilon);
    require_nonnegative("weight_decay", options.weight_decay);
    create(recorder, options.learning_rate, 2);
}

void Optimizer::create(Recorder& recorder, float learning_rate, std::size_t moments) {
    check(step_);
    for (std::size_t i = 0; i < parameters_.size(); ++i)
        check(recorder, fmt::format("parameters[{}]", i), parameters_[i]);
    check_apart(parameters_);
    const Device device = recorder.device();
    state_ = Tensor(device, DataType::u32, {state_words});
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
}

Tensor Optimizer::loss_scale() const {
    require(static_cast<bool>(state_), "optimizer: a default-constructed one has no state");
    return Tensor(state_.buffer(), DataType::f32, {1}, state_loss_scale);
}

void Optimizer::set_learning_rate(Recorder& recorder, float learning_rate) const {
    require(static_cast<bool>(state_), "optimizer: a default-constructed one has no state");
    require_nonnegative("learning_rate", learning_rate);
    fill_into(recorder, Tensor(state_.buffer(), DataType::f32, {1}, state_learning_rate), learning_rate);
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
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.operands[0] = detail::operand(sums.partials, Touch::read);
    packet.operands[1] = detail::operand(state_, Touch::read_write);
    packet.set_fields(PrepareFields{sums.count, scaling.enabled ? scaling.growth_interval : 0, scaling.growth,
                                    scaling.backoff, step_.max_norm, static_cast<float>(adamw_.beta1),
                                    static_cast<float>(adamw_.beta2), static_cast<float>(1.0 - adamw_.beta1),
                                    static_cast<float>(1.0 - adamw_.beta2)});
    packet.work = sums.count;
    packet.label = "step_prepare";
    recorder.record(packet);
    for (std::size_t i = 0; i < parameters_.size(); ++i) update(recorder, i, gradients[i]);
}

void Optimizer::update(Recorder& recorder, std::size_t index, const Tensor& gradient) const {
    const Parameter& parameter = parameters_[index];
    const std::vector<Tensor>& moments = moments_[index];
    const Tensor working = has_copy(parameter) ? parameter.working : Tensor{};
    constexpr std::uint32_t no_copy = 3;
    const auto configure = [&](auto kernel) {
        kernel.gradient_type = static_cast<std::uint32_t>(gradient.type());
        kernel.working_type = working ? static_cast<std::uint32_t>(working.type()) : no_copy;
        return kernel;
    };
    detail::for_pieces(recorder, gradient.elements(), [&](std::uint64_t first, std::uint64_t count) {
        const auto elements = static_cast<std::uint32_t>(count);
        Packet packet;
        packet.operands[0] = detail::operand(state_, Touch::read);
        packet.operands[1] = detail::flat_operand(gradient, first, count, Touch::read);
        packet.operands[2] = detail::flat_operand(parameter.master, first, count, Touch::read_write);
        packet.operands[3] = detail::flat_operand(working, first, count, Touch::read_write);
        for (std::size_t i = 0; i < moments.size(); ++i)
            packet.operands[4 + i] = detail::flat_operand(moments[i], first, count, Touch::read_write);
        if (adam_) {
            const kernels::Adamw kernel = configure(kernels::Adamw{});
            packet.kernel = kernel.kernel();
            packet.grid = {detail::flat_grid(count / 2 + 1, kernel.local_size), 1, 1};
            packet.set_fields(
                AdamWFields{elements, static_cast<float>(adamw_.beta1), static_cast<float>(adamw_.beta2),
                            static_cast<float>(1.0 - adamw_.beta1), static_cast<float>(1.0 - adamw_.beta2),
                            adamw_.epsilon, adamw_.weight_decay});
            packet.label = "adamw";
        } else {
            kernels::Sgd kernel = configure(kernels::Sgd{});
            kernel.has_momentum = !moments.empty();
            kernel.nesterov = sgd_.nesterov;
            packet.kernel = kernel.kernel();
            packet.grid = {detail::flat_grid(count / 2 + 1, kernel.local_size), 1, 1};
            packet.set_fields(SgdFields{elements, sgd_.momentum, 1.0f - sgd_.dampening, sgd_.weight_decay});
            packet.label = "sgd";
        }
        packet.work = 8 * count;
        recorder.record(packet);
    });
}

OptimizerStatus Optimizer::status(Stream& stream) const {
    detail::require_tensor(stream, "optimizer", state_);
    const std::vector<std::uint32_t> words = download_u32(stream, state_);
    const auto real = [&](StateWord word) { return std::bit_cast<float>(words.at(word)); };
    return {words.at(state_step),     words.at(state_skipped), words.at(state_found_inf) != 0,
            real(state_norm),         real(state_loss_scale),  words.at(state_good_steps),
            real(state_learning_rate)};
}

}  // namespace danaus
