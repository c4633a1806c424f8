#include "multiply.hpp"

#include "check.hpp"

#include <algorithm>
#include <bit>
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

// Steps of k that one dispatch counts in 32 bits; only operands that stand still along k get there.
constexpr std::uint64_t max_depth = 1ull << 31;

bool is_sparse(const MultiplyProblem& p) {
    return p.weight != kernels::MatmulDirect::Weight::dense;
}

// Elements from the first to the last one that `view` touches with these sizes, plus 1.
std::uint64_t span(const MultiplyProblem& p, const MatrixView& view, std::uint64_t rows,
                   std::uint64_t columns) {
    return 1 + (rows - 1) * view.row + (columns - 1) * view.column + (p.outer - 1) * view.outer +
           (p.inner - 1) * view.inner;
}

std::uint64_t span_b(const MultiplyProblem& p) {
    if (!is_sparse(p)) return span(p, p.b, p.k, p.n);
    const std::uint64_t size = size_of(p.b.type);
    return ((p.metadata_word + p.metadata_words) * 4 - p.b.offset * size) / size;
}

std::uint64_t bias_span(const MultiplyProblem& p) {
    return 1 + (p.m - 1) * p.bias.row + (p.n - 1) * p.bias.column + (p.inner - 1) * p.bias.inner;
}

void shift(MatrixView& view, std::uint64_t elements) {
    view.offset += elements;
}

std::uint64_t weight_words(const MultiplyProblem& p) {
    return p.contract_columns ? p.n * divide_up(p.k, 32) : p.k * divide_up(p.n, 32);
}

enum class Axis { outer, inner, m, n, k };

// The second half of `p` along `axis`, from index `at` on; the first half is `p` cut to `at`.
MultiplyProblem tail(const MultiplyProblem& p, Axis axis, std::uint64_t at) {
    MultiplyProblem q = p;
    switch (axis) {
        case Axis::outer:
            q.outer -= at;
            for (MatrixView* v : {&q.a, &q.b, &q.c, &q.residual, &q.aux}) shift(*v, at * v->outer);
            break;
        case Axis::inner:
            q.inner -= at;
            for (MatrixView* v : {&q.a, &q.b, &q.c, &q.residual, &q.aux, &q.bias}) shift(*v, at * v->inner);
            q.metadata_word += at * weight_words(p);
            q.metadata_words -= std::min(q.metadata_words, at * weight_words(p));
            break;
        case Axis::m:
            q.m -= at;
            for (MatrixView* v : {&q.a, &q.c, &q.residual, &q.aux, &q.bias}) shift(*v, at * v->row);
            break;
        case Axis::n:
            q.n -= at;
            for (MatrixView* v : {&q.b, &q.c, &q.residual, &q.aux, &q.bias}) shift(*v, at * v->column);
            break;
        case Axis::k:
            // The first half stores with bias and residual, the second adds to it.
            q.k -= at;
            shift(q.a, at * q.a.column);
            shift(q.b, at * q.b.row);
            q.has_bias = false;
            q.has_residual = true;
            q.residual = q.c;
            break;
    }
    return q;
}

MultiplyProblem head(MultiplyProblem p, Axis axis, std::uint64_t at) {
    switch (axis) {
        case Axis::outer:
            p.outer = at;
            break;
        case Axis::inner:
            p.inner = at;
            break;
        case Axis::m:
            p.m = at;
            break;
        case Axis::n:
            p.n = at;
            break;
        case Axis::k:
            p.k = at;
            break;
    }
    return p;
}

// Whether a cut along k keeps the result: the sum must survive being stored, and only a last step may be
// nonlinear.
bool may_cut_k(const MultiplyProblem& p) {
    return p.c.type == DataType::f32 && p.activation == Activation::none && !p.has_aux && !is_sparse(p);
}

