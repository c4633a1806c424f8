// Unbiased random pruning of groups of four: which two entries a uniform number keeps, and their values.
//
// With a = |x|, s = sum of a, m the largest (the first of equal ones), r = s - m:
//   least variance: pi_i = 2 a_i / s if m <= r, else a_i / r but 1 for the largest; C_i = pi_0 + ... + pi_i in the
//                   order in which the largest has changed places with entry 0; i is kept if C_{i-1} <= u < C_i or
//                   C_{i-1} <= 1 + u < C_i; value x_i / pi_i. r = 0: the largest and the first other, value 0
//   one of two:     of each pair entry i if C_{i-1} <= u < C_i, pi_i = a_i over the pair's sum; value
//   sign(x_i)
//                   times the sum
//   two draws:      i by t_i = a_i / s, j != i by a_j / (s - a_i); values x / p, p_i = t_i + a_i sum_{j != i}
//   t_j
//                   / (s - a_j)
#pragma once

#include <array>
#include <cstddef>

namespace danaus::reference {

using Group = std::array<double, 4>;

struct Kept {
    std::array<std::size_t, 2> places{};  ///< ascending
    std::array<double, 2> values{};
    /// How far a uniform number is from one that would keep others.
    double margin = 1.0;
};

Kept least_variance(const Group& x, double u);
Kept one_of_two(const Group& x, double u, double v);
Kept two_draws(const Group& x, double u, double v);

/// Σ E(kept - x)^2, the least of all unbiased choices of two: s^2 / 2 - sum a^2, or r^2 - sum_{others} a^2.
double least_variance_of(const Group& x);
/// The same of two draws, by their probabilities.
double two_draws_variance_of(const Group& x);

}  // namespace danaus::reference
