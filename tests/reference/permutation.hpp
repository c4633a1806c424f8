// Permutations of features, held as the index each output reads: y[i] = x[index[i]].
#pragma once

#include "reference/matrix.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace danaus::reference {

/// The permutation matrix P[i, index[i]] = 1. Construction checks that every index occurs exactly once.
struct Permutation {
    std::vector<std::size_t> index;

    Permutation() = default;
    explicit Permutation(std::vector<std::size_t> indices);
    template <NumberRange<std::size_t> R>
    explicit Permutation(const R& indices) : Permutation(convert<std::size_t>(indices)) {}

    [[nodiscard]] std::size_t size() const { return index.size(); }
    bool operator==(const Permutation&) const = default;
};

/// index[i] = i.
Permutation identity_permutation(std::size_t size);

/// Reshape to (a, b), transpose, flatten: y[j a + i] = x[i b + j], for i < a and j < b.
Permutation stride_permutation(std::size_t a, std::size_t b);

/// q with q[p[i]] = i; equals the transposed matrix.
Permutation inverse(const Permutation& p);

/// The matrix product outer * inner, that is index[i] = inner.index[outer.index[i]]: inner acts on x first.
Permutation compose(const Permutation& outer, const Permutation& inner);

/// y[t,i] = x[t, index[i]], for double and Complex.
template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const Permutation& p);

/// dx[t, index[i]] = dy[t,i], for double and Complex.
template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const Permutation& p);

/// P[i, index[i]] = 1, zero elsewhere.
Matrix to_dense(const Permutation& p);

}  // namespace danaus::reference
