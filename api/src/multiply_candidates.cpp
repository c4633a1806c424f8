// The ways to compute a problem, over all kernel families.
#include "multiply.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

namespace danaus::detail {

const char* to_string(Family family) noexcept {
    switch (family) {
        case Family::direct:
            return "direct";
        case Family::few:
            return "few";
        case Family::shared:
            return "shared";
        case Family::coopmat:
            return "coopmat";
        case Family::coopmat2:
            return "coopmat2";
        case Family::fused:
            return "fused";
        case Family::factors:
            return "factors";
    }
    return nullptr;
}

MultiplyProblem exchanged(MultiplyProblem p) {
    std::swap(p.m, p.n);
    std::swap(p.a, p.b);
    for (MatrixView* view : {&p.a, &p.b, &p.c, &p.residual, &p.aux, &p.bias}) *view = transposed(*view);
    p.bias_on_rows = !p.bias_on_rows;
    return p;
}

bool starts_pairs(const MatrixView& view) {
    return view.offset % 2 == 0 && view.buffer.starts_aligned();
}

bool even(const MultiplyProblem& p, const MatrixView& view, std::uint64_t stride) {
    return starts_pairs(view) && stride % 2 == 0 && (p.outer == 1 || view.outer % 2 == 0) &&
           (p.inner == 1 || view.inner % 2 == 0);
}

Stored stored_as(const MultiplyProblem& p) {
    Stored stored{};
    stored.operand_type = static_cast<std::uint32_t>(p.b.type);  // a packed A may be f32
    stored.output_type = static_cast<std::uint32_t>(p.c.type);
    stored.bias_type = static_cast<std::uint32_t>(p.has_bias ? p.bias.type : p.c.type);
    stored.activation = static_cast<std::uint32_t>(p.activation);
    stored.epilogue = (p.has_bias ? 1u : 0u) | (p.has_residual ? 2u : 0u) | (p.has_aux ? 4u : 0u) |
                      (p.has_bias && p.bias_on_rows ? 8u : 0u);
    bool aligned = true;
    for (const auto& [present, view] : {std::pair{p.has_residual, &p.residual}, std::pair{p.has_aux, &p.aux}})
        aligned = aligned && (!present || starts_pairs(*view));
    stored.pairs = aligned && p.c.column == 1 && even(p, p.c, p.m > 1 ? p.c.row : 0);
    stored.row_pairs = aligned && p.c.row == 1 && p.m > 1 && size_of(p.c.type) == 2 &&
                       even(p, p.c, p.n > 1 ? p.c.column : 0);
    return stored;
}

bool runs_along_m(const MultiplyProblem& p) {
    const bool nearer = p.m > 1 && p.c.row > 0 && p.c.row < p.c.column;  // as parts of complex results
    return p.c.column != 1 && p.n > 1 && (p.c.row == 1 || nearer);
}

std::vector<MultiplyPlan> candidates(const MultiplyProblem& problem, const Capabilities& caps, Access access,
                                     bool all) {
    std::vector<MultiplyPlan> found;
    const bool exchangeable = !is_sparse(problem) && !problem.a_panel;
    const bool exchange_first = exchangeable && runs_along_m(problem);
    const auto add = [&](const auto& family, bool exchange) {
        if (exchange && !exchangeable) return;
        const std::size_t begin = found.size();
        family(exchange ? exchanged(problem) : problem);
        for (std::size_t i = begin; i < found.size(); ++i) found[i].tile.exchanged = exchange;
    };
    // Those whose rule names them, direct kernels, which compute everything, and the rest.
    const auto few = [&](bool first) {
        return [&, first](const MultiplyProblem& p) {
            if (few_first(p, caps) == first) add_few(found, p, caps, access, all);
        };
    };
    const auto shared = [&](bool first) {
        return [&, first](const MultiplyProblem& p) {
            if (shared_first(p, caps) == first) add_shared(found, p, caps, access, all);
        };
    };
    const auto coopmat = [&](bool first) {
        return [&, first](const MultiplyProblem& p) {
            if (coopmat_first(p, caps) == first) add_coopmat(found, p, caps, access, all);
        };
    };
    const auto direct = [&](const MultiplyProblem& p) { add_direct(found, p, caps, access, all); };
    const std::array<bool, 2> roles{exchange_first, !exchange_first};
    for (const bool exchange : roles) add(few(true), exchange);
    for (const bool exchange : roles) add(coopmat(true), exchange);
    for (const bool exchange : roles) add(shared(true), exchange);
    for (const bool exchange : roles) add(direct, exchange);
    if (all) {
        for (const bool exchange : roles) add(few(false), exchange);
        for (const bool exchange : roles) add(shared(false), exchange);
        for (const bool exchange : roles) add(coopmat(false), exchange);
        for (const bool exchange : roles)
            add([&](const MultiplyProblem& p) { add_coopmat2(found, p, caps, access, all); }, exchange);
    }
    // Columns of a compressed weight are not cut: a kernel that needs more workgroups than there may be is
    // none.
    const auto too_wide = [&](const MultiplyPlan& one) {
        return is_sparse(one.problem) && one.grid[0] > caps.max_workgroup_count[0];
    };
    if (!std::all_of(found.begin(), found.end(), too_wide)) std::erase_if(found, too_wide);
    std::string reason;
    std::erase_if(found, [&](const MultiplyPlan& one) {
        std::string why = unfit_reason(one.kernel, caps);
        if (reason.empty()) reason = why;
        return !why.empty();
    });
    if (found.empty())
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: no kernel fits {}: {}", problem.label, caps.name, reason));
    return found;
}

}  // namespace danaus::detail
