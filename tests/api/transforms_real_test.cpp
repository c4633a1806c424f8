// Cosine and sine transforms against FFTW; Walsh-Hadamard, Kronecker products and low rank, which are exact.
#include "fftw_oracle.hpp"
#include "reference/transforms.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/danaus.hpp>

#include <bit>
#include <cmath>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
constexpr std::size_t tokens = 3;
constexpr std::size_t sizes[] = {1, 2, 7, 15, 36, 196, 27, 48, 42, 85, 168, 512, 1024};
constexpr Trigonometric kinds[] = {Trigonometric::dct2, Trigonometric::dct3, Trigonometric::dct4,
                                   Trigonometric::dst2, Trigonometric::dst3, Trigonometric::dst4};

void expect_close(const std::vector<float>& actual, const Matrix& exact, const std::string& what) {
    EXPECT_EQ(reference::first_mismatch(actual, exact.data, 1e-3, 1e-5), "") << what;
    double largest = 0.0;
    for (const double value : exact.data) largest = std::max(largest, std::abs(value));
    EXPECT_EQ(reference::first_mismatch(actual, exact.data, 0.0, 2e-6 * largest), "") << what;
}

// FFTW's, with the gains that make the matrix orthonormal: those of the kinds 3 are of their inputs.
Matrix orthonormal(const Matrix& x, Trigonometric kind) {
    const std::size_t n = x.cols,
                      single = kind == Trigonometric::dst2 || kind == Trigonometric::dst3 ? n - 1 : 0;
    const bool three = kind == Trigonometric::dct3 || kind == Trigonometric::dst3,
               four = kind == Trigonometric::dct4 || kind == Trigonometric::dst4;
    Matrix from = x;
    if (three)
        for (std::size_t t = 0; t < x.rows; ++t) from(t, single) *= std::sqrt(2.0);
    Matrix y = test::fftw_trigonometric(from, kind);
    for (double& value : y.data) value *= std::sqrt(0.5 / static_cast<double>(n));
    if (!three && !four)
        for (std::size_t t = 0; t < x.rows; ++t) y(t, single) *= std::sqrt(0.5);
    return y;
}

TEST(Trigonometric, AgainstFftw) {
    Stream stream(test::device());
    // A permutation by indices wants the features of a token within one operand's reach.
    const bool short_reach = test::device().capabilities().max_storage_range < 1 << 16;
    for (const std::size_t n : sizes) {
        if (short_reach && n > 512) continue;
        const auto x = test::random_values(tokens * n, 1);
        const Matrix rx(tokens, n, x);
        const Tensor tx = upload(stream, x, {tokens, n});
        for (const Trigonometric kind : kinds) {
            const std::string what = to_string(kind) + std::string(" of ") + std::to_string(n);
            expect_close(download(stream, matmul(stream, tx, trigonometric(stream, kind, n))),
                         test::fftw_trigonometric(rx, kind), what);
            const Transform unit = trigonometric(stream, kind, n, Norm::orthonormal);
            const Tensor y = matmul(stream, tx, unit);
            expect_close(download(stream, y), orthonormal(rx, kind), what + ", orthonormal");
            expect_close(download(stream, matmul_transposed(stream, y, unit)), rx, what + ", there and back");
        }
    }
}

TEST(Trigonometric, EverySplitAndLayout) {
    Stream stream(test::device());
    constexpr std::size_t n = 36, batch = 2;
    const auto x = test::random_values(batch * tokens * n, 2);
    const Matrix rx(batch * tokens, n, x);
    for (const Split& split : splits_of(n))
        for (const Trigonometric kind : {Trigonometric::dct2, Trigonometric::dct3, Trigonometric::dst4}) {
            const Matrix exact = test::fftw_trigonometric(rx, kind);
            const test::Placed tx(stream, DataType::f32, {batch, tokens, n},
                                  {.feature_major = true, .gap = 1}, x),
                y(stream, DataType::f32, {batch, tokens, n}, {.gap = 1, .batch_gap = 2});
            matmul_into(stream, y, tx,
                        trigonometric(stream, kind, n, Norm::unnormalised, {split.j, split.i}));
            expect_close(y.values(stream), exact, std::to_string(split.j));
        }
    const Monarch w = trigonometric(stream, Trigonometric::dct2, n).monarch();
    EXPECT_EQ(w.w1.shape(), (Shape{6, 12, 6}));
    EXPECT_EQ(w.w2.shape(), (Shape{6, 6, 12}));
}

