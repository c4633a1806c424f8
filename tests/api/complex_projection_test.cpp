// Projections of complex64 matrices: the blocks' optimum by Eigen in double, exact Monarch matrices and
// Fourier transforms recovered.
#include "reference/monarch.hpp"
#include "support/complex.hpp"
#include "support/device.hpp"
#include "svd_oracle.hpp"

#include <danaus/danaus.hpp>

#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Complex;
using reference::ComplexTensor3;
using test::complex_values;
using test::ComplexValues;
using test::draw;
using test::expect_error;
using test::Layout;
using test::PlacedComplex;
constexpr auto complex64 = DataType::complex64;
constexpr auto invalid = ErrorKind::invalid_argument;

struct Case {
    std::size_t k = 1, q = 1, p = 1, l = 1, s = 1;
    OutputOrder order = OutputOrder::interleaved;
    [[nodiscard]] std::size_t in() const { return k * p; }
    [[nodiscard]] std::size_t out() const { return l * s; }
    [[nodiscard]] MonarchShape shape() const { return {k, l, q}; }
    [[nodiscard]] std::size_t row(std::size_t L, std::size_t S) const {
        return order == OutputOrder::blocked ? L * s + S : S * l + L;
    }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << "k " << c.k << " q " << c.q << " p " << c.p << " l " << c.l << " s " << c.s
               << (c.order == OutputOrder::blocked ? " blocked" : "");
}

// M of factors: feature f = K·q + Q of w1 is column f / l of w2[f mod l] (monarch.hpp). No conjugates.
template <typename T>
std::vector<Complex> dense_of(const Case& c, const std::vector<T>& w1, const std::vector<T>& w2) {
    const std::size_t r = c.k * c.q / c.l;
    std::vector<Complex> dense(c.out() * c.in());
    for (std::size_t f = 0; f < c.k * c.q; ++f)
        for (std::size_t S = 0; S < c.s; ++S) {
            const Complex left(w2[(f % c.l * c.s + S) * r + f / c.l]);
            for (std::size_t i = 0; i < c.p; ++i)
                dense[c.row(f % c.l, S) * c.in() + f / c.q * c.p + i] += left * Complex(w1[f * c.p + i]);
        }
    return dense;
}

double norm(std::span<const Complex> values) {
    double sum = 0.0;
    for (const Complex& x : values) sum += std::norm(x);
    return std::sqrt(sum);
}
std::vector<Complex> difference(std::vector<Complex> a, std::span<const Complex> b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] -= b[i];
    return a;
}

ComplexValues narrow(std::span<const Complex> values) {
    return {values.begin(), values.end()};
}

// The least ‖A − M‖_F of every block, by the number of its terms.
std::vector<double> least_errors(const Case& c, std::span<const Complex> a) {
    std::vector<double> errors;
    for (std::size_t K = 0; K < c.k; ++K)
        for (std::size_t L = 0; L < c.l; ++L) {
            std::size_t terms = 0;
            for (std::size_t Q = 0; Q < c.q; ++Q) terms += (K * c.q + Q) % c.l == L ? 1 : 0;
            std::vector<Complex> block;
            for (std::size_t S = 0; S < c.s; ++S)
                for (std::size_t i = 0; i < c.p; ++i) block.push_back(a[c.row(L, S) * c.in() + K * c.p + i]);
            const auto sigma = test::singular_values(block, c.s, c.p);
            double sum = 0.0;
            for (std::size_t t = terms; t < sigma.size(); ++t) sum += sigma[t] * sigma[t];
            errors.push_back(std::sqrt(sum));
        }
    return errors;
}

void expect_nearest(Stream& stream, const Case& c, const Projection& result, const ComplexValues& values) {
    const std::vector<Complex> a(values.begin(), values.end());
    const double whole = norm(a);
    const auto least = least_errors(c, a);
    const auto errors = reference::to_double(download(stream, result.error));
    double sum = 0.0;
    for (std::size_t i = 0; i < least.size(); ++i) {
        EXPECT_NEAR(errors[i], least[i], 2e-6 * whole) << c << " block " << i;
        sum += least[i] * least[i];
    }
    const double optimum = std::sqrt(sum);
    const auto m =
        dense_of(c, download_complex(stream, result.matrix.w1), download_complex(stream, result.matrix.w2));
    const double reached = norm(difference(m, a));
    EXPECT_LE(reached, 1.00001 * optimum + 3e-6 * whole) << c;
    EXPECT_GE(reached, 0.99999 * optimum - 3e-6 * whole) << c;
}

Projection project_of(Stream& stream, const Case& c, const ComplexValues& a, const SvdOptions& svd = {}) {
    ProjectionOptions options;
    options.order = c.order;
    options.svd = svd;
    const Projection result =
        test::project_any(stream, upload(stream, a, {c.out(), c.in()}), c.shape(), options);
    EXPECT_EQ(result.matrix.order, c.order);
    return result;
}

