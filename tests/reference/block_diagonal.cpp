#include "reference/block_diagonal.hpp"

namespace danaus::reference {

template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicBlockDiagonal<T>& a) {
    const auto& w = a.w;
    require(x.cols == a.in_features(), "block-diagonal matmul: x must have nblocks * in_block columns");
    BasicMatrix<T> y(x.rows, a.out_features());
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t block = 0; block < w.n0; ++block) {
            for (std::size_t o = 0; o < w.n1; ++o) {
                T sum{};
                for (std::size_t i = 0; i < w.n2; ++i) sum += w(block, o, i) * x(t, block * w.n2 + i);
                y(t, block * w.n1 + o) = sum;
            }
        }
    }
    return y;
}

template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicBlockDiagonal<T>& a) {
    const auto& w = a.w;
    require(dy.cols == a.out_features(),
            "block-diagonal matmul_transposed: dy must have nblocks * out_block columns");
    BasicMatrix<T> dx(dy.rows, a.in_features());
    for (std::size_t t = 0; t < dy.rows; ++t) {
        for (std::size_t block = 0; block < w.n0; ++block) {
            for (std::size_t o = 0; o < w.n1; ++o) {
                const T value = dy(t, block * w.n1 + o);
                for (std::size_t i = 0; i < w.n2; ++i) {
                    dx(t, block * w.n2 + i) += value * conjugate(w(block, o, i));
                }
            }
        }
    }
    return dx;
}

template <typename T>
BasicTensor3<T> weight_gradient(const BasicMatrix<T>& dy, const BasicMatrix<T>& x, std::size_t nblocks) {
    require(dy.rows == x.rows, "weight_gradient: dy and x must have the same number of rows");
    require(nblocks > 0 && dy.cols % nblocks == 0 && x.cols % nblocks == 0,
            "weight_gradient: nblocks must divide the columns of dy and of x");
    BasicTensor3<T> dw(nblocks, dy.cols / nblocks, x.cols / nblocks);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t block = 0; block < nblocks; ++block) {
            for (std::size_t o = 0; o < dw.n1; ++o) {
                const T value = dy(t, block * dw.n1 + o);
                for (std::size_t i = 0; i < dw.n2; ++i) {
                    dw(block, o, i) += value * conjugate(x(t, block * dw.n2 + i));
                }
            }
        }
    }
    return dw;
}

template <typename T>
BasicMatrix<T> to_dense(const BasicBlockDiagonal<T>& a) {
    const auto& w = a.w;
    BasicMatrix<T> dense(a.out_features(), a.in_features());
    for (std::size_t block = 0; block < w.n0; ++block) {
        for (std::size_t o = 0; o < w.n1; ++o) {
            for (std::size_t i = 0; i < w.n2; ++i) dense(block * w.n1 + o, block * w.n2 + i) = w(block, o, i);
        }
    }
    return dense;
}

template <typename T>
BasicBlockDiagonal<T> extract_blocks(const BasicMatrix<T>& dense, std::size_t nblocks) {
    require(nblocks > 0 && dense.rows % nblocks == 0 && dense.cols % nblocks == 0,
            "extract_blocks: nblocks must divide both sides of the matrix");
    BasicTensor3<T> w(nblocks, dense.rows / nblocks, dense.cols / nblocks);
    for (std::size_t block = 0; block < nblocks; ++block) {
        for (std::size_t o = 0; o < w.n1; ++o) {
            for (std::size_t i = 0; i < w.n2; ++i) w(block, o, i) = dense(block * w.n1 + o, block * w.n2 + i);
        }
    }
    return {w};
}

template <typename T>
BlockDiagonal absolute(const BasicBlockDiagonal<T>& a) {
    return {absolute(a.w)};
}

#define DANAUS_REFERENCE_INSTANTIATE(T)                                                                  \
    template BasicMatrix<T> matmul(const BasicMatrix<T>&, const BasicBlockDiagonal<T>&);                 \
    template BasicMatrix<T> matmul_transposed(const BasicMatrix<T>&, const BasicBlockDiagonal<T>&);      \
    template BasicTensor3<T> weight_gradient(const BasicMatrix<T>&, const BasicMatrix<T>&, std::size_t); \
    template BasicMatrix<T> to_dense(const BasicBlockDiagonal<T>&);                                      \
    template BasicBlockDiagonal<T> extract_blocks(const BasicMatrix<T>&, std::size_t);                   \
    template BlockDiagonal absolute(const BasicBlockDiagonal<T>&)
DANAUS_REFERENCE_INSTANTIATE(double);
DANAUS_REFERENCE_INSTANTIATE(Complex);
#undef DANAUS_REFERENCE_INSTANTIATE

}  // namespace danaus::reference