TEST(Trigonometric, GradientsReachWeightsAndInput) {
    Stream stream(test::device());
    const Transform c = trigonometric(stream, Trigonometric::dct2, 12);
    const auto x = test::random_values(tokens * 12, 3), dy = test::random_values(tokens * 12, 4);
    const Tensor tx = upload(stream, x, {tokens, 12}), tdy = upload(stream, dy, {tokens, 12});
    ChainGradients out{empty(stream, DataType::f32, {tokens, 12}), {}};
    for (const KroneckerFactor& factor : c.matrix.factors)
        out.dw.push_back(empty(stream, DataType::f32, factor.weight.shape()));
    backward_into(stream, out, tdy, tx, c);
    expect_close(download(stream, out.dx),
                 Matrix(tokens, 12, download(stream, matmul_transposed(stream, tdy, c))), "dx");
    const Monarch dw = weight_gradient(stream, tdy, matmul(stream, tx, c.input), c.monarch());
    EXPECT_EQ(download(stream, out.dw[0].select(1, 0)), download(stream, dw.w1));
    EXPECT_EQ(download(stream, out.dw[1].select(0, 0)), download(stream, dw.w2));
    // y is linear in w1: a step against the gradient of Σ dy·y lowers it by the gradient's square.
    const auto product = [&](const Transform& a) {
        const auto y = download(stream, matmul(stream, tx, a));
        double sum = 0.0;
        for (std::size_t i = 0; i < y.size(); ++i)
            sum += static_cast<double>(y[i]) * static_cast<double>(dy[i]);
        return sum;
    };
    auto w1 = download(stream, c.matrix.factors[0].weight);
    const auto g1 = download(stream, out.dw[0]);
    double square = 0.0;
    for (std::size_t i = 0; i < w1.size(); ++i) {
        w1[i] -= g1[i];
        square += static_cast<double>(g1[i]) * static_cast<double>(g1[i]);
    }
    const double before = product(c);
    upload_into(stream, c.matrix.factors[0].weight, w1);
    EXPECT_NEAR(before - product(c), square, 1e-4 * square);
}

TEST(WalshHadamard, Exact) {
    Stream stream(test::device());
    for (unsigned m = 0; m <= 10; ++m) {
        const std::size_t n = std::size_t{1} << m;
        const auto x = test::whole_values(tokens * n, m, 3);
        const Matrix exact = reference::matmul(Matrix(tokens, n, x), reference::hadamard_matrix(m));
        const Tensor tx = upload(stream, x, {tokens, n});
        EXPECT_EQ(reference::to_double(download(stream, matmul(stream, tx, walsh_hadamard(stream, n)))),
                  exact.data)
            << n;
        const Transform unit = walsh_hadamard(stream, n, Norm::orthonormal);
        EXPECT_EQ(reference::first_mismatch(download(stream, matmul(stream, matmul(stream, tx, unit), unit)),
                                            Matrix(tokens, n, x).data, 1e-5, 1e-5),
                  "")
            << n;
    }
}

TEST(Kronecker, Exact) {
    Stream stream(test::device());
    for (const auto& [ra, ca, rb, cb] :
         {std::array<std::size_t, 4>{2, 3, 4, 5}, {1, 1, 3, 2}, {5, 2, 1, 1}, {4, 4, 3, 3}}) {
        const auto a = test::whole_values(ra * ca, 1, 3), b = test::whole_values(rb * cb, 2, 3);
        Matrix exact(ra * rb, ca * cb);
        for (std::size_t i = 0; i < exact.rows; ++i)
            for (std::size_t j = 0; j < exact.cols; ++j)
                exact(i, j) = static_cast<double>(a[i / rb * ca + j / cb]) *
                              static_cast<double>(b[i % rb * cb + j % cb]);
        const Transform k = kronecker(stream, a, {ra, ca}, b, {rb, cb});
        EXPECT_EQ(reference::to_double(download(stream, to_dense(stream, k))), exact.data);
        EXPECT_EQ(reference::to_double(download(stream, to_dense(stream, transposed(k)))),
                  reference::transpose(exact).data);
    }
}

TEST(LowRank, Exact) {
    Stream stream(test::device());
    for (const auto& [out, in, rank, k, l] :
         {std::array<std::size_t, 5>{6, 8, 2, 4, 3}, {6, 8, 1, 1, 1}, {5, 7, 3, 7, 5}, {12, 4, 5, 2, 6}}) {
        const auto u = test::whole_values(out * rank, 1, 2), v = test::whole_values(in * rank, 2, 2);
        const Transform a = low_rank(stream, u, v, rank, k, l);
        EXPECT_EQ(reference::to_double(download(stream, to_dense(stream, a))),
                  reference::matmul(Matrix(out, rank, u), Matrix(in, rank, v)).data);
        EXPECT_EQ(a.monarch().w1.shape(), (Shape{k, rank * l, in / k}));
    }
}

}  // namespace
}  // namespace danaus
