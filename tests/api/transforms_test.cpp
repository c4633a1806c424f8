// Fourier transforms against FFTW; circulant and Toeplitz matrices and convolutions against their
// definitions.
#include "fftw_oracle.hpp"
#include "reference/monarch.hpp"
#include "reference/permutation.hpp"
#include "support/complex.hpp"
#include "support/device.hpp"

#include <danaus/danaus.hpp>

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Complex;
using reference::ComplexMatrix;
using test::complex_values;
using test::ComplexValues;
using test::expect_error;
using test::Layout;
using test::PlacedComplex;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr auto complex64 = DataType::complex64;
constexpr std::size_t tokens = 3;
constexpr std::size_t sizes[] = {1, 2, 7, 15, 36, 196, 27, 48, 42, 85, 168, 512, 1024};

// The public tolerance, and of the largest element what sums of a few dozen terms in f32 leave.
void expect_close(const std::vector<double>& actual, const std::vector<double>& exact,
                  const std::string& what) {
    EXPECT_EQ(reference::first_mismatch(actual, exact, 1e-3, 1e-5), "") << what;
    double largest = 0.0;
    for (const double value : exact) largest = std::max(largest, std::abs(value));
    EXPECT_EQ(reference::first_mismatch(actual, exact, 0.0, 2e-6 * largest), "") << what;
}

void expect_close(Stream& stream, const Tensor& actual, const ComplexMatrix& exact, const std::string& what) {
    expect_close(test::flat(download_complex(stream, actual)), test::flat(exact.data), what);
}

ComplexMatrix scaled(ComplexMatrix m, double scale) {
    for (Complex& value : m.data) value *= scale;
    return m;
}

void expect_fourier(Stream& stream, std::size_t n, Split split = {}) {
    const ComplexValues x = complex_values(tokens * n, 1);
    const ComplexMatrix rx(tokens, n, x), forward = test::fftw_dft(rx), backward = test::fftw_dft(rx, true);
    const PlacedComplex tx(stream, {tokens, n}, {.gap = 1, .skew = 1}, x);
    const std::string what = "n " + std::to_string(n) + " i " + std::to_string(split.i);
    const double root = 1.0 / std::sqrt(static_cast<double>(n));
    const Transform f = dft(stream, n, Norm::unnormalised, split),
                    g = inverse_dft(stream, n, Norm::unnormalised, split),
                    unit = dft(stream, n, Norm::orthonormal, split),
                    back = inverse_dft(stream, n, Norm::orthonormal, split);
    const Tensor spectrum = matmul(stream, tx, f);
    expect_close(stream, spectrum, forward, what);
    expect_close(stream, matmul(stream, spectrum, g), rx, what + ", there and back");
    expect_close(stream, matmul(stream, tx, g), scaled(backward, 1.0 / static_cast<double>(n)),
                 what + ", inverse");
    expect_close(stream, matmul(stream, tx, unit), scaled(forward, root), what + ", orthonormal");
    expect_close(stream, matmul(stream, tx, back), scaled(backward, root), what + ", orthonormal inverse");
    // The matrix is symmetric: its gradient's is the conjugate.
    expect_close(stream, matmul_transposed(stream, tx, f), backward, what + ", transposed");
    if (n <= 48) expect_close(stream, matmul(stream, tx, to_dense(stream, f)), forward, what + ", dense");
}

TEST(Fourier, AgainstFftw) {
    Stream stream(test::device());
    for (const std::size_t n : sizes) expect_fourier(stream, n);
}

TEST(Fourier, EverySplit) {
    Stream stream(test::device());
    for (const Split& one : splits_of(48)) {
        expect_fourier(stream, 48, one);
        expect_fourier(stream, 48, {one.j, 0});
    }
    EXPECT_EQ(dft(stream, 48).monarch().w1.shape(), (Shape{8, 6, 6}));
    EXPECT_EQ(dft(stream, 48).monarch().w2.shape(), (Shape{6, 8, 8}));
}

