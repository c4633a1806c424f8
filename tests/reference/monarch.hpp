// Monarch matrices in the general rectangular form: two block-diagonal multiplies with stride permutations
// folded into the second. Written from the two index formulas, not from the Kronecker-sparse chain, which the
// self-test compares it with.
#pragma once

#include "reference/kronecker.hpp"
#include "reference/matrix.hpp"

#include <vector>

namespace danaus::reference {

/// w1 (k, q, p), w2 (l, s, r) with l r = k q. Maps n = k p features to s l features. l need not divide q.
template <typename T>
struct BasicMonarch {
    BasicTensor3<T> w1;
    BasicTensor3<T> w2;

    BasicMonarch() = default;
    BasicMonarch(BasicTensor3<T> first, BasicTensor3<T> second)
        : w1(std::move(first)), w2(std::move(second)) {
        require(w1.n0 * w1.n1 == w2.n0 * w2.n2, "Monarch: w1 (k,q,p) and w2 (l,s,r) need k * q = l * r");
    }

    [[nodiscard]] std::size_t in_features() const { return w1.n0 * w1.n2; }
    [[nodiscard]] std::size_t intermediate_features() const { return w1.n0 * w1.n1; }
    [[nodiscard]] std::size_t out_features() const { return w2.n0 * w2.n1; }
};

using Monarch = BasicMonarch<double>;
using ComplexMonarch = BasicMonarch<Complex>;

template <typename T>
struct BasicMonarchGradients {
    BasicMatrix<T> dx;
    BasicTensor3<T> dw1;
    BasicTensor3<T> dw2;
};

// The functions below exist for double and Complex.

/// t[b, K q + Q] = sum_c w1[K,Q,c] x[b, K p + c].
template <typename T>
BasicMatrix<T> monarch_intermediate(const BasicMatrix<T>& x, const BasicMonarch<T>& m);

/// y[b, S l + L] = sum_R w2[L,S,R] t[b, R l + L].
template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicMonarch<T>& m);

/// dx = dt through conj(w1), dt[b, R l + L] = sum_S conj(w2[L,S,R]) dy[b, S l + L].
template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicMonarch<T>& m);

/// dw2[L,S,R] = sum_b dy[b, S l + L] conj(t[b, R l + L]); dt as above;
/// dw1[K,Q,c] = sum_b dt[b, K q + Q] conj(x[b, K p + c]); dx[b, K p + c] = sum_Q conj(w1[K,Q,c]) dt[b, K q +
/// Q].
template <typename T>
BasicMonarchGradients<T> monarch_backward(const BasicMatrix<T>& dy, const BasicMatrix<T>& x,
                                          const BasicMonarch<T>& m);

/// A[S l + L, K p + c] = sum over R, Q with R l + L = K q + Q of w2[L,S,R] w1[K,Q,c].
template <typename T>
BasicMatrix<T> to_dense(const BasicMonarch<T>& m);

/// The same matrix as Kronecker-sparse factors (k, q, p, 1), then (1, s, r, l); the weights are w1 and w2
/// unchanged.
template <typename T>
std::vector<BasicKroneckerFactor<T>> to_chain(const BasicMonarch<T>& m);

/// chain_bound of to_chain(m): first stage stored as `intermediate` says, the result as `last` says.
Matrix monarch_bound(const Matrix& x, const Monarch& m, const DotRounding& intermediate,
                     const DotRounding& last);

/// Weight shapes of a Monarch layer for any sizes: in_block = ceil(in / nblocks), out_block = ceil(out /
/// nblocks); if nblocks in_block < nblocks out_block: w1 (nb, ib, ib), w2 (nb, ob, ib); else w1 (nb, ob, ib),
/// w2 (nb, ob, ob).
Monarch monarch_layer(std::size_t in_features, std::size_t out_features, std::size_t nblocks);

/// The layer's forward: zero-pad x to in_features(m), multiply, keep the first out_features columns. Bias is
/// the epilogue's.
Matrix monarch_layer_matmul(const Matrix& x, const Monarch& m, std::size_t out_features);

}  // namespace danaus::reference
