// A Monarch product as one problem, and its plan in one dispatch (shaders/matmul/monarch.comp).
#pragma once

#include "multiply.hpp"

#include <danaus/monarch.hpp>

#include <optional>

namespace danaus::detail {

struct MonarchProblem {
    /// One factor in the order of computation: of a transposed product each block is read the other way.
    struct Stage {
        std::uint64_t blocks = 0, rows = 0, depth = 0;
        MatrixView weight;  ///< row: from row to row of a block; column: along the sum; inner: between blocks
        /// Elements from the weight's first to its last one, plus 1.
        [[nodiscard]] std::uint64_t span() const {
            return 1 + (blocks - 1) * weight.inner + (rows - 1) * weight.row + (depth - 1) * weight.column;
        }
    };
    /// As the dense product it stands for: m tokens, n features of y, k of x; a is x, c is y with the
    /// epilogue; of b only the type. inner is 1.
    MultiplyProblem whole;
    Stage first, second;
    bool x_interleaved = false, y_interleaved = false;
    bool transposed = false;

    [[nodiscard]] std::uint64_t inner_features() const { return first.blocks * first.rows; }
};

/// out = x·Mᵀ or, transposed, x·M. Operands are checked. A residual that is to be copied into the result
/// first is put into `residual` (set_epilogue).
[[nodiscard]] MonarchProblem monarch_problem(const Tensor& out, const Tensor& x, const Monarch& w,
                                             bool transpose, const Epilogue& epilogue, Tensor& residual);
/// The same, one factor after the other, in whichever way rules like best.
void multiply_apart(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w, bool transpose,
                    const Epilogue& epilogue);

/// The product in one dispatch.
struct MonarchPlan {
    MonarchProblem problem;
    kernels::Kernel kernel;
    std::array<std::uint64_t, 3> grid{};
    Tile tile;
    std::uint64_t tokens = 0;  ///< of a workgroup
};

/// The ways to compute `problem` in one dispatch, best guess first. None where a workgroup's shared memory is
/// too small for the intermediate of a few tokens, where an operand spans more than a dispatch reaches, and
/// for empty sizes: one factor after the other computes those.
[[nodiscard]] std::vector<MonarchPlan> fused_candidates(const MonarchProblem& problem,
                                                        const Capabilities& capabilities, Access access);
/// The one that the device's table wants, or else rules; nothing for one factor after the other.
[[nodiscard]] std::optional<MonarchPlan> fused_plan(const Device& device, const MonarchProblem& problem);
/// Rules' part of it.
[[nodiscard]] std::optional<MonarchPlan> fused_by_rules(const MonarchProblem& problem,
                                                        const Capabilities& capabilities, Access access);

void record(Recorder& recorder, const MonarchPlan& plan);

}  // namespace danaus::detail