// The axis to halve when an operand spans too much: a batch if there is one, else the operand's longest
// reach.
std::optional<Axis> axis_for(const MultiplyProblem& p, const MatrixView& view, Axis row, Axis column,
                             std::uint64_t rows, std::uint64_t columns) {
    if (p.outer > 1 && view.outer > 0) return Axis::outer;
    if (p.inner > 1 &&
        view.inner * (p.inner - 1) >= std::max(view.row * (rows - 1), view.column * (columns - 1)))
        return Axis::inner;
    const auto usable = [&](Axis axis, std::uint64_t size) {
        if (size < 2) return false;
        if (is_sparse(p) && axis != Axis::m) return false;
        return axis != Axis::k || may_cut_k(p);
    };
    const bool row_first = view.row * (rows - 1) >= view.column * (columns - 1);
    if (row_first && usable(row, rows)) return row;
    if (!row_first && usable(column, columns)) return column;
    if (p.inner > 1 && view.inner > 0) return Axis::inner;
    return std::nullopt;
}

std::uint64_t size_along(const MultiplyProblem& p, Axis axis) {
    switch (axis) {
        case Axis::outer:
            return p.outer;
        case Axis::inner:
            return p.inner;
        case Axis::m:
            return p.m;
        case Axis::n:
            return p.n;
        case Axis::k:
            break;
    }
    return p.k;
}

// Starts at a multiple of two elements and moves by even strides, so that pairs of elements are aligned.
bool even(const MultiplyProblem& p, const MatrixView& view, std::uint64_t stride) {
    return view.offset % 2 == 0 && stride % 2 == 0 && (p.outer == 1 || view.outer % 2 == 0) &&
           (p.inner == 1 || view.inner % 2 == 0);
}

// A tall tile reuses what the lanes loaded of B. Its rows stop where accumulators and offsets leave the
// registers: measured on a CPU (docs/kernels.md), guessed on GPUs.
std::uint32_t tile_rows(const MultiplyProblem& p, const Capabilities& caps, Access access) {
    const bool plain = p.a.type == DataType::f32 && (p.a.column == 1 || p.a.row == 1) && p.c.column == 1;
    const std::uint64_t most = caps.type != DeviceType::cpu         ? 8
                               : access == Access::address && plain ? 64
                                                                    : 32;
    return static_cast<std::uint32_t>(std::min(most, std::bit_floor(std::max<std::uint64_t>(1, p.m))));
}

kernels::MatmulDirect choose(const MultiplyProblem& p, const Capabilities& caps, Access access) {
    kernels::MatmulDirect kernel;
    const bool cpu = caps.type == DeviceType::cpu;
    kernel.weight = p.weight;
    // One subgroup a workgroup on a CPU, where a workgroup's subgroups run one after the other anyway.
    kernel.local_size = cpu ? std::clamp(caps.subgroup_size, 4u, 16u) : 64;
    while (kernel.local_size > std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0]))
        kernel.local_size /= 2;
    kernel.operand_type = static_cast<std::uint32_t>(p.a.type);
    kernel.output_type = static_cast<std::uint32_t>(p.c.type);
    kernel.bias_type = static_cast<std::uint32_t>(p.has_bias ? p.bias.type : p.c.type);
    kernel.tile_rows = tile_rows(p, caps, access);
    kernel.tile_columns =
        (cpu ? kernel.tile_rows == 32 && p.n >= 4 * kernel.local_size : p.n >= 4 * kernel.local_size) ? 4 : 2;
    kernel.k_unroll = p.k >= 8 ? 8 : p.k >= 4 ? 4 : 0;

    const bool narrow = size_of(p.a.type) == 2;
    kernel.a_pairs = narrow && p.a.column == 1 && even(p, p.a, p.m > 1 ? p.a.row : 0) ? 1 : 0;
    if (is_sparse(p)) {
        kernel.b_layout = p.contract_columns ? 0 : 1;
    } else if (p.b.column == 1 && p.n % 2 == 0 && even(p, p.b, p.k > 1 ? p.b.row : 0)) {
        kernel.b_layout = 1;
    } else if (p.b.row == 1 && even(p, p.b, p.n > 1 ? p.b.column : 0)) {
        kernel.b_layout = 2;
    }
    bool pairs = p.c.column == 1 && even(p, p.c, p.m > 1 ? p.c.row : 0);
    for (const auto& [present, view] : {std::pair{p.has_residual, &p.residual}, std::pair{p.has_aux, &p.aux}})
        pairs = pairs && (!present || view->offset % 2 == 0);
    kernel.c_pairs = pairs ? 1 : 0;
    // Knowing that no column is cut off shortens 16-bit stores; f32 gains nothing from it.
    const bool exact_columns = p.n % (std::uint64_t{kernel.local_size} * kernel.tile_columns) == 0;
    kernel.exact = size_of(p.c.type) == 2 && exact_columns ? 2 : 0;
    kernel.activation = static_cast<std::uint32_t>(p.activation);
    kernel.epilogue = (p.has_bias ? 1u : 0u) | (p.has_residual ? 2u : 0u) | (p.has_aux ? 4u : 0u) |
                      (p.has_bias && p.bias_on_rows ? 8u : 0u);
    return kernel;
}

