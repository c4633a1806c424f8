#include "reference/permutation.hpp"

#include <numeric>

namespace danaus::reference {

Permutation::Permutation(std::vector<std::size_t> indices) : index(std::move(indices)) {
    std::vector<bool> seen(index.size());
    for (const std::size_t i : index) {
        require(i < index.size() && !seen[i], "permutation: every index must occur exactly once");
        seen[i] = true;
    }
}

Permutation identity_permutation(std::size_t size) {
    std::vector<std::size_t> index(size);
    std::iota(index.begin(), index.end(), std::size_t{0});
    return Permutation(std::move(index));
}

Permutation stride_permutation(std::size_t a, std::size_t b) {
    std::vector<std::size_t> index(a * b);
    for (std::size_t i = 0; i < a; ++i) {
        for (std::size_t j = 0; j < b; ++j) index[j * a + i] = i * b + j;
    }
    return Permutation(std::move(index));
}

Permutation inverse(const Permutation& p) {
    std::vector<std::size_t> index(p.size());
    for (std::size_t i = 0; i < p.size(); ++i) index[p.index[i]] = i;
    return Permutation(std::move(index));
}

Permutation compose(const Permutation& outer, const Permutation& inner) {
    require(outer.size() == inner.size(), "compose: both permutations must have one size");
    std::vector<std::size_t> index(outer.size());
    for (std::size_t i = 0; i < index.size(); ++i) index[i] = inner.index[outer.index[i]];
    return Permutation(std::move(index));
}

template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const Permutation& p) {
    require(x.cols == p.size(),
            "permutation matmul: x must have as many columns as the permutation has indices");
    BasicMatrix<T> y(x.rows, x.cols);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t i = 0; i < x.cols; ++i) y(t, i) = x(t, p.index[i]);
    }
    return y;
}

template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const Permutation& p) {
    require(dy.cols == p.size(),
            "permutation matmul_transposed: dy must have as many columns as the permutation has indices");
    BasicMatrix<T> dx(dy.rows, dy.cols);
    for (std::size_t t = 0; t < dy.rows; ++t) {
        for (std::size_t i = 0; i < dy.cols; ++i) dx(t, p.index[i]) = dy(t, i);
    }
    return dx;
}

template BasicMatrix<double> matmul(const BasicMatrix<double>&, const Permutation&);
template BasicMatrix<Complex> matmul(const BasicMatrix<Complex>&, const Permutation&);
template BasicMatrix<double> matmul_transposed(const BasicMatrix<double>&, const Permutation&);
template BasicMatrix<Complex> matmul_transposed(const BasicMatrix<Complex>&, const Permutation&);

Matrix to_dense(const Permutation& p) {
    Matrix dense(p.size(), p.size());
    for (std::size_t i = 0; i < p.size(); ++i) dense(i, p.index[i]) = 1.0;
    return dense;
}

}  // namespace danaus::reference