TEST(Fourier, LayoutsBatchesAndRealInput) {
    Stream stream(test::device());
    constexpr std::size_t n = 15, batch = 2;
    const Transform f = dft(stream, n);
    const ComplexValues x = complex_values(batch * tokens * n, 2);
    const ComplexMatrix exact = test::fftw_dft(ComplexMatrix(batch * tokens, n, x));
    for (const bool feature_major : {false, true}) {
        const PlacedComplex tx(stream, {batch, tokens, n},
                               {.feature_major = !feature_major, .gap = 1, .batch_gap = 2}, x),
            y(stream, {batch, tokens, n},
              {.feature_major = feature_major, .gap = 2, .batch_gap = 1, .skew = 1});
        matmul_into(stream, y, tx, f);
        EXPECT_EQ(y.mismatch(stream, exact.data, std::vector<double>(exact.data.size(), 2e-5)), "");
    }
    const auto reals = test::random_values(tokens * n, 3);
    expect_close(stream, matmul(stream, upload(stream, reals, {tokens, n}), f),
                 test::fftw_dft(ComplexMatrix(tokens, n, std::vector<Complex>(reals.begin(), reals.end()))),
                 "real");
    EXPECT_EQ(matmul(stream, Tensor(stream.device(), complex64, {0, n}), f).shape(), (Shape{0, n}));
}

TEST(Fourier, LearnsFromItsClosedForm) {
    // The gradients of a DFT's weights are those of any Monarch matrix, behind its permutation.
    Stream stream(test::device());
    constexpr std::size_t i = 3, j = 4, n = i * j;
    const Transform f = dft(stream, n, Norm::orthonormal, {i, j});
    const Monarch w = f.monarch();
    const ComplexValues x = complex_values(tokens * n, 4), dy = complex_values(tokens * n, 5),
                        w1 = download_complex(stream, w.w1), w2 = download_complex(stream, w.w2);
    const reference::ComplexMonarch oracle(reference::ComplexTensor3(j, i, i, w1),
                                           reference::ComplexTensor3(i, j, j, w2));
    const reference::Permutation p = reference::stride_permutation(i, j);
    const auto exact = reference::monarch_backward(ComplexMatrix(tokens, n, dy),
                                                   reference::matmul(ComplexMatrix(tokens, n, x), p), oracle);
    const Tensor tx = upload(stream, x, {tokens, n}), tdy = upload(stream, dy, {tokens, n});
    ChainGradients out{empty(stream, complex64, {tokens, n}), {}};
    for (const KroneckerFactor& factor : f.matrix.factors)
        out.dw.push_back(empty(stream, complex64, factor.weight.shape()));
    backward_into(stream, out, tdy, tx, f);
    const auto values = [&](const Tensor& t) { return test::flat(download_complex(stream, t)); };
    expect_close(values(out.dx), test::flat(reference::matmul_transposed(exact.dx, p).data), "dx");
    expect_close(values(out.dw[0]), test::flat(exact.dw1.data), "dw1");
    expect_close(values(out.dw[1]), test::flat(exact.dw2.data), "dw2");
    // And by the Monarch matrix alone.
    const Monarch dw = weight_gradient(stream, tdy, matmul(stream, tx, f.input), w);
    expect_close(values(dw.w1), test::flat(exact.dw1.data), "dw1 of the Monarch matrix");
}

// A[f, t] = c[f − t], indices of c from 1 − in to out − 1.
ComplexMatrix toeplitz_matrix(const ComplexValues& column, const ComplexValues& row) {
    ComplexMatrix a(column.size(), row.size());
    for (std::size_t f = 0; f < a.rows; ++f)
        for (std::size_t t = 0; t < a.cols; ++t) a(f, t) = f >= t ? column[f - t] : row[t - f];
    return a;
}

