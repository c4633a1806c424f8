// Planned multiplies as packets.
#include "multiply.hpp"

#include "check.hpp"
#include "pack.hpp"
#include "split_sum.hpp"
#include "tuning.hpp"

#include <algorithm>
#include <optional>

namespace danaus::detail {
namespace {

// Push fields of matmul_direct behind ref[6]; element strides.
struct Fields {
    std::uint32_t m, n, k, inner;
    std::uint32_t a_m, a_k, a_outer, a_inner;
    std::uint32_t b_k, b_n, b_outer, b_inner;
    std::uint32_t c_m, c_n, c_outer, c_inner;
    std::uint32_t bias_stride, bias_inner;
    float scale;
    std::uint32_t meta;
};
static_assert(sizeof(Fields) + 6 * 8 == 128);

std::uint32_t narrow32(std::uint64_t value, bool used) {
    // A stride along a dimension of one element is never followed and may be anything.
    return used ? static_cast<std::uint32_t>(value) : 0;
}

Operand operand_of(const MatrixView& view, std::uint64_t elements, Touch touch) {
    return {view.buffer, view.offset * size_of(view.type), elements * size_of(view.type), touch};
}

Packet packet_of(const MultiplyPlan& plan) {
    const MultiplyProblem& p = plan.problem;
    Packet packet;
    packet.kernel = plan.kernel;
    for (std::size_t i = 0; i < 3; ++i) packet.grid[i] = static_cast<std::uint32_t>(plan.grid[i]);
    packet.label = p.label;
    packet.work = std::max<std::uint64_t>(1, p.m * p.n * p.k * p.outer * p.inner);

    const bool m = p.m > 1, n = p.n > 1, k = p.k > 1, outer = p.outer > 1, inner = p.inner > 1;
    const bool sparse = is_sparse(p);
    Fields f{};
    f.m = static_cast<std::uint32_t>(p.m);
    f.n = static_cast<std::uint32_t>(p.n);
    f.k = static_cast<std::uint32_t>(p.k);
    f.inner = static_cast<std::uint32_t>(p.inner);
    f.a_m = narrow32(p.a.row, m || p.a_panel);
    f.a_k = p.a_panel ? p.a_panel : narrow32(p.a.column, k);
    f.a_outer = narrow32(p.a.outer, outer);
    f.a_inner = narrow32(p.a.inner, inner);
    f.b_k = narrow32(p.b.row, k || sparse || p.picked_from);
    f.b_n = narrow32(p.b.column, n || sparse);
    f.b_outer = narrow32(p.b.outer, outer);
    f.b_inner = narrow32(p.b.inner, inner);
    f.c_m = narrow32(p.c.row, m);
    f.c_n = narrow32(p.c.column, n);
    f.c_outer = narrow32(p.c.outer, outer);
    f.c_inner = narrow32(p.c.inner, inner);
    f.bias_stride = p.bias_on_rows ? narrow32(p.bias.row, m) : narrow32(p.bias.column, n);
    f.bias_inner = narrow32(p.bias.inner, inner);
    f.scale = p.scale;
    const MatrixView& listed = sparse ? p.b : p.a;
    if (sparse || p.picked_from)
        f.meta = static_cast<std::uint32_t>(p.metadata_word - listed.offset * size_of(listed.type) / 4);
    packet.set_fields(f);

    packet.operands[0] = operand_of(p.a, span_a(p), Touch::read);
    packet.operands[1] = operand_of(p.b, span_b(p), Touch::read);
    const std::uint64_t result = view_span(p, p.c, p.m, p.n);
    packet.operands[2] = operand_of(p.c, result, Touch::read_write);
    if (p.has_bias) packet.operands[3] = operand_of(p.bias, bias_span(p), Touch::read);
    if (p.has_residual) packet.operands[4] = operand_of(p.residual, result, Touch::read);
    if (p.has_aux) packet.operands[5] = operand_of(p.aux, result, Touch::read_write);
    return packet;
}

}  // namespace

void record(Recorder& recorder, const MultiplyPlan& plan) {
    recorder.record(packet_of(plan));
}

void record_plans(Recorder& recorder, const std::vector<MultiplyPlan>& plans) {
    for (const MultiplyPlan& piece : plans) record(recorder, piece);
}

void emit(Recorder& recorder, const MultiplyProblem& problem, const Tensor& out, const Tensor& residual) {
    if (problem.m == 0 || problem.n == 0 || problem.outer == 0 || problem.inner == 0) return;
    if (is_complex(problem.b.type)) return emit_complex(recorder, problem, out, residual);
    if (auto* collector = dynamic_cast<ProblemCollector*>(&recorder)) return collector->add(problem);
    MultiplyProblem p = problem;
    Tensor zero;
    if (p.k == 0) {
        // An empty sum as a sum of one term: the kernel wants k >= 1.
        zero = empty(recorder, DataType::f32, {1});
        p.a = p.b = {zero.buffer(), p.b.type, zero.offset(), 0, 0, 0, 0};
        p.weight = kernels::MatmulDirect::Weight::dense;
        p.tile_codes = false;
        p.a_panel = p.a_depth = 0;
        p.picked_from = 0;
        p.k = 1;
    }
    const Device device = recorder.device();
    const Capabilities& caps = device.capabilities();
    std::optional<Choice> tuned;
    std::optional<ScratchPack> packed;
    if (!zero) {
        tuned = tuned_choice(device, p);
        if (tuned ? tuned->packed : packing_pays(p, caps, device.access()))
            p = packed.emplace(recorder, p).problem(p);
    }
    // Nothing is recorded before the plan stands.
    const auto plans = plan(p, caps, device.access(), tuned ? &tuned->tile : nullptr);
    std::optional<SplitSum> split;
    // A table's tile that is none of this problem's leaves everything to rules.
    const bool as_tuned = tuned && plans.front().tile == tuned->tile;
    if (const std::uint64_t parts = as_tuned ? 1 : parts_of_sum(plans, caps); parts > 1)
        split.emplace(recorder, p, parts);
    if (zero) fill_into(recorder, zero, 0.0);
    if (packed) packed->record(recorder);
    if (residual) convert_into(recorder, out, residual);
    if (split)
        split->record(recorder);
    else
        record_plans(recorder, plans);
}

}  // namespace danaus::detail
