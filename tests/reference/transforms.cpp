#include "reference/transforms.hpp"

#include <bit>
#include <cmath>
#include <numbers>

namespace danaus::reference {
namespace {

/// exp(-2 pi i exponent / n); the exponent is reduced first, so that large ones lose no accuracy.
Complex root_of_unity(std::size_t n, std::size_t exponent) {
    const double angle = -2.0 * std::numbers::pi * static_cast<double>(exponent % n) / static_cast<double>(n);
    return {std::cos(angle), std::sin(angle)};
}

}  // namespace

ComplexMatrix discrete_fourier_transform(const ComplexMatrix& x) {
    ComplexMatrix result(x.rows, x.cols);
    for (std::size_t t = 0; t < x.rows; ++t) {
        for (std::size_t f = 0; f < x.cols; ++f) {
            Complex sum{};
            for (std::size_t i = 0; i < x.cols; ++i) sum += x(t, i) * root_of_unity(x.cols, f * i);
            result(t, f) = sum;
        }
    }
    return result;
}

PermutedMonarch dft_monarch(std::size_t I, std::size_t J) {
    ComplexTensor3 w1(J, I, I);
    ComplexTensor3 w2(I, J, J);
    for (std::size_t j = 0; j < J; ++j) {
        for (std::size_t l = 0; l < I; ++l) {
            for (std::size_t i = 0; i < I; ++i)
                w1(j, l, i) = root_of_unity(I, i * l) * root_of_unity(I * J, j * l);
            for (std::size_t s = 0; s < J; ++s) w2(l, s, j) = root_of_unity(J, j * s);
        }
    }
    return {stride_permutation(I, J), {std::move(w1), std::move(w2)}};
}

Monarch kronecker_monarch(const Matrix& a, const Matrix& b) {
    Tensor3 w1(a.cols, b.rows, b.cols);
    Tensor3 w2(b.rows, a.rows, a.cols);
    for (std::size_t k = 0; k < w1.n0; ++k) {
        for (std::size_t r = 0; r < b.rows; ++r) {
            for (std::size_t c = 0; c < b.cols; ++c) w1(k, r, c) = b(r, c);
        }
    }
    for (std::size_t l = 0; l < w2.n0; ++l) {
        for (std::size_t r = 0; r < a.rows; ++r) {
            for (std::size_t c = 0; c < a.cols; ++c) w2(l, r, c) = a(r, c);
        }
    }
    return {std::move(w1), std::move(w2)};
}

Matrix hadamard_matrix(unsigned m) {
    const std::size_t n = std::size_t{1} << m;
    Matrix h(n, n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) h(i, j) = std::popcount(i & j) % 2 == 0 ? 1.0 : -1.0;
    }
    return h;
}

Monarch low_rank_monarch(const Matrix& u, const Matrix& v, std::size_t k, std::size_t l) {
    const std::size_t rho = u.cols;
    require(v.cols == rho, "low_rank_monarch: U and V must have one rank");
    require(k > 0 && l > 0 && v.rows % k == 0 && u.rows % l == 0,
            "low_rank_monarch: k must divide V's rows and l must divide U's rows");
    const std::size_t p = v.rows / k;
    const std::size_t s = u.rows / l;
    Tensor3 w1(k, rho * l, p);
    Tensor3 w2(l, s, k * rho);
    for (std::size_t t = 0; t < rho; ++t) {
        for (std::size_t L = 0; L < l; ++L) {
            for (std::size_t K = 0; K < k; ++K) {
                for (std::size_t c = 0; c < p; ++c) w1(K, t * l + L, c) = v(K * p + c, t);
                for (std::size_t S = 0; S < s; ++S) w2(L, S, K * rho + t) = u(S * l + L, t);
            }
        }
    }
    return {std::move(w1), std::move(w2)};
}

}  // namespace danaus::reference
