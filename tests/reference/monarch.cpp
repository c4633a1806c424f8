#include "reference/monarch.hpp"

#include "reference/block_diagonal.hpp"

namespace danaus::reference {
namespace {

/// dt[b, R l + L] = sum_S conj(w2[L,S,R]) dy[b, S l + L].
template <typename T>
BasicMatrix<T> intermediate_gradient(const BasicMatrix<T>& dy, const BasicMonarch<T>& m) {
    require(dy.cols == m.out_features(), "Monarch backward: dy must have s * l columns");
    const std::size_t l = m.w2.n0;
    BasicMatrix<T> dt(dy.rows, m.intermediate_features());
    for (std::size_t b = 0; b < dy.rows; ++b) {
        for (std::size_t L = 0; L < l; ++L) {
            for (std::size_t R = 0; R < m.w2.n2; ++R) {
                T sum{};
                for (std::size_t S = 0; S < m.w2.n1; ++S) sum += conjugate(m.w2(L, S, R)) * dy(b, S * l + L);
                dt(b, R * l + L) = sum;
            }
        }
    }
    return dt;
}

}  // namespace

template <typename T>
BasicMatrix<T> monarch_intermediate(const BasicMatrix<T>& x, const BasicMonarch<T>& m) {
    require(x.cols == m.in_features(), "Monarch: x must have k * p columns");
    return matmul(x, BasicBlockDiagonal<T>{m.w1});
}

template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicMonarch<T>& m) {
    const BasicMatrix<T> t = monarch_intermediate(x, m);
    const std::size_t l = m.w2.n0;
    BasicMatrix<T> y(x.rows, m.out_features());
    for (std::size_t b = 0; b < x.rows; ++b) {
        for (std::size_t L = 0; L < l; ++L) {
            for (std::size_t S = 0; S < m.w2.n1; ++S) {
                T sum{};
                for (std::size_t R = 0; R < m.w2.n2; ++R) sum += m.w2(L, S, R) * t(b, R * l + L);
                y(b, S * l + L) = sum;
            }
        }
    }
    return y;
}

template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicMonarch<T>& m) {
    return matmul_transposed(intermediate_gradient(dy, m), BasicBlockDiagonal<T>{m.w1});
}

template <typename T>
BasicMonarchGradients<T> monarch_backward(const BasicMatrix<T>& dy, const BasicMatrix<T>& x,
                                          const BasicMonarch<T>& m) {
    require(dy.rows == x.rows, "Monarch backward: dy and x must have the same number of rows");
    const BasicMatrix<T> t = monarch_intermediate(x, m);
    const BasicMatrix<T> dt = intermediate_gradient(dy, m);
    const std::size_t l = m.w2.n0;
    BasicTensor3<T> dw2(l, m.w2.n1, m.w2.n2);
    for (std::size_t b = 0; b < x.rows; ++b) {
        for (std::size_t L = 0; L < l; ++L) {
            for (std::size_t S = 0; S < m.w2.n1; ++S) {
                for (std::size_t R = 0; R < m.w2.n2; ++R) {
                    dw2(L, S, R) += dy(b, S * l + L) * conjugate(t(b, R * l + L));
                }
            }
        }
    }
    return {matmul_transposed(dt, BasicBlockDiagonal<T>{m.w1}), weight_gradient(dt, x, m.w1.n0),
            std::move(dw2)};
}

template <typename T>
BasicMatrix<T> to_dense(const BasicMonarch<T>& m) {
    const std::size_t q = m.w1.n1;
    const std::size_t p = m.w1.n2;
    const std::size_t l = m.w2.n0;
    BasicMatrix<T> dense(m.out_features(), m.in_features());
    for (std::size_t middle = 0; middle < m.intermediate_features(); ++middle) {
        const std::size_t K = middle / q;
        const std::size_t Q = middle % q;
        const std::size_t R = middle / l;
        const std::size_t L = middle % l;
        for (std::size_t S = 0; S < m.w2.n1; ++S) {
            for (std::size_t c = 0; c < p; ++c) dense(S * l + L, K * p + c) += m.w2(L, S, R) * m.w1(K, Q, c);
        }
    }
    return dense;
}

template <typename T>
std::vector<BasicKroneckerFactor<T>> to_chain(const BasicMonarch<T>& m) {
    return {BasicKroneckerFactor<T>(m.w1.n0, 1, m.w1), BasicKroneckerFactor<T>(1, m.w2.n0, m.w2)};
}

Matrix monarch_bound(const Matrix& x, const Monarch& m, const DotRounding& intermediate,
                     const DotRounding& last) {
    return chain_bound(x, to_chain(m), intermediate, last);
}

Monarch monarch_layer(std::size_t in_features, std::size_t out_features, std::size_t nblocks) {
    require(nblocks > 0, "monarch_layer: nblocks must be positive");
    const std::size_t in_block = (in_features + nblocks - 1) / nblocks;
    const std::size_t out_block = (out_features + nblocks - 1) / nblocks;
    if (in_block < out_block) {
        return {Tensor3(nblocks, in_block, in_block), Tensor3(nblocks, out_block, in_block)};
    }
    return {Tensor3(nblocks, out_block, in_block), Tensor3(nblocks, out_block, out_block)};
}

Matrix monarch_layer_matmul(const Matrix& x, const Monarch& m, std::size_t out_features) {
    require(x.cols <= m.in_features() && out_features <= m.out_features(),
            "monarch_layer_matmul: the layer's sizes must not exceed the matrix's");
    return resize_cols(matmul(resize_cols(x, m.in_features()), m), out_features);
}

#define DANAUS_REFERENCE_INSTANTIATE(T)                                                              \
    template BasicMatrix<T> monarch_intermediate(const BasicMatrix<T>&, const BasicMonarch<T>&);     \
    template BasicMatrix<T> matmul(const BasicMatrix<T>&, const BasicMonarch<T>&);                   \
    template BasicMatrix<T> matmul_transposed(const BasicMatrix<T>&, const BasicMonarch<T>&);        \
    template BasicMonarchGradients<T> monarch_backward(const BasicMatrix<T>&, const BasicMatrix<T>&, \
                                                       const BasicMonarch<T>&);                      \
    template BasicMatrix<T> to_dense(const BasicMonarch<T>&);                                        \
    template std::vector<BasicKroneckerFactor<T>> to_chain(const BasicMonarch<T>&)
DANAUS_REFERENCE_INSTANTIATE(double);
DANAUS_REFERENCE_INSTANTIATE(Complex);
#undef DANAUS_REFERENCE_INSTANTIATE

}  // namespace danaus::reference