void split(const MultiplyProblem& p, const Capabilities& caps, Access access,
           std::vector<MultiplyPlan>& out) {
    struct Side {
        const char* name;
        const MatrixView* view;
        std::uint64_t span, rows, columns;
        Axis row, column;
    };
    const auto halve = [&](Axis axis) {
        const std::uint64_t at = size_along(p, axis) / 2;
        split(head(p, axis, at), caps, access, out);
        split(tail(p, axis, at), caps, access, out);
    };
    // Under exchanged roles A is the caller's weight.
    const char* const a_name = p.bias_on_rows ? "weight" : "x";
    const char* const b_name = p.bias_on_rows ? "x" : "weight";
    const std::array<Side, 4> sides{
        Side{a_name, &p.a, span(p, p.a, p.m, p.k), p.m, p.k, Axis::m, Axis::k},
        Side{b_name, &p.b, span_b(p), p.k, p.n, Axis::k, Axis::n},
        Side{"result", &p.c, span(p, p.c, p.m, p.n), p.m, p.n, Axis::m, Axis::n},
        Side{"bias", &p.bias, p.has_bias ? bias_span(p) : 0, p.m, p.n, Axis::m, Axis::n}};
    for (const Side& side : sides) {
        const std::uint64_t limit = operand_limit(caps, access, side.view->type);
        if (side.span <= limit) continue;
        const auto axis = axis_for(p, *side.view, side.row, side.column, side.rows, side.columns);
        if (!axis)
            throw Error(
                ErrorKind::unsupported,
                fmt::format("{}: {} spans {} elements of {}; one dispatch on {} reaches {}, and this product "
                            "cannot be split further",
                            p.label, side.name, side.span, to_string(side.view->type), caps.name, limit));
        return halve(*axis);
    }
    if (p.k > max_depth) {
        if (may_cut_k(p)) return halve(Axis::k);
        throw Error(
            ErrorKind::unsupported,
            fmt::format("{}: a sum of {} terms; one dispatch counts to {}, and this product cannot be "
                        "split further",
                        p.label, p.k, max_depth));
    }

    const kernels::MatmulDirect kernel = choose(p, caps, access);
    const std::array<std::uint64_t, 3> grid{
        divide_up(p.n, std::uint64_t{kernel.local_size} * kernel.tile_columns), p.outer * p.inner,
        divide_up(p.m, kernel.tile_rows)};
    const std::array<Axis, 3> axes{Axis::n, p.outer > 1 ? Axis::outer : Axis::inner, Axis::m};
    for (std::size_t i = 0; i < 3; ++i) {
        if (grid[i] <= caps.max_workgroup_count[i]) continue;
        if (i == 0 && is_sparse(p))
            throw Error(
                ErrorKind::unsupported,
                fmt::format("{}: a compressed weight with {} columns of the result needs {} workgroups, {} "
                            "allows {}",
                            p.label, p.n, grid[0], caps.name, caps.max_workgroup_count[0]));
        return halve(axes[i]);
    }
    out.push_back({p,
                   kernel.kernel(),
                   {static_cast<std::uint32_t>(grid[0]), static_cast<std::uint32_t>(grid[1]),
                    static_cast<std::uint32_t>(grid[2])}});
}

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
    packet.grid = plan.grid;
    packet.label = p.label;
    packet.work = std::max<std::uint64_t>(1, p.m * p.n * p.k * p.outer * p.inner);

    const bool m = p.m > 1, n = p.n > 1, k = p.k > 1, outer = p.outer > 1, inner = p.inner > 1;
    const bool sparse = is_sparse(p);
    Fields f{};
    f.m = static_cast<std::uint32_t>(p.m);
    f.n = static_cast<std::uint32_t>(p.n);
    f.k = static_cast<std::uint32_t>(p.k);
    f.inner = static_cast<std::uint32_t>(p.inner);
    f.a_m = narrow32(p.a.row, m);
    f.a_k = narrow32(p.a.column, k);
    f.a_outer = narrow32(p.a.outer, outer);
    f.a_inner = narrow32(p.a.inner, inner);
    f.b_k = narrow32(p.b.row, k || sparse);
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
    if (sparse) f.meta = static_cast<std::uint32_t>(p.metadata_word - p.b.offset * size_of(p.b.type) / 4);
    packet.set_fields(f);

    packet.operands[0] = operand_of(p.a, span(p, p.a, p.m, p.k), Touch::read);
    packet.operands[1] = operand_of(p.b, span_b(p), Touch::read);
    const std::uint64_t result = span(p, p.c, p.m, p.n);
    packet.operands[2] = operand_of(p.c, result, Touch::read_write);
    if (p.has_bias) packet.operands[3] = operand_of(p.bias, bias_span(p), Touch::read);
    if (p.has_residual) packet.operands[4] = operand_of(p.residual, result, Touch::read);
    if (p.has_aux) packet.operands[5] = operand_of(p.aux, result, Touch::read_write);
    return packet;
}

}  // namespace

