// Linear layers of 2:4 weights: which of their weights' operations come when.
#include "linear_checks.hpp"
#include "monarch_padding.hpp"
#include "optimizer_checks.hpp"

#include <danaus/sparse_linear.hpp>

#include <cmath>

namespace danaus {

using detail::require;

namespace {

// What SparseWeight24 and the optimizer's checks would find once values have been drawn.
const LinearOptions& checked(const SparseLinear24Options& sparse, const LinearOptions& options) {
    const SparseWeight24Options& own = sparse.weight;
    require(!own.type || *own.type == options.type, "weight.type: {}, the layer's type {} is needed",
            to_string(own.type.value_or(options.type)), to_string(options.type));
    detail::check_search(own);
    require(std::isfinite(sparse.masked_decay) && sparse.masked_decay >= 0.0f,
            "masked_decay: {}, a finite number >= 0 is needed", sparse.masked_decay);
    static_cast<void>(sparse.schedule.dense_from());
    return options;
}

}  // namespace

Linear24::Linear24(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                   const SparseLinear24Options& sparse, const LinearOptions& options,
                   std::initializer_list<Weight> weights)
    : Linear(recorder, in, out, checked(sparse, options), weights), schedule_(sparse.schedule) {
    const bool dense = schedule_.dense_from() == 0;
    SparseWeight24Options own = sparse.weight;
    own.type = options.type;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        own.gradient.seed = sparse.weight.gradient.seed ^ ~options.seed ^ (std::uint64_t{i} << 63);
        Parameter& parameter = parameters_[i];
        weights_.emplace_back(recorder, parameter, own);
        parameter.masked_decay = {weights_[i].mask(), sparse.masked_decay, sparse.decay_form};
        detail::check_parameter(recorder, names_[i].c_str(), parameter);
    }
    if (dense) set_sparse(recorder, false);
}

std::uint64_t Linear24::kept() const {
    if (!sparse()) return Linear::kept();
    std::uint64_t sum = 0;
    for (const SparseWeight24& weight : weights_) {
        const Tensor& master = weight.parameter().master;
        const std::uint64_t columns = master.size(master.rank() - 1);
        sum += master.elements() / columns * (columns / 4 * 2 + std::min<std::uint64_t>(2, columns % 4));
    }
    return sum;
}

std::uint64_t Linear24::bytes() const {
    if (!sparse()) return Linear::bytes();
    std::uint64_t sum = 0;
    for (const SparseWeight24& weight : weights_)
        sum += weight.tiles() ? weight.tiles().bytes() : weight.compressed().bytes();
    return sum;
}

void Linear24::set_sparse(Recorder& recorder, bool sparse) {
    for (SparseWeight24& weight : weights_) weight.set_sparse(recorder, sparse);
}

double Linear24::flip_rate(Stream& stream) const {
    double flips = 0.0, entries = 0.0;
    for (const SparseWeight24& weight : weights_) {
        const auto own = static_cast<double>(weight.parameter().master.elements());
        flips += weight.flip_rate(stream) * own;
        entries += own;
    }
    return flips / entries;
}

void Linear24::follow(const Optimizer& optimizer) {
    for (SparseWeight24& weight : weights_) {
        UnbiasedOptions gradient = weight.options().gradient;
        gradient.step = optimizer.step_count();
        weight.set_gradient(gradient);
    }
}

void Linear24::after_step(Recorder& recorder, std::uint64_t step) {
    // Programs that were recorded before a switch go on with the weights as they are then.
    for (const SparseWeight24& weight : weights_)
        schedule_.refreshes_after(step) ? weight.refresh(recorder) : weight.recompress(recorder);
    const std::uint64_t dense_from = schedule_.dense_from();
    if (dense_from < schedule_.steps && step + 1 >= dense_from) set_sparse(recorder, false);
}

