// Singular value decompositions of complex64, held against Eigen's in double.
#include "support/complex.hpp"
#include "support/device.hpp"
#include "svd_oracle.hpp"

#include <danaus/danaus.hpp>

#include <cmath>
#include <limits>
#include <numbers>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Complex;
using test::complex_values;
using test::ComplexValues;
using test::draw;
using test::expect_error;
using test::Layout;
using test::PlacedComplex;
constexpr auto complex64 = DataType::complex64;
constexpr auto invalid = ErrorKind::invalid_argument;

// Rounding of f32 in rotations, in parts of the largest singular value.
constexpr double close = 6e-6;

void expect_svd(Stream& stream, const Svd& out, const ComplexValues& a, const Shape& shape,
                double bound = close) {
    const std::size_t rows = shape[shape.rank() - 2], cols = shape[shape.rank() - 1],
                      rho = std::min(rows, cols);
    EXPECT_EQ(out.sigma.type(), DataType::f32);
    const auto u = download_complex(stream, out.u), v = download_complex(stream, out.v);
    const auto sigma = download(stream, out.sigma);
    for (std::size_t b = 0; b < a.size() / (rows * cols); ++b) {
        const std::vector<Complex> exact(a.begin() + static_cast<std::ptrdiff_t>(b * rows * cols),
                                         a.begin() + static_cast<std::ptrdiff_t>((b + 1) * rows * cols));
        const test::SvdErrors errors = test::svd_errors(
            exact, rows, cols, std::span(u).subspan(b * rows * rho, rows * rho),
            std::span(sigma).subspan(b * rho, rho), std::span(v).subspan(b * cols * rho, cols * rho));
        EXPECT_LE(errors.values, bound) << to_string(shape) << " matrix " << b;
        EXPECT_LE(errors.product, 2 * bound * std::sqrt(static_cast<double>(rho)))
            << to_string(shape) << " matrix " << b;
        EXPECT_LE(errors.long_side, 3 * bound) << to_string(shape) << " matrix " << b;
        EXPECT_LE(errors.short_side, 3 * bound) << to_string(shape) << " matrix " << b;
        EXPECT_TRUE(errors.descending) << to_string(shape) << " matrix " << b;
    }
}

void expect_svd_of(Stream& stream, const ComplexValues& a, const Shape& shape, const SvdOptions& options = {},
                   double bound = close) {
    expect_svd(stream, svd(stream, upload(stream, a, shape), options), a, shape, bound);
}

TEST(ComplexSvd, AgreesWithTheOracle) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{1, 1}, Shape{1, 7}, Shape{9, 1}, Shape{2, 2}, Shape{5, 3}, Shape{3, 8},
                               Shape{16, 16}, Shape{21, 32}, Shape{11, 12, 10}, Shape{2, 5, 4, 6}})
        expect_svd_of(stream, complex_values(shape.elements(), 3), shape);
}

TEST(ComplexSvd, PanelsOfLongerMatrices) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{3, 33, 3}, Shape{1, 50}, Shape{2, 9, 70}, Shape{40, 17}, Shape{34, 34},
                               Shape{2, 36, 75}, Shape{70, 66}})
        expect_svd_of(stream, complex_values(shape.elements(), 5), shape);
}

TEST(ComplexSvd, Strides) {
    Stream stream(test::device());
    for (const Layout& layout : {Layout{}, Layout{.feature_major = true, .gap = 3, .batch_gap = 5, .skew = 1},
                                 Layout{.gap = 2, .skew = 3}})
        for (const Shape& shape : {Shape{3, 6, 9}, Shape{3, 9, 6}, Shape{2, 40, 5}, Shape{2, 5, 40}}) {
            const auto values = complex_values(shape.elements(), 8);
            const PlacedComplex a(stream, shape, layout, values);
            const std::size_t rho = std::min(shape[1], shape[2]);
            const PlacedComplex u(stream, {shape[0], shape[1], rho}, layout);
            const PlacedComplex v(stream, {shape[0], shape[2], rho}, Layout{.gap = 1});
            const test::Placed sigma(stream, DataType::f32, {shape[0], rho}, Layout{.gap = 4, .skew = 2});
            svd_into(stream, {u, sigma, v}, a);
            expect_svd(stream, {u, sigma, v}, values, shape);
            EXPECT_EQ(u.read(stream).damage + v.read(stream).damage + sigma.read(stream).damage, "");
        }
}

