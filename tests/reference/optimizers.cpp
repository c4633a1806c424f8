#include "reference/optimizers.hpp"

#include "reference/matrix.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace danaus::reference {

void Sgd::step(std::vector<double>& parameter, std::span<const double> gradient) {
    require(parameter.size() == gradient.size(), "Sgd: parameter and gradient must have one size");
    const bool first = velocity_.empty();
    if (first) velocity_.resize(parameter.size());
    require(velocity_.size() == parameter.size(), "Sgd: one object serves one parameter");
    for (std::size_t i = 0; i < parameter.size(); ++i) {
        double update = gradient[i] + options_.weight_decay * parameter[i];
        if (options_.momentum != 0.0) {
            velocity_[i] =
                first ? update : options_.momentum * velocity_[i] + (1.0 - options_.dampening) * update;
            update = options_.nesterov ? update + options_.momentum * velocity_[i] : velocity_[i];
        }
        parameter[i] -= options_.learning_rate * update;
    }
}

void AdamW::step(std::vector<double>& parameter, std::span<const double> gradient) {
    require(parameter.size() == gradient.size(), "AdamW: parameter and gradient must have one size");
    if (steps_ == 0) {
        first_moment_.resize(parameter.size());
        second_moment_.resize(parameter.size());
    }
    require(first_moment_.size() == parameter.size(), "AdamW: one object serves one parameter");
    ++steps_;
    const bool frozen = frozen_ && steps_ > 1;
    if (!frozen) ++second_steps_;
    const double correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(steps_));
    const double correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(second_steps_));
    for (std::size_t i = 0; i < parameter.size(); ++i) {
        const double g = gradient[i];
        parameter[i] *= 1.0 - options_.learning_rate * options_.weight_decay;
        first_moment_[i] = options_.beta1 * first_moment_[i] + (1.0 - options_.beta1) * g;
        if (!frozen) second_moment_[i] = options_.beta2 * second_moment_[i] + (1.0 - options_.beta2) * g * g;
        const double denominator = std::sqrt(second_moment_[i] / correction2) + options_.epsilon;
        parameter[i] -= options_.learning_rate * (first_moment_[i] / correction1) / denominator;
    }
}

void Lion::step(std::vector<double>& parameter, std::span<const double> gradient) {
    require(parameter.size() == gradient.size(), "Lion: parameter and gradient must have one size");
    if (moment_.empty()) moment_.resize(parameter.size());
    require(moment_.size() == parameter.size(), "Lion: one object serves one parameter");
    for (std::size_t i = 0; i < parameter.size(); ++i) {
        const double between = options_.beta1 * moment_[i] + (1.0 - options_.beta1) * gradient[i];
        const double sign = between > 0.0 ? 1.0 : between < 0.0 ? -1.0 : 0.0;
        parameter[i] -= options_.learning_rate * (sign + options_.weight_decay * parameter[i]);
        moment_[i] = options_.beta2 * moment_[i] + (1.0 - options_.beta2) * gradient[i];
    }
}

double global_norm(std::span<const std::vector<double>> gradients) {
    double sum = 0.0;
    for (const auto& gradient : gradients) {
        for (const double g : gradient) sum += g * g;
    }
    return std::sqrt(sum);
}

double clip_global_norm(std::span<std::vector<double>> gradients, double max_norm) {
    const double norm = global_norm(gradients);
    const double quotient = max_norm / (norm + 1e-6);
    const double factor = quotient > 1.0 ? 1.0 : quotient;  // a NaN norm stays visible
    for (auto& gradient : gradients) {
        for (double& g : gradient) g *= factor;
    }
    return norm;
}

bool has_nonfinite(std::span<const double> values) {
    return std::any_of(values.begin(), values.end(), [](double value) { return !std::isfinite(value); });
}

bool DynamicLossScale::update(bool found_nonfinite) {
    if (found_nonfinite) {
        scale *= backoff_factor;
        good_steps = 0;
        return false;
    }
    if (++good_steps == growth_interval) {
        const double grown = scale * growth_factor;
        if (grown <= static_cast<double>(std::numeric_limits<float>::max())) scale = grown;
        good_steps = 0;
    }
    return true;
}

}  // namespace danaus::reference
