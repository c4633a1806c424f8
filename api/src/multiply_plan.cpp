// How a multiply is cut into dispatches within the device's limits: the plan, which looks at no buffer.
#include "check.hpp"
#include "multiply.hpp"

#include <algorithm>
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

namespace {

// Elements from the start of `view` to the last word of the metadata, which lies behind its values.
std::uint64_t span_with_metadata(const MultiplyProblem& p, const MatrixView& view) {
    const std::uint64_t size = size_of(view.type);
    return ((p.metadata_word + p.metadata_words) * 4 - view.offset * size) / size;
}

}  // namespace

std::uint64_t span_a(const MultiplyProblem& p) {
    if (p.picked_from) return span_with_metadata(p, p.a);
    if (!p.a_panel) return view_span(p, p.a, p.m, p.k);
    return divide_up(p.m, p.a_panel) * p.a.row + (p.outer - 1) * p.a.outer + (p.inner - 1) * p.a.inner;
}

std::uint64_t span_b(const MultiplyProblem& p) {
    if (!is_sparse(p)) return view_span(p, p.b, p.picked_from ? p.picked_from : p.k, p.n);
    return span_with_metadata(p, p.b);
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

}  // namespace

std::uint64_t weight_words(const MultiplyProblem& p) {
    // A cut along m leaves fewer panels than a block has in memory: by the strides, which stay.
    if (p.picked_from) return p.a.inner / p.a.row * p.k;
    const std::uint64_t rows = p.contract_columns ? p.n : p.k, columns = p.contract_columns ? p.k : p.n;
    return p.tile_codes ? divide_up(rows, 4) * divide_up(columns, 16) : rows * divide_up(columns, 32);
}

namespace {

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
            if (p.picked_from) {
                q.metadata_word += at / p.a_panel * p.k;
                q.metadata_words -= at / p.a_panel * p.k;
            }
            q.m -= at;
            for (MatrixView* v : {&q.c, &q.residual, &q.aux, &q.bias}) shift(*v, at * v->row);
            shift(q.a, (q.a_panel ? at / q.a_panel : at) * q.a.row);
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
    return p.c.type == DataType::f32 && p.activation == Activation::none && !p.has_aux && !is_sparse(p) &&
           !p.a_panel;
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
        if (p.a_panel && axis == Axis::m && size <= p.a_panel) return false;
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

MultiplyPlan choose(const MultiplyProblem& p, const Capabilities& caps, Access access, const Tile* wanted) {
    if (wanted)
        for (MultiplyPlan& one : candidates(p, caps, access))
            if (one.tile == *wanted) return std::move(one);
    return candidates(p, caps, access, false).front();
}

void split(const MultiplyProblem& p, const Capabilities& caps, Access access, const Tile* wanted,
           std::vector<MultiplyPlan>& out) {
    struct Side {
        const char* name;
        const MatrixView* view;
        std::uint64_t span, rows, columns;
        Axis row, column;
    };
    const auto halve = [&](Axis axis) {
        std::uint64_t at = size_along(p, axis) / 2;
        if (axis == Axis::m && p.a_panel) at = divide_up(at, p.a_panel) * p.a_panel;
        split(head(p, axis, at), caps, access, wanted, out);
        split(tail(p, axis, at), caps, access, wanted, out);
    };
    // Under exchanged roles A is the caller's weight.
    const char* const a_name = p.bias_on_rows ? "weight" : "x";
    const char* const b_name = p.bias_on_rows ? "x" : "weight";
    const std::array<Side, 4> sides{
        Side{a_name, &p.a, span_a(p), p.m, p.k, Axis::m, Axis::k},
        Side{b_name, &p.b, span_b(p), p.picked_from ? p.picked_from : p.k, p.n, Axis::k, Axis::n},
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

    MultiplyPlan chosen = choose(p, caps, access, wanted);
    const MultiplyProblem& q = chosen.problem;
    std::array<Axis, 3> axes{Axis::n, q.outer > 1 ? Axis::outer : Axis::inner, Axis::m};
    if (chosen.tile.exchanged) std::swap(axes[0], axes[2]);
    for (std::size_t i = 0; i < 3; ++i) {
        if (chosen.grid[i] <= caps.max_workgroup_count[i]) continue;
        if (i == 0 && is_sparse(q))
            throw Error(
                ErrorKind::unsupported,
                fmt::format("{}: a compressed weight with {} columns of the result needs {} workgroups, {} "
                            "allows {}",
                            q.label, q.n, chosen.grid[0], caps.name, caps.max_workgroup_count[0]));
        return halve(axes[i]);
    }
    out.push_back(std::move(chosen));
}

}  // namespace

std::vector<MultiplyPlan> plan(const MultiplyProblem& problem, const Capabilities& caps, Access access,
                               const Tile* wanted) {
    std::vector<MultiplyPlan> plans;
    if (problem.m && problem.n && problem.outer && problem.inner) split(problem, caps, access, wanted, plans);
    return plans;
}

}  // namespace danaus::detail
