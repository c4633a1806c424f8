// Feed-forward layers: which layer's pass comes when.
#include "factor.hpp"
#include "linear_checks.hpp"

#include <danaus/feed_forward.hpp>

namespace danaus {

using detail::require;

namespace {

const Gate* gate_of(const FeedForwardOptions& options) {
    return std::get_if<Gate>(&options.activation);
}

}  // namespace

FeedForward::FeedForward(std::shared_ptr<Linear> up, std::shared_ptr<Linear> down,
                         const FeedForwardOptions& options)
    : up_(std::move(up)), down_(std::move(down)), options_(options) {
    require(up_ && down_, "{}: a null layer", up_ ? "down" : "up");
    require(up_ != down_, "down: the same layer as up, another one is needed");
    const Gate* gate = gate_of(options_);
    require(!gate || *gate <= Gate::reglu, "activation: gate {} is none of the known ones",
            gate ? static_cast<std::uint32_t>(*gate) : 0);
    const Activation* plain = std::get_if<Activation>(&options_.activation);
    require(!plain || *plain <= Activation::gelu_erf, "activation: {} is none of the known ones",
            plain ? static_cast<std::uint32_t>(*plain) : 0);
    require(options_.order == Order::token_major || options_.order == Order::feature_major,
            "order: {} is none of the known ones", static_cast<std::uint32_t>(options_.order));
    require(up_->type() == down_->type(), "down: of type {}, up is of {}", to_string(down_->type()),
            to_string(up_->type()));
    const std::uint64_t needed = gate ? 2 * down_->in() : down_->in();
    require(up_->out() == needed, "up: {} features, {} are needed, {} the {} that down takes", up_->out(),
            needed, gate ? "twice" : "just", down_->in());
}

std::vector<Parameter> FeedForward::parameters() const {
    std::vector<Parameter> both = up_->parameters();
    both.insert(both.end(), down_->parameters().begin(), down_->parameters().end());
    return both;
}

Tensor FeedForward::forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue,
                            Saved* saved) const {
    detail::check_activations(recorder, "x", x, in(), "up", up_->type());
    const Tensor out =
        detail::new_result(recorder, detail::with_features(x, down_->out()), down_->type(), epilogue);
    forward_into(recorder, out, x, epilogue, saved);
    return out;
}

void FeedForward::forward_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                               const Epilogue& epilogue, Saved* saved) const {
    // What the second layer would refuse after the first one was recorded.
    detail::check_activations(recorder, "x", x, in(), "up", up_->type());
    down_->check_result(recorder, out, x, epilogue);
    if (saved) detail::require_disjoint("out", out, "x", x);
    detail::require_disjoint("aux", epilogue.aux, "x", x);
    for (const auto& [owner, layer] : {std::pair{"up's", up_.get()}, std::pair{"down's", down_.get()}}) {
        layer->check_apart("out", out, owner);
        layer->check_apart("aux", epilogue.aux, owner);
    }
    Saved next;
    Epilogue hidden{.order = options_.order};
    const Gate* gate = gate_of(options_);
    if (!gate) hidden.activation = std::get<Activation>(options_.activation);
    Tensor a = up_->forward(recorder, x, hidden, saved ? &next.up : nullptr);
    if (gate) {
        next.xg = a;
        a = gated_activation(recorder, a, *gate);
    }
    down_->forward_into(recorder, out, a, epilogue, saved ? &next.down : nullptr);
    if (saved) *saved = std::move(next);
}

Tensor FeedForward::backward(Recorder& recorder, const Tensor& dy, const Saved& saved,
                             const BackwardOptions& options) const {
    detail::check_activations(recorder, "saved.up.x", saved.up.x, in(), "up", up_->type());
    const Tensor dx = detail::empty_like(recorder, saved.up.x, up_->type(), saved.up.x.shape());
    backward_into(recorder, dx, dy, saved, options);
    return dx;
}

void FeedForward::backward_into(Recorder& recorder, const Tensor& dx, const Tensor& dy, const Saved& saved,
                                const BackwardOptions& options) const {
    detail::check_activations(recorder, "saved.up.x", saved.up.x, in(), "up", up_->type());
    const Gate* gate = gate_of(options_);
    // What the second one of the passes would refuse after the first one was recorded, and what neither
    // knows.
    up_->check_saved(recorder, "saved.up", saved.up);
    down_->check_saved(recorder, "saved.down", saved.down);
    detail::require_shape("saved.down.x", saved.down.x, detail::with_features(saved.up.x, down_->in()));
    if (saved.up.activation != Activation::none)
        detail::require_type("saved.up.aux", saved.up.aux, up_->type());
    if (gate) {
        detail::require_tensor(recorder, "saved.xg", saved.xg);
        detail::require_shape("saved.xg", saved.xg, detail::with_features(saved.up.x, up_->out()));
        detail::require_type("saved.xg", saved.xg, up_->type());
    }
    down_->check_output_gradient(recorder, dy, saved.down, options);
    if (dx) detail::require_result(recorder, "dx", dx, saved.up.x.shape(), up_->type());
    const Linear::Read reads[] = {{"dy", &dy},
                                  {"saved.up.x", &saved.up.x},
                                  {"saved.up.aux", &saved.up.aux},
                                  {"saved.up.inner", &saved.up.inner},
                                  {"saved.xg", &saved.xg},
                                  {"saved.down.x", &saved.down.x},
                                  {"saved.down.aux", &saved.down.aux},
                                  {"saved.down.inner", &saved.down.inner}};
    up_->check_memory("up's", dx, reads);
    down_->check_memory("down's", dx, reads);
    Tensor dh = down_->backward(recorder, dy, saved.down, options);
    if (gate) dh = gated_activation_backward(recorder, dh, saved.xg, *gate);
    up_->backward_into(recorder, dx, dh, saved.up, options);
}

void FeedForward::follow(const Optimizer& optimizer) const {
    up_->follow(optimizer);
    down_->follow(optimizer);
}

void FeedForward::after_step(Recorder& recorder, std::uint64_t step) const {
    up_->after_step(recorder, step);
    down_->after_step(recorder, step);
}

void FeedForward::add_to(SafetensorsWriter& writer, const std::string& name) const {
    SafetensorsWriter both = writer;
    up_->add_to(both, name + ".up");
    down_->add_to(both, name + ".down");
    writer = std::move(both);
}

std::function<void(Recorder&)> FeedForward::read_from(Stream& stream, const SafetensorsFile& file,
                                                      const std::string& name) const {
    return [up = up_->read_from(stream, file, name + ".up"),
            down = down_->read_from(stream, file, name + ".down")](Recorder& recorder) {
        up(recorder);
        down(recorder);
    };
}

void FeedForward::load_from(Stream& stream, const SafetensorsFile& file, const std::string& name) const {
    read_from(stream, file, name)(stream);
}

}  // namespace danaus
