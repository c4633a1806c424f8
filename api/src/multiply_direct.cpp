// Candidates of the direct family: register tiles without shared memory (shaders/matmul/direct.comp).
#include "check.hpp"
#include "multiply.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <span>

namespace danaus::detail {
namespace {

// Depth 0: what cpu_depth() says.
struct Shape2 {
    std::uint32_t rows, columns, depth;
};

// Tiles of a CPU, measured (docs/kernels.md): tall ones amortise what the lanes gather of B, deep ones the
// masks around a loop; those that come first serve where nothing was measured.
constexpr Shape2 cpu_packed[] = {{128, 2, 0}, {64, 2, 0}, {32, 4, 0}, {32, 2, 0},
                                 {16, 4, 0},  {16, 2, 0}, {8, 4, 0},  {8, 2, 0}};
// Of a vector-wise sparse A, whose panels may be low.
constexpr Shape2 cpu_picked[] = {{128, 2, 0}, {64, 2, 0}, {32, 4, 0}, {16, 4, 0}, {8, 4, 0}, {4, 4, 0}};
constexpr Shape2 cpu_plain[] = {{64, 2, 0},  {64, 2, 8},  {32, 4, 0}, {32, 4, 8}, {32, 2, 16},
                                {32, 4, 16}, {16, 4, 16}, {16, 4, 8}, {8, 4, 8},  {8, 2, 16}};
constexpr Shape2 cpu_scattered[] = {{32, 4, 8}, {32, 4, 0}, {32, 2, 8}, {16, 4, 8}, {16, 2, 16}, {64, 2, 8}};
// Of a GPU, guesses that spill nowhere they were compiled for.
constexpr Shape2 gpu_tiles[] = {{8, 4, 8}, {8, 2, 8}, {4, 4, 8}, {4, 2, 8}, {2, 2, 8}};

bool is_cpu(const Capabilities& caps) {
    return caps.type == DeviceType::cpu;
}

// What does not depend on the tile.
kernels::MatmulDirect common(const MultiplyProblem& p, const Capabilities& caps) {
    kernels::MatmulDirect kernel;
    kernel.weight = p.weight;
    kernel.tile_codes = p.tile_codes;
    // One subgroup a workgroup on a CPU, where a workgroup's subgroups run one after the other anyway.
    kernel.local_size = is_cpu(caps) ? std::clamp(caps.subgroup_size, 4u, 16u) : 64;
    while (kernel.local_size > std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0]))
        kernel.local_size /= 2;
    const Stored stored = stored_as(p);
    stored.apply(kernel);
    kernel.a_type = static_cast<std::uint32_t>(p.a.type);
    const bool narrow = size_of(p.b.type) == 2;
    if (p.picked_from) {
        kernel.a_layout = 3;
        // CPUs have few registers for addresses; elsewhere, and for low panels, one kernel serves all
        // heights.
        kernel.panel_rows = is_cpu(caps) && p.a_panel >= 64 ? p.a_panel : 0;
    } else if (p.a_panel)
        kernel.a_layout = 2;
    else if (narrow && p.a.column == 1 && even(p, p.a, p.m > 1 ? p.a.row : 0))
        kernel.a_layout = 1;
    if (is_sparse(p)) {
        kernel.b_layout = p.contract_columns ? 0 : 1;
    } else if (p.b.column == 1 && p.n % 2 == 0 && even(p, p.b, p.k > 1 || p.picked_from ? p.b.row : 0)) {
        kernel.b_layout = 1;
    } else if (!p.picked_from && p.b.row == 1 && even(p, p.b, p.n > 1 ? p.b.column : 0)) {
        kernel.b_layout = 2;
    }
    kernel.c_layout = stored.pairs ? 1 : stored.row_pairs ? 3 : p.c.row == 1 && p.m > 1 ? 2 : 0;
    return kernel;
}

std::span<const Shape2> tiles_of(const MultiplyProblem& p, const Capabilities& caps, Access access) {
    if (!is_cpu(caps)) return gpu_tiles;
    if (p.a_panel) return p.picked_from ? std::span<const Shape2>(cpu_picked) : cpu_packed;
    const bool plain = p.a.type == DataType::f32 && (p.a.column == 1 || p.a.row == 1) && p.c.column == 1;
    // Accesses that are checked against bounds or scattered are amortised over more columns.
    return access == Access::address && plain ? std::span<const Shape2>(cpu_plain) : cpu_scattered;
}

