#include "ways.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <sstream>
#include <tuple>
#include <utility>

namespace danaus::test {

using detail::MultiplyPlan;
using detail::MultiplyProblem;

MultiplyProblem problem_of(Verb verb, const Tensor& out, const Tensor& a, const Tensor& b) {
    MultiplyProblem p;
    const bool gradient = verb == Verb::gradient;
    p.a = detail::matrix_view(a);
    if (gradient) p.a = detail::transposed(p.a);
    p.b = detail::matrix_view(b);
    if (verb == Verb::forward) p.b = detail::transposed(p.b);
    p.c = detail::matrix_view(out);
    p.m = out.size(out.rank() - 2);
    p.n = out.size(out.rank() - 1);
    p.k = a.size(a.rank() - (gradient ? 2 : 1));
    p.outer = out.rank() == 3 ? out.size(0) : 1;
    return p;
}

MultiplyProblem problem_of(const Tensor& out, const Tensor& x, const detail::Stored24& a, bool transpose) {
    MultiplyProblem p;
    const std::size_t r = a.shape.rank();
    const std::uint64_t rows = a.shape[r - 2], values = a.values.size(r - 1);
    p.weight = kernels::MatmulDirect::Weight::sparse24;
    p.tile_codes = a.tile_codes;
    p.contract_columns = !transpose;
    p.m = x.size(x.rank() - 2);
    p.n = a.shape[transpose ? r - 1 : r - 2];
    p.k = a.shape[transpose ? r - 2 : r - 1];
    p.a = detail::matrix_view(x);
    p.c = detail::matrix_view(out);
    p.b = {a.values.buffer(), a.values.type(), a.values.offset(), 0, 0, 0, 0};
    (transpose ? p.b.row : p.b.column) = values;
    p.metadata_word = a.places.offset();
    p.metadata_words = a.places.elements();
    if (r == 3) {
        p.inner = a.shape[0];
        p.a.inner = std::exchange(p.a.outer, 0);
        p.c.inner = std::exchange(p.c.outer, 0);
        p.b.inner = rows * values;
    } else if (x.rank() == 3) {
        p.outer = x.size(0);
    }
    return p;
}

namespace {

// A CPU can run what a GPU would be given, too.
Capabilities as_gpu() {
    Capabilities caps = device().capabilities();
    caps.type = DeviceType::discrete;
    caps.min_subgroup_size = 32;
    return caps;
}

}  // namespace

std::vector<MultiplyPlan> ways_of(detail::Family family, const MultiplyProblem& problem) {
    auto all = detail::candidates(problem, as_gpu(), device().access());
    std::erase_if(all,
                  [&](const MultiplyPlan& one) { return one.tile.family != family || one.tile.exchanged; });
    return all;
}

std::vector<MultiplyPlan> some_ways(const MultiplyProblem& problem, unsigned seed) {
    const Capabilities gpu = as_gpu();
    std::set<std::tuple<bool, kernels::Module, bool>> seen;
    std::vector<MultiplyPlan> some, others;
    for (const Capabilities& caps : {device().capabilities(), gpu})
        for (const MultiplyPlan& one : detail::candidates(problem, caps, device().access())) {
            const auto same = [&](const MultiplyPlan& other) { return one.kernel == other.kernel; };
            if (std::any_of(some.begin(), some.end(), same)) continue;
            // Kernels of matrix units take a CPU seconds to compile: the smallest will do, and every second
            // time.
            const unsigned turn = seed % (detail::is_sparse(problem) ? 2 : 4);
            const bool units = one.tile.family >= detail::Family::coopmat;
            if (units && (one.tile.rows > 32 || turn % 2 == 0 || one.tile.exchanged != (turn == 3))) continue;
            const bool first =
                seen.emplace(caps.type == gpu.type, one.kernel.module, one.tile.exchanged).second;
            (first ? some : others).push_back(one);
        }
    std::mt19937 engine(seed);
    for (int i = 0; i < 2 && !others.empty(); ++i) {
        const auto at = static_cast<std::ptrdiff_t>(engine() % others.size());
        some.push_back(others[static_cast<std::size_t>(at)]);
        others.erase(others.begin() + at);
    }
    return some;
}

std::string name_of(const MultiplyPlan& plan) {
    const auto& info = kernels::info(plan.kernel.module);
    std::ostringstream out;
    out << info.name << (plan.tile.exchanged ? " exchanged" : "");
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        out << (i ? ", " : " ") << info.constants[i].name << " " << plan.kernel.constants[i];
    return out.str();
}

}  // namespace danaus::test
