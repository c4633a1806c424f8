// Row-major matrices and rank-3 tensors in double precision, and the three dense multiplies.
//
// Everything under tests/reference computes what the field's formulas say, by plain loops, in double. It
// knows nothing of Vulkan, of the library or of its shaders, so that agreement with it means something.
#pragma once

#include <cassert>
#include <complex>
#include <cstddef>
#include <initializer_list>
#include <ranges>
#include <span>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace danaus::reference {

using Complex = std::complex<double>;

/// Throws std::invalid_argument(message) unless the condition holds.
inline void require(bool condition, const char* message) {
    if (!condition) throw std::invalid_argument(message);
}

/// Any container of numbers convertible to T: vector<float>, span<const double>, array<int, n>, ...
template <typename R, typename T>
concept NumberRange =
    std::ranges::sized_range<R> && std::is_constructible_v<T, std::ranges::range_value_t<R>>;

/// Copies a container of numbers, element by element, into a vector<T>.
template <typename T, NumberRange<T> R>
std::vector<T> convert(const R& values) {
    std::vector<T> result;
    result.reserve(std::ranges::size(values));
    for (const auto& value : values) result.push_back(static_cast<T>(value));
    return result;
}

inline std::vector<double> to_double(std::span<const float> values) {
    return convert<double>(values);
}
inline std::vector<float> to_float(std::span<const double> values) {
    return convert<float>(values);
}

/// Row-major rows x cols matrix.
template <typename T>
struct BasicMatrix {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<T> data;

    BasicMatrix() = default;
    BasicMatrix(std::size_t row_count, std::size_t col_count, T fill = T{})
        : rows(row_count), cols(col_count), data(row_count * col_count, fill) {}
    BasicMatrix(std::size_t row_count, std::size_t col_count, std::initializer_list<T> values)
        : rows(row_count), cols(col_count), data(values) {
        check_size();
    }
    template <NumberRange<T> R>
    BasicMatrix(std::size_t row_count, std::size_t col_count, const R& values)
        : rows(row_count), cols(col_count), data(convert<T>(values)) {
        check_size();
    }

    T& operator()(std::size_t row, std::size_t col) {
        assert(row < rows && col < cols);
        return data[row * cols + col];
    }
    const T& operator()(std::size_t row, std::size_t col) const {
        assert(row < rows && col < cols);
        return data[row * cols + col];
    }
    [[nodiscard]] std::span<const T> row(std::size_t index) const {
        return std::span<const T>(data).subspan(index * cols, cols);
    }
    bool operator==(const BasicMatrix&) const = default;

private:
    void check_size() const {
        require(data.size() == rows * cols, "matrix data must hold rows * cols values");
    }
};

/// Row-major n0 x n1 x n2 tensor; block weights are (nblocks, out_block, in_block).
template <typename T>
struct BasicTensor3 {
    std::size_t n0 = 0;
    std::size_t n1 = 0;
    std::size_t n2 = 0;
    std::vector<T> data;

    BasicTensor3() = default;
    BasicTensor3(std::size_t size0, std::size_t size1, std::size_t size2, T fill = T{})
        : n0(size0), n1(size1), n2(size2), data(size0 * size1 * size2, fill) {}
    BasicTensor3(std::size_t size0, std::size_t size1, std::size_t size2, std::initializer_list<T> values)
        : n0(size0), n1(size1), n2(size2), data(values) {
        check_size();
    }
    template <NumberRange<T> R>
    BasicTensor3(std::size_t size0, std::size_t size1, std::size_t size2, const R& values)
        : n0(size0), n1(size1), n2(size2), data(convert<T>(values)) {
        check_size();
    }

    T& operator()(std::size_t i, std::size_t j, std::size_t k) {
        assert(i < n0 && j < n1 && k < n2);
        return data[(i * n1 + j) * n2 + k];
    }
    const T& operator()(std::size_t i, std::size_t j, std::size_t k) const {
        assert(i < n0 && j < n1 && k < n2);
        return data[(i * n1 + j) * n2 + k];
    }
    bool operator==(const BasicTensor3&) const = default;

private:
    void check_size() const {
        require(data.size() == n0 * n1 * n2, "tensor data must hold n0 * n1 * n2 values");
    }
};

using Matrix = BasicMatrix<double>;
using ComplexMatrix = BasicMatrix<Complex>;
using Tensor3 = BasicTensor3<double>;
using ComplexTensor3 = BasicTensor3<Complex>;

/// conj(v); the identity on real numbers, so that one formula serves both.
inline double conjugate(double value) {
    return value;
}
inline Complex conjugate(Complex value) {
    return std::conj(value);
}

// The functions below exist for double and Complex.

/// y[t,o] = sum_i x[t,i] W[o,i], that is y = x W^T; x is tokens x in, W is out x in.
template <typename T>
BasicMatrix<T> matmul(const BasicMatrix<T>& x, const BasicMatrix<T>& w);

/// dx[t,i] = sum_o dy[t,o] conj(W[o,i]), that is dX = dY conj(W).
template <typename T>
BasicMatrix<T> matmul_transposed(const BasicMatrix<T>& dy, const BasicMatrix<T>& w);

/// dw[o,i] = sum_t dy[t,o] conj(x[t,i]), that is dW = dY^T conj(X).
template <typename T>
BasicMatrix<T> weight_gradient(const BasicMatrix<T>& dy, const BasicMatrix<T>& x);

/// (A^T)[c,r] = A[r,c], without conjugation.
template <typename T>
BasicMatrix<T> transpose(const BasicMatrix<T>& a);

/// alpha a + beta b, element by element; beta = 1 is an accumulating multiply's result.
template <typename T>
BasicMatrix<T> axpby(T alpha, const BasicMatrix<T>& a, T beta, const BasicMatrix<T>& b);

/// The first `cols` columns of a; further columns are zero when a has fewer (pad and slice in one).
template <typename T>
BasicMatrix<T> resize_cols(const BasicMatrix<T>& a, std::size_t cols);

/// |a|, element by element; a complex operand gives the real matrix of moduli.
template <typename T>
Matrix absolute(const BasicMatrix<T>& a);
template <typename T>
Tensor3 absolute(const BasicTensor3<T>& a);

/// (|x| |W|^T)[t,o] = sum_i |x[t,i]| |W[o,i]|, the magnitude that a componentwise error bound scales with.
template <typename T>
Matrix absolute_product(const BasicMatrix<T>& x, const BasicMatrix<T>& w);

}  // namespace danaus::reference