namespace {

// The product with the roles of A and B exchanged: Cᵀ = Bᵀ·Aᵀ.
MultiplyProblem exchanged(MultiplyProblem p) {
    std::swap(p.m, p.n);
    std::swap(p.a, p.b);
    for (MatrixView* view : {&p.a, &p.b, &p.c, &p.residual, &p.aux, &p.bias}) *view = transposed(*view);
    p.bias_on_rows = !p.bias_on_rows;
    return p;
}

// Lanes run along n. Where the result is contiguous along m instead, the roles change.
bool runs_along_m(const MultiplyProblem& p) {
    return !is_sparse(p) && p.c.column != 1 && p.n > 1 && p.c.row == 1;
}

}  // namespace

std::vector<MultiplyPlan> plan(const MultiplyProblem& problem, const Capabilities& caps, Access access) {
    std::vector<MultiplyPlan> plans;
    if (problem.m && problem.n && problem.outer && problem.inner)
        split(runs_along_m(problem) ? exchanged(problem) : problem, caps, access, plans);
    return plans;
}

namespace {

// An empty sum as a sum of one term: the kernel wants k >= 1.
MultiplyProblem with_zero_term(Recorder& recorder, MultiplyProblem problem) {
    const Tensor zero = empty(recorder, DataType::f32, {1});
    fill_into(recorder, zero, 0.0);
    problem.a = problem.b = {zero.buffer(), problem.a.type, 0, 0, 0, 0, 0};
    problem.weight = kernels::MatmulDirect::Weight::dense;
    problem.k = 1;
    return problem;
}

}  // namespace

void emit(Recorder& recorder, const MultiplyProblem& problem, const Tensor& out, const Tensor& residual) {
    if (problem.m == 0 || problem.n == 0 || problem.outer == 0 || problem.inner == 0) return;
    if (problem.k == 0) return emit(recorder, with_zero_term(recorder, problem), out, residual);
    const auto plans = plan(problem, recorder.device().capabilities(), recorder.device().access());
    if (residual) convert_into(recorder, out, residual);
    for (const MultiplyPlan& piece : plans) recorder.record(packet_of(piece));
}

MatrixView matrix_view(const Tensor& t) {
    const std::size_t r = t.rank();
    return {
        t.buffer(), t.type(), t.offset(), t.strides()[r - 2], t.strides()[r - 1], r > 2 ? t.strides()[0] : 0,
        0};
}

MatrixView transposed(MatrixView view) {
    std::swap(view.row, view.column);
    return view;
}

