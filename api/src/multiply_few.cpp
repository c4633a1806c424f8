// Candidates of the family for few tokens: lanes along the contraction (shaders/matmul/few.comp).
#include "check.hpp"
#include "multiply.hpp"

#include <algorithm>
#include <bit>
#include <span>

namespace danaus::detail {
namespace {

constexpr std::uint64_t most_tokens = 16;
// Shorter sums leave most lanes of a GPU without work.
constexpr std::uint64_t least_depth = 128;

struct Run {
    std::uint32_t columns;  ///< rows of the weight
    std::uint32_t words;    ///< of each of them that a lane loads in a step
    std::uint32_t unroll;   ///< steps
};

// Measured on a CPU (docs/kernels.md); guesses for GPUs, where a lane loads 16 bytes at once.
constexpr Run cpu_runs[] = {{16, 1, 4}, {8, 1, 4}, {16, 1, 2}, {8, 4, 2}};
constexpr Run gpu_runs[] = {{4, 4, 2}, {4, 4, 1}, {2, 4, 2}, {2, 4, 1}, {8, 4, 1}};

bool is_cpu(const Capabilities& caps) {
    return caps.type == DeviceType::cpu;
}

bool serves(const MultiplyProblem& p, const Capabilities& caps) {
    return p.m <= most_tokens && !p.a_panel && p.contract_columns && caps.subgroup_arithmetic &&
           caps.subgroup_size >= 4;
}

// Words that one load may take of runs along k: 4, 2 or 1 when rows, `row` elements apart, start at multiples
// of as many; 0 when two elements of a word need not lie together.
std::uint32_t words_together(const MultiplyProblem& p, const MatrixView& view, std::uint64_t row,
                             std::uint32_t most) {
    const std::uint64_t per_word = 4 / size_of(view.type);
    for (std::uint32_t words = std::min(most, 4u); words > 0; words /= 2) {
        const auto whole = [&](std::uint64_t elements) { return elements % (words * per_word) == 0; };
        if (words * per_word == 1 ||
            (whole(view.offset) && view.buffer.starts_aligned() && whole(row) &&
             (p.outer == 1 || whole(view.outer)) && (p.inner == 1 || whole(view.inner))))
            return words;
    }
    return 0;
}

// On a GPU a long sum with few results takes more lanes, so that it is not left to a few workgroups.
std::uint32_t lanes_for(const MultiplyProblem& p, const Capabilities& caps) {
    std::uint32_t lanes = is_cpu(caps)                                     ? caps.subgroup_size
                          : p.n * p.outer * p.inner <= 1024 && p.k >= 2048 ? 256
                                                                           : 64;
    while (lanes > std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0])) lanes /= 2;
    return lanes;
}

// What does not depend on the tile.
kernels::MatmulFew common(const MultiplyProblem& p, const Capabilities& caps) {
    kernels::MatmulFew kernel;
    kernel.weight = is_sparse(p) ? kernels::MatmulFew::Weight::sparse24 : kernels::MatmulFew::Weight::dense;
    kernel.tile_codes = p.tile_codes;
    kernel.local_size = lanes_for(p, caps);
    kernel.one_subgroup = is_cpu(caps) ? 1 : 0;
    kernel.tile_rows = std::min(8u, std::bit_ceil(static_cast<std::uint32_t>(p.m)));
    const Stored stored = stored_as(p);
    stored.apply(kernel);
    kernel.c_layout = stored.pairs ? 1 : 0;
    return kernel;
}

}  // namespace

bool few_first(const MultiplyProblem& p, const Capabilities& caps) {
    // A workgroup computes few columns, and a compressed weight is not cut along them.
    if (!serves(p, caps) || divide_up(p.n, 2) > caps.max_workgroup_count[0]) return false;
    const bool sparse = is_sparse(p);
    // A CPU decodes what it loads once for every token, and from the second one on that outweighs the loads.
    if (is_cpu(caps)) return (sparse || p.b.row == 1) && p.m <= (sparse ? 2u : 1u);
    return (sparse || p.b.row == 1) && p.k >= least_depth;
}

void add_few(std::vector<MultiplyPlan>& out, const MultiplyProblem& p, const Capabilities& caps, Access,
             bool all) {
    if (!serves(p, caps)) return;
    const bool cpu = is_cpu(caps), sparse = is_sparse(p);
    const auto per_word = static_cast<std::uint32_t>(4 / size_of(p.a.type));
    kernels::MatmulFew kernel = common(p, caps);
    // Values of one group of a compressed weight; what the tokens' elements leave of the registers.
    const std::uint32_t least_words = sparse ? 2 / per_word : 1, dense_per_word = per_word * (sparse ? 2 : 1),
                        most_elements = kernel.tile_rows == 1   ? 16
                                        : kernel.tile_rows == 2 ? 8
                                                                : 4;
    const std::size_t begin = out.size();
    for (const Run& run : cpu ? std::span<const Run>(cpu_runs) : gpu_runs) {
        const std::uint32_t words =
            std::max(least_words, std::min(run.words, most_elements / dense_per_word));
        // Tokens and rows of the weight share the registers for sums; 32 of them spill on an Intel GPU.
        kernel.tile_columns = std::max(2u, std::min(run.columns, (cpu ? 32 : 16) / kernel.tile_rows));
        kernel.k_unroll = kernel.tile_rows == 1 || cpu ? run.unroll : 1;
        kernel.k_lane = words * dense_per_word;
        kernel.a_layout =
            p.a.column == 1 ? words_together(p, p.a, p.m > 1 ? p.a.row : 0, kernel.k_lane / per_word) : 0;
        kernel.b_layout =
            sparse || p.b.row == 1 ? words_together(p, p.b, p.n > 1 ? p.b.column : 0, words) : 0;
        MultiplyPlan plan;
        plan.problem = p;
        plan.kernel = kernel.kernel();
        plan.grid = {divide_up(p.n, kernel.tile_columns), p.outer * p.inner,
                     divide_up(p.m, kernel.tile_rows)};
        plan.tile = {Family::few,
                     kernel.local_size,
                     kernel.tile_rows,
                     kernel.tile_columns,
                     kernel.k_lane * kernel.k_unroll,
                     false};
        const bool known = std::any_of(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                                       [&](const MultiplyPlan& other) { return other.tile == plan.tile; });
        if (!known) out.push_back(std::move(plan));
        if (!all) return;
    }
}

}  // namespace danaus::detail