std::string Linear24::overlapped(const Tensor& tensor) const {
    for (const SparseWeight24& weight : weights_) {
        const Sparse24& rows = weight.compressed();
        const TileSparse24& tiles = weight.tiles();
        for (const Tensor* part : {&rows.values(), &rows.metadata(), &tiles.values(), &tiles.codes()})
            if (detail::may_overlap(tensor, *part)) return "compressed weight";
        if (detail::may_overlap(tensor, weight.flips())) return "count of flips";
    }
    return Linear::overlapped(tensor);
}

SparseWeight24 Linear24::drawn(std::size_t i, const BackwardOptions& options) const {
    SparseWeight24 weight = weights_[i];
    UnbiasedOptions gradient = weight.options().gradient;
    gradient.offset += options.draw << detail::draw_shift;
    weight.set_gradient(gradient);
    return weight;
}

std::string Linear24::weight_name(const std::string& name, std::size_t i) const {
    return name + '.' + names_[i];
}

std::string Linear24::mask_name(const std::string& name, std::size_t i) const {
    return (weights_.size() == 1 ? name : weight_name(name, i)) + ".mask";
}

void Linear24::add_to(SafetensorsWriter& writer, const std::string& name) const {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < names_.size(); ++i) names.push_back(name + '.' + names_[i]);
    for (std::size_t i = 0; i < weights_.size(); ++i) names.push_back(mask_name(name, i));
    for (const std::string& one : names) require(!writer.contains(one), "name: \"{}\" was added before", one);
    for (std::size_t i = 0; i < weights_.size(); ++i)
        weights_[i].add_to(writer, weight_name(name, i), mask_name(name, i));
    add_parameters(writer, name, weights_.size());
}

std::function<void(Recorder&)> Linear24::read_from(Stream& stream, const SafetensorsFile& file,
                                                   const std::string& name) const {
    std::vector<std::function<void(Recorder&)>> parts;
    for (std::size_t i = 0; i < weights_.size(); ++i)
        parts.push_back(weights_[i].read_from(stream, file, weight_name(name, i), mask_name(name, i)));
    parts.push_back(read_parameters(stream, file, name, weights_.size()));
    return [parts = std::move(parts)](Recorder& recorder) {
        for (const auto& part : parts) part(recorder);
    };
}

SparseLinear24::SparseLinear24(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                               const SparseLinear24Options& sparse, const LinearOptions& options)
    : Linear24(recorder, in, out, sparse, options, {{"weight", {out, in}, sparse.working_copy}}) {}

void SparseLinear24::multiply(Recorder& recorder, const Tensor& out, const Tensor& x,
                              const Epilogue& epilogue, Tensor*) const {
    weight().matmul_into(recorder, out, x, epilogue);
}

void SparseLinear24::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                                   const BackwardOptions& options) const {
    drawn(0, options)
        .weight_gradient_into(recorder, parameters_[0].gradient, dz, saved.x,
                              detail::gradient_options(saved, options));
    if (dx) weight().matmul_transposed_into(recorder, dx, dz, {.scale = saved.scale});
}

SparseMonarchLinear24::SparseMonarchLinear24(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                                             std::uint64_t blocks, const SparseLinear24Options& sparse,
                                             const LinearOptions& options)
    : Linear24(
          recorder, in, out, sparse, options,
          {{"blkdiag1",
            {blocks, detail::monarch_block(in, out, blocks).inner, detail::monarch_block(in, out, blocks).in},
            sparse.working_copy},
           {"blkdiag2",
            {blocks, detail::monarch_block(in, out, blocks).out,
             detail::monarch_block(in, out, blocks).inner},
            sparse.working_copy}}) {
    if (in % blocks == 0 && out % blocks == 0) return;
    detail::clear_padding(recorder, parameters_, in, out);
    for (const SparseWeight24& weight : weights_) {
        weight.refresh(recorder);
        fill_into(recorder, weight.flips(), 0.0);
    }
}

SparseMonarch24 SparseMonarchLinear24::weight() const {
    if (!sparse()) return {};
    const SparseWeight24 &first = weights_[0], &second = weights_[1];
    if (first.tiles()) return {first.tiles(), second.tiles()};
    return {first.compressed(), second.compressed()};
}

