// Linear layers, y = act(x·Wᵀ + b), for several structures of W: parameters, gradients, files. Those of 2:4
// weights are in sparse_linear.hpp.
//
// All answer alike, so that a training loop need not ask which is which:
//
//   SparseLinear24 hidden(stream, 784, 512, {.schedule = {.steps = steps}}, {.seed = 1});
//   DenseLinear last(stream, 512, 10, {.seed = 2});
//   std::vector<Parameter> parameters;
//   for (Linear* layer : {static_cast<Linear*>(&hidden), static_cast<Linear*>(&last)})
//       for (const Parameter& parameter : layer->parameters()) parameters.push_back(parameter);
//   Optimizer optimizer(stream, parameters, AdamWOptions{});
//   hidden.follow(optimizer), last.follow(optimizer);
//   for (std::uint64_t step = 0; step < steps; ++step) {
//       Linear::Saved first, second;  // of every forward pass that is in flight
//       Tensor h = hidden.forward(stream, x, {.activation = Activation::relu}, &first);
//       Tensor logits = last.forward(stream, h, {}, &second);
//       Tensor dlogits = softmax_cross_entropy(stream, metrics, logits, labels);
//       hidden.backward_into(stream, {}, last.backward(stream, dlogits, second), first);  // without dx
//       optimizer.step(stream);
//       hidden.after_step(stream, step), last.after_step(stream, step);
//   }
#pragma once

#include <danaus/monarch.hpp>
#include <danaus/optimizer.hpp>
#include <danaus/safetensors.hpp>

#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace danaus {

/// How wide the first weights are drawn: uniform in ±gain · c / √n, n the inputs of one output of the factor
/// they belong to; of two factors each takes √gain.
enum class Initialization : std::uint32_t {
    fan_in,  ///< c = 1, as most training code does: outputs have a third of the inputs' variance a factor
    unit_variance,  ///< c = √3: outputs of independent inputs have the inputs' variance, times gain², but for
                    ///< what masks drop and what padded blocks lack
};

/// The first values are drawn by the counter-based generator (random.hpp), the same on every device: weights
/// as `initialization` says, the bias in ±1 / √in. They use the stream `seed` from its first block on, one
/// after the other.
struct LinearOptions {
    bool bias = true;
    DataType type = DataType::f32;      ///< of x, y and the weights as multiplied; masters and bias are f32
    DataType gradient = DataType::f32;  ///< of the weights' gradients: f32 or `type`
    std::uint64_t seed = 0;             ///< another for every layer
    float gain = 1.0f;
    Initialization initialization = Initialization::fan_in;
    bool zero_bias = false;  ///< the bias begins with zeros; it takes none of the stream then
};

/// How backward passes write the parameters' gradients.
struct BackwardOptions {
    bool accumulate = false;  ///< += …: for micro-batches after the first one of a step
    /// Of pruned gradients (sparse_linear.hpp): which of many random draws, below 2²⁴; another for every
    /// micro-batch of a step, of whatever size.
    std::uint64_t draw = 0;
};

/// One layer with out × in weights. It holds parameters and nothing of a pass: what backward needs of a
/// forward pass is in a Saved of the caller's, so that any number of passes may be in flight, on any
/// recorder, and a Program can hold both passes. Not copied, for an optimizer updates the one set of
/// parameters. Used by one thread at a time. Errors name the argument and what it should be; nothing is
/// recorded then.
class DANAUS_EXPORT Linear {
public:
    /// What backward needs of one forward pass. It shares memory with x and with the tensors that the
    /// recorder allocated (a Program's are the Program's): they must hold what they held.
    struct Saved {
        Tensor x{};      ///< the input itself
        Tensor aux{};    ///< z = scale · x·Wᵀ + b, if an activation follows
        Tensor inner{};  ///< of two factors: what lies between them
        Activation activation = Activation::none;
        float scale = 1.0f;
    };

    virtual ~Linear();
    Linear(const Linear&) = delete;
    Linear& operator=(const Linear&) = delete;

    [[nodiscard]] std::uint64_t in() const noexcept { return in_; }
    [[nodiscard]] std::uint64_t out() const noexcept { return out_; }
    [[nodiscard]] DataType type() const noexcept { return type_; }
    [[nodiscard]] bool has_bias() const noexcept { return bias_; }
    /// The weights, then the bias, if there is one: what an optimizer takes.
    [[nodiscard]] const std::vector<Parameter>& parameters() const noexcept { return parameters_; }
    /// Weights that forward multiplies by as it is now, and their bytes in the type that it multiplies;
    /// without the bias.
    [[nodiscard]] virtual std::uint64_t kept() const;
    [[nodiscard]] virtual std::uint64_t bytes() const;