TEST(ComplexSvd, RandomShapes) {
    Stream stream(test::device());
    test::property(10, [&] {
        const std::uint64_t longer = draw(1, 60), shorter = draw(1, 30);
        const bool turned = draw(0, 1) == 1;
        const Shape shape{draw(1, 5), turned ? shorter : longer, turned ? longer : shorter};
        expect_svd_of(stream, complex_values(shape.elements(), static_cast<unsigned>(draw(0, 999))), shape);
        RC_ASSERT(!::testing::Test::HasFailure());
    });
}

// No rank, half of it, all singular values equal (a part of a Fourier matrix: rows or columns of a unitary
// one), pairs of equal ones, one that is real, and lengths from 1 to 1e-6.
ComplexValues awkward(std::size_t rows, std::size_t cols) {
    const std::size_t size = rows * cols, n = std::max(rows, cols);
    ComplexValues a(6 * size);
    const auto left = complex_values(rows * 3, 1), right = complex_values(cols * 3, 2);
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < cols; ++j) {
            const std::size_t at = i * cols + j;
            for (std::size_t t = 0; t < 3; ++t) a[size + at] += left[i * 3 + t] * right[j * 3 + t];
            const double angle =
                -2.0 * std::numbers::pi * static_cast<double>(i * j % n) / static_cast<double>(n);
            a[2 * size + at] = std::polar(1.0f, static_cast<float>(angle));
            a[3 * size + at] = i == j ? std::complex<float>(0.0f, i % 2 == 0 ? 3.0f : -1.0f) : 0.0f;
            a[4 * size + at] = left[i * 3].real() + right[j * 3].real();
            a[5 * size + at] = left[i * 3] * right[j * 3] *
                               std::pow(10.0f, -6.0f * static_cast<float>(j) / static_cast<float>(cols));
        }
    return a;
}

TEST(ComplexSvd, AwkwardMatrices) {
    Stream stream(test::device());
    for (const Shape& shape :
         {Shape{6, 12, 12}, Shape{6, 20, 7}, Shape{6, 7, 20}, Shape{6, 50, 40}, Shape{6, 10, 40}})
        expect_svd_of(stream, awkward(shape[1], shape[2]), shape);
}

// What is below 2^-20 of the longest vector is not waited for: more sweeps find nothing left to do.
TEST(ComplexSvd, PanelsSettle) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{6, 50, 40}, Shape{6, 10, 40}}) {
        const Tensor a = upload(stream, awkward(shape[1], shape[2]), shape);
        const Svd some = svd(stream, a, {.sweeps = 12}), more = svd(stream, a, {.sweeps = 40});
        EXPECT_EQ(download_complex(stream, some.u), download_complex(stream, more.u)) << to_string(shape);
        EXPECT_EQ(download_complex(stream, some.v), download_complex(stream, more.v)) << to_string(shape);
        EXPECT_EQ(download(stream, some.sigma), download(stream, more.sigma)) << to_string(shape);
    }
}

// GPUs keep fewer rows in registers, and take panels of fewer vectors.
TEST(ComplexSvd, AsOnGpus) {
    Stream stream(test::capped_device([](Capabilities& caps) { caps.type = DeviceType::discrete; }));
    for (const Shape& shape : {Shape{3, 8, 6}, Shape{2, 9, 9}, Shape{5, 20}, Shape{2, 33, 17}}) {
        expect_svd_of(stream, complex_values(shape.elements(), 7), shape);
        if (stream.device().capabilities().shader_float64)
            expect_svd_of(stream, complex_values(shape.elements(), 7), shape,
                          {.arithmetic = Arithmetic::f64});
    }
}

