#include "model.hpp"

namespace sample {

using namespace danaus;

namespace {

constexpr std::uint64_t monarch_blocks = 4;

// Uniform with variance gain² / fan_in: √2 in front of a ReLU, 1 where nothing follows but another factor.
// The master of a row-wise 2:4 layer starts smaller (the customary ±1/√fan_in), so that gradients decide soon
// which entries are the largest. With transposable masks it starts as the dense layer does: flip rates are
// compared with those of a dense run.
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

// Dense and 2:4: a dense weight is one whose mask is off, so that its flips can be observed all the same.
class LinearLayer final : public Layer {
public:
    LinearLayer(Recorder& recorder, const Hidden& hidden, std::uint64_t in, std::uint64_t out,
                std::uint64_t seed) {
        const bool sparse = hidden.structure == Structure::sparse24;
        const float gain = sparse && !hidden.transposable ? sparse_gain : relu_gain;
        parameters = {uniform_parameter(recorder, {out, in}, in, seed, gain),
                      zero_parameter(recorder, {out})};
        SparseWeight24Options options;
        options.transposable = !sparse || hidden.transposable;
        options.prune_gradient = hidden.transposable;
        weight_ = SparseWeight24(recorder, parameters[0], options);
        weight_.set_sparse(recorder, sparse);
        if (hidden.transposable) parameters[0].masked_decay.mask = weight_.mask();
    }
    Tensor forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue) override {
        return weight_.matmul(recorder, x, epilogue);
    }
    Tensor multiply(Recorder& recorder, const Tensor& x) override { return weight_.matmul(recorder, x); }
    // Straight-through: the dense master takes the gradient as if nothing were masked.
    Tensor backward(Recorder& recorder, const Tensor& dz, const Tensor& x, bool want_dx) override {
        weight_.weight_gradient_into(recorder, parameters[0].gradient, dz, x);
        return want_dx ? weight_.matmul_transposed(recorder, dz) : Tensor();
    }
    [[nodiscard]] Size size() const override {
        const Tensor &dense = parameters[0].master, &bias = parameters[1].master;
        const Sparse24& kept = weight_.compressed();
        const std::uint64_t count = weight_.sparse() ? kept.values().elements() : dense.elements();
        const std::uint64_t bytes = weight_.sparse() ? kept.bytes() : count * 4;
        return {count + bias.elements(), bytes + bias.elements() * 4, count};
    }
    SparseWeight24* masked() override { return &weight_; }

private:
    SparseWeight24 weight_;
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
    [[nodiscard]] Size size() const override {
        const std::uint64_t count = parameters[0].master.elements() + parameters[1].master.elements();
        const std::uint64_t all = count + parameters[2].master.elements();
        return {all, all * 4, count};
    }

private:
    [[nodiscard]] Monarch weights() const { return {parameters[0].working, parameters[1].working}; }
    Tensor inner_;
};

}  // namespace

Size& Size::operator+=(const Size& other) {
    parameters += other.parameters;
    bytes += other.bytes;
    multiply_adds += other.multiply_adds;
    return *this;
}

std::unique_ptr<Layer> make_layer(Recorder& recorder, const Hidden& hidden, std::uint64_t in,
                                  std::uint64_t out, std::uint64_t seed) {
    if (hidden.structure == Structure::monarch)
        return std::make_unique<MonarchLayer>(recorder, in, out, seed);
    return std::make_unique<LinearLayer>(recorder, hidden, in, out, seed);
}

Model::Model(Recorder& recorder, const Hidden& hidden, std::uint64_t seed)
    : width_(hidden.width), seed_(seed) {
    layers_.push_back(make_layer(recorder, hidden, 784, width_, seed + 10));
    layers_.push_back(make_layer(recorder, hidden, width_, width_, seed + 20));
    layers_.push_back(make_layer(recorder, {}, width_, 10, seed + 30));
    for (std::size_t i = 0; i < hidden_layers; ++i)
        if (SparseWeight24* weight = layers_[i]->masked()) masked_.push_back(weight);
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
            epilogue.aux = empty(recorder, DataType::f32, {h.size(0), width_});
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

void Model::recompress(Recorder& recorder) const {
    for (const SparseWeight24* weight : masked_) weight->recompress(recorder);
}

void Model::refresh_masks(Recorder& recorder) const {
    for (const SparseWeight24* weight : masked_) weight->refresh(recorder);
}

double Model::flip_rate(Stream& stream) const {
    double flips = 0.0, entries = 0.0;
    for (const SparseWeight24* weight : masked_) {
        const auto count = static_cast<double>(weight->parameter().master.elements());
        flips += weight->flip_rate(stream) * count;
        entries += count;
    }
    return entries > 0.0 ? flips / entries : 0.0;
}

void Model::become_dense(Recorder& recorder) {
    for (SparseWeight24* weight : masked_) weight->set_sparse(recorder, false);
}

void Model::draw_by(const Tensor& step) {
    for (std::size_t i = 0; i < masked_.size(); ++i)
        masked_[i]->set_gradient({.seed = seed_ + 40 + 10 * i, .step = step});
}

std::vector<Parameter> Model::parameters() const {
    std::vector<Parameter> all;
    for (const auto& layer : layers_)
        all.insert(all.end(), layer->parameters.begin(), layer->parameters.end());
    return all;
}

Size Model::size() const {
    Size sum;
    for (const auto& layer : layers_) sum += layer->size();
    return sum;
}

std::uint64_t Model::hidden_parameters() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < hidden_layers; ++i) sum += layers_[i]->size().parameters;
    return sum;
}

}  // namespace sample
