// Parameters and their optimizers. Loss scale, found-inf, step count, norm and learning rate live on the
// device: a training step reads nothing back, and can be recorded once (Program) and emitted for every step.
#pragma once

#include <danaus/masks.hpp>
#include <danaus/tensor.hpp>

#include <variant>
#include <vector>

namespace danaus {

/// Where the decay of pruned weights enters an update. Weights in it are those before the update.
enum class DecayForm : std::uint32_t {
    /// g ← g + λ (1 − M)∘W, after the loss scale and the clipping, and before everything that the optimizer
    /// does with a gradient. Hu et al., "Accelerating Transformer Pre-Training with 2:4 Sparsity", ICML 2024.
    before_moments,
    /// w ← w − learning_rate · λ (1 − M)∘W beside the optimizer's own update: SR-STE. A. Zhou et al.,
    /// "Learning N:M fine-grained structured sparse neural networks from scratch", ICLR 2021.
    outside_moments
};

/// Draws the weights that a mask leaves out towards zero, in the pass that updates them. The mask is read at
/// every step, and may be selected anew between two (select_mask_into). What the update itself flips shows
/// only when the mask is selected again: count_flips compares the two.
struct MaskedDecay {
    Tensor mask;  ///< u32, mask_shape of the master's, contiguous; null: no decay. Shares no memory with
                  ///< parameters; several may have the same.
    float factor = 0.0f;  ///< λ >= 0, the first one; set_masked_decay changes it
    DecayForm form = DecayForm::before_moments;
};

/// One trainable tensor. All three have one shape and share no memory (but working may be the master).
struct Parameter {
    Tensor master;  ///< f32, contiguous: what the optimizer accumulates in
    Tensor
        working;  ///< f32, f16 or bf16, contiguous: what multiplies use; null or the master itself: no copy
    Tensor gradient;  ///< f32, f16 or bf16, any strides (a copy is made of other than contiguous ones)
    MaskedDecay masked_decay{};  ///< only of a master of rank 2 or 3
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

/// u = sign(β₁ m + (1 - β₁) g), where sign(0) = 0;   w ← w - learning_rate · (weight_decay · w + u);
/// m ← β₂ m + (1 - β₂) g.
/// X. Chen et al., "Symbolic discovery of optimization algorithms", NeurIPS 2023.
struct LionOptions {
    float learning_rate = 1e-4f;
    double beta1 = 0.9;
    double beta2 = 0.99;
    float weight_decay = 0.0f;
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
    bool second_moment_frozen = false;  ///< what freeze_second_moment said last
};

/// SGD, AdamW or Lion over a set of parameters. A handle: copies share moments and state. Used by one thread
/// at a time.
class DANAUS_EXPORT Optimizer {
public:
    using Method = std::variant<SgdOptions, AdamWOptions, LionOptions>;

    Optimizer() = default;
    /// Allocates moments and state, and records their initial values into `recorder` (so not into the
    /// recording of a Program that is emitted for every step). Throws Error(invalid_argument) naming the
    /// parameter or the option.
    Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const SgdOptions& options,
              const StepOptions& step = {});
    Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const AdamWOptions& options,
              const StepOptions& step = {});
    Optimizer(Recorder& recorder, std::vector<Parameter> parameters, const LionOptions& options,
              const StepOptions& step = {});

    /// The same method and options, with the state as it is here, over other parameters: those whose master
    /// is one of this optimizer's keep their moments and λ, others begin with moments of zero. Its step count
    /// goes on, and with it AdamW's bias corrections: a moment of zero counts as one of many steps. What
    /// Monarch layers that become dense ought to begin with, carry_over() says (restructure.hpp). Layers that
    /// followed this optimizer's step count follow(…) the new one's.
    [[nodiscard]] Optimizer with_parameters(Recorder& recorder, std::vector<Parameter> parameters) const;

    /// One update of every parameter from its gradient, master and working copy in one pass; moments are f32.
    /// Takes the learning rate that the state holds.
    void step(Recorder& recorder) const;
    /// The same with the learning rate set first.
    void step(Recorder& recorder, float learning_rate) const;
    /// The learning rate of later steps. Recorded in order; a schedule calls it beside the emission of a
    /// Program.
    void set_learning_rate(Recorder& recorder, float learning_rate) const;
    /// λ of later steps, of every parameter that has a mask, or of one. Recorded in order and held on the
    /// device, like the learning rate. With λ = 0 the mask is not read and nothing decays. Throws
    /// Error(invalid_argument) when λ < 0 or not finite, and where there is no mask.
    void set_masked_decay(Recorder& recorder, float factor) const;
    void set_masked_decay(Recorder& recorder, std::size_t parameter, float factor) const;
    /// From here on AdamW's second moments v and their bias correction stay as they are, or change again.
    /// Recorded in order and held on the device. The first update fills v in any case. Y. Lu et al., "STEP:
    /// Learning N:M structured sparsity masks from scratch with precondition", ICML 2023: a dense phase, then
    /// masks on and v frozen. Throws Error(invalid_argument) for SGD and Lion.
    void freeze_second_moment(Recorder& recorder, bool frozen) const;
    /// Every gradient ← 0, for those that are accumulated into.
    void zero_gradients(Recorder& recorder) const;

    /// f32 (1), on the device: what the gradient of the loss is to be multiplied by (CrossEntropyOptions).
    [[nodiscard]] Tensor loss_scale() const;
    /// u32 (1), on the device: the updates applied so far. What follows steps without a read-back, such as
    /// random numbers (UnbiasedOptions::step), reads it there.
    [[nodiscard]] Tensor step_count() const;
    /// f32 (2), on the device: what AdamW divides its moments by, 1 − β₁ᵗ and 1 − β₂ᵗ.
    [[nodiscard]] Tensor bias_corrections() const;
    /// Waits for the work recorded so far.
    [[nodiscard]] OptimizerStatus status(Stream& stream) const;

    [[nodiscard]] const std::vector<Parameter>& parameters() const noexcept { return parameters_; }
    [[nodiscard]] const Method& method() const noexcept { return method_; }
    /// What a checkpoint has to hold beside the masters: u32 words of state (with every λ), and per parameter
    /// the velocity, Lion's moment, or the first and the second moment (f32, the parameter's shape; none for
    /// SGD without momentum).
    [[nodiscard]] const Tensor& state() const noexcept { return state_; }
    [[nodiscard]] const std::vector<std::vector<Tensor>>& moments() const noexcept { return moments_; }

private:
    void create(Recorder& recorder, float learning_rate, std::size_t moments);
    void update(Recorder& recorder, std::size_t index, const Tensor& gradient) const;
    [[nodiscard]] Tensor word(DataType type, std::uint64_t first, std::uint64_t count = 1) const;

    std::vector<Parameter> parameters_;
    std::vector<std::vector<Tensor>> moments_;
    Tensor state_;
    Method method_;
    StepOptions step_;
};

}  // namespace danaus
