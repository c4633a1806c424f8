// The life of a weight in 2:4 training: a dense master, a mask that is chosen anew now and then, the
// compressed form that multiplies read, and the way back to dense.
//
// Hu et al., "Accelerating Transformer Pre-Training with 2:4 Sparsity", ICML 2024, arXiv 2404.01847. Of one
// layer:
//
//   Z = X·(M∘W)ᵀ + b        dX = dZ·(M∘W)        dW = MVUE(dZᵀ)·X, and W is updated as if there were no mask
//
//   SparseSchedule schedule{.steps = 20000};
//   SparseWeight24 weight(stream, parameter, options);
//   parameter.masked_decay = {weight.mask(), 6e-5f};  // G ← dW + λ (1 − M)∘W
//   Optimizer optimizer(stream, {parameter}, AdamWOptions{});
//   weight.set_gradient({.seed = 1, .step = optimizer.step_count()});
//   for (std::uint64_t step = 0; step < schedule.steps; ++step) {
//       if (step == schedule.dense_from()) {
//           weight.set_sparse(stream, false);
//           optimizer.set_masked_decay(stream, 0.0f);
//       }
//       … weight.matmul, loss, weight.matmul_transposed, weight.weight_gradient_into(…, parameter.gradient) …
//       optimizer.step(stream);
//       schedule.refreshes_after(step) ? weight.refresh(stream) : weight.recompress(stream);
//   }
#pragma once

#include <danaus/masks.hpp>
#include <danaus/optimizer.hpp>
#include <danaus/safetensors.hpp>
#include <danaus/tile_sparse24.hpp>
#include <danaus/unbiased.hpp>

#include <functional>
#include <optional>
#include <span>
#include <string>

namespace danaus {

/// When masks change, and when a run becomes dense. The defaults are the paper's.
struct SparseSchedule {
    std::uint64_t steps = 0;           ///< of the whole run; 0: it has no end
    std::uint64_t refresh_every = 40;  ///< optimizer steps from one mask to the next; 0: the first mask stays
    double dense_fraction = 1.0 / 6;   ///< of the steps, at the end, without masks and decay; 0 … 1

    /// The first step that is dense: steps − ⌊dense_fraction · steps⌋, which is `steps` where the fraction
    /// makes no whole step; UINT64_MAX, never, of a run without end. Throws Error(invalid_argument) for
    /// another fraction than 0 … 1.
    [[nodiscard]] DANAUS_EXPORT std::uint64_t dense_from() const;
    /// Whether the mask is chosen anew behind step `step` (counted from 0).
    [[nodiscard]] bool refreshes_after(std::uint64_t step) const noexcept {
        return refresh_every != 0 && (step + 1) % refresh_every == 0;
    }
};

struct SparseWeight24Options {
    /// Both W and its transpose 2:4, or rows alone.
    bool transposable = true;
    TransposableSearch search = TransposableSearch::exact;  ///< of transposable masks
    /// Holds the weight as TileSparse24: fewer bytes, more to decode. Masks must be transposable, of the
    /// exact search.
    bool tile_codes = false;
    /// Of the compressed form and of multiplies. Empty: the working copy's type, or f32 without one. A weight
    /// without a working copy may have any: its compressed form is rounded from the master, and a sparse step
    /// needs no dense copy. Where it is not sparse(), each multiply rounds the master into scratch first.
    std::optional<DataType> type{};
    /// dW from a dZᵀ that is pruned to 2:4 without bias; else from all of dZ.
    bool prune_gradient = true;
    UnbiasedOptions gradient{};  ///< its random numbers: see set_gradient()
};

/// A 2:4 weight in training. A handle: copies share memory, so that one alone should be refreshed; each has
/// its own sparse() switch and random numbers. Used by one thread at a time. All operations but the
/// constructor allocate scratch at most, so that a Program can hold a step.
class DANAUS_EXPORT SparseWeight24 {
public:
    SparseWeight24() = default;
    /// Chooses the first mask by `weight`'s master and compresses its working copy, or without one its
    /// master: (out, in) or (blocks, out, in). Throws Error(invalid_argument) naming the option or the
    /// parameter's tensor.
    SparseWeight24(Recorder& recorder, const Parameter& weight, const SparseWeight24Options& options = {});

    /// The mask ← that of the master as it is now; flips() ← entries in which it differs from the one before;
    /// the compressed form ← the weight under it. Without sparse() nothing is compressed: the flips are
    /// then those of the virtual mask of a dense run.
    void refresh(Recorder& recorder) const;
    /// The compressed form ← the weight under the mask that there is. Nothing without sparse().
    void recompress(Recorder& recorder) const;

    /// Whether multiplies go through the mask. On at first.
    [[nodiscard]] bool sparse() const noexcept { return sparse_; }
    /// Switching on compresses.
    void set_sparse(Recorder& recorder, bool sparse);

    /// The random numbers of gradients recorded from now on: another seed for every layer, and either a
    /// `step` that the device advances (Optimizer::step_count()) or another offset every step. Throws
    /// Error(invalid_argument) naming the option.
    void set_gradient(const UnbiasedOptions& gradient);

