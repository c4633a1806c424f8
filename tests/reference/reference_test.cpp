// Proves the oracle's matrices: closed forms, dense equivalents and finite differences.
#include "reference/block_diagonal.hpp"
#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"
#include "reference/kronecker.hpp"
#include "reference/monarch.hpp"
#include "reference/permutation.hpp"
#include "reference/philox.hpp"
#include "reference/sparse24.hpp"
#include "reference/transforms.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include <gtest/gtest.h>

namespace danaus::reference {
namespace {

Matrix random_matrix(std::size_t rows, std::size_t cols, std::uint64_t seed) {
    return Matrix(rows, cols, philox_normal(seed, 0, rows * cols));
}

Tensor3 random_tensor(std::size_t n0, std::size_t n1, std::size_t n2, std::uint64_t seed) {
    return Tensor3(n0, n1, n2, philox_normal(seed, 0, n0 * n1 * n2));
}

std::vector<Complex> random_complex(std::size_t count, std::uint64_t seed) {
    const std::vector<double> parts = philox_normal(seed, 0, 2 * count);
    std::vector<Complex> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = {parts[2 * i], parts[2 * i + 1]};
    return values;
}

double inner_product(const Matrix& a, const Matrix& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.data.size(); ++i) sum += a.data[i] * b.data[i];
    return sum;
}

/// Re <a, b>, whose gradient with respect to the real and imaginary parts of b is Re a and Im a.
double inner_product(const ComplexMatrix& a, const ComplexMatrix& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.data.size(); ++i) sum += (std::conj(a.data[i]) * b.data[i]).real();
    return sum;
}

template <typename T>
double largest_difference(const std::vector<T>& a, const std::vector<T>& b) {
    EXPECT_EQ(a.size(), b.size());
    double largest = 0.0;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
        largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
}

void expect_gradient(const std::vector<double>& analytic, const std::vector<double>& numeric) {
    EXPECT_EQ(first_mismatch(analytic, numeric, 1e-7, 1e-7), "");
}

std::vector<double> to_parts(const std::vector<Complex>& values) {
    std::vector<double> parts;
    for (const Complex& value : values) parts.insert(parts.end(), {value.real(), value.imag()});
    return parts;
}

std::vector<Complex> from_parts(const std::vector<double>& parts) {
    std::vector<Complex> values(parts.size() / 2);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = {parts[2 * i], parts[2 * i + 1]};
    return values;
}

TEST(Matrix, AcceptsAnyNumbersAndChecksTheirCount) {
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    EXPECT_EQ(Matrix(2, 3, values), Matrix(2, 3, {1, 2, 3, 4, 5, 6}));
    EXPECT_EQ(ComplexMatrix(1, 2, std::vector<std::complex<float>>{{1, 2}, {3, 4}})(0, 1), Complex(3, 4));
    EXPECT_EQ(to_float(to_double(values)), values);
    EXPECT_THROW(Matrix(2, 2, values), std::invalid_argument);
    EXPECT_THROW(Tensor3(1, 2, 2, values), std::invalid_argument);
    EXPECT_THROW(matmul(Matrix(1, 3), Matrix(2, 4)), std::invalid_argument);
    EXPECT_EQ(matmul(Matrix(0, 3), Matrix(2, 3)), Matrix(0, 2));
}

TEST(Matrix, MultiplyByHandAndByFiniteDifferences) {
    const Matrix x(2, 3, {1, 2, 3, 4, 5, 6});
    const Matrix w(2, 3, {1, 0, -1, 2, 1, 0});
    EXPECT_EQ(matmul(x, w), Matrix(2, 2, {-2, 4, -2, 13}));
    EXPECT_EQ(matmul_transposed(x, transpose(w)), matmul(x, w));
    EXPECT_EQ(absolute_product(x, w)(0, 0), 4.0);
    const Matrix dy = random_matrix(2, 2, 1);
    expect_gradient(
        matmul_transposed(dy, w).data,
        finite_difference_gradient(
            [&](const auto& v) { return inner_product(dy, matmul(Matrix(2, 3, v), w)); }, x.data));
    expect_gradient(
        weight_gradient(dy, x).data,
        finite_difference_gradient(
            [&](const auto& v) { return inner_product(dy, matmul(x, Matrix(2, 3, v))); }, w.data));
    EXPECT_EQ(axpby(2.0, x, 1.0, x)(1, 2), 18.0);
    EXPECT_EQ(resize_cols(x, 4), Matrix(2, 4, {1, 2, 3, 0, 4, 5, 6, 0}));
}

