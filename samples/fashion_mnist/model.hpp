// A classifier 784-n-n-10 whose two hidden layers are dense, Monarch, 2:4 or both; the last layer is dense.
#pragma once

#include <danaus/danaus.hpp>

#include <cstdint>
#include <memory>
#include <vector>

namespace sample {

enum class Structure { dense, monarch, sparse24, monarch_sparse24 };

struct Hidden {
    Structure structure = Structure::dense;
    std::uint64_t width = 512;
    /// Of 2:4 layers: masks that are 2:4 along both axes, weight gradients from a dZ pruned without bias, and
    /// room for masked decay. Else masks along rows, and straight-through gradients of all of dZ.
    bool transposable = false;
    /// Of dense layers: transposable masks are chosen as if they were sparse, to see how they would flip.
    bool observed = false;
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
};

/// Blocks of Monarch layers.
inline constexpr std::uint64_t monarch_blocks = 4;

/// A layer as the network has them, with its first weights; `decay` is λ of what its masks leave out.
std::unique_ptr<danaus::Linear> make_layer(danaus::Recorder& recorder, const Hidden& hidden, std::uint64_t in,
                                           std::uint64_t out, std::uint64_t seed,
                                           const danaus::SparseSchedule& schedule = {}, float decay = 0.0f);

class Model {
public:
    Model(danaus::Recorder& recorder, const Hidden& hidden, std::uint64_t seed,
          const danaus::SparseSchedule& schedule, float decay);

    /// Of every layer.
    using Saved = std::vector<danaus::Linear::Saved>;
    /// Logits of a batch (tokens, 784).
    danaus::Tensor forward(danaus::Recorder& recorder, const danaus::Tensor& x, Saved* saved = nullptr) const;
    void backward(danaus::Recorder& recorder, const danaus::Tensor& dlogits, const Saved& saved) const;

    void follow(const danaus::Optimizer& optimizer) const;
    /// Behind every update; masks that change do so here, and 2:4 layers become dense.
    void after_step(danaus::Recorder& recorder, std::uint64_t step) const;
    /// Monarch hidden layers become dense ones that multiply by the same; returns the optimizer for those.
    [[nodiscard]] danaus::Optimizer become_dense(danaus::Stream& stream, const danaus::Optimizer& optimizer);
    /// Dense hidden layers become the nearest Monarch ones.
    void project(danaus::Recorder& recorder);

    /// Share of the hidden weights whose place in the mask the last refresh changed. Waits.
    [[nodiscard]] double flip_rate(danaus::Stream& stream) const;
    [[nodiscard]] bool has_masks() const { return !masked().empty(); }
    [[nodiscard]] std::vector<danaus::Parameter> parameters() const;
    [[nodiscard]] Size size() const { return size_of(layers_.size()); }
    [[nodiscard]] std::uint64_t hidden_parameters() const { return size_of(hidden_layers).parameters; }

private:
    static constexpr std::size_t hidden_layers = 2;
    [[nodiscard]] std::vector<const danaus::Linear24*> masked() const;
    /// Of the first `layers` layers.
    [[nodiscard]] Size size_of(std::size_t layers) const;

    std::vector<std::unique_ptr<danaus::Linear>> layers_;
};

}  // namespace sample
