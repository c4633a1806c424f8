// Parameters and their optimizers. Loss scale, found-inf, step count, norm and learning rate live on the
// device: a training step reads nothing back, and can be recorded once (Program) and emitted for every step.
#pragma once

#include <danaus/tensor.hpp>

#include <vector>

namespace danaus {

/// One trainable tensor. All three have one shape and share no memory (but working may be the master).
struct Parameter {
    Tensor master;  ///< f32, contiguous: what the optimizer accumulates in
    Tensor
        working;  ///< f32, f16 or bf16, contiguous: what multiplies use; null or the master itself: no copy
    Tensor gradient;  ///< f32, f16 or bf16, any strides (a copy is made of other than contiguous ones)
};

/// New, uninitialised memory for a parameter. A working copy of f32 is the master itself.
[[nodiscard]] DANAUS_EXPORT Parameter new_parameter(const Device& device, const Shape& shape,
                                                    DataType working = DataType::f32,
                                                    DataType gradient = DataType::f32);
/// working ← master, after the master was initialised or loaded. The optimizer keeps the two in step by
/// itself.
DANAUS_EXPORT void refresh_working(Recorder& recorder, const Parameter& parameter);

/// g ← gradient + weight_decay · w;   v ← g at the first step, momentum · v + (1 - dampening) · g later;
/// w ← w - learning_rate · (nesterov ? g + momentum · v : v), without momentum w - learning_rate · g.
/// nesterov needs momentum > 0 and no dampening.
struct SgdOptions {
    float learning_rate = 0.01f;
    float momentum = 0.0f;
    float dampening = 0.0f;
    float weight_decay = 0.0f;
    bool nesterov = false;
};

/// m ← β₁ m + (1 - β₁) g;   v ← β₂ v + (1 - β₂) g²;
/// w ← w - learning_rate · (weight_decay · w + (m / (1 - β₁ᵗ)) / (√(v / (1 - β₂ᵗ)) + ε)),   t = 1, 2, …
/// I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
struct AdamWOptions {
    float learning_rate = 1e-3f;
    double beta1 = 0.9;
    double beta2 = 0.999;
    float epsilon = 1e-8f;
    float weight_decay = 1e-2f;
};

/// Multiplies the loss, so that small gradients survive 16-bit types, and divides the gradients again. A step
/// that meets a gradient that is infinite or NaN changes no weight, no moment and no step count, and
/// multiplies the scale by `backoff`; after `growth_interval` good steps in a row it is multiplied by
/// `growth`, as long as that is at most 2¹²⁶. P. Micikevicius et al., "Mixed precision training", ICLR 2018.
struct LossScaling {
    bool enabled = false;  ///< off: the scale is 1, and gradients are only checked when they are clipped
    float initial = 65536.0f;
    float growth = 2.0f;
    float backoff = 0.5f;
    std::uint32_t growth_interval = 2000;  ///< 0: the scale stays as it is; bad steps are still skipped
};

struct StepOptions {
    /// Gradients are multiplied by min(1, max_norm / (norm + 10⁻⁶)), norm over all parameters, after the loss
    /// scale is divided out. 0: no clipping. Steps whose norm is not finite are skipped as with loss scaling.
    float max_norm = 0.0f;
    LossScaling loss_scaling;
};

/// The optimizer's state, read back.
struct OptimizerStatus {
    std::uint32_t steps = 0;    ///< updates applied
    std::uint32_t skipped = 0;  ///< steps that changed nothing
    bool found_inf = false;     ///< the last step was such a one
    float norm = 0.0f;  ///< last global norm, unscaled, before clipping; 0 when neither option asks for it
    float loss_scale = 1.0f;
    std::uint32_t good_steps = 0;  ///< since the scale last changed
    float learning_rate = 0.0f;
};

/// SGD or AdamW over a set of parameters. A handle: copies share moments and state. Used by one thread at a
/// time.
class DANAUS_EXPORT Optimizer {
public:
    Optimizer() = default;
    /// Allocates moments and state, and records their initial values into `recorder` (so not into the
    /// recording of a Program that is emitted for every step). Throws Error(invalid_argument) naming the
    /// parameter or the option.
    Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const SgdOptions& options,
              const StepOptions& step = {});
    Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const AdamWOptions& options,
              const StepOptions& step = {});

    /// One update of every parameter from its gradient, master and working copy in one pass; moments are f32.
    /// Takes the learning rate that the state holds.
    void step(Recorder& recorder) const;
    /// The same with the learning rate set first.
    void step(Recorder& recorder, float learning_rate) const;
    /// The learning rate of later steps. Recorded in order; a schedule calls it beside the emission of a
    /// Program.
    void set_learning_rate(Recorder& recorder, float learning_rate) const;
    /// Every gradient ← 0, for those that are accumulated into.
    void zero_gradients(Recorder& recorder) const;

    /// f32 (1), on the device: what the gradient of the loss is to be multiplied by (CrossEntropyOptions).
    [[nodiscard]] Tensor loss_scale() const;
    /// Waits for the work recorded so far.
    [[nodiscard]] OptimizerStatus status(Stream& stream) const;

    [[nodiscard]] const std::vector<Parameter>& parameters() const noexcept { return parameters_; }
    /// What a checkpoint has to hold beside the masters: u32 words of state, and per parameter the velocity,
    /// or the first and the second moment (f32, the parameter's shape; none for SGD without momentum).
    [[nodiscard]] const Tensor& state() const noexcept { return state_; }
    [[nodiscard]] const std::vector<std::vector<Tensor>>& moments() const noexcept { return moments_; }

private:
    void create(Recorder& recorder, float learning_rate, std::size_t moments);
    void update(Recorder& recorder, std::size_t index, const Tensor& gradient) const;

    std::vector<Parameter> parameters_;
    std::vector<std::vector<Tensor>> moments_;
    Tensor state_;
    bool adam_ = false;
    SgdOptions sgd_;
    AdamWOptions adamw_;
    StepOptions step_;
};

}  // namespace danaus
