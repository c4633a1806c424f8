// A classifier 784-n-n-10 whose two hidden layers are dense, Monarch or 2:4; the last layer is dense.
#pragma once

#include <danaus/danaus.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace sample {

enum class Structure { dense, monarch, sparse24 };

struct Hidden {
    Structure structure = Structure::dense;
    std::uint64_t width = 512;
    /// Of 2:4 layers: masks that are 2:4 along both axes, weight gradients from a dZ pruned without bias, and
    /// room for masked decay. Else masks along rows, and straight-through gradients of all of dZ.
    bool transposable = false;
};

/// Of two dense hidden layers, with biases: what the others are compared with.
constexpr std::uint64_t dense_hidden_parameters(std::uint64_t width) {
    return (784 + 1) * width + (width + 1) * width;
}

/// What a layer's or a network's multiplies read, as it is now.
struct Size {
    std::uint64_t parameters = 0;     // kept, with biases
    std::uint64_t bytes = 0;          // of them as they are stored
    std::uint64_t multiply_adds = 0;  // per image, forward

    Size& operator+=(const Size& other);
};

/// y = activation(x·Wᵀ + b) for one structure of W, with what its backward needs from its forward.
class Layer {
public:
    virtual ~Layer() = default;

    virtual danaus::Tensor forward(danaus::Recorder& recorder, const danaus::Tensor& x,
                                   const danaus::Epilogue& epilogue) = 0;
    /// x·Wᵀ alone: what a benchmark times.
    virtual danaus::Tensor multiply(danaus::Recorder& recorder, const danaus::Tensor& x) = 0;
    /// Gradients of the weights from dz and x into the parameters, and dx when asked for.
    virtual danaus::Tensor backward(danaus::Recorder& recorder, const danaus::Tensor& dz,
                                    const danaus::Tensor& x, bool want_dx) = 0;
    [[nodiscard]] virtual Size size() const = 0;
    /// The weight with its mask; null for a structure that has none.
    virtual danaus::SparseWeight24* masked() { return nullptr; }

    std::vector<danaus::Parameter> parameters;  // weights, then the bias
};

/// Weights drawn uniformly with a variance that keeps the activations', by the counter-based generator: the
/// same on every device.
std::unique_ptr<Layer> make_layer(danaus::Recorder& recorder, const Hidden& hidden, std::uint64_t in,
                                  std::uint64_t out, std::uint64_t seed);

class Model {
public:
    Model(danaus::Recorder& recorder, const Hidden& hidden, std::uint64_t seed);

    /// Logits of a batch (tokens, 784).
    danaus::Tensor forward(danaus::Recorder& recorder, const danaus::Tensor& x);
    /// The backward of the last forward, from the gradient of its logits.
    void backward(danaus::Recorder& recorder, const danaus::Tensor& dlogits);

    /// Behind every update: compressed weights follow their masters.
    void recompress(danaus::Recorder& recorder) const;
    /// Behind some updates: masks too. Those of dense weights are only observed.
    void refresh_masks(danaus::Recorder& recorder) const;
    /// Share of the hidden weights whose place in the mask the last refresh changed. Waits.
    [[nodiscard]] double flip_rate(danaus::Stream& stream) const;
    [[nodiscard]] bool has_masks() const { return !masked_.empty(); }
    /// Masks off: the network is dense from the next recorded step on.
    void become_dense(danaus::Recorder& recorder);
    /// The random numbers of pruned gradients: other ones for every layer, and for every value of `step`.
    void draw_by(const danaus::Tensor& step);

    [[nodiscard]] std::vector<danaus::Parameter> parameters() const;
    [[nodiscard]] Size size() const;
    [[nodiscard]] std::uint64_t hidden_parameters() const;

private:
    static constexpr std::size_t hidden_layers = 2;
    std::uint64_t width_, seed_;
    std::vector<std::unique_ptr<Layer>> layers_;
    std::vector<danaus::SparseWeight24*> masked_;  // of the hidden layers
    std::vector<danaus::Tensor> inputs_, pre_activations_;
};

}  // namespace sample
