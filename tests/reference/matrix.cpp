#include "reference/matrix.hpp"

#include <algorithm>

namespace danaus::reference {

template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicMatrix<T>& w) {
    require(x.cols == w.cols, "matmul: x and W must have the same number of columns");
    BasicMatrix<T> y(x.rows, w.rows);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t o = 0; o < w.rows; ++o) {
            T sum{};
            for (std::size_t i = 0; i < x.cols; ++i) sum += x(t, i) * w(o, i);
            y(t, o) = sum;
        }
    }
    return y;
}

template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicMatrix<T>& w) {
    require(dy.cols == w.rows, "matmul_transposed: dY must have as many columns as W has rows");
    BasicMatrix<T> dx(dy.rows, w.cols);
    for (std::size_t t = 0; t < dy.rows; ++t) {
        for (std::size_t o = 0; o < w.rows; ++o) {
            for (std::size_t i = 0; i < w.cols; ++i) dx(t, i) += dy(t, o) * conjugate(w(o, i));
        }
    }
    return dx;
}

template <typename T>
BasicMatrix<T> weight_gradient(const BasicMatrix<T>& dy, const BasicMatrix<T>& x) {
    require(dy.rows == x.rows, "weight_gradient: dY and X must have the same number of rows");
    BasicMatrix<T> dw(dy.cols, x.cols);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t o = 0; o < dy.cols; ++o) {
            for (std::size_t i = 0; i < x.cols; ++i) dw(o, i) += dy(t, o) * conjugate(x(t, i));
        }
    }
    return dw;
}

template <typename T>
BasicMatrix<T> transpose(const BasicMatrix<T>& a) {
    BasicMatrix<T> result(a.cols, a.rows);
    for (std::size_t r = 0; r < a.rows; ++r) {
        for (std::size_t c = 0; c < a.cols; ++c) result(c, r) = a(r, c);
    }
    return result;
}

template <typename T>
BasicMatrix<T> axpby(T alpha, const BasicMatrix<T>& a, T beta, const BasicMatrix<T>& b) {
    require(a.rows == b.rows && a.cols == b.cols, "axpby: both operands must have one shape");
    BasicMatrix<T> result(a.rows, a.cols);
    for (std::size_t i = 0; i < a.data.size(); ++i) result.data[i] = alpha * a.data[i] + beta * b.data[i];
    return result;
}

template <typename T>
BasicMatrix<T> resize_cols(const BasicMatrix<T>& a, std::size_t cols) {
    BasicMatrix<T> result(a.rows, cols);
    for (std::size_t r = 0; r < a.rows; ++r) {
        for (std::size_t c = 0; c < std::min(a.cols, cols); ++c) result(r, c) = a(r, c);
    }
    return result;
}

template <typename T>
Matrix absolute(const BasicMatrix<T>& a) {
    Matrix result(a.rows, a.cols);
    for (std::size_t i = 0; i < a.data.size(); ++i) result.data[i] = std::abs(a.data[i]);
    return result;
}

template <typename T>
Tensor3 absolute(const BasicTensor3<T>& a) {
    Tensor3 result(a.n0, a.n1, a.n2);
    for (std::size_t i = 0; i < a.data.size(); ++i) result.data[i] = std::abs(a.data[i]);
    return result;
}

template <typename T>
Matrix absolute_product(const BasicMatrix<T>& x, const BasicMatrix<T>& w) {
    return matmul(absolute(x), absolute(w));
}

#define DANAUS_REFERENCE_INSTANTIATE(T)                                                      \
    template BasicMatrix<T> matmul(const BasicMatrix<T>&, const BasicMatrix<T>&);            \
    template BasicMatrix<T> matmul_transposed(const BasicMatrix<T>&, const BasicMatrix<T>&); \
    template BasicMatrix<T> weight_gradient(const BasicMatrix<T>&, const BasicMatrix<T>&);   \
    template BasicMatrix<T> transpose(const BasicMatrix<T>&);                                \
    template BasicMatrix<T> axpby(T, const BasicMatrix<T>&, T, const BasicMatrix<T>&);       \
    template BasicMatrix<T> resize_cols(const BasicMatrix<T>&, std::size_t);                 \
    template Matrix absolute(const BasicMatrix<T>&);                                         \
    template Tensor3 absolute(const BasicTensor3<T>&);                                       \
    template Matrix absolute_product(const BasicMatrix<T>&, const BasicMatrix<T>&)
DANAUS_REFERENCE_INSTANTIATE(double);
DANAUS_REFERENCE_INSTANTIATE(Complex);
#undef DANAUS_REFERENCE_INSTANTIATE

}  // namespace danaus::reference
