// Transforms whose Monarch factors are known in closed form, and their plain definitions.
#pragma once

#include "reference/matrix.hpp"
#include "reference/monarch.hpp"
#include "reference/permutation.hpp"

#include <cstddef>

namespace danaus::reference {

/// X[t,f] = sum_i x[t,i] exp(-2 pi i f i / n), by the definition, O(n^2).
ComplexMatrix discrete_fourier_transform(const ComplexMatrix& x);

/// A Monarch matrix whose input is permuted first: the whole matrix is m * input.
struct PermutedMonarch {
    Permutation input;
    ComplexMonarch m;
};

/// The DFT of n = I J points: x'[j I + i] = x[i J + j]; w1[j,l,i] = w_I^{il} w_n^{jl}; w2[l,s,j] = w_J^{js};
/// w_N = exp(-2 pi i / N).
PermutedMonarch dft_monarch(std::size_t I, std::size_t J);

/// A (x) B: every w1[k] = B, every w2[l] = A, no permutation.
Monarch kronecker_monarch(const Matrix& a, const Matrix& b);

/// Walsh-Hadamard matrix of size 2^m, natural order: H[i,j] = (-1)^popcount(i & j).
Matrix hadamard_matrix(unsigned m);

/// U V^T of rank rho on k input and l output blocks: w1[K, t l + L, c] = V[K p + c, t];
/// w2[L, S, K rho + t] = U[S l + L, t].
Monarch low_rank_monarch(const Matrix& u, const Matrix& v, std::size_t k, std::size_t l);

}  // namespace danaus::reference