TEST(BlockDiagonal, EqualsItsDenseMatrix) {
    const BlockDiagonal a{random_tensor(3, 4, 5, 2)};
    const Matrix x = random_matrix(7, 15, 3);
    const Matrix dy = random_matrix(7, 12, 4);
    const Matrix dense = to_dense(a);
    EXPECT_LT(largest_difference(matmul(x, a).data, matmul(x, dense).data), 1e-13);
    EXPECT_LT(largest_difference(matmul_transposed(dy, a).data, matmul_transposed(dy, dense).data), 1e-13);
    EXPECT_LT(
        largest_difference(weight_gradient(dy, x, 3).data, extract_blocks(weight_gradient(dy, x), 3).w.data),
        1e-13);
    EXPECT_EQ(extract_blocks(dense, 3).w, a.w);
    EXPECT_EQ(dense(0, 5), 0.0);
    EXPECT_EQ(dense(4, 5), a.w(1, 0, 0));
    EXPECT_EQ(absolute(a).w(2, 3, 4), std::abs(a.w(2, 3, 4)));
    EXPECT_THROW(weight_gradient(dy, x, 4), std::invalid_argument);
}

TEST(Permutation, StrideIsReshapeTransposeFlatten) {
    EXPECT_EQ(matmul(Matrix(1, 6, {0, 1, 2, 3, 4, 5}), stride_permutation(2, 3)),
              Matrix(1, 6, {0, 3, 1, 4, 2, 5}));
    for (std::size_t a = 1; a <= 9; ++a) {
        for (std::size_t b = 1; b <= 9; ++b) {
            const Permutation p = stride_permutation(a, b);
            const bool involution = compose(p, p) == identity_permutation(a * b);
            // A row or a column is its own transpose in memory; otherwise only a square is.
            EXPECT_EQ(involution, a == b || a == 1 || b == 1) << a << " x " << b;
            EXPECT_EQ(inverse(p), stride_permutation(b, a));
        }
    }
}

TEST(Permutation, EqualsItsDenseMatrix) {
    const Permutation p(std::vector<std::uint32_t>{2, 0, 3, 1});
    const Permutation q = stride_permutation(2, 2);
    const Matrix x = random_matrix(3, 4, 5);
    EXPECT_EQ(matmul(x, p), matmul(x, to_dense(p)));
    EXPECT_EQ(matmul_transposed(x, p), matmul_transposed(x, to_dense(p)));
    EXPECT_EQ(matmul_transposed(matmul(x, p), p), x);
    EXPECT_EQ(matmul_transposed(x, p), matmul(x, inverse(p)));
    EXPECT_EQ(matmul(matmul(x, q), p), matmul(x, compose(p, q)));
    EXPECT_THROW(Permutation(std::vector<int>{0, 0}), std::invalid_argument);
    EXPECT_THROW(Permutation(std::vector<int>{0, 2}), std::invalid_argument);
}

// (k, q, p, l, s, r) with l r = k q.
using MonarchShape = std::tuple<std::size_t, std::size_t, std::size_t, std::size_t, std::size_t, std::size_t>;

class MonarchTest : public testing::TestWithParam<MonarchShape> {};

TEST_P(MonarchTest, EqualsItsDenseMatrixAndItsChain) {
    const auto [k, q, p, l, s, r] = GetParam();
    const Monarch m(random_tensor(k, q, p, 10), random_tensor(l, s, r, 11));
    const Matrix x = random_matrix(3, k * p, 12);
    const Matrix dy = random_matrix(3, s * l, 13);
    const Matrix dense = to_dense(m);
    const double tolerance = 1e-15 * static_cast<double>(100 + p * r * 10);
    const Matrix y = matmul(x, m);
    EXPECT_LT(largest_difference(y.data, matmul(x, dense).data), tolerance);
    const auto chain = to_chain(m);
    EXPECT_LT(largest_difference(y.data, chain_matmul(x, chain).data), tolerance);
    // Product of the factors' dense matrices, with x W^T meaning the last factor is leftmost.
    if (dense.data.size() < 10000) {
        const Matrix product = matmul(to_dense(chain[1]), transpose(to_dense(chain[0])));
        EXPECT_LT(largest_difference(product.data, dense.data), tolerance);
    }

    const auto gradients = monarch_backward(dy, x, m);
    EXPECT_LT(largest_difference(gradients.dx.data, matmul_transposed(dy, dense).data), tolerance);
    EXPECT_EQ(gradients.dx, matmul_transposed(dy, m));
    const auto chain_gradients = chain_backward(dy, x, chain);
    EXPECT_LT(largest_difference(gradients.dx.data, chain_gradients.dx.data), tolerance);
    EXPECT_LT(largest_difference(gradients.dw1.data, chain_gradients.dw[0].data), tolerance);
    EXPECT_LT(largest_difference(gradients.dw2.data, chain_gradients.dw[1].data), tolerance);
}

