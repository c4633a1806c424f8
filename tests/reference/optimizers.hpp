// Optimizers, gradient clipping and loss scaling. Each object keeps the state of one parameter tensor.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace danaus::reference {

struct SgdOptions {
    double learning_rate = 0.01;
    double momentum = 0.0;
    double dampening = 0.0;
    double weight_decay = 0.0;
    bool nesterov = false;
};

/// g' = g + wd p; v = first step ? g' : mu v + (1 - dampening) g'; p -= lr * (nesterov ? g' + mu v : v).
/// Without momentum p -= lr g'.
class Sgd {
public:
    explicit Sgd(const SgdOptions& options) : options_(options) {}
    void step(std::vector<double>& parameter, std::span<const double> gradient);
    [[nodiscard]] const std::vector<double>& velocity() const { return velocity_; }

private:
    SgdOptions options_;
    std::vector<double> velocity_;
};

struct AdamWOptions {
    double learning_rate = 1e-3;
    double beta1 = 0.9;
    double beta2 = 0.999;
    double epsilon = 1e-8;
    double weight_decay = 1e-2;
};

/// p *= 1 - lr wd; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
/// p -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps), t = 1, 2, ...
class AdamW {
public:
    explicit AdamW(const AdamWOptions& options) : options_(options) {}
    void step(std::vector<double>& parameter, std::span<const double> gradient);
    /// Later steps leave v, and the t of its correction, as they are; but the first step does not.
    void freeze_second_moment(bool frozen) { frozen_ = frozen; }
    [[nodiscard]] const std::vector<double>& first_moment() const { return first_moment_; }
    [[nodiscard]] const std::vector<double>& second_moment() const { return second_moment_; }
    [[nodiscard]] std::size_t steps() const { return steps_; }

private:
    AdamWOptions options_;
    std::vector<double> first_moment_;
    std::vector<double> second_moment_;
    std::size_t steps_ = 0;
    std::size_t second_steps_ = 0;
    bool frozen_ = false;
};

struct LionOptions {
    double learning_rate = 1e-4;
    double beta1 = 0.9;
    double beta2 = 0.99;
    double weight_decay = 0.0;
};

/// u = sign(b1 m + (1 - b1) g); p -= lr (u + wd p); m = b2 m + (1 - b2) g. sign(0) = 0.
class Lion {
public:
    explicit Lion(const LionOptions& options) : options_(options) {}
    void step(std::vector<double>& parameter, std::span<const double> gradient);
    [[nodiscard]] const std::vector<double>& moment() const { return moment_; }

private:
    LionOptions options_;
    std::vector<double> moment_;
};

/// sqrt of the sum of squares over all tensors.
double global_norm(std::span<const std::vector<double>> gradients);

/// g *= min(1, max_norm / (norm + 1e-6)) for every tensor; returns the norm before clipping.
double clip_global_norm(std::span<std::vector<double>> gradients, double max_norm);

/// Whether any value is infinite or NaN.
bool has_nonfinite(std::span<const double> values);

/// The loss is multiplied by `scale` and the gradients are divided by it before clipping and the optimizer.
struct DynamicLossScale {
    double scale = 65536.0;
    double growth_factor = 2.0;
    double backoff_factor = 0.5;
    std::size_t growth_interval = 2000;
    /// Steps without a non-finite gradient since the last change.
    std::size_t good_steps = 0;

    /// found: scale *= backoff, good_steps = 0. Else, after growth_interval good steps in a row, scale *=
    /// growth unless that overflows fp32. Returns whether the optimizer may step.
    bool update(bool found_nonfinite);
};

}  // namespace danaus::reference
