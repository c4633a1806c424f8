// Every way to compute a multiply, not only the one that the rules choose.
#pragma once

#include "matmul_case.hpp"
#include "multiply.hpp"
#include "stored24.hpp"

#include <string>
#include <vector>

namespace danaus::test {

/// The product of `verb` as one problem; nothing is checked.
[[nodiscard]] detail::MultiplyProblem problem_of(Verb verb, const Tensor& out, const Tensor& a,
                                                 const Tensor& b);
/// Likewise x·Aᵀ, or x·A.
[[nodiscard]] detail::MultiplyProblem problem_of(const Tensor& out, const Tensor& x,
                                                 const detail::Stored24& a, bool transpose = false);

/// Candidates for `problem` on the test device: the first of each family and role that the rules of its type
/// or of a GPU name, and a few others drawn by `seed`, since each costs a pipeline.
[[nodiscard]] std::vector<detail::MultiplyPlan> some_ways(const detail::MultiplyProblem& problem,
                                                          unsigned seed);
/// Those of one family that a GPU would be given, in the roles of the problem.
[[nodiscard]] std::vector<detail::MultiplyPlan> ways_of(detail::Family family,
                                                        const detail::MultiplyProblem& problem);
/// The kernel and its constants.
[[nodiscard]] std::string name_of(const detail::MultiplyPlan& plan);

}  // namespace danaus::test
