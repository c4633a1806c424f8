#include "split_sum.hpp"

#include "check.hpp"

#include <algorithm>

namespace danaus::detail {
namespace {

// Steps of k of a part are a multiple of this, so that parts start where wide loads may.
constexpr std::uint64_t run = 16;
// Fewer workgroups than this leave half of a GPU idle.
constexpr std::uint64_t few_workgroups = 48;
constexpr std::uint64_t least_depth = 512;  // of a part: its sum must be worth storing
constexpr std::uint64_t most_parts = 32;

}  // namespace

bool may_split_sum(const MultiplyProblem& p) {
    return p.outer == 1 && p.inner == 1 && !is_sparse(p) && !p.a_panel && p.k > run;
}

std::uint64_t parts_of_sum(const std::vector<MultiplyPlan>& plans, const Capabilities& caps) {
    // The family for few tokens cuts its sums by itself, among the lanes of a workgroup.
    if (caps.type == DeviceType::cpu || plans.size() != 1 || plans[0].tile.family == Family::few) return 1;
    const MultiplyProblem& p = plans[0].problem;
    const auto& grid = plans[0].grid;
    const std::uint64_t workgroups = grid[0] * grid[1] * grid[2];
    if (!may_split_sum(p) || p.k < 4 * least_depth || workgroups >= few_workgroups) return 1;
    return std::min({2 * few_workgroups / workgroups, p.k / least_depth, most_parts});
}

bool rules_split(const MultiplyProblem& problem, const Device& device) {
    const Capabilities& caps = device.capabilities();
    return may_split_sum(problem) && parts_of_sum(plan(problem, caps, device.access()), caps) > 1;
}

SplitSum::SplitSum(Recorder& recorder, const MultiplyProblem& whole_sum, std::uint64_t parts) {
    const MultiplyProblem problem = runs_along_m(whole_sum) ? exchanged(whole_sum) : whole_sum;
    const Device device = recorder.device();
    const Capabilities& caps = device.capabilities();
    const std::uint64_t depth = divide_up(divide_up(problem.k, parts), run) * run;
    const std::uint64_t whole = problem.k / depth, rest = problem.k % depth, count = whole + (rest ? 1 : 0);
    const std::uint64_t result = problem.m * problem.n;
    sums_ = empty(recorder, DataType::f32, {count, problem.m, problem.n});
    one_ = empty(recorder, DataType::f32, {1});

    MultiplyProblem part;
    part.m = problem.m;
    part.n = problem.n;
    part.a = problem.a;
    part.b = problem.b;
    part.label = problem.label;
    const auto add = [&](std::uint64_t first, std::uint64_t number, std::uint64_t k) {
        MultiplyProblem p = part;
        p.k = k;
        p.outer = number;
        p.a.offset += first * depth * p.a.column;
        p.b.offset += first * depth * p.b.row;
        p.a.outer = depth * p.a.column;
        p.b.outer = depth * p.b.row;
        p.c = {sums_.buffer(), sums_.type(), sums_.offset() + first * result, p.n, 1, result, 0};
        const auto plans = plan(p, caps, device.access());
        parts_.insert(parts_.end(), plans.begin(), plans.end());
    };
    add(0, whole, depth);
    if (rest) add(whole, 1, rest);

    // Rows of the result are the inner batch of products 1 × count by count × n.
    MultiplyProblem total = problem;
    total.m = 1;
    total.k = count;
    total.inner = problem.m;
    total.a = {one_.buffer(), one_.type(), one_.offset(), 0, 0, 0, 0};
    total.b = {sums_.buffer(), sums_.type(), sums_.offset(), result, 1, 0, problem.n};
    for (MatrixView* view : {&total.c, &total.residual, &total.aux}) view->inner = view->row;
    total.bias.inner = problem.bias_on_rows ? problem.bias.row : 0;
    total_ = plan(total, caps, device.access());
}

void SplitSum::record(Recorder& recorder) const {
    fill_into(recorder, one_, 1.0);
    record_plans(recorder, parts_);
    record_plans(recorder, total_);
}

}  // namespace danaus::detail
