#include "model.hpp"

#include <utility>

namespace sample {

using namespace danaus;

namespace {

// Outputs have the inputs' variance times gain²: √2 in front of a ReLU. The master of a row-wise 2:4 layer
// starts smaller (the customary ±1/√fan_in), so that gradients decide soon which entries are the largest.
// With transposable masks it starts as the dense layer does: flip rates are compared with those of a dense
// run.
constexpr float relu_gain = 1.41421356f, sparse_gain = 0.57735027f;

}  // namespace

std::unique_ptr<Linear> make_layer(Recorder& recorder, const Hidden& hidden, std::uint64_t in,
                                   std::uint64_t out, std::uint64_t seed, const SparseSchedule& schedule,
                                   float decay) {
    const Structure structure = hidden.structure;
    const bool sparse = structure == Structure::sparse24 || structure == Structure::monarch_sparse24;
    LinearOptions options{.seed = seed,
                          .gain = sparse && !hidden.transposable ? sparse_gain : relu_gain,
                          .initialization = Initialization::unit_variance,
                          .zero_bias = true};
    SparseLinear24Options masks{.masked_decay = decay, .schedule = schedule};
    masks.weight.transposable = !sparse || hidden.transposable;
    masks.weight.prune_gradient = hidden.transposable;
    switch (structure) {
        case Structure::monarch:
            return std::make_unique<MonarchLinear>(recorder, in, out, monarch_blocks, options);
        case Structure::monarch_sparse24:
            return std::make_unique<SparseMonarchLinear24>(recorder, in, out, monarch_blocks, masks, options);
        case Structure::dense:
            if (!hidden.observed) return std::make_unique<DenseLinear>(recorder, in, out, options);
            masks.schedule.dense_fraction = 1.0;
            break;
        case Structure::sparse24:
            break;
    }
    return std::make_unique<SparseLinear24>(recorder, in, out, masks, options);
}

Model::Model(Recorder& recorder, const Hidden& hidden, std::uint64_t seed, const SparseSchedule& schedule,
             float decay) {
    layers_.push_back(make_layer(recorder, hidden, 784, hidden.width, seed + 10, schedule, decay));
    layers_.push_back(make_layer(recorder, hidden, hidden.width, hidden.width, seed + 20, schedule, decay));
    layers_.push_back(make_layer(recorder, {}, hidden.width, 10, seed + 30));
}

Tensor Model::forward(Recorder& recorder, const Tensor& x, Saved* saved) const {
    Tensor h = x;
    if (saved) saved->resize(layers_.size());
    for (std::size_t i = 0; i < layers_.size(); ++i)
        h = layers_[i]->forward(recorder, h,
                                {.activation = i < hidden_layers ? Activation::relu : Activation::none},
                                saved ? &(*saved)[i] : nullptr);
    return h;
}

void Model::backward(Recorder& recorder, const Tensor& dlogits, const Saved& saved) const {
    Tensor dy = dlogits;
    for (std::size_t i = layers_.size(); --i > 0;) dy = layers_[i]->backward(recorder, dy, saved[i]);
    layers_[0]->backward_into(recorder, {}, dy, saved[0]);
}

void Model::follow(const Optimizer& optimizer) const {
    for (const auto& layer : layers_) layer->follow(optimizer);
}

void Model::after_step(Recorder& recorder, std::uint64_t step) const {
    for (const auto& layer : layers_) layer->after_step(recorder, step);
}

Optimizer Model::become_dense(Stream& stream, const Optimizer& optimizer) {
    std::vector<std::unique_ptr<Linear>> replaced;  // until their moments are carried over
    std::vector<Densified> pairs;
    for (auto& layer : layers_) {
        const auto* monarch = dynamic_cast<const MonarchLinear*>(layer.get());
        if (!monarch) continue;
        auto dense = to_dense(stream, *monarch);
        pairs.push_back({monarch, dense.get()});
        replaced.push_back(std::exchange(layer, std::move(dense)));
    }
    return pairs.empty() ? optimizer : carry_over(stream, optimizer, pairs);
}

void Model::project(Recorder& recorder) {
    for (std::size_t i = 0; i < hidden_layers; ++i)
        layers_[i] = to_monarch(recorder, dynamic_cast<const DenseLinear&>(*layers_[i]), monarch_blocks);
}

std::vector<const Linear24*> Model::masked() const {
    std::vector<const Linear24*> found;
    for (const auto& layer : layers_)
        if (const auto* masked = dynamic_cast<const Linear24*>(layer.get())) found.push_back(masked);
    return found;
}

double Model::flip_rate(Stream& stream) const {
    double flips = 0.0, entries = 0.0;
    for (const Linear24* layer : masked())
        for (const SparseWeight24& weight : layer->weights()) {
            const auto count = static_cast<double>(weight.parameter().master.elements());
            flips += weight.flip_rate(stream) * count;
            entries += count;
        }
    return entries > 0.0 ? flips / entries : 0.0;
}

std::vector<Parameter> Model::parameters() const {
    std::vector<Parameter> all;
    for (const auto& layer : layers_)
        all.insert(all.end(), layer->parameters().begin(), layer->parameters().end());
    return all;
}

Size Model::size_of(std::size_t layers) const {
    Size sum;
    for (std::size_t i = 0; i < layers; ++i) {
        const Linear& layer = *layers_[i];
        sum.parameters += layer.kept() + layer.out();
        sum.bytes += layer.bytes() + layer.out() * sizeof(float);
        sum.multiply_adds += layer.kept();
    }
    return sum;
}

}  // namespace sample
