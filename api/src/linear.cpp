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
    require(options.initialization <= Initialization::unit_variance,
            "initialization: {} is none of the known ones",
            static_cast<std::uint32_t>(options.initialization));
    const double width = options.initialization == Initialization::unit_variance ? std::sqrt(3.0) : 1.0;
    const double gain =
        std::pow(static_cast<double>(options.gain), 1.0 / static_cast<double>(weights.size()));
    std::uint64_t block = 0;
    for (const Weight& weight : weights) {
        names_.emplace_back(weight.name);
        const DataType working = weight.copied ? type_ : DataType::f32;
        parameters_.push_back(new_parameter(recorder.device(), weight.shape, working, options.gradient));
        const auto inputs = static_cast<double>(weight.shape[weight.shape.rank() - 1]);
        draw(recorder, parameters_.back(), width * gain / std::sqrt(inputs), options.seed, block);
    }
    if (!bias_) return;
    names_.emplace_back("bias");
    parameters_.push_back(new_parameter(recorder.device(), {out}));
    if (options.zero_bias)
        fill_into(recorder, parameters_.back().master, 0.0);
    else
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

void Linear::check_result(const Recorder& recorder, const Tensor& out, const Tensor& x,
                          const Epilogue& epilogue) const {
    detail::require_result(recorder, out, detail::with_features(x, out_), type_);
    detail::check_layer_epilogue(recorder, epilogue, out, type_);
}

void Linear::check_saved(const Recorder& recorder, const std::string& name, const Saved& saved) const {
    check_input(recorder, (name + ".x").c_str(), saved.x);
    require(saved.activation <= Activation::gelu_erf, "{}.activation: {} is none of the known ones", name,
            static_cast<std::uint32_t>(saved.activation));
    if (saved.activation != Activation::none) {
        const std::string aux = name + ".aux";
        detail::require_tensor(recorder, aux.c_str(), saved.aux);
        detail::require_shape(aux.c_str(), saved.aux, detail::with_features(saved.x, out_));
    }
    if (inner_features() == 0 || !saved.inner) return;
    const std::string inner = name + ".inner";
    detail::require_tensor(recorder, inner.c_str(), saved.inner);
    detail::require_shape(inner.c_str(), saved.inner, detail::with_features(saved.x, inner_features()));
    detail::require_type(inner.c_str(), saved.inner, type_);
}

void Linear::check_output_gradient(const Recorder& recorder, const Tensor& dy, const Saved& saved,
                                   const BackwardOptions& options) const {
    detail::require_tensor(recorder, "dy", dy);
    detail::require_shape("dy", dy, detail::with_features(saved.x, out_));
    require(dy.type() == type_ || dy.type() == DataType::f32,
            "dy: type {}, {} or f32 is needed; use convert()", to_string(dy.type()), to_string(type_));
    if (saved.activation != Activation::none) detail::require_type("dy", dy, saved.aux.type());
    require(options.draw <= detail::last_draw, "draw: {}, at most {} is possible", options.draw,
            detail::last_draw);
}

std::uint64_t Linear::inner_features() const {
    return 0;
}

std::string Linear::overlapped(const Tensor& tensor) const {
    for (std::size_t i = 0; i < parameters_.size(); ++i) {
        const Parameter& parameter = parameters_[i];
        for (const auto& [part, held] :
             {Read{".master", &parameter.master}, Read{".working", &parameter.working},
              Read{".gradient", &parameter.gradient}, Read{".mask", &parameter.masked_decay.mask}})
            if (detail::may_overlap(tensor, *held)) return names_[i] + part;
    }
    return {};
}

void Linear::check_apart(const char* name, const Tensor& tensor, const char* owner) const {
    if (!tensor) return;
    const std::string held = overlapped(tensor);
    require(held.empty(), "{}: overlaps {} {} in memory", name, owner, held);
}

void Linear::check_memory(const char* owner, const Tensor& dx, std::span<const Read> reads) const {
    check_apart("dx", dx, owner);
    for (const auto& [name, read] : reads) {
        detail::require_disjoint("dx", dx, name, *read);
        for (std::size_t i = 0; i < parameters_.size(); ++i)
            require(!detail::may_overlap(*read, parameters_[i].gradient),
                    "{}: overlaps {} {}.gradient in memory", name, owner, names_[i]);
    }
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
    check_result(recorder, out, x, epilogue);
    check_apart("out", out, "the layer's");
    check_apart("aux", epilogue.aux, "the layer's");
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
    check_saved(recorder, "saved", saved);
    check_output_gradient(recorder, dy, saved, options);
    if (dx) detail::require_result(recorder, "dx", dx, saved.x.shape(), type_);
    const Read reads[] = {
        {"dy", &dy}, {"saved.x", &saved.x}, {"saved.aux", &saved.aux}, {"saved.inner", &saved.inner}};
    check_memory("the layer's", dx, reads);
    const Shape shape = detail::with_features(saved.x, out_);
    Tensor dz = dy;
    if (saved.activation != Activation::none) {
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
