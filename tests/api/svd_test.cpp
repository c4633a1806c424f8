// Batched singular value decompositions, held against Eigen's in double.
#include "reference/matrix.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"
#include "svd_oracle.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;
constexpr auto invalid = ErrorKind::invalid_argument;

// Rounding of f32 in rotations, in parts of the largest singular value; measured at most a third of it.
constexpr double close = 6e-6;

std::vector<float> part(const std::vector<float>& all, std::size_t batch, std::size_t size) {
    return {all.begin() + static_cast<std::ptrdiff_t>(batch * size),
            all.begin() + static_cast<std::ptrdiff_t>((batch + 1) * size)};
}

void expect_svd(Stream& stream, const Svd& out, std::span<const float> a, const Shape& shape,
                double bound = close) {
    const std::size_t rows = shape[shape.rank() - 2], cols = shape[shape.rank() - 1],
                      rho = std::min(rows, cols);
    const auto u = download(stream, out.u), sigma = download(stream, out.sigma), v = download(stream, out.v);
    const std::vector<float> values(a.begin(), a.end());
    for (std::size_t b = 0; b < values.size() / (rows * cols); ++b) {
        const auto exact = reference::to_double(part(values, b, rows * cols));
        const test::SvdErrors errors = test::svd_errors(exact, rows, cols, part(u, b, rows * rho),
                                                        part(sigma, b, rho), part(v, b, cols * rho));
        EXPECT_LE(errors.values, bound) << to_string(shape) << " matrix " << b;
        EXPECT_LE(errors.product, 2 * bound * std::sqrt(static_cast<double>(rho)))
            << to_string(shape) << " " << b;
        EXPECT_LE(errors.long_side, 3 * bound) << to_string(shape) << " matrix " << b;
        EXPECT_LE(errors.short_side, 3 * bound) << to_string(shape) << " matrix " << b;
        EXPECT_TRUE(errors.descending) << to_string(shape) << " matrix " << b;
    }
}

void expect_svd_of(Stream& stream, const std::vector<float>& a, const Shape& shape,
                   const SvdOptions& options = {}) {
    expect_svd(stream, svd(stream, upload(stream, a, shape), options), a, shape);
}

TEST(Svd, AgreesWithTheOracle) {
    Stream stream(test::device());
    for (const Shape& shape :
         {Shape{1, 1}, Shape{1, 7}, Shape{9, 1}, Shape{2, 2}, Shape{5, 3}, Shape{3, 8}, Shape{16, 16},
          Shape{33, 20}, Shape{21, 64}, Shape{11, 12, 10}, Shape{2, 5, 4, 6}})
        expect_svd_of(stream, test::random_values(shape.elements(), 3), shape);
}

TEST(Svd, PanelsOfLongerMatrices) {
    Stream stream(test::device());
    for (const Shape& shape :
         {Shape{3, 65, 3}, Shape{1, 100}, Shape{2, 9, 130}, Shape{70, 33}, Shape{66, 66}, Shape{2, 70, 150}})
        expect_svd_of(stream, test::random_values(shape.elements(), 5), shape);
}

TEST(Svd, TypesAndStrides) {
    Stream stream(test::device());
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16})
        for (const Layout& layout :
             {Layout{}, Layout{.feature_major = true, .gap = 3, .batch_gap = 5, .skew = 1},
              Layout{.gap = 2, .skew = 3}})
            for (const Shape& shape : {Shape{3, 6, 9}, Shape{2, 80, 5}}) {
                const auto values = test::random_values(shape.elements(), 8, type);
                const Placed a(stream, type, shape, layout, values);
                const std::size_t rho = std::min(shape[1], shape[2]);
                const Placed u(stream, DataType::f32, {shape[0], shape[1], rho}, layout);
                const Placed v(stream, DataType::f32, {shape[0], shape[2], rho}, Layout{.gap = 1});
                const Placed sigma(stream, DataType::f32, {shape[0], rho}, Layout{.gap = 4, .skew = 2});
                svd_into(stream, {u, sigma, v}, a);
                expect_svd(stream, {u, sigma, v}, values, shape);
                EXPECT_EQ(u.read(stream).damage + v.read(stream).damage + sigma.read(stream).damage, "");
            }
}

TEST(Svd, RandomShapes) {
    Stream stream(test::device());
    test::property(12, [&] {
        const Shape shape{draw(1, 5), draw(1, 90), draw(1, 40)};
        const bool turned = draw(0, 1) == 1;
        const Shape used = turned ? Shape{shape[0], shape[2], shape[1]} : shape;
        expect_svd_of(stream, test::random_values(used.elements(), static_cast<unsigned>(draw(0, 999))),
                      used);
        RC_ASSERT(!::testing::Test::HasFailure());
    });
}

