// Plans and packets of Monarch products in one dispatch.
#include "monarch_fused.hpp"

#include "tuning.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <initializer_list>
#include <span>

namespace danaus::detail {
namespace {

// Push fields of matmul_monarch behind ref[7]; element strides.
struct Fields {
    std::uint32_t tokens;
    std::uint32_t blocks, rows, depth;
    std::uint32_t x_token, x_feature, x_outer;
    std::uint32_t y_token, y_feature, y_outer;
    std::uint32_t w1_block, w1_row, w1_column;
    std::uint32_t w2_block, w2_row, w2_column;
    std::uint32_t bias_stride;
    float scale;
};
static_assert(sizeof(Fields) + 7 * 8 == 128);
constexpr std::uint64_t most = 0xffff;  // of blocks, rows and depth, two to a word

struct Shape2 {
    std::uint32_t lanes;        ///< 0: a subgroup
    std::uint32_t token_lanes;  ///< 0: all
    std::uint32_t rows, columns;
};
// Lanes of a GPU lie along features, so that neighbours load and store neighbours; a CPU's along tokens, so
// that weights are uniform. None of a GPU's is timed.
constexpr Shape2 gpu_shapes[] = {{256, 4, 2, 4}, {256, 4, 4, 4}, {128, 4, 2, 4}, {64, 2, 2, 4}};
constexpr Shape2 cpu_shapes[] = {{0, 0, 2, 16}, {0, 0, 1, 16}};
constexpr std::uint32_t inner_sizes[] = {4096, 8192, 12288, 24576};

// Whether elements may be loaded by 16 bytes along `step`: 4 words or, element by element, 0. They begin at
// multiples of `strides` from the view's start.
std::uint32_t words_of_loads(const MatrixView& view, std::uint64_t step,
                             std::initializer_list<std::uint64_t> strides) {
    const auto whole = [&](std::uint64_t n) { return n % (16 / size_of(view.type)) == 0; };
    return step == 1 && whole(view.offset) && view.buffer.starts_aligned() &&
                   std::all_of(strides.begin(), strides.end(), whole)
               ? 4
               : 0;
}

// A stride that is never followed may be anything.
std::uint64_t followed(std::uint64_t stride, std::uint64_t size) {
    return size > 1 ? stride : 0;
}

bool within_reach(const MonarchProblem& p, const Capabilities& caps, Access access) {
    for (const MonarchProblem::Stage* s : {&p.first, &p.second}) {
        if (!s->blocks || !s->rows || !s->depth) return false;
        if (std::max({s->blocks, s->rows, s->depth}) > most) return false;
        if (s->span() > operand_limit(caps, access, s->weight.type)) return false;
    }
    const MultiplyProblem& w = p.whole;
    if (!w.m || !w.outer || w.m > 1ull << 31) return false;
    return span_a(w) <= operand_limit(caps, access, w.a.type) &&
           view_span(w, w.c, w.m, w.n) <= operand_limit(caps, access, w.c.type) &&
           (!w.has_bias || bias_span(w) <= operand_limit(caps, access, w.bias.type));
}

kernels::MatmulMonarch kernel_of(const MonarchProblem& p, const Shape2& shape, const Capabilities& caps) {
    const MultiplyProblem& w = p.whole;
    kernels::MatmulMonarch kernel;
    const Stored stored = stored_as(w);
    stored.apply(kernel);
    kernel.local_size = shape.lanes ? shape.lanes : std::clamp(caps.subgroup_size, 4u, 16u);
    kernel.token_lanes = shape.token_lanes ? shape.token_lanes : kernel.local_size;
    kernel.tile_rows = shape.rows;
    kernel.tile_columns = shape.columns;
    kernel.k_step = size_of(w.b.type) == 4 ? 4 : 8;
    const auto loads = [&](const MonarchProblem::Stage& s) {
        return words_of_loads(s.weight, s.weight.column,
                              {followed(s.weight.row, s.rows), followed(s.weight.inner, s.blocks)});
    };
    kernel.w1_layout = loads(p.first);
    kernel.w2_layout = loads(p.second);
    kernel.x_layout = p.x_interleaved ? 0
                                      : words_of_loads(w.a, w.a.column,
                                                       {followed(w.a.row, w.m), followed(w.a.outer, w.outer),
                                                        followed(p.first.depth, p.first.blocks)});
    // Pairs of an interleaved result come from two blocks.
    const bool pairs = stored.pairs && (p.y_interleaved ? p.second.blocks : p.second.rows) % 2 == 0;
    const bool split = p.y_interleaved && size_of(w.c.type) == 4;
    kernel.neighbours = pairs && p.y_interleaved && !split ? 2 : 1;
    kernel.c_layout = pairs && !split                      ? 1
                      : stored.row_pairs && shape.rows > 1 ? 3
                      : w.c.row == 1 && w.m > 1            ? 2
                                                           : 0;
    kernel.order = (p.x_interleaved ? 1u : 0u) | (p.y_interleaved ? 2u : 0u) | (p.transposed ? 4u : 0u);
    return kernel;
}

}  // namespace

std::vector<MonarchPlan> fused_candidates(const MonarchProblem& p, const Capabilities& caps, Access access) {
    std::vector<MonarchPlan> found;
    if (!within_reach(p, caps, access)) return found;
    const bool narrow = size_of(p.whole.b.type) == 2, cpu = caps.type == DeviceType::cpu;
    for (const Shape2& shape : cpu ? std::span<const Shape2>(cpu_shapes) : gpu_shapes) {
        if (narrow && shape.rows == 1) continue;
        // Intel's chips, whose subgroups may be narrower, spill with the tallest tile.
        if (!cpu && shape.rows > 2 && caps.min_subgroup_size < 32) continue;
        kernels::MatmulMonarch kernel = kernel_of(p, shape, caps);
        // A CPU's driver runs the unrolled steps with all lanes masked too, and a uniform load obeys no mask.
        if (cpu && std::min(p.first.depth, p.second.depth) < kernel.k_step) continue;
        const std::uint64_t tokens = std::uint64_t{kernel.token_lanes} * shape.rows;
        const std::uint64_t words = tokens / (narrow ? 2 : 1) * p.inner_features();
        const auto size = std::find_if(std::begin(inner_sizes), std::end(inner_sizes),
                                       [&](std::uint32_t one) { return one >= words; });
        if (size == std::end(inner_sizes)) continue;
        kernel.inner_words = *size;
        MonarchPlan plan;
        plan.problem = p;
        plan.tokens = tokens;
        plan.kernel = kernel.kernel();
        plan.grid = {divide_up(p.whole.m, tokens), p.whole.outer, 1};
        plan.tile = {Family::fused, kernel.local_size, shape.rows, shape.columns, kernel.k_step, false};
        if (plan.grid[0] > caps.max_workgroup_count[0] || plan.grid[1] > caps.max_workgroup_count[1] ||
            !unusable_reason(plan.kernel, caps, access).empty() || !unfit_reason(plan.kernel, caps).empty())
            continue;
        found.push_back(std::move(plan));
    }
    return found;
}

std::optional<MonarchPlan> fused_by_rules(const MonarchProblem& p, const Capabilities& caps, Access access) {
    // Few tokens to a workgroup read the weights anew for each of these: that pays while blocks are small,
    // where a factor moves more bytes of tokens than it has work for, and with a workgroup for every core.
    constexpr std::uint64_t small_block = 64, least_workgroups = 64, enough_tokens = 8;
    const std::uint64_t depth = std::max(p.first.depth, p.second.depth), tokens = p.whole.m * p.whole.outer;
    if (depth > small_block) return std::nullopt;
    if (caps.type == DeviceType::cpu) {
        // Measured (docs/kernels.md): so little work waits most for the other dispatch.
        constexpr std::uint64_t smaller_block = 32, few_tokens = 64;
        if (tokens > few_tokens || depth > smaller_block || size_of(p.whole.b.type) != 4) return std::nullopt;
        auto ways = fused_candidates(p, caps, access);
        return ways.empty() ? std::nullopt : std::optional(std::move(ways.back()));
    }
    for (MonarchPlan& one : fused_candidates(p, caps, access)) {
        const std::uint64_t workgroups = one.grid[0] * one.grid[1];
        if (workgroups >= least_workgroups && tokens >= workgroups * (enough_tokens / 2) &&
            one.tokens >= enough_tokens)
            return std::move(one);
    }
    return std::nullopt;
}

std::optional<MonarchPlan> fused_plan(const Device& device, const MonarchProblem& p) {
    const Capabilities& caps = device.capabilities();
    if (const auto tuned = tuned_choice(device, key_of(p, device.access()))) {
        if (tuned->tile.family == Family::factors) return std::nullopt;
        for (MonarchPlan& one : fused_candidates(p, caps, device.access()))
            if (one.tile == tuned->tile) return std::move(one);
    }
    return fused_by_rules(p, caps, device.access());
}

void record(Recorder& recorder, const MonarchPlan& plan) {
    const MonarchProblem& p = plan.problem;
    const MultiplyProblem& w = p.whole;
    const auto narrow = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    const auto two = [&](std::uint64_t low, std::uint64_t high) { return narrow(low | high << 16); };
    Fields f{};
    f.tokens = narrow(w.m);
    f.blocks = two(p.first.blocks, p.second.blocks);
    f.rows = two(p.first.rows, p.second.rows);
    f.depth = two(p.first.depth, p.second.depth);
    f.x_token = narrow(followed(w.a.row, w.m));
    f.x_feature = narrow(followed(w.a.column, w.k));
    f.x_outer = narrow(followed(w.a.outer, w.outer));
    f.y_token = narrow(followed(w.c.row, w.m));
    f.y_feature = narrow(followed(w.c.column, w.n));
    f.y_outer = narrow(followed(w.c.outer, w.outer));
    f.w1_block = narrow(followed(p.first.weight.inner, p.first.blocks));
    f.w1_row = narrow(followed(p.first.weight.row, p.first.rows));
    f.w1_column = narrow(followed(p.first.weight.column, p.first.depth));
    f.w2_block = narrow(followed(p.second.weight.inner, p.second.blocks));
    f.w2_row = narrow(followed(p.second.weight.row, p.second.rows));
    f.w2_column = narrow(followed(p.second.weight.column, p.second.depth));
    f.bias_stride = narrow(followed(w.bias.column, w.n));
    f.scale = w.scale;

    Packet packet;
    packet.kernel = plan.kernel;
    for (std::size_t i = 0; i < 3; ++i) packet.grid[i] = narrow(plan.grid[i]);
    packet.label = w.label;
    packet.work =
        w.m * w.outer *
        (p.first.blocks * p.first.rows * p.first.depth + p.second.blocks * p.second.rows * p.second.depth);
    const auto operand_of = [](const MatrixView& view, std::uint64_t elements, Touch touch) {
        return Operand{view.buffer, view.offset * size_of(view.type), elements * size_of(view.type), touch};
    };
    const std::uint64_t result = view_span(w, w.c, w.m, w.n);
    packet.operands[0] = operand_of(w.a, span_a(w), Touch::read);
    packet.operands[1] = operand_of(p.first.weight, p.first.span(), Touch::read);
    packet.operands[2] = operand_of(w.c, result, Touch::read_write);
    if (w.has_bias) packet.operands[3] = operand_of(w.bias, bias_span(w), Touch::read);
    if (w.has_residual) packet.operands[4] = operand_of(w.residual, result, Touch::read);
    if (w.has_aux) packet.operands[5] = operand_of(w.aux, result, Touch::read_write);
    packet.operands[6] = operand_of(p.second.weight, p.second.span(), Touch::read);
    packet.set_fields(f);
    recorder.record(packet);
}

}  // namespace danaus::detail
