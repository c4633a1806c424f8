// Linear layers of 2:4 weights: masks that change, the compressed forms that multiplies read, a dense finish.
#pragma once

#include <danaus/linear.hpp>
#include <danaus/sparse_monarch.hpp>
#include <danaus/sparse_weight24.hpp>

namespace danaus {

struct SparseLinear24Options {
    /// Of every factor. The numbers of pruned gradients come from the stream weight.gradient.seed ^
    /// ~LinearOptions::seed, of a second factor from that with its highest bit changed; those of draw d
    /// (BackwardOptions) begin 2⁴⁰ · d blocks behind weight.gradient.offset.
    SparseWeight24Options weight{};  ///< its type is the layer's
    /// Whether there is a dense weight in the layer's type beside the compressed one. Sparse steps have no
    /// use for it; dense ones round the master for every multiply without it.
    bool working_copy = false;
    /// λ and its form, of the weights' Parameters. It is the optimizer's from then on: set_masked_decay(…, 0)
    /// at schedule.dense_from().
    float masked_decay = 0.0f;
    DecayForm decay_form = DecayForm::before_moments;
    /// When after_step() refreshes the masks, and from when on the layer is dense; steps 0: never.
    SparseSchedule schedule{};
};

/// What layers share whose factors are M∘master, M a 2:4 mask (sparse_weight24.hpp) of each. Files hold the
/// masks too, but not whether the layer is sparse: whoever resumes a run at `step` calls set_sparse(stream,
/// step < schedule().dense_from()) behind load_from(). A run without dense steps ends sparse.
class DANAUS_EXPORT Linear24 : public Linear {
public:
    /// Places that may be kept, two of four; masks fill all of them but at edges that are no whole tile, and
    /// approximations may leave some.
    [[nodiscard]] std::uint64_t kept() const override;
    [[nodiscard]] std::uint64_t bytes() const override;
    void follow(const Optimizer& optimizer) override;
    /// Refreshes the masks or recompresses, and switches to dense behind the last sparse step, if there are
    /// dense ones; a Program recorded before that goes on as it was recorded. Masked decay goes on too until
    /// the optimizer is told.
    void after_step(Recorder& recorder, std::uint64_t step) override;
    void add_to(SafetensorsWriter& writer, const std::string& name) const override;
    [[nodiscard]] std::function<void(Recorder&)> read_from(Stream& stream, const SafetensorsFile& file,
                                                           const std::string& name) const override;

    /// Of the factors, in the order of parameters(): masks, what is compressed.
    [[nodiscard]] const std::vector<SparseWeight24>& weights() const noexcept { return weights_; }
    /// Whether multiplies go through the masks, of all factors; switching on compresses.
    [[nodiscard]] bool sparse() const noexcept { return weights_[0].sparse(); }
    void set_sparse(Recorder& recorder, bool sparse);
    /// Waits. Over the entries of all factors, those of the masks that the last refresh changed.
    [[nodiscard]] double flip_rate(Stream& stream) const;
    [[nodiscard]] const SparseSchedule& schedule() const noexcept { return schedule_; }

protected:
    Linear24(Recorder& recorder, std::uint64_t in, std::uint64_t out, const SparseLinear24Options& sparse,
             const LinearOptions& options, std::initializer_list<Weight> weights);
    [[nodiscard]] std::string overlapped(const Tensor& tensor) const override;
    /// Weight number `i` with the random numbers of a draw.
    [[nodiscard]] SparseWeight24 drawn(std::size_t i, const BackwardOptions& options) const;

    std::vector<SparseWeight24> weights_;

private:
    [[nodiscard]] std::string weight_name(const std::string& name, std::size_t i) const;
    [[nodiscard]] std::string mask_name(const std::string& name, std::size_t i) const;

    SparseSchedule schedule_;
};

/// W = M∘master: dx = dz·(M∘W), and dW, dense, from dZᵀ pruned without bias. Files hold "NAME.weight",
/// "NAME.mask" and "NAME.bias".
class DANAUS_EXPORT SparseLinear24 final : public Linear24 {
public:
    SparseLinear24(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                   const SparseLinear24Options& sparse = {}, const LinearOptions& options = {});

    [[nodiscard]] SparseWeight24& weight() noexcept { return weights_[0]; }
    [[nodiscard]] const SparseWeight24& weight() const noexcept { return weights_[0]; }

protected:
    void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                  Tensor* inner) const override;
    void differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                       const BackwardOptions& options) const override;
};

/// W a Monarch matrix of `blocks` blocks whose two factors are 2:4 within their blocks: shapes, names and
/// padding as of a MonarchLinear, and "NAME.blkdiag1.mask", "NAME.blkdiag2.mask". dx is that of the pruned
/// matrix; gradients are of both whole factors, with t and dt of the pruned ones (sparse_monarch.hpp), as if
/// nothing were masked. With weight.prune_gradient dw2 comes from dZᵀ and dw1 from dtᵀ pruned without bias,
/// block by block. When it turns dense it multiplies as a MonarchLinear. Places that only padding reaches
/// begin at zero, so that masks keep others where they can; kept(), bytes() and flip_rate() count them.
class DANAUS_EXPORT SparseMonarchLinear24 final : public Linear24 {
public:
    SparseMonarchLinear24(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t blocks,
                          const SparseLinear24Options& sparse = {}, const LinearOptions& options = {});

    /// As forward multiplies by it while it is sparse; where x is padded, of the padded sizes. Null when not.
    [[nodiscard]] SparseMonarch24 weight() const;

protected:
    [[nodiscard]] std::uint64_t inner_features() const override;
    void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                  Tensor* inner) const override;
    void differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                       const BackwardOptions& options) const override;

private:
    /// The factors as they are without masks, in the layer's type.
    [[nodiscard]] Monarch whole(Recorder& recorder) const;
    void differentiate_pruned(Recorder& recorder, const MonarchGradients& out, const Tensor& dz,
                              const Tensor& x, const Saved& saved, const BackwardOptions& options) const;
};

}  // namespace danaus
