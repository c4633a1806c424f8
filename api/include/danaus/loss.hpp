// Softmax cross-entropy with its gradient, and metrics that stay on the device.
#pragma once

#include <danaus/tensor.hpp>

namespace danaus {

/// What metrics hold, read back.
struct LossSummary {
    float mean_loss = 0.0f;     ///< loss_sum / counted, 0 without counted rows
    float loss_sum = 0.0f;      ///< Σ loss over counted rows
    std::uint32_t correct = 0;  ///< counted rows whose largest logit is the label's
    std::uint32_t counted = 0;  ///< rows with a label below the number of classes
};

/// Four words on the device that a loss writes or adds to; an epoch is read back once.
struct DANAUS_EXPORT LossMetrics {
    LossMetrics() = default;
    /// New and zero.
    explicit LossMetrics(Recorder& recorder);

    Tensor words;  ///< u32 (4): mean loss and sum of losses as bits of f32, correct, counted

    [[nodiscard]] Tensor mean_loss() const;  ///< f32 (1)
    [[nodiscard]] Tensor loss_sum() const;   ///< f32 (1)
    [[nodiscard]] Tensor correct() const;    ///< u32 (1)
    [[nodiscard]] Tensor counted() const;    ///< u32 (1)

    void clear(Recorder& recorder) const;
    /// Waits for the work recorded so far.
    [[nodiscard]] LossSummary read(Stream& stream) const;
};

struct CrossEntropyOptions {
    /// f32 with one element, on the device: the gradient is multiplied by it (Optimizer::loss_scale()).
    /// Null: 1. The metrics are never scaled.
    Tensor loss_scale;
    /// Metrics += … instead of being overwritten.
    bool accumulate = false;
};

/// loss[t] = ln Σ_c exp(x[t][c]) - x[t][label t], and the gradient of its mean over the counted rows:
///   gradient[t][c] = (softmax(x[t])[c] - [c = label t]) · loss_scale / counted
///
///   logits x (tokens, classes), f32, f16 or bf16; labels (tokens), u32 → metrics; gradient, shape and type
///   of logits
///
/// A row whose label is not below the number of classes is ignored: it adds nothing to any metric, is not
/// counted, and its gradient is 0 (0xffffffff is the customary such label). Computed in f32 from differences
/// to the row's largest logit, so that no finite logit overflows. Logits of -infinity are classes ruled out;
/// a row with NaN or +infinity has loss NaN. Of equal logits the lowest class is the predicted one, and NaN
/// is never predicted over a number. `gradient` may be null, when only the metrics are wanted, and overlaps
/// nothing else. Sums are two-pass, in a fixed order. Any strides and sizes, 0 included. Throws
/// Error(invalid_argument) naming the argument that does not fit.
DANAUS_EXPORT void softmax_cross_entropy_into(Recorder& recorder, const LossMetrics& metrics,
                                              const Tensor& gradient, const Tensor& logits,
                                              const Tensor& labels, const CrossEntropyOptions& options = {});
/// The same, returning a new gradient.
[[nodiscard]] DANAUS_EXPORT Tensor softmax_cross_entropy(Recorder& recorder, const LossMetrics& metrics,
                                                         const Tensor& logits, const Tensor& labels,
                                                         const CrossEntropyOptions& options = {});

}  // namespace danaus
