#include "model.hpp"

namespace sample {

using namespace danaus;

const char* to_string(Structure structure) {
    switch (structure) {
        case Structure::dense:
            return "dense";
        case Structure::monarch:
            return "monarch";
        case Structure::sparse24:
            break;
    }
    return "sparse24";
}

namespace {

constexpr std::uint64_t monarch_blocks = 4;

// Uniform with variance gain² / fan_in: √2 in front of a ReLU, 1 where nothing follows but another factor.
// The master of a 2:4 layer starts smaller (the customary ±1/√fan_in), so that gradients decide soon which
// entries are the largest.
constexpr float relu_gain = 1.41421356f, sparse_gain = 0.57735027f;

Parameter uniform_parameter(Recorder& recorder, const Shape& shape, std::uint64_t fan_in, std::uint64_t seed,
                            float gain = relu_gain) {
    Parameter parameter = new_parameter(recorder.device(), shape);
    kaiming_uniform_into(recorder, parameter.master, fan_in, seed, 0, gain);
    return parameter;
}

Parameter zero_parameter(Recorder& recorder, const Shape& shape) {
    Parameter parameter = new_parameter(recorder.device(), shape);
    fill_into(recorder, parameter.master, 0.0);
    return parameter;
}

class DenseLayer final : public Layer {
public:
    DenseLayer(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t seed) {
        parameters = {uniform_parameter(recorder, {out, in}, in, seed), zero_parameter(recorder, {out})};
        kept = multiply_adds = in * out;
        weight_bytes = kept * 4;
    }
    Tensor forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue) override {
        return matmul(recorder, x, parameters[0].working, epilogue);
    }
    Tensor multiply(Recorder& recorder, const Tensor& x) override {
        return matmul(recorder, x, parameters[0].working);
    }
    Tensor backward(Recorder& recorder, const Tensor& dz, const Tensor& x, bool want_dx) override {
        weight_gradient_into(recorder, parameters[0].gradient, dz, x);
        return want_dx ? matmul_transposed(recorder, dz, parameters[0].working) : Tensor();
    }
};

class MonarchLayer final : public Layer {
public:
    // The shapes of published Monarch layers for in >= out.
    MonarchLayer(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t seed) {
        const std::uint64_t in_block = in / monarch_blocks, out_block = out / monarch_blocks;
        const Shape first{monarch_blocks, out_block, in_block}, second{monarch_blocks, out_block, out_block};
        parameters = {uniform_parameter(recorder, first, in_block, seed, 1.0f),
                      uniform_parameter(recorder, second, out_block, seed + 1),
                      zero_parameter(recorder, {out})};
        kept = multiply_adds = first.elements() + second.elements();
        weight_bytes = kept * 4;
    }
    Tensor forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue) override {
        return matmul(recorder, x, weights(), epilogue, &inner_);
    }
    Tensor multiply(Recorder& recorder, const Tensor& x) override { return matmul(recorder, x, weights()); }
    Tensor backward(Recorder& recorder, const Tensor& dz, const Tensor& x, bool want_dx) override {
        MonarchGradients out;
        out.dw = Monarch(parameters[0].gradient, parameters[1].gradient);
        if (want_dx) out.dx = empty(recorder, x.type(), x.shape());
        backward_into(recorder, out, dz, x, weights(), inner_);
        return out.dx;
    }

private:
    [[nodiscard]] Monarch weights() const { return {parameters[0].working, parameters[1].working}; }
    Tensor inner_;
};

