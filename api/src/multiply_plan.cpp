// How a multiply is cut into dispatches and which kernel computes each: the plan, which looks at no buffer.
#include "check.hpp"
#include "multiply.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <bit>
#include <optional>

namespace danaus::detail {

bool is_sparse(const MultiplyProblem& p) {
    return p.weight != kernels::MatmulDirect::Weight::dense;
}

// Elements from the first to the last one that `view` touches with these sizes, plus 1.
std::uint64_t view_span(const MultiplyProblem& p, const MatrixView& view, std::uint64_t rows,
                        std::uint64_t columns) {
    return 1 + (rows - 1) * view.row + (columns - 1) * view.column + (p.outer - 1) * view.outer +
           (p.inner - 1) * view.inner;
}

std::uint64_t span_b(const MultiplyProblem& p) {
    if (!is_sparse(p)) return view_span(p, p.b, p.k, p.n);
    const std::uint64_t size = size_of(p.b.type);
    return ((p.metadata_word + p.metadata_words) * 4 - p.b.offset * size) / size;
}

std::uint64_t bias_span(const MultiplyProblem& p) {
    return 1 + (p.m - 1) * p.bias.row + (p.n - 1) * p.bias.column + (p.inner - 1) * p.bias.inner;
}

namespace {

// Steps of k that one dispatch counts in 32 bits; only operands that stand still along k get there.
constexpr std::uint64_t max_depth = 1ull << 31;

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

// Whether a pair of elements may be moved at once from the view's start on.
bool starts_pairs(const MatrixView& view) {
    return view.offset % 2 == 0 && view.buffer.starts_aligned();
}

// Starts at a multiple of two elements and moves by even strides, so that pairs of elements are aligned.
bool even(const MultiplyProblem& p, const MatrixView& view, std::uint64_t stride) {
    return starts_pairs(view) && stride % 2 == 0 && (p.outer == 1 || view.outer % 2 == 0) &&
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
    // 8 unrolled k do not fit beside half a tile and more into an Intel GPU's registers. Decoded along its
    // rows, a weight has values and metadata of its own for each, which is too much for an Apple GPU even
    // beside a smaller tile.
    const bool along_rows = is_sparse(p) && !p.contract_columns;
    const bool shallow = !cpu && (along_rows || kernel.tile_rows * kernel.tile_columns >= 16);
    kernel.k_unroll = p.k >= 8 && !shallow ? 8 : p.k >= 4 ? 4 : 0;

    const bool narrow = size_of(p.a.type) == 2;
    kernel.a_pairs = narrow && p.a.column == 1 && even(p, p.a, p.m > 1 ? p.a.row : 0) ? 1 : 0;
    // Nor do such a weight's columns beside halves of A that are loaded and unpacked one by one.
    if (!cpu && along_rows && narrow && !kernel.a_pairs) kernel.tile_columns = 2;
    if (is_sparse(p)) {
        kernel.b_layout = p.contract_columns ? 0 : 1;
    } else if (p.b.column == 1 && p.n % 2 == 0 && even(p, p.b, p.k > 1 ? p.b.row : 0)) {
        kernel.b_layout = 1;
    } else if (p.b.row == 1 && even(p, p.b, p.n > 1 ? p.b.column : 0)) {
        kernel.b_layout = 2;
    }
    bool pairs = p.c.column == 1 && even(p, p.c, p.m > 1 ? p.c.row : 0);
    for (const auto& [present, view] : {std::pair{p.has_residual, &p.residual}, std::pair{p.has_aux, &p.aux}})
        pairs = pairs && (!present || starts_pairs(*view));
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
        Side{a_name, &p.a, view_span(p, p.a, p.m, p.k), p.m, p.k, Axis::m, Axis::k},
        Side{b_name, &p.b, span_b(p), p.k, p.n, Axis::k, Axis::n},
        Side{"result", &p.c, view_span(p, p.c, p.m, p.n), p.m, p.n, Axis::m, Axis::n},
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
    if (const std::string reason = unfit_reason(kernel.kernel(), caps); !reason.empty())
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: no kernel fits {}: {}", p.label, caps.name, reason));
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

}  // namespace danaus::detail
