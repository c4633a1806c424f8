#include "reference/kronecker.hpp"

#include <cmath>

namespace danaus::reference {
namespace {

/// Calls visit(block, B, C, output feature, input feature) for every stored weight.
template <typename T, typename Visit>
void for_each_weight(const BasicKroneckerFactor<T>& f, const Visit& visit) {
    const std::size_t b = f.b();
    const std::size_t c = f.c();
    for (std::size_t i = 0; i < f.a; ++i) {
        for (std::size_t j = 0; j < f.d; ++j) {
            for (std::size_t row = 0; row < b; ++row) {
                for (std::size_t col = 0; col < c; ++col) {
                    visit(i * f.d + j, row, col, i * b * f.d + row * f.d + j, i * c * f.d + col * f.d + j);
                }
            }
        }
    }
}

}  // namespace

template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicKroneckerFactor<T>& f) {
    require(x.cols == f.in_features(), "Kronecker-sparse matmul: x must have a * c * d columns");
    BasicMatrix<T> y(x.rows, f.out_features());
    for (std::size_t t = 0; t < x.rows; ++t) {
        for_each_weight(f, [&](std::size_t block, std::size_t row, std::size_t col, std::size_t out,
                               std::size_t in) { y(t, out) += f.w(block, row, col) * x(t, in); });
    }
    return y;
}

template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicKroneckerFactor<T>& f) {
    require(dy.cols == f.out_features(),
            "Kronecker-sparse matmul_transposed: dy must have a * b * d columns");
    BasicMatrix<T> dx(dy.rows, f.in_features());
    for (std::size_t t = 0; t < dy.rows; ++t) {
        for_each_weight(
            f, [&](std::size_t block, std::size_t row, std::size_t col, std::size_t out, std::size_t in) {
                dx(t, in) += dy(t, out) * conjugate(f.w(block, row, col));
            });
    }
    return dx;
}

template <typename T>
BasicTensor3<T> weight_gradient(const BasicMatrix<T>& dy, const BasicMatrix<T>& x,
                                const BasicKroneckerFactor<T>& f) {
    require(dy.rows == x.rows && dy.cols == f.out_features() && x.cols == f.in_features(),
            "Kronecker-sparse weight_gradient: dy must be tokens x a*b*d and x tokens x a*c*d");
    BasicTensor3<T> dw(f.w.n0, f.w.n1, f.w.n2);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for_each_weight(f, [&](std::size_t block, std::size_t row, std::size_t col, std::size_t out,
                               std::size_t in) { dw(block, row, col) += dy(t, out) * conjugate(x(t, in)); });
    }
    return dw;
}

template <typename T>
BasicMatrix<T> to_dense(const BasicKroneckerFactor<T>& f) {
    BasicMatrix<T> dense(f.out_features(), f.in_features());
    for_each_weight(f, [&](std::size_t block, std::size_t row, std::size_t col, std::size_t out,
                           std::size_t in) { dense(out, in) = f.w(block, row, col); });
    return dense;
}

template <typename T>
KroneckerFactor absolute(const BasicKroneckerFactor<T>& f) {
    return {f.a, f.d, absolute(f.w)};
}

template <typename T>
BasicMatrix<T> chain_matmul(const BasicMatrix<T>& x, const std::vector<BasicKroneckerFactor<T>>& chain) {
    BasicMatrix<T> y = x;
    for (const auto& factor : chain) y = matmul(y, factor);
    return y;
}

template <typename T>
BasicChainGradients<T> chain_backward(const BasicMatrix<T>& dy, const BasicMatrix<T>& x,
                                      const std::vector<BasicKroneckerFactor<T>>& chain) {
    std::vector<BasicMatrix<T>> inputs{x};
    for (const auto& factor : chain) inputs.push_back(matmul(inputs.back(), factor));
    BasicChainGradients<T> gradients{dy, std::vector<BasicTensor3<T>>(chain.size())};
    for (std::size_t n = chain.size(); n-- > 0;) {
        gradients.dw[n] = weight_gradient(gradients.dx, inputs[n], chain[n]);
        gradients.dx = matmul_transposed(gradients.dx, chain[n]);
    }
    return gradients;
}

Matrix chain_bound(const Matrix& x, const std::vector<KroneckerFactor>& chain,
                   const DotRounding& intermediate, const DotRounding& last) {
    Matrix value = x;
    Matrix error(x.rows, x.cols);
    for (std::size_t n = 0; n < chain.size(); ++n) {
        const KroneckerFactor magnitude = absolute(chain[n]);
        const Matrix propagated = matmul(error, magnitude);
        const Matrix sum_abs = matmul(axpby(1.0, absolute(value), 1.0, error), magnitude);
        value = matmul(value, chain[n]);
        // The output is rounded from the computed value, which may exceed the exact one by what was
        // propagated.
        const Matrix largest = axpby(1.0, absolute(value), 1.0, propagated);
        const DotRounding& rounding = n + 1 < chain.size() ? intermediate : last;
        error = axpby(1.0, propagated, 1.0, dot_bound(chain[n].c(), rounding, sum_abs, largest));
    }
    return error;
}

#define DANAUS_REFERENCE_INSTANTIATE(T)                                                               \
    template BasicMatrix<T> matmul(const BasicMatrix<T>&, const BasicKroneckerFactor<T>&);            \
    template BasicMatrix<T> matmul_transposed(const BasicMatrix<T>&, const BasicKroneckerFactor<T>&); \
    template BasicTensor3<T> weight_gradient(const BasicMatrix<T>&, const BasicMatrix<T>&,            \
                                             const BasicKroneckerFactor<T>&);                         \
    template BasicMatrix<T> to_dense(const BasicKroneckerFactor<T>&);                                 \
    template KroneckerFactor absolute(const BasicKroneckerFactor<T>&);                                \
    template BasicMatrix<T> chain_matmul(const BasicMatrix<T>&,                                       \
                                         const std::vector<BasicKroneckerFactor<T>>&);                \
    template BasicChainGradients<T> chain_backward(const BasicMatrix<T>&, const BasicMatrix<T>&,      \
                                                   const std::vector<BasicKroneckerFactor<T>>&)
DANAUS_REFERENCE_INSTANTIATE(double);
DANAUS_REFERENCE_INSTANTIATE(Complex);
#undef DANAUS_REFERENCE_INSTANTIATE

}  // namespace danaus::reference