void expect_nearest(Stream& stream, const Case& c, unsigned seed, const SvdOptions& options = {}) {
    const ComplexValues a = complex_values(c.out() * c.in(), seed);
    expect_nearest(stream, c, project_of(stream, c, a, options), a);
}

TEST(ComplexProjection, IsTheNearest) {
    Stream stream(test::device());
    unsigned seed = 0;
    for (const Case& c : {Case{4, 4, 4, 4, 4}, Case{2, 6, 5, 3, 7}, Case{3, 4, 8, 2, 9}, Case{1, 5, 9, 1, 12},
                          Case{7, 7, 1, 7, 1}, Case{3, 4, 5, 6, 3}, Case{2, 3, 10, 2, 4},
                          Case{2, 40, 5, 4, 6}, Case{3, 8, 40, 2, 5}, Case{1, 8, 3, 4, 36},
                          Case{2, 20, 36, 2, 40}, Case{2, 6, 5, 3, 7, OutputOrder::blocked}})
        expect_nearest(stream, c, ++seed);
}

TEST(ComplexProjection, RandomShapes) {
    Stream stream(test::device());
    test::property(10, [&] {
        Case c{draw(1, 5), 1, draw(1, 12), draw(1, 5), draw(1, 12)};
        c.q = c.l / std::gcd(c.k, c.l) * draw(1, 6);
        c.order = draw(0, 1) == 1 ? OutputOrder::blocked : OutputOrder::interleaved;
        expect_nearest(stream, c, static_cast<unsigned>(draw(0, 999)));
        RC_ASSERT(!::testing::Test::HasFailure());
    });
}

void expect_recovered(Stream& stream, const Case& c, const std::vector<Complex>& exact) {
    const Projection result = project_of(stream, c, narrow(exact));
    const auto m =
        dense_of(c, download_complex(stream, result.matrix.w1), download_complex(stream, result.matrix.w2));
    EXPECT_EQ(reference::first_mismatch(test::flat(m), test::flat(exact), 1e-4, 1e-4), "") << c;
    EXPECT_LE(norm(difference(m, exact)), 3e-6 * norm(exact)) << c;
    for (const float error : download(stream, result.error))
        EXPECT_LE(static_cast<double>(error), 2e-6 * norm(exact)) << c;
}

// The public cases n = 2^2, 2^4, 2^10 with √n blocks, and rectangular ones.
TEST(ComplexProjection, RecoversExactMonarchMatrices) {
    Stream stream(test::device());
    for (const Case& c :
         {Case{2, 2, 2, 2, 2}, Case{4, 4, 4, 4, 4}, Case{32, 32, 32, 32, 32}, Case{3, 8, 20, 4, 10},
          Case{2, 24, 40, 4, 30, OutputOrder::blocked}, Case{2, 6, 40, 3, 35}})
        expect_recovered(
            stream, c,
            dense_of(c, complex_values(c.k * c.q * c.p, 17), complex_values(c.out() * c.k * c.q / c.l, 18)));
}

// The public cases: A[f, b·i + a] = exp(−2πi·f·(a·j + b)/n), n = i·j, a Fourier matrix with its columns
// permuted, whose blocks (k = j, l = i) have rank one.
TEST(ComplexProjection, RecoversFourierTransforms) {
    Stream stream(test::device());
    for (const auto& [i, j] : {std::pair<std::size_t, std::size_t>{3, 5},
                               {6, 6},
                               {14, 14},
                               {3, 9},
                               {6, 8},
                               {6, 7},
                               {5, 17},
                               {12, 14},
                               {16, 32},
                               {84, 2},
                               {2, 84}}) {
        const std::size_t n = i * j;
        std::vector<Complex> a(n * n);
        for (std::size_t f = 0; f < n; ++f)
            for (std::size_t t = 0; t < n; ++t)
                a[f * n + t % j * i + t / j] = std::polar(
                    1.0, -2.0 * std::numbers::pi * static_cast<double>(f * t % n) / static_cast<double>(n));
        expect_recovered(stream, {j, i, i, i, j}, a);
    }
}

TEST(ComplexProjection, Strides) {
    Stream stream(test::device());
    for (const Case& c : {Case{3, 4, 5, 6, 3}, Case{2, 4, 40, 2, 7}})
        for (const Layout& layout : {Layout{}, Layout{.feature_major = true, .gap = 3, .skew = 1}}) {
            const auto values = complex_values(c.out() * c.in(), 5);
            const PlacedComplex dense(stream, {c.out(), c.in()}, layout, values);
            const PlacedComplex w1(stream, {c.k, c.q, c.p}, layout);
            const PlacedComplex w2(stream, {c.l, c.s, c.k * c.q / c.l}, Layout{.gap = 1, .skew = 3});
            const test::Placed error(stream, DataType::f32, {c.k, c.l}, Layout{.gap = 2});
            project_into(stream, Monarch(w1, w2), error, dense);
            expect_nearest(stream, c, {Monarch(w1, w2), error}, values);
            EXPECT_EQ(w1.read(stream).damage + w2.read(stream).damage + error.read(stream).damage, "");
        }
}

