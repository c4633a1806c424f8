// Kronecker-sparse factors and chains of them: the one interface that block-diagonal, Monarch, order-p
// Monarch, butterfly, Hadamard and FFT matrices share.
#pragma once

#include "reference/error_bound.hpp"
#include "reference/matrix.hpp"

#include <span>
#include <vector>

namespace danaus::reference {

/// Pattern (a, b, c, d): support I_a (x) 1_{b x c} (x) I_d, matrix of size a*b*d x a*c*d.
/// w is (a*d, b, c). Block (i, j), i < a, j < d, is w[i d + j]; it starts at input i c d + j and output i b d
/// + j, element stride d on both sides.
template <typename T>
struct BasicKroneckerFactor {
    std::size_t a = 0;
    std::size_t d = 0;
    BasicTensor3<T> w;

    BasicKroneckerFactor() = default;
    BasicKroneckerFactor(std::size_t outer, std::size_t inner, BasicTensor3<T> weight)
        : a(outer), d(inner), w(std::move(weight)) {
        require(w.n0 == a * d, "Kronecker-sparse factor: the weight must hold a * d blocks");
    }

    [[nodiscard]] std::size_t b() const { return w.n1; }
    [[nodiscard]] std::size_t c() const { return w.n2; }
    [[nodiscard]] std::size_t out_features() const { return a * w.n1 * d; }
    [[nodiscard]] std::size_t in_features() const { return a * w.n2 * d; }
};

using KroneckerFactor = BasicKroneckerFactor<double>;
using ComplexKroneckerFactor = BasicKroneckerFactor<Complex>;

// The functions below exist for double and Complex.

/// y[t, i b d + B d + j] = sum_C w[i d + j, B, C] x[t, i c d + C d + j].
template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicKroneckerFactor<T>& f);

/// dx[t, i c d + C d + j] = sum_B dy[t, i b d + B d + j] conj(w[i d + j, B, C]).
template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicKroneckerFactor<T>& f);

/// dw[i d + j, B, C] = sum_t dy[t, i b d + B d + j] conj(x[t, i c d + C d + j]); f gives the pattern.
template <typename T>
BasicTensor3<T> weight_gradient(const BasicMatrix<T>& dy, const BasicMatrix<T>& x,
                                const BasicKroneckerFactor<T>& f);

/// A[i b d + B d + j, i c d + C d + j] = w[i d + j, B, C], zero elsewhere.
template <typename T>
BasicMatrix<T> to_dense(const BasicKroneckerFactor<T>& f);

/// |w|.
template <typename T>
KroneckerFactor absolute(const BasicKroneckerFactor<T>& f);

/// x through chain[0], then chain[1], ... : the matrix is the product of the factors, last one leftmost.
template <typename T>
BasicMatrix<T> chain_matmul(const BasicMatrix<T>& x, const std::vector<BasicKroneckerFactor<T>>& chain);

template <typename T>
struct BasicChainGradients {
    BasicMatrix<T> dx;
    std::vector<BasicTensor3<T>> dw;
};

/// dx and every factor's weight gradient of chain_matmul, by the chain rule from the last factor to the
/// first.
template <typename T>
BasicChainGradients<T> chain_backward(const BasicMatrix<T>& dy, const BasicMatrix<T>& x,
                                      const std::vector<BasicKroneckerFactor<T>>& chain);

/// Componentwise bound for chain_matmul (real): e_0 = 0; e_{n+1} = |w| e_n + dot_bound(c, |w| (|x_n| + e_n)).
/// `intermediate` holds for every factor but the last, `last` for the last.
Matrix chain_bound(const Matrix& x, const std::vector<KroneckerFactor>& chain,
                   const DotRounding& intermediate, const DotRounding& last);

}  // namespace danaus::reference
