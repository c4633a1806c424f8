// Layers that change their structure: weights are multiplied out or projected, moments follow them.
#include "check.hpp"
#include "monarch_padding.hpp"
#include "optimizer_checks.hpp"
#include "svd.hpp"
#include "two_factors.hpp"

#include <danaus/restructure.hpp>

#include <algorithm>
#include <cmath>

namespace danaus {

using detail::require;

namespace {

LinearOptions options_of(const Linear& layer) {
    return {
        .bias = layer.has_bias(), .type = layer.type(), .gradient = layer.parameters()[0].gradient.type()};
}

Monarch masters_of(const Linear& layer) {
    return {layer.parameters()[0].master, layer.parameters()[1].master};
}

// What multiplies go through, before it is rounded to the layer's type.
Monarch kept_of(Recorder& recorder, const SparseMonarchLinear24& layer) {
    const Monarch whole = masters_of(layer);
    if (!layer.sparse()) return whole;
    return {apply_mask(recorder, whole.w1, layer.weights()[0].mask()),
            apply_mask(recorder, whole.w2, layer.weights()[1].mask())};
}

void copy_bias(Recorder& recorder, const Linear& from, const Linear& to) {
    if (from.has_bias())
        convert_into(recorder, to.parameters().back().master, from.parameters().back().master);
    for (const Parameter& parameter : to.parameters()) refresh_working(recorder, parameter);
}

Tensor corner(const Tensor& t, std::uint64_t rows, std::uint64_t columns) {
    return t.slice(0, 0, rows).slice(1, 0, columns);
}

double mean_square(const std::vector<float>& values) {
    double sum = 0.0;
    for (const float value : values) sum += static_cast<double>(value) * static_cast<double>(value);
    return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

double mean(const std::vector<float>& values) {
    double sum = 0.0;
    for (const float value : values) sum += static_cast<double>(value);
    return values.empty() ? 0.0 : sum / static_cast<double>(values.size());
}

// out ← scale · (M(u1, w2) + M(w1, u2)), of the features that the layer has.
void tangent_into(Recorder& recorder, const Tensor& out, const Monarch& w, const Monarch& u, double scale) {
    const detail::TwoFactors first = detail::factors_of(recorder, Monarch(u.w1, w.w2)),
                             second = detail::factors_of(recorder, Monarch(w.w1, u.w2));
    const Tensor sum = empty(recorder, DataType::f32, {w.out_features(), w.in_features()});
    Epilogue epilogue{.scale = static_cast<float>(scale)};
    detail::dense_of_factors_into(recorder, sum, first, u.w1, epilogue);
    epilogue.accumulate = true;
    detail::dense_of_factors_into(recorder, sum, second, w.w1, epilogue);
    convert_into(recorder, out, corner(sum, out.size(0), out.size(1)));
}

// What moves the factors of one layer: moments of both, as the optimizer holds them.
struct Moments {
    const std::vector<Tensor>&first, &second;
};

struct AdamW {
    double epsilon;
    std::vector<float> corrections;  // 1 - β₁ᵗ, 1 - β₂ᵗ
};

void carry_adamw(Stream& stream, const std::vector<Tensor>& out, const Monarch& w, const Moments& from,
                 const AdamW& state) {
    const double c1 = static_cast<double>(state.corrections[0]),
                 c2 = static_cast<double>(state.corrections[1]);
    if (c1 == 0.0 || c2 == 0.0) return;  // no step yet
    const auto step = [&](const std::vector<Tensor>& moments) {
        std::vector<float> m = download(stream, moments[0]);
        const std::vector<float> v = download(stream, moments[1]);
        for (std::size_t i = 0; i < m.size(); ++i)
            m[i] = static_cast<float>(static_cast<double>(m[i]) / c1 /
                                      (std::sqrt(static_cast<double>(v[i]) / c2) + state.epsilon));
        return std::pair{upload(stream, m, moments[0].shape()), mean(v) / c2};
    };
    const auto [u1, v1] = step(from.first);
    const auto [u2, v2] = step(from.second);
    // Sums over the rows of w2 and over the columns of w1: l·s·r / (l·r) and k·q·p / (k·q) terms.
    const double inputs = static_cast<double>(w.w1.size(2)), outputs = static_cast<double>(w.w2.size(1));
    // Of dW's entries, from either factor's gradient; a factor that is zero tells nothing of its partner's.
    const double one = v1 / (mean_square(download(stream, w.w2)) * outputs),
                 other = v2 / (mean_square(download(stream, w.w1)) * inputs);
    const auto told = [](double square) { return std::isfinite(square) && square > 0.0; };
    if (!told(one) && !told(other)) return;
    const double v = told(one) && told(other) ? std::sqrt(one * other) : told(one) ? one : other;
    tangent_into(stream, out[0], w, Monarch(u1, u2), c1 * (std::sqrt(v) + state.epsilon));
    fill_into(stream, out[1], c2 * v);
}

void carry_lion(Stream& stream, const Tensor& out, const Monarch& w, const Moments& from) {
    const double inputs = static_cast<double>(w.w1.size(2)), outputs = static_cast<double>(w.w2.size(1));
    const double squares =
        mean_square(download(stream, w.w1)) * inputs + mean_square(download(stream, w.w2)) * outputs;
    if (squares > 0.0) tangent_into(stream, out, w, Monarch(from.first[0], from.second[0]), 1.0 / squares);
}

// Where the layer's first parameter is in the optimizer's list, in which all of them follow each other.
std::size_t place_of(const Optimizer& optimizer, const MonarchLinear& layer, std::size_t number) {
    const std::vector<Parameter>&all = optimizer.parameters(), &own = layer.parameters();
    const auto at = std::search(all.begin(), all.end(), own.begin(), own.end(), detail::same_master);
    require(at != all.end(),
            "layers[{}].from: its {} parameters are not in the optimizer, one after the other", number,
            own.size());
    return static_cast<std::size_t>(at - all.begin());
}

std::unique_ptr<DenseLinear> multiplied_out(Recorder& recorder, const Linear& layer, const Monarch& w) {
    auto dense = std::make_unique<DenseLinear>(recorder, layer.in(), layer.out(), options_of(layer));
    const Tensor whole = to_dense(recorder, w);
    convert_into(recorder, dense->parameters()[0].master, corner(whole, layer.out(), layer.in()));
    copy_bias(recorder, layer, *dense);
    return dense;
}

// The masters of `to`, which has the sizes of `layer`, become `w`.
void take_over(Recorder& recorder, const Linear& to, const Monarch& w, const Linear& layer) {
    convert_into(recorder, to.parameters()[0].master, w.w1);
    convert_into(recorder, to.parameters()[1].master, w.w2);
    copy_bias(recorder, layer, to);
}

}  // namespace

std::unique_ptr<DenseLinear> to_dense(Recorder& recorder, const MonarchLinear& layer) {
    return multiplied_out(recorder, layer, masters_of(layer));
}

std::unique_ptr<DenseLinear> to_dense(Recorder& recorder, const SparseMonarchLinear24& layer) {
    return multiplied_out(recorder, layer, kept_of(recorder, layer));
}

std::unique_ptr<MonarchLinear> to_monarch(Recorder& recorder, const SparseMonarchLinear24& layer) {
    const std::uint64_t blocks = layer.parameters()[0].master.size(0);
    auto monarch =
        std::make_unique<MonarchLinear>(recorder, layer.in(), layer.out(), blocks, options_of(layer));
    take_over(recorder, *monarch, kept_of(recorder, layer), layer);
    return monarch;
}

std::unique_ptr<SparseMonarchLinear24> to_sparse_monarch(Recorder& recorder, const MonarchLinear& layer,
                                                         const SparseLinear24Options& options) {
    const std::uint64_t blocks = layer.parameters()[0].master.size(0);
    auto sparse = std::make_unique<SparseMonarchLinear24>(recorder, layer.in(), layer.out(), blocks, options,
                                                          options_of(layer));
    take_over(recorder, *sparse, masters_of(layer), layer);
    detail::clear_padding(recorder, sparse->parameters(), layer.in(), layer.out());
    for (const SparseWeight24& weight : sparse->weights()) {
        weight.refresh(recorder);
        fill_into(recorder, weight.flips(), 0.0);  // from masks of weights that never were its own
    }
    return sparse;
}

std::unique_ptr<MonarchLinear> to_monarch(Recorder& recorder, const DenseLinear& layer, std::uint64_t blocks,
                                          const SvdOptions& options) {
    detail::check_svd_options(recorder, options);
    auto monarch =
        std::make_unique<MonarchLinear>(recorder, layer.in(), layer.out(), blocks, options_of(layer));
    const Monarch w = masters_of(*monarch);
    Tensor dense = layer.parameters()[0].master;
    if (w.in_features() != layer.in() || w.out_features() != layer.out()) {
        dense = empty(recorder, DataType::f32, {w.out_features(), w.in_features()});
        fill_into(recorder, dense, 0.0);
        convert_into(recorder, corner(dense, layer.out(), layer.in()), layer.parameters()[0].master);
    }
    project_into(recorder, w, {}, dense, options);
    copy_bias(recorder, layer, *monarch);
    return monarch;
}

Optimizer carry_over(Stream& stream, const Optimizer& optimizer, std::span<const Densified> layers) {
    std::vector<Parameter> parameters = optimizer.parameters();
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const auto& [from, to] = layers[i];
        require(from && to, "layers[{}]: a null layer", i);
        require(from->in() == to->in() && from->out() == to->out() && from->has_bias() == to->has_bias(),
                "layers[{}].to: {} to {} features{}, {} to {}{} are needed", i, to->in(), to->out(),
                to->has_bias() ? " and a bias" : "", from->in(), from->out(),
                from->has_bias() ? " and a bias" : "");
        places.push_back(place_of(optimizer, *from, i));
        for (std::size_t j = 0; j < i; ++j) {
            require(places[j] != places[i], "layers[{}].from: is layers[{}].from too", i, j);
            require(layers[j].to != to, "layers[{}].to: is layers[{}].to too", i, j);
        }
    }
    // From the back, so that places in front stay.
    std::vector<std::size_t> order(layers.size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return places[a] > places[b]; });
    for (const std::size_t i : order) {
        const auto begin = parameters.begin() + static_cast<std::ptrdiff_t>(places[i]);
        const std::vector<Parameter>& next = layers[i].to->parameters();
        parameters.erase(begin, begin + static_cast<std::ptrdiff_t>(layers[i].from->parameters().size()));
        parameters.insert(parameters.begin() + static_cast<std::ptrdiff_t>(places[i]), next.begin(),
                          next.end());
    }
    const Optimizer next = optimizer.with_parameters(stream, parameters);
    for (std::size_t i = 0; i < layers.size(); ++i) {
        const auto& [from, to] = layers[i];
        std::size_t place = places[i];
        for (std::size_t j = 0; j < layers.size(); ++j) place -= std::size_t{places[j] < places[i]};
        const std::vector<std::vector<Tensor>>& old = optimizer.moments();
        const std::vector<Tensor>& out = next.moments()[place];
        const Moments moments{old[places[i]], old[places[i] + 1]};
        const Monarch w = masters_of(*from);
        if (out.empty()) continue;  // SGD without momentum
        if (const auto* adamw = std::get_if<AdamWOptions>(&optimizer.method()))
            carry_adamw(
                stream, out, w, moments,
                {static_cast<double>(adamw->epsilon), download(stream, optimizer.bias_corrections())});
        else if (std::holds_alternative<LionOptions>(optimizer.method()))
            carry_lion(stream, out[0], w, moments);
        else
            tangent_into(stream, out[0], w, Monarch(moments.first[0], moments.second[0]), 1.0);
        if (!from->has_bias()) continue;
        for (std::size_t k = 0; k < out.size(); ++k)
            convert_into(stream, next.moments()[place + 1][k], old[places[i] + 2][k]);
    }
    return next;
}

}  // namespace danaus
