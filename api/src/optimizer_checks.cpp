// Parameters, and what an optimizer asks of them.
#include "optimizer_checks.hpp"

namespace danaus {

using detail::require;
using detail::require_nonnegative;

namespace {

// Shaders find the row of a place below 2^31 (update.glsl).
constexpr std::uint64_t most_columns = 1ull << 30;

void check_decay(const Recorder& recorder, const std::string& name, const Parameter& parameter) {
    const MaskedDecay& decay = parameter.masked_decay;
    const std::string mask = name + ".mask";
    require_nonnegative((name + ".factor").c_str(), decay.factor);
    require(decay.form <= DecayForm::outside_moments,
            "{}.form: {}, before_moments or outside_moments is needed", name,
            static_cast<std::uint32_t>(decay.form));
    if (!decay.mask) {
        require(decay.factor == 0.0f, "{}.factor: {} without a mask", name, decay.factor);
        return;
    }
    const Shape& shape = parameter.master.shape();
    require(shape.rank() == 2 || shape.rank() == 3, "{}: of a master {}, rank 2 or 3 is needed", mask,
            to_string(shape));
    detail::require_tensor(recorder, mask.c_str(), decay.mask);
    detail::require_type(mask.c_str(), decay.mask, DataType::u32);
    require(decay.mask.shape() == mask_shape(shape), "{}: shape {}, {} is needed for a master {}", mask,
            to_string(decay.mask.shape()), to_string(mask_shape(shape)), to_string(shape));
    require(decay.mask.is_contiguous(), "{}: must be contiguous", mask);
    const std::uint64_t columns = shape[shape.rank() - 1];
    if (columns % 32 != 0 && columns > most_columns)
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: of a master {}, at most {} columns, or a multiple of 32", mask,
                                to_string(shape), most_columns));
}

// What a step writes must not be what another parameter's step reads or writes.
void check_apart(const std::vector<Parameter>& parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
        for (std::size_t j = 0; j < parameters.size(); ++j) {
            const auto apart = [&](const Tensor& written, const char* what, const Tensor& other,
                                   const char* touched) {
                require(!detail::may_overlap(written, other),
                        "parameters[{}].{}: overlaps parameters[{}].{} in memory", i, what, j, touched);
            };
            const Tensor& mask = parameters[j].masked_decay.mask;
            apart(parameters[i].master, "master", mask, "masked_decay.mask");
            apart(parameters[i].working, "working", mask, "masked_decay.mask");
            apart(parameters[i].gradient, "gradient", mask, "masked_decay.mask");
            if (i == j) continue;
            apart(parameters[i].master, "master", parameters[j].master, "master");
            apart(parameters[i].master, "master", parameters[j].gradient, "gradient");
            apart(parameters[i].master, "master", parameters[j].working, "working");
            apart(parameters[i].working, "working", parameters[j].working, "working");
            apart(parameters[i].working, "working", parameters[j].gradient, "gradient");
        }
}

}  // namespace

bool detail::same_master(const Parameter& a, const Parameter& b) {
    return a.master.buffer() == b.master.buffer() && a.master.offset() == b.master.offset() &&
           a.master.shape() == b.master.shape();
}

bool detail::has_copy(const Parameter& parameter) {
    return parameter.working && !(parameter.working.type() == DataType::f32 &&
                                  parameter.working.buffer() == parameter.master.buffer() &&
                                  parameter.working.offset() == parameter.master.offset());
}

void detail::check_parameter(const Recorder& recorder, const std::string& name, const Parameter& parameter) {
    const std::string master = name + ".master", working = name + ".working", gradient = name + ".gradient";
    detail::require_tensor(recorder, master.c_str(), parameter.master);
    detail::require_type(master.c_str(), parameter.master, DataType::f32);
    require(parameter.master.is_contiguous(), "{}: must be contiguous", master);
    detail::require_tensor(recorder, gradient.c_str(), parameter.gradient);
    detail::require_floating(gradient.c_str(), parameter.gradient);
    detail::require_shape(gradient.c_str(), parameter.gradient, parameter.master.shape());
    detail::require_disjoint(master.c_str(), parameter.master, gradient.c_str(), parameter.gradient);
    check_decay(recorder, name + ".masked_decay", parameter);
    if (!parameter.working) return;
    detail::require_tensor(recorder, working.c_str(), parameter.working);
    detail::require_floating(working.c_str(), parameter.working);
    detail::require_shape(working.c_str(), parameter.working, parameter.master.shape());
    require(parameter.working.is_contiguous(), "{}: must be contiguous", working);
    if (!has_copy(parameter)) return;
    detail::require_disjoint(working.c_str(), parameter.working, master.c_str(), parameter.master);
    detail::require_disjoint(working.c_str(), parameter.working, gradient.c_str(), parameter.gradient);
}

void detail::check_parameters(const Recorder& recorder, const std::vector<Parameter>& parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
        check_parameter(recorder, fmt::format("parameters[{}]", i), parameters[i]);
    check_apart(parameters);
}

void detail::check_step_options(const StepOptions& step) {
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
    detail::check_parameter(recorder, "parameter", parameter);
    if (detail::has_copy(parameter)) convert_into(recorder, parameter.working, parameter.master);
}

}  // namespace danaus
