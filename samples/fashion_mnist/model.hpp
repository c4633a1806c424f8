// A classifier 784-512-512-10 whose two hidden layers are dense, Monarch or 2:4; the last layer is dense.
#pragma once

#include <danaus/danaus.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sample {

enum class Structure { dense, monarch, sparse24 };
const char* to_string(Structure structure);

/// y = activation(x·Wᵀ + b) for one structure of W, with what its backward needs from its forward.
class Layer {
public:
    virtual ~Layer() = default;

    /// What follows the weights only now and then: the mask of a 2:4 layer.
    virtual void refresh_mask(danaus::Recorder&) {}
    virtual danaus::Tensor forward(danaus::Recorder& recorder, const danaus::Tensor& x,
                                   const danaus::Epilogue& epilogue) = 0;
    /// x·Wᵀ alone, with the weights as the last forward left them: what a benchmark times.
    virtual danaus::Tensor multiply(danaus::Recorder& recorder, const danaus::Tensor& x) = 0;
    /// Gradients of the weights from dz and x into the parameters, and dx when asked for.
    virtual danaus::Tensor backward(danaus::Recorder& recorder, const danaus::Tensor& dz,
                                    const danaus::Tensor& x, bool want_dx) = 0;

    std::vector<danaus::Parameter> parameters;  // weights, then the bias
    std::uint64_t kept = 0;                     // parameters that the forward multiply uses, without the bias
    std::uint64_t weight_bytes = 0;             // of them as the multiply reads them
    std::uint64_t multiply_adds = 0;            // per image, forward
};

/// Weights drawn uniformly with a variance that keeps the activations', by the counter-based generator: the
/// same on every device.
std::unique_ptr<Layer> make_layer(danaus::Recorder& recorder, Structure structure, std::uint64_t in,
                                  std::uint64_t out, std::uint64_t seed);

class Model {
public:
    Model(danaus::Recorder& recorder, Structure hidden, std::uint64_t seed);

    /// Logits of a batch (tokens, 784).
    danaus::Tensor forward(danaus::Recorder& recorder, const danaus::Tensor& x);
    /// The backward of the last forward, from the gradient of its logits.
    void backward(danaus::Recorder& recorder, const danaus::Tensor& dlogits);
    void refresh_masks(danaus::Recorder& recorder);

    [[nodiscard]] std::vector<danaus::Parameter> parameters() const;
    [[nodiscard]] std::uint64_t kept_parameters() const;
    [[nodiscard]] std::uint64_t hidden_parameters() const;
    [[nodiscard]] std::uint64_t multiply_adds() const;
    [[nodiscard]] std::uint64_t weight_bytes() const;

private:
    static constexpr std::size_t hidden_layers = 2;
    std::vector<std::unique_ptr<Layer>> layers_;
    std::vector<danaus::Tensor> inputs_, pre_activations_;
};

}  // namespace sample