class Sparse24Layer final : public Layer {
public:
    Sparse24Layer(Recorder& recorder, std::uint64_t in, std::uint64_t out, std::uint64_t seed)
        : compressed_(recorder.device(), DataType::f32, {out, in}),
          mask_(recorder.device(), DataType::u32, mask_shape({out, in})) {
        parameters = {uniform_parameter(recorder, {out, in}, in, seed, sparse_gain),
                      zero_parameter(recorder, {out})};
        kept = multiply_adds = compressed_.values().elements();
        weight_bytes = compressed_.bytes();
        select_mask_into(recorder, mask_, parameters[0].working);
    }
    void refresh_mask(Recorder& recorder) override {
        select_mask_into(recorder, mask_, parameters[0].working);
    }
    // The kept values follow the dense master at every step.
    Tensor forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue) override {
        compress_into(recorder, compressed_, parameters[0].working, mask_);
        return matmul(recorder, x, compressed_, epilogue);
    }
    Tensor multiply(Recorder& recorder, const Tensor& x) override { return matmul(recorder, x, compressed_); }
    // Straight-through: the dense master takes the gradient as if nothing were masked.
    Tensor backward(Recorder& recorder, const Tensor& dz, const Tensor& x, bool want_dx) override {
        weight_gradient_into(recorder, parameters[0].gradient, dz, x, compressed_);
        return want_dx ? matmul_transposed(recorder, dz, compressed_) : Tensor();
    }

private:
    Sparse24 compressed_;
    Tensor mask_;
};

}  // namespace

std::unique_ptr<Layer> make_layer(Recorder& recorder, Structure structure, std::uint64_t in,
                                  std::uint64_t out, std::uint64_t seed) {
    switch (structure) {
        case Structure::dense:
            return std::make_unique<DenseLayer>(recorder, in, out, seed);
        case Structure::monarch:
            return std::make_unique<MonarchLayer>(recorder, in, out, seed);
        case Structure::sparse24:
            break;
    }
    return std::make_unique<Sparse24Layer>(recorder, in, out, seed);
}

Model::Model(Recorder& recorder, Structure hidden, std::uint64_t seed) {
    layers_.push_back(make_layer(recorder, hidden, 784, 512, seed + 10));
    layers_.push_back(make_layer(recorder, hidden, 512, 512, seed + 20));
    layers_.push_back(make_layer(recorder, Structure::dense, 512, 10, seed + 30));
}

Tensor Model::forward(Recorder& recorder, const Tensor& x) {
    inputs_.clear();
    pre_activations_.clear();
    Tensor h = x;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        inputs_.push_back(h);
        Epilogue epilogue;
        epilogue.bias = layers_[i]->parameters.back().working;
        if (i < hidden_layers) {
            epilogue.activation = Activation::relu;
            epilogue.aux = empty(recorder, DataType::f32, {h.size(0), 512});
            pre_activations_.push_back(epilogue.aux);
        }
        h = layers_[i]->forward(recorder, h, epilogue);
    }
    return h;
}

void Model::backward(Recorder& recorder, const Tensor& dlogits) {
    Tensor dy = dlogits;
    for (std::size_t i = layers_.size(); i-- > 0;) {
        const bool hidden = i < hidden_layers;
        const Tensor dz = epilogue_backward(recorder, dy, hidden ? pre_activations_[i] : Tensor(),
                                            hidden ? Activation::relu : Activation::none,
                                            layers_[i]->parameters.back().gradient);
        dy = layers_[i]->backward(recorder, dz, inputs_[i], i > 0);
    }
}

void Model::refresh_masks(Recorder& recorder) {
    for (const auto& layer : layers_) layer->refresh_mask(recorder);
}

std::vector<Parameter> Model::parameters() const {
    std::vector<Parameter> all;
    for (const auto& layer : layers_)
        all.insert(all.end(), layer->parameters.begin(), layer->parameters.end());
    return all;
}

namespace {

std::uint64_t biases(const Layer& layer) {
    return layer.parameters.back().working.elements();
}

}  // namespace

std::uint64_t Model::kept_parameters() const {
    std::uint64_t sum = 0;
    for (const auto& layer : layers_) sum += layer->kept + biases(*layer);
    return sum;
}

std::uint64_t Model::hidden_parameters() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < hidden_layers; ++i) sum += layers_[i]->kept + biases(*layers_[i]);
    return sum;
}

std::uint64_t Model::multiply_adds() const {
    std::uint64_t sum = 0;
    for (const auto& layer : layers_) sum += layer->multiply_adds;
    return sum;
}

std::uint64_t Model::weight_bytes() const {
    std::uint64_t sum = 0;
    for (const auto& layer : layers_) sum += layer->weight_bytes + biases(*layer) * 4;
    return sum;
}

}  // namespace sample