// Matrices with what is awkward: no rank, half of it, equal singular values, and lengths from 1 to 1e-6.
std::vector<float> awkward(std::size_t rows, std::size_t cols) {
    std::vector<float> a(5 * rows * cols);
    const auto left = test::random_values(rows * 3, 1), right = test::random_values(cols * 3, 2);
    for (std::size_t i = 0; i < rows; ++i)
        for (std::size_t j = 0; j < cols; ++j) {
            const std::size_t at = i * cols + j, size = rows * cols;
            for (std::size_t t = 0; t < 3; ++t) a[size + at] += left[i * 3 + t] * right[j * 3 + t];
            a[2 * size + at] = i == j ? -2.0f : 0.0f;
            a[3 * size + at] = 1.0f;
            a[4 * size + at] = left[i * 3] * right[j * 3] *
                               std::pow(10.0f, -6.0f * static_cast<float>(j) / static_cast<float>(cols));
        }
    return a;
}

TEST(Svd, AwkwardMatrices) {
    Stream stream(test::device());
    for (const Shape& shape :
         {Shape{5, 12, 12}, Shape{5, 20, 7}, Shape{5, 7, 20}, Shape{5, 90, 70}, Shape{5, 10, 72}})
        expect_svd_of(stream, awkward(shape[1], shape[2]), shape);
}

// What is below 2^-20 of the longest vector is not waited for: more sweeps find nothing left to do.
TEST(Svd, PanelsSettle) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{5, 90, 70}, Shape{5, 10, 72}}) {
        const Tensor a = upload(stream, awkward(shape[1], shape[2]), shape);
        const Svd some = svd(stream, a, {.sweeps = 12}), more = svd(stream, a, {.sweeps = 40});
        EXPECT_EQ(download(stream, some.u), download(stream, more.u)) << to_string(shape);
        EXPECT_EQ(download(stream, some.v), download(stream, more.v)) << to_string(shape);
        EXPECT_EQ(download(stream, some.sigma), download(stream, more.sigma)) << to_string(shape);
    }
}

// GPUs keep fewer rows in registers, and take panels of fewer vectors.
TEST(Svd, AsOnGpus) {
    Stream stream(test::capped_device([](Capabilities& caps) { caps.type = DeviceType::discrete; }));
    for (const Shape& shape :
         {Shape{3, 8, 6}, Shape{2, 16, 16}, Shape{2, 17, 9}, Shape{5, 40}, Shape{2, 70, 33}}) {
        expect_svd_of(stream, test::random_values(shape.elements(), 7), shape);
        if (stream.device().capabilities().shader_float64)
            expect_svd_of(stream, test::random_values(shape.elements(), 7), shape,
                          {.arithmetic = Arithmetic::f64});
    }
}

TEST(Svd, ScalesFarFromOne) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{2, 12, 9}, Shape{2, 66, 20}})
        for (const float scale : {1e-20f, 1e20f, 1e-30f, 1e36f}) {
            auto a = test::random_values(shape.elements(), 4);
            for (float& x : a) x *= scale;
            expect_svd_of(stream, a, shape);
        }
}

TEST(Svd, NotFiniteMatricesSpoilThemselvesAlone) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{3, 6, 4}, Shape{3, 5, 70}}) {
        const std::size_t size = shape[1] * shape[2], rho = std::min(shape[1], shape[2]);
        auto a = test::random_values(shape.elements(), 6);
        a[3] = std::numeric_limits<float>::quiet_NaN();
        a[2 * size + size - 1] = -std::numeric_limits<float>::infinity();
        const Svd out = svd(stream, upload(stream, a, shape));
        for (const Tensor& tensor : {out.u, out.sigma, out.v}) {
            const auto values = download(stream, tensor);
            for (std::size_t i = 0; i < values.size(); ++i)
                EXPECT_EQ(std::isnan(values[i]), i / (values.size() / 3) != 1) << i;
        }
        const Svd middle{out.u.slice(0, 1, 2), out.sigma.slice(0, 1, 2), out.v.slice(0, 1, 2)};
        expect_svd(stream, middle, part(a, 1, size), {1, shape[1], shape[2]});
        EXPECT_EQ(download(stream, middle.sigma).size(), rho);
    }
}

TEST(Svd, EmptyOnes) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{0, 4}, Shape{4, 0}, Shape{0, 3, 3}, Shape{2, 0, 3, 5}}) {
        const Svd out = svd(stream, Tensor(test::device(), DataType::f16, shape));
        EXPECT_EQ(out.sigma.elements(), 0u);
        EXPECT_EQ(out.u.size(out.u.rank() - 1), std::min(shape[shape.rank() - 2], shape[shape.rank() - 1]));
    }
}

