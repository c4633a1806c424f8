#include "check.hpp"
#include "factor.hpp"

#include <danaus/block_diagonal.hpp>

namespace danaus {

using namespace detail;

BlockDiagonal::BlockDiagonal(Tensor blocks) : weight(std::move(blocks)) {
    require(static_cast<bool>(weight), "weight: a null tensor");
    require_rank("weight", weight, 3);
    require_number("weight", weight);
}

namespace {

Factor factor_of(const BlockDiagonal& w, bool transpose) {
    return {w.weight,
            {},
            {w.in_block(), 1},
            {w.out_block(), 1},
            transpose ? "block_diagonal_transposed" : "block_diagonal"};
}

void run(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x, const BlockDiagonal& w,
         bool transpose, const Epilogue& epilogue) {
    require_result(recorder, out, with_features(x, transpose ? w.in_features() : w.out_features()), x.type());
    check_epilogue(recorder, epilogue, out, x.type());
    require_apart(out, epilogue, name, x);
    require_apart(out, epilogue, "weight", w.weight);
    multiply_factor(recorder, out, x, factor_of(w, transpose), transpose, epilogue);
}

void check_operands(const Recorder& recorder, const char* name, const Tensor& x, const BlockDiagonal& w,
                    bool transpose) {
    require_tensor(recorder, "weight", w.weight);
    check_activations(recorder, name, x, transpose ? w.out_features() : w.in_features(), "weight",
                      w.weight.type());
}

void check_gradient(const Recorder& recorder, const Tensor& dy, const Tensor& x, std::uint64_t blocks) {
    require_tensor(recorder, "dy", dy);
    require_number("dy", dy);
    require(dy.rank() == 2 || dy.rank() == 3, "dy: shape {}, rank 2 or 3 is needed", to_string(dy.shape()));
    require_tensor(recorder, "x", x);
    require_type("x", x, dy.type());
    require(x.rank() == dy.rank(), "x: shape {}, the rank of dy {} is needed", to_string(x.shape()),
            to_string(dy.shape()));
    for (std::size_t i = 0; i + 1 < dy.rank(); ++i)
        require(x.size(i) == dy.size(i), "x: shape {}, dy has {}; all sizes but the last must agree",
                to_string(x.shape()), to_string(dy.shape()));
    for (const auto& [name, tensor] : {std::pair{"dy", &dy}, std::pair{"x", &x}}) {
        const std::uint64_t features = tensor->size(tensor->rank() - 1);
        require(blocks > 0 && features % blocks == 0, "blocks: {} does not divide the {} features of {}",
                blocks, features, name);
    }
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const BlockDiagonal& w,
                 const Epilogue& epilogue) {
    check_operands(recorder, "x", x, w, false);
    run(recorder, out, "x", x, w, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const BlockDiagonal& w, const Epilogue& epilogue) {
    check_operands(recorder, "x", x, w, false);
    const Tensor out = new_result(recorder, with_features(x, w.out_features()), x.type(), epilogue);
    run(recorder, out, "x", x, w, false, epilogue);
    return out;
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const BlockDiagonal& w,
                            const Epilogue& epilogue) {
    check_operands(recorder, "dy", dy, w, true);
    run(recorder, out, "dy", dy, w, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const BlockDiagonal& w,
                         const Epilogue& epilogue) {
    check_operands(recorder, "dy", dy, w, true);
    const Tensor out = new_result(recorder, with_features(dy, w.in_features()), dy.type(), epilogue);
    run(recorder, out, "dy", dy, w, true, epilogue);
    return out;
}

void weight_gradient_into(Recorder& recorder, const BlockDiagonal& out, const Tensor& dy, const Tensor& x,
                          const GradientOptions& options) {
    require(static_cast<bool>(out.weight), "out: a null tensor");
    check_gradient(recorder, dy, x, out.blocks());
    const std::uint64_t q = dy.size(dy.rank() - 1) / out.blocks(), p = x.size(x.rank() - 1) / out.blocks();
    require_result(recorder, out.weight, Shape{out.blocks(), q, p}, dy.type());
    require_disjoint("out", out.weight, "dy", dy);
    require_disjoint("out", out.weight, "x", x);
    factor_gradient(recorder, out.weight, dy, x, {q, 1}, {p, 1}, options, "block_diagonal_gradient");
}

BlockDiagonal weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, std::uint64_t blocks,
                              const GradientOptions& options) {
    check_gradient(recorder, dy, x, blocks);
    require(!options.accumulate,
            "accumulate: a new result has nothing to add to; use the form that takes out");
    const BlockDiagonal out(empty(recorder, result_type(dy.type(), options.widen),
                                  {blocks, dy.size(dy.rank() - 1) / blocks, x.size(x.rank() - 1) / blocks}));
    weight_gradient_into(recorder, out, dy, x, options);
    return out;
}

namespace {

// The blocks of a dense matrix as a view (blocks, out_block, in_block).
Tensor diagonal(const Tensor& dense, std::uint64_t blocks, std::uint64_t q, std::uint64_t p) {
    return dense.as_strided({blocks, q, p}, {q * dense.strides()[0] + p * dense.strides()[1],
                                             dense.strides()[0], dense.strides()[1]});
}

}  // namespace

Tensor to_dense(Recorder& recorder, const BlockDiagonal& w) {
    require_tensor(recorder, "weight", w.weight);
    const Tensor dense = empty(recorder, w.weight.type(), {w.out_features(), w.in_features()});
    fill_into(recorder, dense, 0.0);
    if (dense.elements())
        convert_into(recorder, diagonal(dense, w.blocks(), w.out_block(), w.in_block()), w.weight);
    return dense;
}

BlockDiagonal extract(Recorder& recorder, const Tensor& dense, std::uint64_t blocks) {
    require_tensor(recorder, "dense", dense);
    require_rank("dense", dense, 2);
    require_number("dense", dense);
    require(blocks > 0 && dense.size(0) % blocks == 0 && dense.size(1) % blocks == 0,
            "blocks: {} does not divide both sizes of dense {}", blocks, to_string(dense.shape()));
    const std::uint64_t q = dense.size(0) / blocks, p = dense.size(1) / blocks;
    if (dense.elements() == 0) return BlockDiagonal(empty(recorder, dense.type(), {blocks, q, p}));
    return BlockDiagonal(contiguous(recorder, diagonal(dense, blocks, q, p)));
}

}  // namespace danaus