    /// y = x·(M∘W)ᵀ, dx = dy·(M∘W), with W without sparse(); shapes as in matmul.hpp.
    [[nodiscard]] Tensor matmul(Recorder& recorder, const Tensor& x, const Epilogue& epilogue = {}) const;
    void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                     const Epilogue& epilogue = {}) const;
    [[nodiscard]] Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                           const Epilogue& epilogue = {}) const;
    void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                const Epilogue& epilogue = {}) const;
    /// dW ← MVUE(dyᵀ)·x, or dyᵀ·x without sparse() or prune_gradient: dense, the straight-through gradient.
    /// For a weight of rank 2 also summed over the batch of dy and x.
    void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                              const GradientOptions& options = {}) const;

    /// Waits for the last refresh() recorded, and divides its flips by the weight's entries: ‖m_t ⊕ m_{t−1}‖₁
    /// / D. 0 before the first refresh().
    [[nodiscard]] double flip_rate(Stream& stream) const;

    [[nodiscard]] const Parameter& parameter() const noexcept { return weight_; }
    [[nodiscard]] DataType type() const noexcept { return type_; }  ///< of multiplies
    /// Of what training holds beside the master and its gradient: the compressed form, the mask, and the
    /// working copy if there is one.
    [[nodiscard]] std::uint64_t copy_bytes() const;
    [[nodiscard]] const Tensor& mask() const noexcept { return mask_; }    ///< u32, mask_shape(weight)
    [[nodiscard]] const Tensor& flips() const noexcept { return flips_; }  ///< u32 (1)
    /// What multiplies read: by rows, or with tile_codes by tiles. The other one is null.
    [[nodiscard]] const Sparse24& compressed() const noexcept { return compressed_; }
    [[nodiscard]] const TileSparse24& tiles() const noexcept { return tiles_; }
    [[nodiscard]] const SparseWeight24Options& options() const noexcept { return options_; }

    /// Adds the master and the mask as "NAME.weight" and "NAME.mask", or under two names.
    void add_to(SafetensorsWriter& writer, const std::string& name) const;
    void add_to(SafetensorsWriter& writer, const std::string& weight, const std::string& mask) const;
    /// Reads both back, into master, mask, working copy and compressed form. sparse() is no part of what is
    /// saved and stays as it is: whoever resumes a run calls set_sparse(step < schedule.dense_from()) behind
    /// this. Throws Error(invalid_argument)
    /// when one is missing or of another shape or type (a weight may be f16 or bf16), a weight is not finite,
    /// or the mask is not what options() say, naming the place (after greedy and two_approximation at most
    /// two of each row and column of a tile); then nothing has changed.
    void load_from(Stream& stream, const SafetensorsFile& file, const std::string& name) const;
    /// The first half of load_from(): reads and checks. The result, called once while this object lives where
    /// it is, writes, and compresses if the weight is sparse() by then.
    [[nodiscard]] std::function<void(Recorder&)> read_from(Stream& stream, const SafetensorsFile& file,
                                                           const std::string& name) const;
    [[nodiscard]] std::function<void(Recorder&)> read_from(Stream& stream, const SafetensorsFile& file,
                                                           const std::string& weight_name,
                                                           const std::string& mask_name) const;

private:
    void choose(Recorder& recorder, const Tensor& mask) const;
    void verify(Stream& stream, const Tensor& mask) const;
    void check_gradient(const Device& device, const UnbiasedOptions& gradient) const;
    void require_weight() const;
    /// The working copy, or the master: what is compressed.
    [[nodiscard]] const Tensor& dense() const;
    void compress(Recorder& recorder) const;
    /// Whether multiplies take the master in another type, rounded into scratch each time.
    [[nodiscard]] bool rounds() const;
    [[nodiscard]] Tensor rounded(Recorder& recorder, const Tensor& x, bool transpose,
                                 const Epilogue& epilogue) const;
    void rounded_into(Recorder& recorder, const Tensor& out, const Tensor& x, bool transpose,
                      const Epilogue& epilogue) const;
    /// `call` with what multiplies go through.
    template <typename Call>
    auto through(const Call& call) const;

    Parameter weight_;
    SparseWeight24Options options_;
    DataType type_ = DataType::f32;
    Tensor mask_, flips_;
    Sparse24 compressed_;
    TileSparse24 tiles_;
    bool sparse_ = true;
};

/// How a warm-up went with a decay factor λ.
struct DecayTrial {
    float decay = 0.0f;
    double flip_rate = 0.0;  ///< over the warm-up, sparse, with that λ
};

/// The λ whose flips settle as they should: μ = flip_rate / dense_flip_rate (of the virtual mask of a dense
/// warm-up over the same steps) lies from `least` to `most`, and nearest to the middle of both; of equally
/// near ones the smallest λ. Empty when none lies there. μ above 1: masks never settle, take more decay; far
/// below: they froze too early. Throws Error(invalid_argument) for rates or λ below 0 or not finite,
/// dense_flip_rate 0, and least > most.
[[nodiscard]] DANAUS_EXPORT std::optional<float> choose_decay(std::span<const DecayTrial> trials,
                                                              double dense_flip_rate, double least = 0.60,
                                                              double most = 0.95);

}  // namespace danaus