INSTANTIATE_TEST_SUITE_P(Shapes, MonarchTest,
                         testing::Values(MonarchShape{4, 4, 4, 4, 4, 4},  // square, n = 16
                                         MonarchShape{2, 6, 5, 3, 7, 4},  // l divides q
                                         MonarchShape{2, 5, 3, 2, 4, 5},  // l does not divide q
                                         MonarchShape{4, 3, 5, 6, 3, 2},  // l larger than q
                                         MonarchShape{3, 7, 2, 7, 1, 3},  // one output per block
                                         MonarchShape{1, 6, 4, 1, 5, 6},  // two dense matrices
                                         MonarchShape{8, 192, 96, 24, 16,
                                                      64}));  // the public case, 768 -> 384

TEST(Monarch, GradientsByFiniteDifferences) {
    const Monarch m(random_tensor(2, 5, 3, 20), random_tensor(2, 4, 5, 21));
    const Matrix x = random_matrix(2, 6, 22);
    const Matrix dy = random_matrix(2, 8, 23);
    const auto g = monarch_backward(dy, x, m);
    expect_gradient(
        g.dx.data, finite_difference_gradient(
                       [&](const auto& v) { return inner_product(dy, matmul(Matrix(2, 6, v), m)); }, x.data));
    expect_gradient(
        g.dw1.data,
        finite_difference_gradient(
            [&](const auto& v) { return inner_product(dy, matmul(x, Monarch(Tensor3(2, 5, 3, v), m.w2))); },
            m.w1.data));
    expect_gradient(
        g.dw2.data,
        finite_difference_gradient(
            [&](const auto& v) { return inner_product(dy, matmul(x, Monarch(m.w1, Tensor3(2, 4, 5, v)))); },
            m.w2.data));
}

TEST(Monarch, ComplexGradientsByFiniteDifferences) {
    const ComplexMonarch m(ComplexTensor3(2, 3, 2, random_complex(12, 30)),
                           ComplexTensor3(2, 2, 3, random_complex(12, 31)));
    const ComplexMatrix x(2, 4, random_complex(8, 32));
    const ComplexMatrix dy(2, 4, random_complex(8, 33));
    EXPECT_LT(largest_difference(matmul(x, m).data, matmul(x, to_dense(m)).data), 1e-13);
    EXPECT_LT(largest_difference(matmul(x, m).data, chain_matmul(x, to_chain(m)).data), 1e-13);
    const auto g = monarch_backward(dy, x, m);
    const auto loss_of_x = [&](const auto& v) {
        return inner_product(dy, matmul(ComplexMatrix(2, 4, from_parts(v)), m));
    };
    const auto loss_of_w1 = [&](const auto& v) {
        return inner_product(dy, matmul(x, ComplexMonarch(ComplexTensor3(2, 3, 2, from_parts(v)), m.w2)));
    };
    const auto loss_of_w2 = [&](const auto& v) {
        return inner_product(dy, matmul(x, ComplexMonarch(m.w1, ComplexTensor3(2, 2, 3, from_parts(v)))));
    };
    expect_gradient(to_parts(g.dx.data), finite_difference_gradient(loss_of_x, to_parts(x.data)));
    expect_gradient(to_parts(g.dw1.data), finite_difference_gradient(loss_of_w1, to_parts(m.w1.data)));
    expect_gradient(to_parts(g.dw2.data), finite_difference_gradient(loss_of_w2, to_parts(m.w2.data)));
}

