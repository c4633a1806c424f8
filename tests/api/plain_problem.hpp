// The problem that tests of plans and tuning start from.
#pragma once

#include "multiply.hpp"

namespace danaus::test {

/// x (m, k) times the transpose of w (n, k), all contiguous, in no memory.
inline detail::MultiplyProblem plain_problem(std::uint64_t m, std::uint64_t n, std::uint64_t k,
                                             DataType type = DataType::f32) {
    detail::MultiplyProblem p;
    p.m = m;
    p.n = n;
    p.k = k;
    p.a = {{}, type, 0, k, 1, 0, 0};
    p.b = {{}, type, 0, 1, k, 0, 0};
    p.c = {{}, type, 0, n, 1, 0, 0};
    return p;
}

}  // namespace danaus::test
