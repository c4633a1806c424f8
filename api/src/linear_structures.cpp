// Linear layers, structure by structure: which operations are their passes.
#include "linear_checks.hpp"
#include "optimizer_checks.hpp"

#include <danaus/linear.hpp>

#include <algorithm>

namespace danaus {

using detail::require;

namespace {

// Of one block of a matrix that is cut into `blocks` along both axes.
struct Block {
    std::uint64_t in, out;
};

Block block_of(std::uint64_t in, std::uint64_t out, std::uint64_t blocks) {
    require(blocks > 0 && in % blocks == 0 && out % blocks == 0,
            "blocks: {}, a number that divides in ({}) and out ({}) is needed", blocks, in, out);
    return {in / blocks, out / blocks};
}

}  // namespace

DenseLinear::DenseLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                         const LinearOptions& options)
    : Linear(recorder, in, out, options, {{"weight", {out, in}}}) {}

void DenseLinear::multiply(Recorder& recorder, const Tensor& out, const Tensor& x, const Epilogue& epilogue,
                           Tensor*) const {
    matmul_into(recorder, out, x, parameters_[0].working, epilogue);
}

void DenseLinear::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                                const BackwardOptions& options) const {
    weight_gradient_into(recorder, parameters_[0].gradient, detail::as_rows(recorder, dz),
                         detail::as_rows(recorder, saved.x), detail::gradient_options(saved, options));
    if (dx) matmul_transposed_into(recorder, dx, dz, parameters_[0].working, {.scale = saved.scale});
}

BlockDiagonalLinear::BlockDiagonalLinear(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                                         std::uint64_t blocks, const LinearOptions& options)
    : Linear(recorder, in, out, options,
             {{"weight", {blocks, block_of(in, out, blocks).out, block_of(in, out, blocks).in}}}) {}

BlockDiagonal BlockDiagonalLinear::weight() const {
    return BlockDiagonal(parameters_[0].working);
}

void BlockDiagonalLinear::multiply(Recorder& recorder, const Tensor& out, const Tensor& x,
                                   const Epilogue& epilogue, Tensor*) const {
    matmul_into(recorder, out, x, weight(), epilogue);
}

void BlockDiagonalLinear::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz,
                                        const Saved& saved, const BackwardOptions& options) const {
    weight_gradient_into(recorder, BlockDiagonal(parameters_[0].gradient), dz, saved.x,
                         detail::gradient_options(saved, options));
    if (dx) matmul_transposed_into(recorder, dx, dz, weight(), {.scale = saved.scale});
}

SparseLinear24::SparseLinear24(Recorder& recorder, std::uint64_t in, std::uint64_t out,
                               const SparseLinear24Options& sparse, const LinearOptions& options)
    : Linear(recorder, in, out, options, {{"weight", {out, in}, sparse.working_copy}}),
      schedule_(sparse.schedule) {
    const bool dense = schedule_.dense_from() == 0;
    SparseWeight24Options own = sparse.weight;
    require(!own.type || *own.type == options.type, "weight.type: {}, the layer's type {} is needed",
            to_string(own.type.value_or(options.type)), to_string(options.type));
    own.type = options.type;
    own.gradient.seed ^= ~options.seed;
    weight_ = SparseWeight24(recorder, parameters_[0], own);
    if (dense) weight_.set_sparse(recorder, false);
    parameters_[0].masked_decay = {weight_.mask(), sparse.masked_decay, sparse.decay_form};
    detail::check_parameter(recorder, "weight", parameters_[0]);
}

std::uint64_t SparseLinear24::kept() const {
    if (!weight_.sparse()) return Linear::kept();
    return out() * (in() / 4 * 2 + std::min<std::uint64_t>(2, in() % 4));
}

std::uint64_t SparseLinear24::bytes() const {
    if (!weight_.sparse()) return Linear::bytes();
    return weight_.tiles() ? weight_.tiles().bytes() : weight_.compressed().bytes();
}

void SparseLinear24::follow(const Optimizer& optimizer) {
    UnbiasedOptions gradient = weight_.options().gradient;
    gradient.step = optimizer.step_count();
    weight_.set_gradient(gradient);
}

void SparseLinear24::after_step(Recorder& recorder, std::uint64_t step) {
    const std::uint64_t dense_from = schedule_.dense_from();
    if (dense_from < schedule_.steps && step + 1 >= dense_from) weight_.set_sparse(recorder, false);
    schedule_.refreshes_after(step) ? weight_.refresh(recorder) : weight_.recompress(recorder);
}

std::string SparseLinear24::overlapped(const Tensor& tensor) const {
    const Sparse24& rows = weight_.compressed();
    const TileSparse24& tiles = weight_.tiles();
    for (const Tensor* part : {&rows.values(), &rows.metadata(), &tiles.values(), &tiles.codes()})
        if (detail::may_overlap(tensor, *part)) return "compressed weight";
    return Linear::overlapped(tensor);
}

void SparseLinear24::multiply(Recorder& recorder, const Tensor& out, const Tensor& x,
                              const Epilogue& epilogue, Tensor*) const {
    weight_.matmul_into(recorder, out, x, epilogue);
}

void SparseLinear24::differentiate(Recorder& recorder, const Tensor& dx, const Tensor& dz, const Saved& saved,
                                   const BackwardOptions& options) const {
    SparseWeight24 drawn = weight_;
    UnbiasedOptions gradient = weight_.options().gradient;
    gradient.offset += options.draw << detail::draw_shift;
    drawn.set_gradient(gradient);
    drawn.weight_gradient_into(recorder, parameters_[0].gradient, dz, saved.x,
                               detail::gradient_options(saved, options));
    if (dx) weight_.matmul_transposed_into(recorder, dx, dz, {.scale = saved.scale});
}

void SparseLinear24::add_to(SafetensorsWriter& writer, const std::string& name) const {
    const bool bias = parameters_.size() > 1;
    require(!bias || !writer.contains(name + ".bias"), "name: \"{}.bias\" was added before", name);
    weight_.add_to(writer, name);
    add_parameters(writer, name, 1);
}

std::function<void(Recorder&)> SparseLinear24::read_from(Stream& stream, const SafetensorsFile& file,
                                                         const std::string& name) const {
    return [bias = read_parameters(stream, file, name, 1),
            weight = weight_.read_from(stream, file, name)](Recorder& recorder) {
        bias(recorder);
        weight(recorder);
    };
}

}  // namespace danaus