void expect_matrix(Stream& stream, const Transform& a, const ComplexMatrix& exact, const std::string& what) {
    const ComplexValues x = complex_values(tokens * exact.cols, 6),
                        dy = complex_values(tokens * exact.rows, 7);
    EXPECT_EQ(a.in_features, exact.cols);
    EXPECT_EQ(a.out_features, exact.rows);
    const ComplexMatrix rx(tokens, exact.cols, x), rdy(tokens, exact.rows, dy);
    expect_close(stream, matmul(stream, upload(stream, x, {tokens, exact.cols}), a),
                 reference::matmul(rx, exact), what);
    expect_close(stream, matmul_transposed(stream, upload(stream, dy, {tokens, exact.rows}), a),
                 reference::matmul_transposed(rdy, exact), what + ", transposed");
    ComplexMatrix turned(exact.cols, exact.rows);
    for (std::size_t f = 0; f < exact.rows; ++f)
        for (std::size_t t = 0; t < exact.cols; ++t) turned(t, f) = exact(f, t);
    expect_close(stream, matmul(stream, upload(stream, dy, {tokens, exact.rows}), transposed(a)),
                 reference::matmul(rdy, turned), what + ", turned");
}

TEST(Circulant, AnySize) {
    Stream stream(test::device());
    for (const std::size_t n : {13u, 1u, 2u, 4u, 15u, 36u, 85u, 101u, 512u}) {
        const ComplexValues column = complex_values(n, static_cast<unsigned>(n));
        ComplexValues row = column;
        std::reverse(row.begin() + 1, row.end());
        const Transform a = circulant(stream, column);
        expect_matrix(stream, a, toeplitz_matrix(column, row), "circulant " + std::to_string(n));
        EXPECT_FALSE(a.input.size() || a.output.size());
        EXPECT_EQ(a.matrix.factors.size(), 3u);
    }
}

TEST(Toeplitz, AnyShape) {
    Stream stream(test::device());
    for (const auto& [out, in] :
         {std::pair<std::size_t, std::size_t>{13, 38}, {27, 11}, {1, 1}, {1, 9}, {8, 1}, {64, 64}}) {
        ComplexValues column = complex_values(out, 1), row = complex_values(in, 2);
        row[0] = column[0];
        expect_matrix(stream, toeplitz(stream, column, row), toeplitz_matrix(column, row),
                      "toeplitz " + std::to_string(out) + " × " + std::to_string(in));
    }
    // A kernel's band.
    const ComplexValues kernel = complex_values(5, 3);
    ComplexMatrix band(5 + 17 - 1, 17);
    for (std::size_t t = 0; t < 17; ++t)
        for (std::size_t s = 0; s < 5; ++s) band(t + s, t) = kernel[s];
    expect_matrix(stream, convolution(stream, kernel, 17), band, "convolution");
}

TEST(Toeplitz, Gradients) {
    // Padding and cropping stand around the chain's own gradients.
    Stream stream(test::device());
    ComplexValues column = complex_values(5, 1), row = complex_values(7, 2);
    row[0] = column[0];
    const Transform a = toeplitz(stream, column, row);
    const ComplexValues x = complex_values(tokens * 7, 3), dy = complex_values(tokens * 5, 4);
    std::vector<reference::ComplexKroneckerFactor> oracle;
    ChainGradients out{empty(stream, complex64, {tokens, 7}), {}};
    for (const KroneckerFactor& factor : a.matrix.factors) {
        const auto [pa, pb, pc, pd] = factor.pattern();
        oracle.emplace_back(
            pa, pd, reference::ComplexTensor3(pa * pd, pb, pc, download_complex(stream, factor.weight)));
        out.dw.push_back(empty(stream, complex64, factor.weight.shape()));
    }
    backward_into(stream, out, upload(stream, dy, {tokens, 5}), upload(stream, x, {tokens, 7}), a);
    const auto exact = reference::chain_backward(
        reference::resize_cols(ComplexMatrix(tokens, 5, dy), a.matrix.out_features()),
        reference::resize_cols(ComplexMatrix(tokens, 7, x), a.matrix.in_features()), oracle);
    expect_close(stream, out.dx, reference::resize_cols(exact.dx, 7), "dx");
    for (std::size_t i = 0; i < oracle.size(); ++i)
        expect_close(test::flat(download_complex(stream, out.dw[i])), test::flat(exact.dw[i].data),
                     "dw " + std::to_string(i));
}

}  // namespace
}  // namespace danaus
