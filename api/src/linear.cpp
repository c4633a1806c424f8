// What linear layers of every structure share: parameters, the epilogue and its backward, files.
#include "factor.hpp"
#include "linear_checks.hpp"
#include "loading.hpp"
#include "optimizer_checks.hpp"

#include <danaus/linear.hpp>
#include <danaus/random.hpp>
#include <danaus/reduce.hpp>

#include <cmath>

namespace danaus {

using detail::require;

namespace {

void draw(Recorder& recorder, const Parameter& parameter, double bound, std::uint64_t seed,
          std::uint64_t& block) {
    const auto limit = static_cast<float>(bound);
    uniform_into(recorder, parameter.master, -limit, limit, seed, block);
    refresh_working(recorder, parameter);
    block += philox_blocks(parameter.master.elements());
}

// Of the shape and strides of `out`, as an epilogue's aux must be.
Tensor beside(Recorder& recorder, const Tensor& out) {
    return empty(recorder, out.type(), {out.span()}).as_strided(out.shape(), out.strides());
}

}  // namespace

Linear::Linear(Recorder& recorder, std::uint64_t in, std::uint64_t out, const LinearOptions& options,
               std::initializer_list<Weight> weights)
    : in_(in), out_(out), type_(options.type), bias_(options.bias) {
    require(in > 0 && out > 0, "in, out: {} and {}, at least 1 is needed", in, out);
    require(is_floating(type_), "type: {}, one of f32, f16, bf16 is needed", to_string(type_));
    require(options.gradient == DataType::f32 || options.gradient == type_,
            "gradient: {}, f32 or the layer's type {} is needed", to_string(options.gradient),
            to_string(type_));
    detail::require_nonnegative("gain", options.gain);
    const double gain =
        std::pow(static_cast<double>(options.gain), 1.0 / static_cast<double>(weights.size()));
    std::uint64_t block = 0;
    for (const Weight& weight : weights) {
        names_.emplace_back(weight.name);
        parameters_.push_back(new_parameter(recorder.device(), weight.shape, type_, options.gradient));
        const auto inputs = static_cast<double>(weight.shape[weight.shape.rank() - 1]);
        draw(recorder, parameters_.back(), gain / std::sqrt(inputs), options.seed, block);
    }
    if (!bias_) return;
    names_.emplace_back("bias");
    parameters_.push_back(new_parameter(recorder.device(), {out}));
    draw(recorder, parameters_.back(), 1.0 / std::sqrt(static_cast<double>(in)), options.seed, block);
}

Linear::~Linear() = default;

std::uint64_t Linear::kept() const {
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < parameters_.size() - bias_; ++i) sum += parameters_[i].master.elements();
    return sum;
}

std::uint64_t Linear::bytes() const {
    return kept() * size_of(type_);
}

void Linear::check_input(const Recorder& recorder, const char* name, const Tensor& x) const {
    detail::check_activations(recorder, name, x, in_, "the layer", type_);
}

Tensor Linear::forward(Recorder& recorder, const Tensor& x, const Epilogue& epilogue, Saved* saved) const {
    check_input(recorder, "x", x);
    const Tensor out = detail::new_result(recorder, detail::with_features(x, out_), type_, epilogue);
    forward_into(recorder, out, x, epilogue, saved);
    return out;
}

void Linear::forward_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                          Saved* saved) const {
    check_input(recorder, "x", x);
    detail::require_result(recorder, out, detail::with_features(x, out_), type_);
    detail::check_layer_epilogue(recorder, epilogue, out, type_);
    Epilogue own = epilogue;
    if (bias_) own.bias = parameters_.back().master;
    Saved next{x, {}, {}, epilogue.activation, epilogue.scale};
    if (saved && epilogue.activation != Activation::none) {
        if (!own.aux) own.aux = beside(recorder, out);
        next.aux = own.aux;
    }
    multiply(recorder, out, x, own, saved ? &next.inner : nullptr);
    if (saved) *saved = std::move(next);
}

Tensor Linear::backward(Recorder& recorder, const Tensor& dy, const Saved& saved,
                        const BackwardOptions& options) const {
    check_input(recorder, "saved.x", saved.x);
    const Tensor dx = detail::empty_like(recorder, saved.x, type_, saved.x.shape());
    backward_into(recorder, dx, dy, saved, options);
    return dx;
}

void Linear::backward_into(Recorder& recorder, const Tensor& dx, const Tensor& dy, const Saved& saved,
                           const BackwardOptions& options) const {
    check_input(recorder, "saved.x", saved.x);
    const Shape shape = detail::with_features(saved.x, out_);
    detail::require_tensor(recorder, "dy", dy);
    detail::require_shape("dy", dy, shape);
    require(dy.type() == type_ || dy.type() == DataType::f32,
            "dy: type {}, {} or f32 is needed; use convert()", to_string(dy.type()), to_string(type_));
    const bool active = saved.activation != Activation::none;
    if (active) {
        detail::require_tensor(recorder, "saved.aux", saved.aux);
        detail::require_shape("saved.aux", saved.aux, shape);
        detail::require_type("dy", dy, saved.aux.type());
    }
    detail::check_input_gradient(recorder, dx, dy, saved);
    Tensor dz = dy;
    if (active) {
        dz = detail::empty_like(recorder, dy, dy.type(), shape);
        epilogue_backward_into(recorder, dz, dy, saved.aux, saved.activation);
    }
    Tensor narrow = dz;
    if (dz.type() != type_) {
        narrow = detail::empty_like(recorder, dz, type_, shape);
        convert_into(recorder, narrow, dz);
    }
    differentiate(recorder, dx, narrow, saved, options);
    if (bias_)
        column_sums_into(recorder, parameters_.back().gradient, detail::as_rows(recorder, dz),
                         options.accumulate);
}

void Linear::follow(const Optimizer&) {}
void Linear::after_step(Recorder&, std::uint64_t) {}

void Linear::add_parameters(SafetensorsWriter& writer, const std::string& name, std::size_t first) const {
    for (std::size_t i = first; i < names_.size(); ++i)
        require(!writer.contains(name + '.' + names_[i]), "name: \"{}.{}\" was added before", name,
                names_[i]);
    for (std::size_t i = first; i < names_.size(); ++i)
        writer.add(name + '.' + names_[i], parameters_[i].master);
}

std::function<void(Recorder&)> Linear::read_parameters(Stream& stream, const SafetensorsFile& file,
                                                       const std::string& name, std::size_t first) const {
    std::vector<Tensor> masters;
    for (std::size_t i = first; i < names_.size(); ++i)
        masters.push_back(detail::read_like(stream, file, name + '.' + names_[i], parameters_[i].master));
    return [this, first, masters = std::move(masters)](Recorder& recorder) {
        for (std::size_t i = 0; i < masters.size(); ++i) {
            convert_into(recorder, parameters_[first + i].master, masters[i]);
            refresh_working(recorder, parameters_[first + i]);
        }
    };
}

void Linear::add_to(SafetensorsWriter& writer, const std::string& name) const {
    add_parameters(writer, name, 0);
}

std::function<void(Recorder&)> Linear::read_from(Stream& stream, const SafetensorsFile& file,
                                                 const std::string& name) const {
    return read_parameters(stream, file, name, 0);
}

void Linear::load_from(Stream& stream, const SafetensorsFile& file, const std::string& name) const {
    read_from(stream, file, name)(stream);
}

}  // namespace danaus