Tensor set_epilogue(MultiplyProblem& problem, const Epilogue& epilogue, const Tensor& out,
                    std::uint64_t bias_column, std::uint64_t bias_inner) {
    const bool copied = epilogue.residual && !same_layout(epilogue.residual, out);
    problem.activation = epilogue.activation;
    problem.scale = epilogue.scale;
    if (epilogue.bias) {
        problem.has_bias = true;
        const std::uint64_t stride = epilogue.bias.strides()[0];
        problem.bias = {
            epilogue.bias.buffer(), epilogue.bias.type(), epilogue.bias.offset(), 0, bias_column * stride, 0,
            bias_inner * stride};
    }
    const auto share = [&](const Tensor& other) {
        MatrixView view = problem.c;
        view.buffer = other.buffer();
        view.offset = problem.c.offset - out.offset() + other.offset();
        return view;
    };
    if (epilogue.accumulate || copied) {
        problem.has_residual = true;
        problem.residual = problem.c;
    } else if (epilogue.residual) {
        problem.has_residual = true;
        problem.residual = share(epilogue.residual);
    }
    if (epilogue.aux) {
        problem.has_aux = true;
        problem.aux = share(epilogue.aux);
    }
    return copied ? epilogue.residual : Tensor();
}

void check_epilogue(const Recorder& recorder, const Epilogue& epilogue, const Tensor& out,
                    DataType operand_type) {
    const std::uint64_t features = out.size(out.rank() - 1);
    if (epilogue.bias) {
        require_tensor(recorder, "bias", epilogue.bias);
        require_shape("bias", epilogue.bias, Shape{features});
        require(epilogue.bias.type() == operand_type || epilogue.bias.type() == DataType::f32,
                "bias: type {}, {} or f32 is needed; use convert()", to_string(epilogue.bias.type()),
                to_string(operand_type));
        require_disjoint("out", out, "bias", epilogue.bias);
    }
    require(!epilogue.accumulate || !epilogue.residual,
            "residual: a result that accumulates is its own residual");
    if (epilogue.residual) {
        require_tensor(recorder, "residual", epilogue.residual);
        require_shape("residual", epilogue.residual, out.shape());
        require_type("residual", epilogue.residual, out.type());
        const bool same = epilogue.residual.buffer() == out.buffer() &&
                          epilogue.residual.offset() == out.offset() && same_layout(epilogue.residual, out);
        if (!same) require_disjoint("out", out, "residual", epilogue.residual);
    }
    if (epilogue.aux) {
        require_tensor(recorder, "aux", epilogue.aux);
        require_shape("aux", epilogue.aux, out.shape());
        require_type("aux", epilogue.aux, out.type());
        require(same_layout(epilogue.aux, out), "aux: strides {}, those of the result, {}, are needed",
                to_string(epilogue.aux.strides()), to_string(out.strides()));
        require_disjoint("aux", epilogue.aux, "out", out);
        if (epilogue.residual) require_disjoint("aux", epilogue.aux, "residual", epilogue.residual);
        if (epilogue.bias) require_disjoint("aux", epilogue.aux, "bias", epilogue.bias);
    }
    require(
        static_cast<std::uint32_t>(epilogue.activation) <= static_cast<std::uint32_t>(Activation::gelu_erf),
        "activation: {} is none of the known ones", static_cast<std::uint32_t>(epilogue.activation));
}

void require_apart(const Tensor& out, const Epilogue& epilogue, const char* name, const Tensor& operand) {
    require_disjoint("out", out, name, operand);
    if (epilogue.aux) require_disjoint("aux", epilogue.aux, name, operand);
}

void require_result(const Recorder& recorder, const char* name, const Tensor& out, const Shape& shape,
                    DataType type) {
    require_tensor(recorder, name, out);
    require_shape(name, out, shape);
    require(out.type() == type || out.type() == DataType::f32,
            "{}: type {}, {} or f32 is needed; use convert()", name, to_string(out.type()), to_string(type));
    require_no_self_overlap(name, out);
}

void require_result(const Recorder& recorder, const Tensor& out, const Shape& shape, DataType type) {
    require_result(recorder, "out", out, shape, type);
}

Tensor new_result(Recorder& recorder, const Shape& shape, DataType operand_type, const Epilogue& epilogue) {
    require(!epilogue.accumulate,
            "accumulate: a new result has nothing to add to; use the form that takes out");
    const DataType type = epilogue.widen ? DataType::f32 : operand_type;
    if (epilogue.order == Order::token_major) return empty(recorder, type, shape);
    Shape swapped = shape;
    std::swap(swapped[shape.rank() - 2], swapped[shape.rank() - 1]);
    return empty(recorder, type, swapped).transpose();
}

}  // namespace danaus::detail
