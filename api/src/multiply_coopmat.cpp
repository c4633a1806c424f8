// Candidates of the family for the matrix units of GPUs (shaders/matmul/coopmat.comp).
#include "check.hpp"
#include "multiply.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <optional>
#include <span>

namespace danaus::detail {
namespace {

using Kernel = kernels::MatmulCoopmat;
using Kernel2 = kernels::MatmulCoopmat2;

struct Block {
    std::uint32_t m, n, k;       ///< of a workgroup
    std::uint32_t sub_m, sub_n;  ///< of a subgroup
};

// Large, medium, small: guesses from public kernels, none of them timed. No lane has more than 64 sums.
constexpr Block blocks_of32[] = {
    {128, 128, 16, 64, 32}, {128, 128, 32, 64, 32}, {64, 64, 32, 32, 32}, {32, 32, 32, 16, 16}};
// Where subgroups are narrower, each lane loads and adds more, and has no more registers: larger blocks spill
// on Battlemage.
constexpr Block blocks_of16[] = {{32, 32, 16, 16, 16}};
constexpr Block blocks_of8[] = {{128, 128, 16, 32, 16}, {64, 64, 16, 16, 16}, {32, 32, 16, 16, 16}};

std::span<const Block> blocks_of(const Capabilities& caps) {
    if (caps.matrix_subgroup_size >= 32) return blocks_of32;
    if (caps.matrix_subgroup_size >= 16) return blocks_of16;
    // A GPU that multiplies matrices in a quarter of its usual subgroups (Arc Alchemist) spills with every
    // block.
    return caps.matrix_subgroup_size == caps.subgroup_size ? std::span<const Block>(blocks_of8)
                                                           : std::span<const Block>();
}

// Their sums must fit into the shared memory that their operands take.
constexpr Block blocks_of_workgroups[] = {{64, 64, 64, 0, 0}, {64, 64, 32, 0, 0}, {32, 32, 32, 0, 0}};

// Below it in any direction the blocks are mostly empty.
constexpr std::uint64_t least_size = 64;

std::optional<MatrixElement> element_of(DataType type) {
    if (type == DataType::f16) return MatrixElement::f16;
    if (type == DataType::bf16) return MatrixElement::bf16;
    return std::nullopt;
}

// The device's shapes that multiply `element`, large ones first: they load the fewest words for a product.
std::vector<CooperativeMatrix> shapes_of(const Capabilities& caps, MatrixElement element) {
    std::vector<CooperativeMatrix> shapes;
    std::copy_if(caps.cooperative_matrices.begin(), caps.cooperative_matrices.end(),
                 std::back_inserter(shapes),
                 [&](const CooperativeMatrix& shape) { return shape.multiplies(element); });
    std::stable_sort(shapes.begin(), shapes.end(), [](const auto& one, const auto& other) {
        return std::uint64_t{one.m} * one.n * one.k > std::uint64_t{other.m} * other.n * other.k;
    });
    return shapes;
}

template <typename Any>
bool serves(const MultiplyProblem& p, const Capabilities& caps, Access access) {
    const auto element = element_of(p.b.type);
    if (!element || p.a.type != p.b.type || p.a_panel) return false;
    Any any;
    any.element = *element == MatrixElement::f16 ? Any::Element::f16 : Any::Element::bf16;
    return unusable_reason(any.kernel(), caps, access).empty();
}

// What both kinds share.
template <typename Any>
Any common(const MultiplyProblem& p, const Block& block) {
    Any kernel;
    kernel.weight = is_sparse(p) ? Any::Weight::sparse24 : Any::Weight::dense;
    kernel.tile_codes = p.tile_codes;
    kernel.element = p.b.type == DataType::f16 ? Any::Element::f16 : Any::Element::bf16;
    const Stored stored = stored_as(p);
    stored.apply(kernel);
    kernel.c_layout = stored.pairs ? 1 : 0;
    kernel.a_layout = block_layout_a(p);
    kernel.b_layout = block_layout_b(p);
    kernel.block_m = block.m;
    kernel.block_n = block.n;
    kernel.block_k = block.k;
    kernel.exact =
        (p.m % block.m == 0 ? 1u : 0u) | (p.n % block.n == 0 ? 2u : 0u) | (p.k % block.k == 0 ? 4u : 0u);
    return kernel;
}

MultiplyPlan plan_of(Family family, const MultiplyProblem& p, const Block& block,
                     const kernels::Kernel& kernel) {
    MultiplyPlan plan;
    plan.problem = p;
    plan.kernel = kernel;
    plan.grid = {divide_up(p.n, block.n), p.outer * p.inner, divide_up(p.m, block.m)};
    plan.tile = {family, kernels::workgroup_size(kernel)[0], block.m, block.n, block.k, false};
    return plan;
}

// The kernel for a block, with the first shape that fits it.
std::optional<kernels::Kernel> kernel_of(const MultiplyProblem& p, const Capabilities& caps,
                                         const Block& block, const std::vector<CooperativeMatrix>& shapes) {
    Kernel kernel = common<Kernel>(p, block);
    kernel.subgroup = caps.matrix_subgroup_size;
    kernel.sub_m = block.sub_m;
    kernel.sub_n = block.sub_n;
    kernel.local_size = block.m / block.sub_m * (block.n / block.sub_n) * kernel.subgroup;
    for (const CooperativeMatrix& shape : shapes) {
        kernel.matrix_m = shape.m;
        kernel.matrix_n = shape.n;
        kernel.matrix_k = shape.k;
        kernel.tile_rows = shape.m * kernel.sub_n / (2 * kernel.subgroup);
        if (const kernels::Kernel one = kernel.kernel(); unfit_reason(one, caps).empty()) return one;
    }
    return std::nullopt;
}

}  // namespace

bool coopmat_first(const MultiplyProblem& p, const Capabilities& caps) {
    return caps.type != DeviceType::cpu && std::min({p.m, p.n, p.k}) >= least_size &&
           divide_up(p.n, 32) <= caps.max_workgroup_count[0];
}

void add_coopmat(std::vector<MultiplyPlan>& out, const MultiplyProblem& p, const Capabilities& caps,
                 Access access, bool all) {
    if (!serves<Kernel>(p, caps, access)) return;
    const auto shapes = shapes_of(caps, *element_of(p.b.type));
    const std::size_t begin = out.size();
    const std::span<const Block> blocks = blocks_of(caps);
    // The first block that makes enough workgroups, else the smallest; then the others.
    for (const bool preferred : {true, false})
        for (const Block& block : blocks) {
            const std::uint64_t columns = divide_up(p.n, block.n), rows = divide_up(p.m, block.m);
            const bool last = &block == &blocks.back();
            const bool enough = columns * rows * p.outer * p.inner >= enough_workgroups;
            if ((enough || last) != preferred) continue;
            const auto kernel = kernel_of(p, caps, block, shapes);
            if (!kernel) continue;
            out.push_back(plan_of(Family::coopmat, p, block, *kernel));
            if (!all && out.size() > begin) return;
        }
}

void add_coopmat2(std::vector<MultiplyPlan>& out, const MultiplyProblem& p, const Capabilities& caps,
                  Access access, bool all) {
    if (!all || !serves<Kernel2>(p, caps, access)) return;
    for (const Block& block : blocks_of_workgroups) {
        Kernel2 kernel = common<Kernel2>(p, block);
        for (const std::uint32_t lanes : {256u, 128u, 64u}) {
            kernel.local_size = lanes;
            kernel.tile_rows = block.m * block.n / (2 * lanes);
            const kernels::Kernel one = kernel.kernel();
            if (unfit_reason(one, caps).empty()) out.push_back(plan_of(Family::coopmat2, p, block, one));
        }
    }
}

}  // namespace danaus::detail
