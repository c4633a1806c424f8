// A Monarch product with lanes along features, one factor after the other
// (shaders/matmul/monarch_lanes.comp).
#pragma once

#include "monarch_fused.hpp"

namespace danaus::detail {

struct LanesPlan {
    MonarchProblem problem;
    kernels::Kernel first, second;
    std::uint64_t first_tile = 0, second_tile = 0;  ///< tokens
};

/// Nothing where these kernels do not serve: they want f32, contiguous features, groups of sixteen blocks and
/// rows, sums that they unroll, interleaved outputs, and neither residual nor aux.
[[nodiscard]] std::optional<LanesPlan> lanes_plan(const MonarchProblem& problem,
                                                  const Capabilities& capabilities, Access access);
/// Whether rules take it: on a CPU whose subgroups have eight lanes, with enough tokens for both weights to
/// be packed first, and by addresses.
[[nodiscard]] bool lanes_pay(const MonarchProblem& problem, const Capabilities& capabilities, Access access);

void record(Recorder& recorder, const LanesPlan& plan);

}  // namespace danaus::detail
