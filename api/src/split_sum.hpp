// Long sums cut into parts that are computed side by side ("split-K"), for results too small to fill a
// device.
#pragma once

#include "multiply.hpp"

#include <cstdint>
#include <vector>

namespace danaus::detail {

/// The dispatches of a multiply whose sum is computed in parts: each part's result goes to scratch in f32,
/// and a product by a row of ones adds them up in the order of k, with the epilogue. So the bits depend on
/// the number of parts, and on nothing else.
class SplitSum {
public:
    /// Plans (k > 1) `parts` >= 2 parts of `problem`, for which may_split_sum() holds; there are fewer where
    /// whole runs of 16 steps are. Allocates the scratch and records nothing.
    SplitSum(Recorder& recorder, const MultiplyProblem& problem, std::uint64_t parts);
    void record(Recorder& recorder) const;

private:
    Tensor sums_, one_;
    std::vector<MultiplyPlan> parts_, total_;
};

/// Whether the sum may be cut: one product, both operands dense and as they are.
[[nodiscard]] bool may_split_sum(const MultiplyProblem& problem);
/// How many parts rules want, at least 2, or 1: not to be cut. `plans` are those of the whole sum.
[[nodiscard]] std::uint64_t parts_of_sum(const std::vector<MultiplyPlan>& plans,
                                         const Capabilities& capabilities);

/// Whether rules compute `problem` in parts on `device`. Throws what plan() throws.
[[nodiscard]] bool rules_split(const MultiplyProblem& problem, const Device& device);

}  // namespace danaus::detail
