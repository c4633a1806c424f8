// Plans and packets of Monarch products with lanes along features.
#include "monarch_lanes.hpp"

#include "check.hpp"
#include "pack.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <initializer_list>

namespace danaus::detail {
namespace {

// Push fields of monarch_lanes behind ref[4]; strides count elements.
struct Fields {
    std::uint32_t tokens, tile;
    std::uint32_t in_token, out_token;
    std::uint32_t blocks, depth, rows, chunk;
    std::uint32_t bias_stride;
    float scale;
};
static_assert(sizeof(Fields) + 4 * 8 == 72);

constexpr std::uint32_t group = 16, step = 8, first_tokens = 4, second_tokens = 8;
// Tokens of a workgroup of the first factor, one tile after the other, and rows of the second one's blocks.
constexpr std::uint32_t first_share = 256, second_share = 16;
constexpr PackLayout layout{group, 1, DataType::f32};

using Stage = kernels::MonarchLanes::Stage;

bool one_of(std::uint64_t value, std::initializer_list<std::uint64_t> list) {
    return std::find(list.begin(), list.end(), value) != list.end();
}

bool serves(const MonarchProblem& p, const Capabilities& caps, Access access) {
    const MultiplyProblem& w = p.whole;
    const bool f32 = w.b.type == DataType::f32 && w.c.type == DataType::f32 &&
                     (!w.has_bias || w.bias.type == DataType::f32);
    const bool plain =
        p.y_interleaved && !p.x_interleaved && !w.has_residual && !w.has_aux && !w.bias_on_rows;
    if (!f32 || !plain) return false;
    if (!w.m || w.outer != 1 || w.a.column != 1 || w.c.column != 1) return false;
    if (!p.first.blocks || !p.first.rows || !p.second.blocks || !p.second.rows) return false;
    if (p.first.rows % group || p.second.blocks % group || p.second.depth % step || !p.second.depth)
        return false;
    if (!one_of(p.first.depth, {16, 32, 64})) return false;
    const std::uint64_t limit = operand_limit(caps, access, DataType::f32);
    return std::max({span_a(w), view_span(w, w.c, w.m, w.n), p.first.span(), p.second.span(),
                     w.m * p.inner_features(), w.has_bias ? bias_span(w) : 0}) <= limit &&
           p.first.blocks <= caps.max_workgroup_count[1] && p.second.rows <= caps.max_workgroup_count[1] &&
           std::max(p.first.rows, p.second.blocks) / group <= caps.max_workgroup_count[0] &&
           divide_up(w.m, first_tokens) <= caps.max_workgroup_count[2];
}

PackSource source_of(const MatrixView& view, std::uint64_t rows, std::uint64_t k, std::uint64_t batch) {
    PackSource source;
    source.view = view;
    source.rows = rows;
    source.k = k;
    source.batch = batch;
    return source;
}

std::uint32_t narrow(std::uint64_t value) {
    return static_cast<std::uint32_t>(value);
}

Operand scratch(const Tensor& tensor, Touch touch) {
    return {tensor.buffer(), tensor.offset() * 4, tensor.elements() * 4, touch};
}

}  // namespace

std::optional<LanesPlan> lanes_plan(const MonarchProblem& p, const Capabilities& caps, Access access) {
    if (!serves(p, caps, access)) return std::nullopt;
    const bool cpu = caps.type == DeviceType::cpu;
    kernels::MonarchLanes kernel;
    kernel.one_subgroup = caps.subgroup_size == kernel.local_size;
    LanesPlan plan{p, {}, {}, first_tokens, cpu ? second_tokens : first_tokens};
    kernel.stage = Stage::first;
    kernel.tokens = narrow(plan.first_tile);
    kernel.depth = narrow(p.first.depth);
    plan.first = kernel.kernel();
    kernel.stage = Stage::second;
    kernel.tokens = narrow(plan.second_tile);
    kernel.depth = kernels::MonarchLanes{}.depth;
    kernel.rows = p.second.rows % 2 || !cpu ? 1 : 2;
    kernel.activation = static_cast<std::uint32_t>(p.whole.activation);
    kernel.has_bias = p.whole.has_bias;
    plan.second = kernel.kernel();
    for (const kernels::Kernel& one : {plan.first, plan.second})
        if (!unusable_reason(one, caps, access).empty() || !unfit_reason(one, caps).empty())
            return std::nullopt;
    return plan;
}

bool lanes_pay(const MonarchProblem& p, const Capabilities& caps, Access access) {
    // Under descriptors every word is checked by itself, so that no driver puts eight of them together.
    constexpr std::uint64_t enough_tokens = 128;
    return caps.type == DeviceType::cpu && caps.subgroup_size == kernels::MonarchLanes{}.local_size &&
           access == Access::address && p.whole.m >= enough_tokens;
}

void record(Recorder& recorder, const LanesPlan& plan) {
    const MonarchProblem& p = plan.problem;
    const MultiplyProblem& w = p.whole;
    const auto packed = [&](std::uint64_t rows, std::uint64_t k, std::uint64_t batch,
                            const MatrixView& view) {
        const Tensor data = empty(recorder, DataType::f32, {batch * layout.elements(rows, k)});
        record_pack(recorder, data, layout, source_of(view, rows, k, batch));
        return data;
    };
    const Tensor w1 = packed(p.first.rows, p.first.depth, p.first.blocks, p.first.weight);
    // The blocks are the rows of a panel, and every row of a block is a matrix.
    MatrixView across = p.second.weight;
    std::swap(across.row, across.inner);
    const Tensor w2 = packed(p.second.blocks, p.second.depth, p.second.rows, across);
    const Tensor inner = empty(recorder, DataType::f32, {w.m, p.inner_features()});

    Fields f{};
    f.tokens = narrow(w.m);
    f.tile = first_share;
    f.in_token = w.m > 1 ? narrow(w.a.row) : 0;
    f.out_token = narrow(p.inner_features());
    f.blocks = narrow(p.second.blocks);
    f.depth = narrow(p.second.depth);
    Packet packet;
    packet.kernel = plan.first;
    packet.grid = {narrow(p.first.rows / group), narrow(p.first.blocks), narrow(divide_up(w.m, first_share))};
    packet.label = "monarch_first";
    packet.work = w.m * p.inner_features() * p.first.depth;
    packet.operands[0] = {w.a.buffer, w.a.offset * 4, span_a(w) * 4, Touch::read};
    packet.operands[1] = scratch(w1, Touch::read);
    packet.operands[2] = scratch(inner, Touch::write);
    packet.set_fields(f);
    recorder.record(packet);

    f.in_token = f.out_token;
    f.out_token = w.m > 1 ? narrow(w.c.row) : 0;
    f.rows = narrow(p.second.rows);
    f.chunk = second_share;
    f.bias_stride = w.n > 1 ? narrow(w.bias.column) : 0;
    f.scale = w.scale;
    packet = {};
    packet.kernel = plan.second;
    packet.grid = {narrow(p.second.blocks / group), narrow(divide_up(p.second.rows, second_share)),
                   narrow(divide_up(w.m, plan.second_tile))};
    packet.label = "monarch_second";
    packet.work = w.m * w.n * p.second.depth;
    packet.operands[0] = scratch(inner, Touch::read);
    packet.operands[1] = scratch(w2, Touch::read);
    packet.operands[2] = {w.c.buffer, w.c.offset * 4, view_span(w, w.c, w.m, w.n) * 4, Touch::read_write};
    if (w.has_bias) packet.operands[3] = {w.bias.buffer, w.bias.offset * 4, bias_span(w) * 4, Touch::read};
    packet.set_fields(f);
    recorder.record(packet);
}

}  // namespace danaus::detail