// The largest depth up to `depth` that the sum has.
std::uint32_t depth_for(const MultiplyProblem& p, std::uint32_t depth) {
    if (p.k >= depth) return depth;
    return p.k >= 16 ? 16 : p.k >= 12 ? 12 : p.k >= 8 ? 8 : p.k >= 4 ? 4 : 0;
}

}  // namespace

// Steps of 12 are fastest (docs/kernels.md); what they leave over is done one by one, which costs four times
// as much.
std::uint32_t cpu_depth(std::uint64_t k) {
    std::uint32_t best = 4;
    double least = std::numeric_limits<double>::infinity();
    for (const auto& [depth, step] : {std::pair{12u, 1.0}, {16u, 1.06}, {8u, 1.1}, {4u, 1.5}}) {
        const double cost =
            static_cast<double>(k / depth * depth) * step + static_cast<double>(k % depth) * 4.0;
        if (cost < least) {
            least = cost;
            best = depth;
        }
    }
    return best;
}

void add_direct(std::vector<MultiplyPlan>& out, const MultiplyProblem& p, const Capabilities& caps,
                Access access, bool all) {
    kernels::MatmulDirect kernel = common(p, caps);
    const bool cpu = is_cpu(caps), narrow = size_of(p.b.type) == 2;
    // Decoded along its rows, a weight has values and metadata of its own for each unrolled k.
    const bool along_rows = is_sparse(p) && !p.contract_columns;
    const auto rows_at_most =
        static_cast<std::uint32_t>(std::bit_floor(std::clamp<std::uint64_t>(p.m, 1, 128)));
    const std::size_t begin = out.size();
    for (const Shape2& shape : tiles_of(p, caps, access)) {
        if (p.a_panel) {
            // Tiles divide the panels.
            if (p.a_panel % shape.rows != 0) continue;
            // Under descriptors every element is checked on its own: tall tiles take seconds to compile.
            if (cpu && access == Access::descriptor && shape.rows > 32) continue;
            kernel.tile_rows = shape.rows;
            // Packing fixed the depth.
            kernel.k_unroll =
                p.picked_from ? depth_for(p, shape.depth ? shape.depth : cpu_depth(p.k)) : p.a_depth;
        } else {
            kernel.tile_rows = std::min(shape.rows, rows_at_most);
            kernel.k_unroll = depth_for(p, shape.depth ? shape.depth : cpu_depth(p.k));
        }
        kernel.tile_columns = shape.columns;
        while (kernel.tile_columns > 2 && p.n < std::uint64_t{kernel.tile_columns} * kernel.local_size)
            kernel.tile_columns /= 2;
        if (!cpu && (!p.a_panel || p.picked_from)) {
            // 8 unrolled k do not fit beside half a tile and more into an Intel GPU's registers, nor beside
            // such a weight's own values into an Apple GPU's.
            if ((along_rows || kernel.tile_rows * kernel.tile_columns >= 16) && kernel.k_unroll > 4)
                kernel.k_unroll = 4;
            // Nor do its columns beside halves of A that are loaded and unpacked one by one.
            if (along_rows && narrow && kernel.a_layout == 0) kernel.tile_columns = 2;
        }
        // Knowing that no column is cut off shortens 16-bit stores; f32 gains nothing from it.
        const std::uint64_t width = std::uint64_t{kernel.local_size} * kernel.tile_columns;
        kernel.exact = size_of(p.c.type) == 2 && p.n % width == 0 ? 2 : 0;
        MultiplyPlan plan;
        plan.problem = p;
        plan.kernel = kernel.kernel();
        plan.grid = {divide_up(p.n, width), p.outer * p.inner, divide_up(p.m, kernel.tile_rows)};
        plan.tile = {Family::direct,      kernel.local_size, kernel.tile_rows,
                     kernel.tile_columns, kernel.k_unroll,   false};
        // A small problem makes some of them the same.
        const bool known = std::any_of(out.begin() + static_cast<std::ptrdiff_t>(begin), out.end(),
                                       [&](const MultiplyPlan& other) { return other.tile == plan.tile; });
        if (!known) out.push_back(std::move(plan));
        if (!all && out.size() > begin) return;
    }
}

}  // namespace danaus::detail
