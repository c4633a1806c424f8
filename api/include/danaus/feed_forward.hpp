// Feed-forward layers: two linear layers of any structure around a gated or plain activation.
//
//   gated   [v | g] = up(x), y = down(v ∘ act(g))
//           gates of gated.hpp: up makes 2h features, down takes h
//   plain   y = down(act(up(x)))
//           activations of matmul.hpp: up makes what down takes
//
// The FFN of 2:4 training (Hu et al., arXiv 2404.01847), d features and 2h hidden ones:
//
//   const SparseLinear24Options sparse{.masked_decay = 6e-5f, .schedule = {.steps = steps}};
//   FeedForward ffn(std::make_shared<SparseLinear24>(stream, d, 2 * h, sparse, LinearOptions{.seed = 1}),
//                   std::make_shared<SparseLinear24>(stream, h, d, sparse, LinearOptions{.seed = 2}));
//   Optimizer optimizer(stream, ffn.parameters(), AdamWOptions{});
//   ffn.follow(optimizer);
//   for (std::uint64_t step = 0; step < steps; ++step) {
//       if (step == sparse.schedule.dense_from()) optimizer.set_masked_decay(stream, 0.0f);
//       FeedForward::Saved saved;
//       Tensor y = ffn.forward(stream, x, {.residual = x}, &saved);
//       … dy from y …
//       Tensor dx = ffn.backward(stream, dy, saved);  // the residual adds dy to it
//       optimizer.step(stream);
//       ffn.after_step(stream, step);
//   }
#pragma once

#include <danaus/gated.hpp>
#include <danaus/linear.hpp>

#include <memory>
#include <variant>

namespace danaus {

struct FeedForwardOptions {
    std::variant<Gate, Activation> activation = Gate::swiglu;
    Order order = Order::token_major;  ///< in which hidden activations lie in memory, and their gradients
};

/// As Linear, it holds nothing of a pass, and records nothing when it refuses an argument. The layers may be
/// held elsewhere too. A layer that two of these share gets gradients from both: all backward passes of a
/// step but the first one accumulate, an optimizer takes its parameters once, and its after_step() is called
/// once a step.
class DANAUS_EXPORT FeedForward {
public:
    /// What backward needs of one forward pass.
    struct Saved {
        Linear::Saved up{}, down{};
        Tensor xg{};  ///< [v | g]; null in the plain form, where up has it
    };

    /// Throws Error(invalid_argument) for null layers, one layer in both places, layers of different types,
    /// or whose features do not fit.
    FeedForward(std::shared_ptr<Linear> up, std::shared_ptr<Linear> down,
                const FeedForwardOptions& options = {});

    [[nodiscard]] std::uint64_t in() const noexcept { return up_->in(); }
    [[nodiscard]] std::uint64_t out() const noexcept { return down_->out(); }
    [[nodiscard]] Linear& up() const noexcept { return *up_; }
    [[nodiscard]] Linear& down() const noexcept { return *down_; }
    [[nodiscard]] const FeedForwardOptions& options() const noexcept { return options_; }
    /// Of up, then of down.
    [[nodiscard]] std::vector<Parameter> parameters() const;
    [[nodiscard]] std::uint64_t kept() const { return up_->kept() + down_->kept(); }
    [[nodiscard]] std::uint64_t bytes() const { return up_->bytes() + down_->bytes(); }

    /// x (…, tokens, in) → y (…, tokens, out). `epilogue` is down's, as in Linear::forward. `out` may be x
    /// only without `saved`.
    [[nodiscard]] Tensor forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue = {},
                                 Saved* saved = nullptr) const;
    void forward_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue = {},
                      Saved* saved = nullptr) const;
    /// All gradients and dx, as Linear::backward; an epilogue's activation is heeded, a residual's gradient
    /// is dy itself.
    [[nodiscard]] Tensor backward(Recorder& recorder, const Tensor& dy, const Saved& saved,
                                  const BackwardOptions& options = {}) const;
    /// dx into memory that overlaps none of dy and `saved`; null: it is not computed.
    void backward_into(Recorder& recorder, const Tensor& dx, const Tensor& dy, const Saved& saved,
                       const BackwardOptions& options = {}) const;

    /// Both layers'; what Linear says of random numbers without follow(), and of λ behind after_step(), holds
    /// here too.
    void follow(const Optimizer& optimizer) const;
    void after_step(Recorder& recorder, std::uint64_t step) const;
    /// "NAME.up.weight" and so on, "NAME.down.…"; loading as in Linear: both layers or none.
    void add_to(SafetensorsWriter& writer, const std::string& name) const;
    void load_from(Stream& stream, const SafetensorsFile& file, const std::string& name) const;
    [[nodiscard]] std::function<void(Recorder&)> read_from(Stream& stream, const SafetensorsFile& file,
                                                           const std::string& name) const;

private:
    std::shared_ptr<Linear> up_, down_;
    FeedForwardOptions options_;
};

}  // namespace danaus