    /// y = act(scale · x·Wᵀ + b) + residual.  x (…, tokens, in) → y (…, tokens, out), as matmul (matmul.hpp)
    /// does it with every field of `epilogue` but the bias, which is the layer's and must be null there. When
    /// `saved` is given it receives what backward needs; aux is allocated if an activation needs it and the
    /// epilogue has none.
    [[nodiscard]] Tensor forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue = {},
                                 Saved* saved = nullptr) const;
    void forward_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue = {},
                      Saved* saved = nullptr) const;

    /// From dy, of the shape of y and in any memory order, of the layer's type or f32 (with an activation: of
    /// the type of y): dz = dy ∘ act'(z), db = Σ dz, dW = scale · dzᵀ·x into the gradients of parameters(),
    /// and dx = scale · dz·W, which lies in memory as x does. A residual's gradient is dy itself.
    [[nodiscard]] Tensor backward(Recorder& recorder, const Tensor& dy, const Saved& saved,
                                  const BackwardOptions& options = {}) const;
    /// dx into memory that overlaps none of dy and `saved`; null: dx is not computed.
    void backward_into(Recorder& recorder, const Tensor& dx, const Tensor& dy, const Saved& saved,
                       const BackwardOptions& options = {}) const;

    /// The random numbers of gradients recorded from now on change with every step of `optimizer`. Without it
    /// every step draws the same ones.
    virtual void follow(const Optimizer& optimizer);
    /// What comes behind the optimizer's step `step`, counted from 0: the compressed form follows the
    /// weights, masks change, sparse layers become dense. Nothing for structures that have no more than
    /// weights. λ of masked decay is the optimizer's and stays on until it is told: set_masked_decay(…, 0).
    virtual void after_step(Recorder& recorder, std::uint64_t step);

    /// Adds masters, "NAME.weight" and "NAME.bias". Throws Error(invalid_argument) for names added before.
    virtual void add_to(SafetensorsWriter& writer, const std::string& name) const;
    /// Reads what add_to() wrote, or the same in f16 or bf16, into masters and everything that follows from
    /// them. Whether a 2:4 layer is sparse is no part of it: see Linear24. Throws
    /// Error(invalid_argument) when a tensor is missing, of another type or shape, or not finite, and
    /// Error(file) when the file cannot be read; then nothing has changed.
    void load_from(Stream& stream, const SafetensorsFile& file, const std::string& name) const;
    /// The first half of load_from(): reads and checks. The result, called once while the layer lives,
    /// writes. For several layers that are to be loaded all or none.
    [[nodiscard]] virtual std::function<void(Recorder&)> read_from(Stream& stream,
                                                                   const SafetensorsFile& file,
                                                                   const std::string& name) const;

protected:
    struct Weight {
        const char* name;    ///< in files
        Shape shape;         ///< the last size is the inputs of one output
        bool copied = true;  ///< has a working copy in the layer's type
    };
    Linear(Recorder& recorder, std::uint64_t in, std::uint64_t out, const LinearOptions& options,
           std::initializer_list<Weight> weights);

    // What a structure adds. Operands are checked.
    /// Features between two factors, Saved::inner's; 0: there is nothing between.
    [[nodiscard]] virtual std::uint64_t inner_features() const;
    /// What of the layer's memory may share an element with `tensor`, by name; empty: nothing.
    [[nodiscard]] virtual std::string overlapped(const Tensor& tensor) const;
    /// The forward product; `inner`, when given, receives Saved::inner.
    virtual void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                          Tensor* inner) const = 0;
    /// The weights' gradients, and dx unless it is null, from dz of the layer's type.
    virtual void differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                               const BackwardOptions& options) const = 0;

    /// add_to() and read_from() of the parameters from number `first` on.
    void add_parameters(SafetensorsWriter& writer, const std::string& name, std::size_t first) const;
    [[nodiscard]] std::function<void(Recorder&)> read_parameters(Stream& stream, const SafetensorsFile& file,
                                                                 const std::string& name,
                                                                 std::size_t first) const;

    std::vector<Parameter> parameters_;
    std::vector<std::string> names_;  ///< of the parameters

private:
    friend class FeedForward;
    // What passes ask before they record anything, and what they call it in messages.
    using Read = std::pair<const char*, const Tensor*>;
    void check_input(const Recorder& recorder, const char* name, const Tensor& x) const;
    void check_result(const Recorder& recorder, const Tensor& out, const Tensor& x,
                      const Epilogue& epilogue) const;
    void check_saved(const Recorder& recorder, const std::string& name, const Saved& saved) const;
    void check_output_gradient(const Recorder& recorder, const Tensor& dy, const Saved& saved,
                               const BackwardOptions& options) const;
    /// Writes into `tensor` do not reach the layer's memory.
    void check_apart(const char* name, const Tensor& tensor, const char* owner) const;
    /// A backward pass reads what was there: neither dx nor gradients lie where `reads` do.
    void check_memory(const char* owner, const Tensor& dx, std::span<const Read> reads) const;

    std::uint64_t in_, out_;
    DataType type_;
    bool bias_;
};

/// W (out, in), dense.
class DANAUS_EXPORT DenseLinear final : public Linear {
public:
    DenseLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out, const LinearOptions& options = {});

protected:
    void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                  Tensor* inner) const override;
    void differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                       const BackwardOptions& options) const override;
};

/// W of `blocks` blocks (blocks, out / blocks, in / blocks) on its diagonal. `blocks` divides both.
class DANAUS_EXPORT BlockDiagonalLinear final : public Linear {
public:
    BlockDiagonalLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t blocks,
                        const LinearOptions& options = {});
    /// As forward multiplies by it.
    [[nodiscard]] BlockDiagonal weight() const;

protected:
    void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                  Tensor* inner) const override;
    void differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                       const BackwardOptions& options) const override;
};

/// W a Monarch matrix with as many blocks in both factors, of the shapes, names and order of the checkpoints
/// that the paper's authors published: with p = ⌈in / blocks⌉, s = ⌈out / blocks⌉ and q = min(p, s),
/// "NAME.blkdiag1" (blocks, q, p), which comes first, "NAME.blkdiag2" (blocks, s, q), and "NAME.bias" (out).
/// Where `blocks` does not divide in or out, x is padded with zeros and the product cut before the bias:
/// copies that dividing sizes do without. Initialization::fan_in is that of
/// their weights.
class DANAUS_EXPORT MonarchLinear final : public Linear {
public:
    MonarchLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t blocks,
                  const LinearOptions& options = {});
    /// As forward multiplies by it; where x is padded, of the padded sizes.
    [[nodiscard]] Monarch weight() const;

protected:
    [[nodiscard]] std::uint64_t inner_features() const override;
    void multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                  Tensor* inner) const override;
    void differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                       const BackwardOptions& options) const override;
};

}  // namespace danaus