TEST(Svd, RunsAreEqual) {
    Stream stream(test::device());
    for (const Shape& shape : {Shape{9, 12, 10}, Shape{2, 100, 70}}) {
        const Tensor a = upload(stream, test::random_values(shape.elements(), 9), shape);
        const Svd one = svd(stream, a), two = svd(stream, a);
        EXPECT_EQ(download(stream, one.u), download(stream, two.u));
        EXPECT_EQ(download(stream, one.v), download(stream, two.v));
        EXPECT_EQ(download(stream, one.sigma), download(stream, two.sigma));
    }
}

TEST(Svd, DoublePrecision) {
    if (!test::device().capabilities().shader_float64) GTEST_SKIP() << "the device has no f64";
    Stream stream(test::device());
    for (const Shape& shape : {Shape{3, 20, 15}, Shape{5, 70}, Shape{68, 66}}) {
        const auto a = test::random_values(shape.elements(), 11);
        const Svd out = svd(stream, upload(stream, a, shape), {.arithmetic = Arithmetic::f64});
        expect_svd(stream, out, a, shape, 5e-7);  // rounding of the results to f32
    }
}

TEST(Svd, FewSweepsEndEarly) {
    Stream stream(test::device());
    const Shape shape{2, 10, 10};
    const auto a = test::random_values(shape.elements(), 2);
    const auto sigma = download(stream, svd(stream, upload(stream, a, shape), {.sweeps = 1}).sigma);
    const auto expected = test::singular_values(reference::to_double(part(a, 0, 100)), 10, 10);
    EXPECT_NEAR(static_cast<double>(sigma[0]), expected[0], 0.3 * expected[0]);
    EXPECT_GT(std::abs(static_cast<double>(sigma[9]) - expected[9]), close);
}

TEST(Svd, BatchesAreSplitByLimits) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = 1 << 16;
        caps.max_workgroup_count = {100, 100, 100};
    });
    Stream stream(small);
    const Shape shape{3, 70, 8, 6};
    expect_svd_of(stream, test::random_values(shape.elements(), 1), shape);
    if (small.access() == Access::address) return;  // reaches all of it
    expect_error(ErrorKind::unsupported, {"a:", "(200, 200)", "reaches"}, [&] {
        (void)svd(stream, Tensor(small, DataType::f32, {200, 200}));
    });
}

TEST(Svd, WrongArguments) {
    Stream stream(test::device());
    const Tensor a(test::device(), DataType::f32, {4, 3});
    const auto out = [&](const Shape& u, const Shape& sigma, const Shape& v) {
        return Svd{Tensor(test::device(), DataType::f32, u), Tensor(test::device(), DataType::f32, sigma),
                   Tensor(test::device(), DataType::f32, v)};
    };
    expect_error(invalid, {"a", "null"}, [&] { (void)svd(stream, {}); });
    expect_error(invalid, {"a", "(5)", "ranks 2 to 4"},
                 [&] { (void)svd(stream, Tensor(test::device(), DataType::f32, {5})); });
    expect_error(invalid, {"a", "i32"}, [&] {
        (void)svd(stream, Tensor(test::device(), DataType::i32, {4, 3}));
    });
    expect_error(invalid, {"sweeps"}, [&] { (void)svd(stream, a, {.sweeps = 0}); });
    expect_error(invalid, {"tolerance"}, [&] { (void)svd(stream, a, {.tolerance = -1.0f}); });
    expect_error(invalid, {"out.u", "(4, 4)", "(4, 3)"}, [&] {
        svd_into(stream, out({4, 4}, {3}, {3, 3}), a);
    });
    expect_error(invalid, {"out.sigma", "(4)", "(3)"}, [&] {
        svd_into(stream, out({4, 3}, {4}, {3, 3}), a);
    });
    expect_error(invalid, {"out.v"}, [&] { svd_into(stream, out({4, 3}, {3}, {4, 3}), a); });
    const Svd good = out({4, 3}, {3}, {3, 3});
    expect_error(invalid, {"out.u", "a"}, [&] { svd_into(stream, {a, good.sigma, good.v}, a); });
    const Device without = test::capped_device([](Capabilities& caps) { caps.shader_float64 = false; });
    Stream other(without);
    expect_error(ErrorKind::unsupported, {"f64", "shaderFloat64"}, [&] {
        (void)svd(other, Tensor(without, DataType::f32, {4, 3}), {.arithmetic = Arithmetic::f64});
    });
}

}  // namespace
}  // namespace danaus