TEST(ComplexProjection, RanksBelowThoseKeptAndScales) {
    Stream stream(test::device());
    for (const Case& c : {Case{2, 20, 40, 2, 36}, Case{2, 20, 30, 2, 20}})
        for (const float scale : {0.0f, 1.0f, 1e-20f, 1e20f}) {
            const auto left = complex_values(c.out(), 1), right = complex_values(c.in(), 2);
            ComplexValues a(c.out() * c.in());
            for (std::size_t i = 0; i < a.size(); ++i) a[i] = scale * (left[i / c.in()] * right[i % c.in()]);
            expect_nearest(stream, c, project_of(stream, c, a), a);
        }
}

TEST(ComplexProjection, DoublePrecision) {
    if (!test::device().capabilities().shader_float64) GTEST_SKIP() << "the device has no f64";
    Stream stream(test::device());
    for (const Case& c : {Case{2, 6, 5, 3, 7}, Case{1, 6, 40, 2, 9}})
        expect_nearest(stream, c, 8, {.arithmetic = Arithmetic::f64});
}

TEST(ComplexProjection, NotFiniteBlocksSpoilThemselvesAlone) {
    Stream stream(test::device());
    const Case c{2, 2, 3, 2, 4};
    auto a = complex_values(c.out() * c.in(), 2);
    a[c.row(1, 2) * c.in() + 4].imag(std::numeric_limits<float>::infinity());  // of block (1, 1)
    const Projection result = project_of(stream, c, a);
    const auto error = download(stream, result.error);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(error[i]), i == 3) << i;
    for (const Tensor& part : {real(result.matrix.w1), imag(result.matrix.w1)}) {
        const auto w1 = download(stream, part);
        for (std::size_t i = 0; i < w1.size(); ++i) EXPECT_EQ(std::isnan(w1[i]), i / c.p == 3) << i;
    }
}

TEST(ComplexProjection, IsWhatTheMultiplyTakes) {
    Stream stream(test::device());
    const Case c{3, 4, 5, 2, 7};
    const auto exact = dense_of(c, complex_values(c.k * c.q * c.p, 3), complex_values(c.out() * 6, 4));
    const Tensor dense = upload(stream, narrow(exact), {c.out(), c.in()});
    const Tensor x = upload(stream, complex_values(3 * c.in(), 1), {3, c.in()});
    const Tensor y = matmul(stream, x, project(stream, dense, c.shape()).matrix);
    EXPECT_EQ(
        reference::first_mismatch(test::flat(download_complex(stream, y)),
                                  test::flat(download_complex(stream, matmul(stream, x, dense))), 1e-4, 1e-4),
        "");
}

TEST(ComplexProjection, TypesEmptyOnesAndErrors) {
    Stream stream(test::device());
    const Tensor dense(test::device(), complex64, {12, 20});
    const auto tensor = [](DataType type, const Shape& shape) { return Tensor(test::device(), type, shape); };
    ProjectionOptions options;
    options.type = complex64;
    EXPECT_EQ(project(stream, dense, {4, 6, 3}, options).matrix.w1.type(), complex64);
    options.type = DataType::f16;
    expect_error(invalid, {"options.type", "f16", "complex64"}, [&] {
        (void)project(stream, dense, {4, 6, 3}, options);
    });
    options.type = complex64;
    expect_error(invalid, {"options.type", "complex64", "f32, f16 or bf16"}, [&] {
        (void)project(stream, tensor(DataType::f32, {12, 20}), {4, 6, 3}, options);
    });
    const Monarch plain(tensor(DataType::f32, {4, 3, 5}), tensor(DataType::f32, {6, 2, 2}));
    expect_error(invalid, {"out.w1", "f32", "complex64"}, [&] { project_into(stream, plain, {}, dense); });
    const Monarch whole(tensor(complex64, {4, 3, 5}), tensor(complex64, {6, 2, 2}));
    expect_error(invalid, {"out.w1", "complex64"}, [&] {
        project_into(stream, whole, {}, tensor(DataType::f32, {12, 20}));
    });
    const Projection none = project(stream, tensor(complex64, {6, 0}), {2, 3, 3});
    EXPECT_EQ(download_complex(stream, none.matrix.w2), ComplexValues(12));
}

}  // namespace
}  // namespace danaus
