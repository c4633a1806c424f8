// Candidates of the family for GPUs and large products: blocks in shared memory (shaders/matmul/shared.comp).
#include "check.hpp"
#include "multiply.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>

namespace danaus::detail {
namespace {

struct Block {
    std::uint32_t lanes, lanes_x, rows, columns;  ///< rows and columns of the result, of an invocation

    [[nodiscard]] std::uint64_t m() const { return std::uint64_t{lanes} / lanes_x * rows; }
    [[nodiscard]] std::uint64_t n() const { return std::uint64_t{lanes_x} * columns; }
};

// Large, medium, small: guesses from public kernels, none of them timed.
constexpr Block blocks[] = {{256, 16, 8, 8}, {128, 16, 8, 4}, {64, 8, 4, 4}};
constexpr std::uint32_t block_k = 16;

// A device that compiles for subgroups narrower than 32 (Intel's) has too few registers for each invocation:
// blocks with 32 sums and more spill there.
bool has_registers(const Block& block, const Capabilities& caps) {
    return block.rows * block.columns <= 16 || caps.min_subgroup_size >= 32;
}

std::uint64_t workgroups(const MultiplyProblem& p, const Block& block) {
    return divide_up(p.m, block.m()) * divide_up(p.n, block.n()) * p.outer * p.inner;
}

// Runs of 16 bytes along `length` elements, one element apart, with lines `line` elements apart.
bool in_runs(const MultiplyProblem& p, const MatrixView& view, std::uint64_t step, std::uint64_t length,
             std::uint64_t line, std::uint64_t lines) {
    const std::uint64_t run = 16 / size_of(view.type);
    const auto whole = [&](std::uint64_t elements) { return elements % run == 0; };
    return step == 1 && whole(length) && whole(view.offset) && view.buffer.starts_aligned() &&
           (lines == 1 || whole(line)) && (p.outer == 1 || whole(view.outer)) &&
           (p.inner == 1 || whole(view.inner));
}

// A_LAYOUT or B_LAYOUT of an operand whose lines (rows of A, columns of B) are `line` elements apart.
std::uint32_t layout_of(const MultiplyProblem& p, const MatrixView& view, std::uint64_t line,
                        std::uint64_t along_k, std::uint64_t lines) {
    if (in_runs(p, view, along_k, p.k, line, lines)) return 1;
    if (in_runs(p, view, line, lines, along_k, p.k)) return 3;
    return line == 1 ? 2 : 0;
}

kernels::MatmulShared kernel_of(const MultiplyProblem& p, const Block& block) {
    kernels::MatmulShared kernel;
    kernel.weight =
        is_sparse(p) ? kernels::MatmulShared::Weight::sparse24 : kernels::MatmulShared::Weight::dense;
    kernel.tile_codes = p.tile_codes;
    const Stored stored = stored_as(p);
    stored.apply(kernel);
    kernel.c_layout = stored.pairs ? 1 : 0;
    kernel.local_size = block.lanes;
    kernel.lanes_x = block.lanes_x;
    kernel.tile_rows = block.rows;
    kernel.tile_columns = block.columns;
    kernel.block_k = block_k;
    kernel.k_unroll = 4;
    kernel.a_layout = block_layout_a(p);
    kernel.b_layout = block_layout_b(p);
    kernel.exact = (p.m % block.m() == 0 && p.n % block.n() == 0 ? 3u : 0u) | (p.k % block_k == 0 ? 4u : 0u);
    return kernel;
}

}  // namespace

std::uint32_t block_layout_a(const MultiplyProblem& p) {
    return layout_of(p, p.a, p.a.row, p.a.column, p.m);
}

std::uint32_t block_layout_b(const MultiplyProblem& p) {
    if (is_sparse(p)) return p.contract_columns ? 0 : 2;
    return layout_of(p, p.b, p.b.column, p.b.row, p.n);
}

bool shared_first(const MultiplyProblem& p, const Capabilities& caps) {
    return caps.type != DeviceType::cpu && !p.a_panel && p.m >= 32 && p.n >= 32 && p.k >= 32 &&
           divide_up(p.n, 32) <= caps.max_workgroup_count[0];
}

void add_shared(std::vector<MultiplyPlan>& out, const MultiplyProblem& p, const Capabilities& caps, Access,
                bool all) {
    if (p.a_panel) return;
    const std::size_t begin = out.size();
    // The largest block that fits and makes enough workgroups, else the smallest; then the others.
    for (const bool preferred : {true, false})
        for (const Block& block : blocks) {
            const kernels::Kernel kernel = kernel_of(p, block).kernel();
            if (!has_registers(block, caps) || !unfit_reason(kernel, caps).empty()) continue;
            const bool last = &block == std::end(blocks) - 1;
            if ((workgroups(p, block) >= enough_workgroups || last) != preferred) continue;
            MultiplyPlan plan;
            plan.problem = p;
            plan.kernel = kernel;
            plan.grid = {divide_up(p.n, block.n()), p.outer * p.inner, divide_up(p.m, block.m())};
            plan.tile = {Family::shared, block.lanes, block.rows, block.columns, block_k, false};
            out.push_back(std::move(plan));
            if (!all && out.size() > begin) return;
        }
}

}  // namespace danaus::detail
