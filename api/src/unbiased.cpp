// Unbiased 2:4 pruning of gradients, and the weight gradient from them.
#include "masks.hpp"
#include "multiply.hpp"

#include <danaus/kernels.hpp>
#include <danaus/unbiased.hpp>

namespace danaus {

using namespace detail;

namespace {

std::uint64_t blocks_of_word(UnbiasedPruning pruning) {
    return pruning == UnbiasedPruning::least_variance ? 2 : 4;
}

std::uint64_t words_of(const Shape& shape) {
    return divide_up(shape[shape.rank() - 1], 32);
}

void check_pruning(UnbiasedPruning pruning) {
    require(pruning <= UnbiasedPruning::two_draws,
            "pruning: {}, least_variance, one_of_two or two_draws is needed",
            static_cast<std::uint32_t>(pruning));
}

void check_step(const Recorder& recorder, const Sparse24& out, const Tensor& step) {
    if (!step) return;
    require_tensor(recorder, "options.step", step);
    require_type("options.step", step, DataType::u32);
    require_shape("options.step", step, {1});
    require_disjoint("out", out.values(), "options.step", step);
    require_disjoint("out", out.metadata(), "options.step", step);
}

// The gradient's problem is that of y = x·Aᵀ with its roles turned: dWᵀ = xᵀ·Sᵀ.
struct Turned {
    Tensor x;
    Epilogue epilogue;
};

Turned turned(const Recorder& recorder, const Sparse24& s, const Tensor& x, const GradientOptions& options) {
    require(static_cast<bool>(s), "dy_transposed: a null matrix");
    require_tensor(recorder, "dy_transposed", s.values());
    require_tensor(recorder, "x", x);
    const Shape& shape = s.shape();
    require(x.rank() == shape.rank(), "x: shape {}, the rank of dy_transposed {} is needed",
            to_string(x.shape()), to_string(shape));
    require(x.size(x.rank() - 2) == shape[shape.rank() - 1],
            "x: shape {}, {} tokens are needed, the columns of dy_transposed {}", to_string(x.shape()),
            shape[shape.rank() - 1], to_string(shape));
    require(shape.rank() == 2 || x.size(0) == shape[0], "x: batch {}, dy_transposed has {} blocks", x.size(0),
            shape[0]);
    require_type("x", x, s.type());
    Turned result{x.transpose(), {}};
    result.epilogue.scale = options.scale;
    result.epilogue.accumulate = options.accumulate;
    result.epilogue.widen = options.widen;
    return result;
}

Shape gradient_shape(const Sparse24& s, const Tensor& x) {
    Shape shape = s.shape();
    shape[shape.rank() - 1] = x.size(x.rank() - 1);
    return shape;
}

}  // namespace

std::uint64_t unbiased_blocks(const Shape& shape, UnbiasedPruning pruning) {
    require(shape.rank() == 2 || shape.rank() == 3, "shape: {}, rank 2 or 3 is needed", to_string(shape));
    check_pruning(pruning);
    const std::uint64_t lines = (shape.rank() == 3 ? shape[0] : 1) * shape[shape.rank() - 2];
    return blocks_of_word(pruning) * lines * words_of(shape);
}

void compress_unbiased_into(Recorder& recorder, const Sparse24& out, const Tensor& g,
                            const UnbiasedOptions& options) {
    check_matrix(recorder, "g", g);
    check_pruning(options.pruning);
    require(static_cast<bool>(out), "out: a null matrix");
    require_tensor(recorder, "out", out.values());
    require(out.shape() == g.shape(), "out: shape {}, {} is needed", to_string(out.shape()),
            to_string(g.shape()));
    require_type("out", out.values(), g.type());
    require_disjoint("out", out.values(), "g", g);
    require_disjoint("out", out.metadata(), "g", g);
    check_step(recorder, out, options.step);
    if (g.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, g_block, g_row, g_column, values_block, meta_block;
        std::uint32_t seed_low, seed_high, block_low, block_high, has_step;
    };
    const bool batch = g.rank() == 3;
    const std::array<Part, 3> parts{
        {{batched(g, batch)}, {batched(out.values(), batch)}, {batched(out.metadata(), batch)}}};
    const auto& most = recorder.device().capabilities().max_workgroup_count;
    for_row_pieces(recorder, "compress_unbiased", 1, most[2], parts, [&](const std::array<Tensor, 3>& piece) {
        const std::uint64_t blocks = piece[0].size(0), rows = piece[0].size(1), cols = piece[0].size(2),
                            words = divide_up(cols, 32);
        // Numbers belong to places in the whole matrix, however it is cut.
        const std::uint64_t first_line =
            (piece[1].offset() - out.values().offset()) / (2 * divide_up(cols, 4));
        const std::uint64_t first_block =
            options.offset + blocks_of_word(options.pruning) * words * first_line;
        kernels::Sparse24Mvue kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(g.type());
        kernel.method = static_cast<std::uint32_t>(options.pruning);
        kernel.rows_first = piece[0].strides()[2] != 1 && piece[0].strides()[1] == 1;
        kernel.whole = cols % 32 == 0;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = kernel.rows_first ? grid_for(recorder, rows, kernel.local_size, words, blocks)
                                        : grid_for(recorder, words, kernel.local_size, rows, blocks);
        packet.operands[0] = operand(piece[0], Touch::read);
        if (options.step) packet.operands[1] = operand(options.step, Touch::read);
        packet.operands[2] = operand(piece[1], Touch::write);
        packet.operands[3] = operand(piece[2], Touch::write);
        packet.set_fields(Fields{narrow32(rows), narrow32(cols), stride(piece[0], 0), stride(piece[0], 1),
                                 stride(piece[0], 2), stride(piece[1], 0) / 2, stride(piece[2], 0),
                                 narrow32(options.seed), narrow32(options.seed >> 32), narrow32(first_block),
                                 narrow32(first_block >> 32), options.step ? 1u : 0u});
        packet.work = 16 * blocks * rows * cols;
        packet.label = "compress_unbiased";
        recorder.record(packet);
    });
}

Sparse24 compress_unbiased(Recorder& recorder, const Tensor& g, const UnbiasedOptions& options) {
    check_matrix(recorder, "g", g);
    const Sparse24 out = empty_sparse24(recorder, g.type(), g.shape());
    compress_unbiased_into(recorder, out, g, options);
    return out;
}

void weight_gradient_into(Recorder& recorder, const Tensor& out, const Sparse24& dy_transposed,
                          const Tensor& x, const GradientOptions& options) {
    const Turned gradient = turned(recorder, dy_transposed, x, options);
    require_tensor(recorder, "out", out);
    require_shape("out", out, gradient_shape(dy_transposed, x));
    matmul_into(recorder, out.transpose(), gradient.x, dy_transposed, gradient.epilogue);
}

Tensor weight_gradient(Recorder& recorder, const Sparse24& dy_transposed, const Tensor& x,
                       const GradientOptions& options) {
    const Turned gradient = turned(recorder, dy_transposed, x, options);
    const Tensor out = new_result(recorder, gradient_shape(dy_transposed, x), x.type(), gradient.epilogue);
    matmul_into(recorder, out.transpose(), gradient.x, dy_transposed, gradient.epilogue);
    return out;
}

}  // namespace danaus