TEST(ComplexSvd, ScalesFarFromOne) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{2, 12, 9}, Shape{2, 36, 20}})
        for (const float scale : {1e-30f, 1e36f}) {
            auto a = complex_values(shape.elements(), 4);
            for (auto& x : a) x *= scale;
            expect_svd_of(stream, a, shape);
        }
}

TEST(ComplexSvd, NotFiniteMatricesSpoilThemselvesAlone) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{3, 6, 4}, Shape{3, 5, 40}}) {
        const std::size_t size = shape[1] * shape[2];
        auto a = complex_values(shape.elements(), 6);
        a[3].imag(std::numeric_limits<float>::quiet_NaN());
        a[2 * size + size - 1].real(-std::numeric_limits<float>::infinity());
        const Svd out = svd(stream, upload(stream, a, shape));
        for (const Tensor& tensor : {real(out.u), imag(out.u), out.sigma, real(out.v), imag(out.v)}) {
            const auto values = download(stream, tensor);
            for (std::size_t i = 0; i < values.size(); ++i)
                EXPECT_EQ(std::isnan(values[i]), i / (values.size() / 3) != 1) << i;
        }
        const ComplexValues middle(a.begin() + static_cast<std::ptrdiff_t>(size),
                                   a.begin() + static_cast<std::ptrdiff_t>(2 * size));
        expect_svd(stream, {out.u.slice(0, 1, 2), out.sigma.slice(0, 1, 2), out.v.slice(0, 1, 2)}, middle,
                   {1, shape[1], shape[2]});
    }
}

TEST(ComplexSvd, EmptyOnes) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{0, 4}, Shape{4, 0}, Shape{0, 3, 3}, Shape{2, 0, 3, 5}}) {
        const Svd out = svd(stream, Tensor(test::device(), complex64, shape));
        EXPECT_EQ(out.sigma.elements(), 0u);
        EXPECT_EQ(out.u.type(), complex64);
        EXPECT_EQ(out.v.size(out.v.rank() - 1), std::min(shape[shape.rank() - 2], shape[shape.rank() - 1]));
    }
}

TEST(ComplexSvd, DoublePrecision) {
    if (!test::device().capabilities().shader_float64) GTEST_SKIP() << "the device has no f64";
    Stream stream(test::device());
    for (const Shape& shape : {Shape{3, 20, 15}, Shape{5, 40}, Shape{36, 34}})
        expect_svd_of(stream, complex_values(shape.elements(), 11), shape, {.arithmetic = Arithmetic::f64},
                      5e-7);  // rounding of the results to f32
}

TEST(ComplexSvd, BatchesAreSplitByLimits) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = 1 << 16;
        caps.max_workgroup_count = {100, 100, 100};
    });
    Stream stream(small);
    const Shape shape{3, 70, 8, 6};
    expect_svd_of(stream, complex_values(shape.elements(), 1), shape);
}

TEST(ComplexSvd, WrongArguments) {
    Stream stream(test::device());
    const Tensor a(test::device(), complex64, {4, 3});
    const auto tensor = [](DataType type, const Shape& shape) { return Tensor(test::device(), type, shape); };
    const Svd good{tensor(complex64, {4, 3}), tensor(DataType::f32, {3}), tensor(complex64, {3, 3})};
    expect_error(invalid, {"out.u", "f32", "complex64"}, [&] {
        svd_into(stream, {tensor(DataType::f32, {4, 3}), good.sigma, good.v}, a);
    });
    expect_error(invalid, {"out.sigma", "complex64", "f32"}, [&] {
        svd_into(stream, {good.u, tensor(complex64, {3}), good.v}, a);
    });
    expect_error(invalid, {"out.v", "complex64", "f32"}, [&] {
        svd_into(stream, {tensor(DataType::f32, {4, 3}), good.sigma, good.v}, tensor(DataType::f32, {4, 3}));
    });
}

}  // namespace
}  // namespace danaus
