// Linear layers, structure by structure: which operations are their passes.
#include "linear_checks.hpp"

#include <danaus/linear.hpp>

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

}  // namespace danaus
