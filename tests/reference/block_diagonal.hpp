// Block-diagonal matrices: block k is w[k], out_block x in_block, and maps input block k to output block k.
#pragma once

#include "reference/matrix.hpp"

namespace danaus::reference {

/// Weight (nblocks, out_block, in_block); the whole matrix is nblocks*out_block x nblocks*in_block.
template <typename T>
struct BasicBlockDiagonal {
    BasicTensor3<T> w;

    [[nodiscard]] std::size_t out_features() const { return w.n0 * w.n1; }
    [[nodiscard]] std::size_t in_features() const { return w.n0 * w.n2; }
};

using BlockDiagonal = BasicBlockDiagonal<double>;
using ComplexBlockDiagonal = BasicBlockDiagonal<Complex>;

// The functions below exist for double and Complex. With (k, q, p) the shape of w:

/// y[t, K q + Q] = sum_c w[K,Q,c] x[t, K p + c].
template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicBlockDiagonal<T>& a);

/// dx[t, K p + c] = sum_Q dy[t, K q + Q] conj(w[K,Q,c]).
template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicBlockDiagonal<T>& a);

/// dw[K,Q,c] = sum_t dy[t, K q + Q] conj(x[t, K p + c]); dy and x have nblocks equal blocks of columns.
template <typename T>
BasicTensor3<T> weight_gradient(const BasicMatrix<T>& dy, const BasicMatrix<T>& x, std::size_t nblocks);

/// A[K q + Q, K p + c] = w[K,Q,c], zero elsewhere.
template <typename T>
BasicMatrix<T> to_dense(const BasicBlockDiagonal<T>& a);

/// w[K,Q,c] = A[K q + Q, K p + c]: the diagonal blocks of a dense matrix, the inverse of to_dense.
template <typename T>
BasicBlockDiagonal<T> extract_blocks(const BasicMatrix<T>& dense, std::size_t nblocks);

/// |w|: its matmul with |x| is the magnitude for dot_bound, with length in_block.
template <typename T>
BlockDiagonal absolute(const BasicBlockDiagonal<T>& a);

}  // namespace danaus::reference