TEST(Monarch, LayerShapesPadAndSlice) {
    const Monarch square = monarch_layer(768, 768, 4);
    EXPECT_EQ(square.w1, Tensor3(4, 192, 192));
    EXPECT_EQ(square.w2, Tensor3(4, 192, 192));
    const Monarch up = monarch_layer(768, 3072, 4);
    EXPECT_EQ(up.w1, Tensor3(4, 192, 192));
    EXPECT_EQ(up.w2, Tensor3(4, 768, 192));
    const Monarch down = monarch_layer(3072, 768, 4);
    EXPECT_EQ(down.w1, Tensor3(4, 192, 768));
    EXPECT_EQ(down.w2, Tensor3(4, 192, 192));
    // 31.25 % of dense, as published for 768 <-> 3072 with four blocks.
    EXPECT_EQ((up.w1.data.size() + up.w2.data.size()) * 16, 768u * 3072u * 5u);
    Monarch odd = monarch_layer(10, 7, 4);
    odd.w1 = Tensor3(odd.w1.n0, odd.w1.n1, odd.w1.n2, philox_normal(40, 0, odd.w1.data.size()));
    odd.w2 = Tensor3(odd.w2.n0, odd.w2.n1, odd.w2.n2, philox_normal(41, 0, odd.w2.data.size()));
    const Matrix x = random_matrix(3, 10, 42);
    const Matrix y = monarch_layer_matmul(x, odd, 7);
    const Matrix dense = to_dense(odd);
    EXPECT_EQ(y.cols, 7u);
    for (std::size_t o = 0; o < 7; ++o) {
        double sum = 0.0;
        for (std::size_t i = 0; i < 10; ++i) sum += x(2, i) * dense(o, i);
        EXPECT_NEAR(y(2, o), sum, 1e-13);
    }
    EXPECT_THROW(Monarch(Tensor3(2, 3, 4), Tensor3(4, 2, 2)), std::invalid_argument);
}

TEST(KroneckerFactor, EqualsItsDenseMatrix) {
    // a = 2, b = 3, c = 4, d = 5.
    const KroneckerFactor f(2, 5, random_tensor(10, 3, 4, 50));
    const Matrix x = random_matrix(3, 40, 51);
    const Matrix dy = random_matrix(3, 30, 52);
    const Matrix dense = to_dense(f);
    for (std::size_t o = 0; o < 30; ++o) {
        for (std::size_t i = 0; i < 40; ++i) {
            // Support of I_a (x) 1 (x) I_d.
            const bool supported = o / 15 == i / 20 && o % 5 == i % 5;
            EXPECT_EQ(dense(o, i) != 0.0, supported);
        }
    }
    EXPECT_LT(largest_difference(matmul(x, f).data, matmul(x, dense).data), 1e-13);
    EXPECT_LT(largest_difference(matmul_transposed(dy, f).data, matmul_transposed(dy, dense).data), 1e-13);
    expect_gradient(weight_gradient(dy, x, f).data,
                    finite_difference_gradient(
                        [&](const auto& v) {
                            return inner_product(dy, matmul(x, KroneckerFactor(2, 5, Tensor3(10, 3, 4, v))));
                        },
                        f.w.data));
}

TEST(Transforms, DftFactorsEqualTheDefinition) {
    using Sizes = std::pair<std::size_t, std::size_t>;
    for (const auto& [I, J] :
         {Sizes{3, 5}, {5, 3}, {6, 6}, {14, 14}, {3, 9}, {6, 8}, {7, 6}, {5, 17}, {8, 21}, {16, 32}}) {
        const std::size_t n = I * J;
        const PermutedMonarch dft = dft_monarch(I, J);
        const ComplexMatrix x(2, n, random_complex(2 * n, n));
        const ComplexMatrix y = matmul(matmul(x, dft.input), dft.m);
        EXPECT_LT(largest_difference(y.data, discrete_fourier_transform(x).data),
                  1e-14 * static_cast<double>(10 + n))
            << n;
    }
}

TEST(Transforms, KroneckerHadamardAndLowRank) {
    const Matrix a = random_matrix(2, 3, 60);
    const Matrix b = random_matrix(4, 5, 61);
    const Matrix dense = to_dense(kronecker_monarch(a, b));
    for (std::size_t o = 0; o < 8; ++o) {
        for (std::size_t i = 0; i < 15; ++i) EXPECT_EQ(dense(o, i), a(o / 4, i / 5) * b(o % 4, i % 5));
    }
    EXPECT_EQ(to_dense(kronecker_monarch(hadamard_matrix(2), hadamard_matrix(3))), hadamard_matrix(5));
    const Matrix u = random_matrix(6, 2, 62);
    const Matrix v = random_matrix(8, 2, 63);
    const Matrix low_rank = to_dense(low_rank_monarch(u, v, 4, 3));
    EXPECT_LT(largest_difference(low_rank.data, matmul(u, v).data), 1e-14);
}

}  // namespace
}  // namespace danaus::reference
