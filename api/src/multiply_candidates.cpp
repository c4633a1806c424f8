// The ways to compute a problem, over all kernel families.
#include "multiply.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace danaus::detail {

const char* to_string(Family family) noexcept {
    switch (family) {
        case Family::direct:
            return "direct";
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

namespace {

// Lanes run along n. Where the result is contiguous along m instead, the roles change.
bool runs_along_m(const MultiplyProblem& p) {
    return p.c.column != 1 && p.n > 1 && p.c.row == 1;
}

}  // namespace

std::vector<MultiplyPlan> candidates(const MultiplyProblem& problem, const Capabilities& caps, Access access,
                                     bool all) {
    std::vector<MultiplyPlan> found;
    const bool exchangeable = !is_sparse(problem) && !problem.a_panel;
    const bool exchange_first = exchangeable && runs_along_m(problem);
    for (const bool exchange : {exchange_first, !exchange_first}) {
        if (exchange && !exchangeable) continue;
        const std::size_t begin = found.size();
        add_direct(found, exchange ? exchanged(problem) : problem, caps, access, all);
        for (std::size_t i = begin; i < found.size(); ++i) found[i].tile.exchanged = exchange;
    }
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