Monarch SparseMonarchLinear24::whole(Recorder& recorder) const {
    const auto factor = [&](const Tensor& working) {
        return working.type() == type() ? working : convert(recorder, working, type());
    };
    return {factor(parameters_[0].working), factor(parameters_[1].working)};
}

std::uint64_t SparseMonarchLinear24::inner_features() const {
    const Tensor& first = parameters_[0].master;
    return first.size(0) * first.size(1);
}

void SparseMonarchLinear24::multiply(Recorder& recorder, const Tensor& y, const Tensor& x,
                                     const Epilogue& epilogue, Tensor* inner) const {
    detail::require_apart(y, epilogue, "x", x);
    if (sparse())
        detail::multiply_padded(recorder, y, x, weight(), epilogue, inner);
    else
        detail::multiply_padded(recorder, y, x, whole(recorder), epilogue, inner);
}

void SparseMonarchLinear24::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz,
                                          const Saved& saved, const BackwardOptions& options) const {
    const Monarch dw(parameters_[0].gradient, parameters_[1].gradient);
    const auto with = [&](const auto& w, bool pruned) {
        detail::differentiate_padded(
            recorder, dx, dz, saved.x, w,
            [&](const Tensor& wide_dx, const Tensor& wide_dz, const Tensor& wide_x) {
                if (pruned)
                    return differentiate_pruned(recorder, {wide_dx, dw}, wide_dz, wide_x, saved, options);
                danaus::backward_into(recorder, {wide_dx, dw}, wide_dz, wide_x, w, saved.inner,
                                      detail::gradient_options(saved, options));
            });
    };
    if (sparse())
        with(weight(), weights_[0].options().prune_gradient);
    else
        with(whole(recorder), false);
}

namespace {

// The features of `rows` as the blocks of a factor have them: (blocks, rows, features of a block). Of the
// second factor a block's are every blocks-th.
Tensor blocks_of(const Tensor& rows, std::uint64_t blocks) {
    return rows.reshape({rows.size(0), blocks, rows.size(1) / blocks}).transpose(0, 1);
}

Tensor interleaved_blocks_of(const Tensor& rows, std::uint64_t blocks) {
    return rows.reshape({rows.size(0), rows.size(1) / blocks, blocks}).transpose(0, 2).transpose(1, 2);
}

}  // namespace

// Each factor is a weight with a batch of blocks.
void SparseMonarchLinear24::differentiate_pruned(Recorder& recorder, const MonarchGradients& out,
                                                 const Tensor& dz, const Tensor& x, const Saved& saved,
                                                 const BackwardOptions& options) const {
    const GradientOptions how = detail::gradient_options(saved, options);
    const SparseWeight24 first = drawn(0, options), second = drawn(1, options);
    const std::uint64_t blocks = parameters_[0].master.size(0);
    const Tensor dy = interleaved_blocks_of(detail::as_rows(recorder, dz), blocks),
                 inputs = blocks_of(detail::as_rows(recorder, x), blocks);
    const Shape shape{inputs.size(1), inner_features()};
    Tensor t;
    if (saved.inner) {
        t = detail::as_rows(recorder, saved.inner);
    } else {
        t = empty(recorder, type(), shape);
        first.matmul_into(recorder, blocks_of(t, blocks), inputs);
    }
    second.weight_gradient_into(recorder, out.dw.w2, dy, interleaved_blocks_of(t, blocks), how);
    const Tensor dt = empty(recorder, type(), shape);
    second.matmul_transposed_into(recorder, interleaved_blocks_of(dt, blocks), dy);
    first.weight_gradient_into(recorder, out.dw.w1, blocks_of(dt, blocks), inputs, how);
    if (!out.dx) return;
    const bool rows = out.dx.rank() == 2;
    const Tensor dx = rows ? out.dx : empty(recorder, type(), {shape[0], x.size(x.rank() - 1)});
    first.matmul_transposed_into(recorder, blocks_of(dx, blocks), blocks_of(dt, blocks),
                                 {.scale = how.scale});
    if (!rows) convert_into(recorder, out.dx, dx.reshape(out.dx.shape()));
}

}  // namespace danaus
