// Projections onto Monarch matrices: the blocks' optimum by Eigen in double, and exact Monarch matrices
// recovered.
#include "reference/float_types.hpp"
#include "reference/monarch.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"
#include "svd_oracle.hpp"

#include <cmath>
#include <limits>
#include <numeric>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using reference::Tensor3;
using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

struct Case {
    std::size_t k = 1, q = 1, p = 1, l = 1, s = 1;
    OutputOrder order = OutputOrder::interleaved;
    [[nodiscard]] std::size_t in() const { return k * p; }
    [[nodiscard]] std::size_t out() const { return l * s; }
    [[nodiscard]] MonarchShape shape() const { return {k, l, q}; }
    /// The row of the dense matrix that is row S of block L.
    [[nodiscard]] std::size_t row(std::size_t L, std::size_t S) const {
        return order == OutputOrder::blocked ? L * s + S : S * l + L;
    }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << "k " << c.k << " q " << c.q << " p " << c.p << " l " << c.l << " s " << c.s
               << (c.order == OutputOrder::blocked ? " blocked" : "");
}

// The least ‖A − M‖_F of every block (K, L): what its Q with K·q + Q = L modulo l, counted one by one, do not
// keep.
std::vector<double> least_errors(const Case& c, std::span<const double> a) {
    std::vector<double> errors;
    for (std::size_t K = 0; K < c.k; ++K)
        for (std::size_t L = 0; L < c.l; ++L) {
            std::size_t terms = 0;
            for (std::size_t Q = 0; Q < c.q; ++Q) terms += (K * c.q + Q) % c.l == L ? 1 : 0;
            std::vector<double> block;
            for (std::size_t S = 0; S < c.s; ++S)
                for (std::size_t i = 0; i < c.p; ++i) block.push_back(a[c.row(L, S) * c.in() + K * c.p + i]);
            const auto sigma = test::singular_values(block, c.s, c.p);
            double sum = 0.0;
            for (std::size_t t = terms; t < sigma.size(); ++t) sum += sigma[t] * sigma[t];
            errors.push_back(std::sqrt(sum));
        }
    return errors;
}

double norm(std::span<const double> values) {
    double sum = 0.0;
    for (const double x : values) sum += x * x;
    return std::sqrt(sum);
}

// M of downloaded factors, by the formulas of the multiply.
std::vector<double> dense_of(Stream& stream, const Case& c, const Monarch& m) {
    const reference::Monarch oracle(Tensor3(c.k, c.q, c.p, download(stream, m.w1)),
                                    Tensor3(c.l, c.s, c.k * c.q / c.l, download(stream, m.w2)));
    Matrix identity(c.in(), c.in());
    for (std::size_t i = 0; i < c.in(); ++i) identity(i, i) = 1.0;
    const Matrix y = reference::matmul(identity, oracle);
    std::vector<double> dense(c.out() * c.in());
    for (std::size_t L = 0; L < c.l; ++L)
        for (std::size_t S = 0; S < c.s; ++S)
            for (std::size_t i = 0; i < c.in(); ++i) dense[c.row(L, S) * c.in() + i] = y(i, S * c.l + L);
    return dense;
}

// `factors` is the relative rounding of what the factors are stored as.
void expect_nearest(Stream& stream, const Case& c, const Projection& result, std::span<const double> a,
                    double factors = 1e-6) {
    const double whole = norm(a);
    const auto least = least_errors(c, a);
    const auto errors = reference::to_double(download(stream, result.error));
    for (std::size_t i = 0; i < least.size(); ++i)
        EXPECT_NEAR(errors[i], least[i], 2e-6 * whole) << c << " block " << i;
    // The sum of the dropped squares: to 1e-5 of itself where it is not lost in rounding.
    EXPECT_NEAR(norm(errors), norm(least), 5e-6 * norm(least) + 2e-6 * whole) << c;
    auto difference = dense_of(stream, c, result.matrix);
    for (std::size_t i = 0; i < a.size(); ++i) difference[i] -= a[i];
    const double reached = norm(difference);
    EXPECT_LE(reached, 1.00001 * norm(least) + 3 * factors * whole) << c;
    EXPECT_GE(reached, 0.99999 * norm(least) - 3 * factors * whole) << c;
}

void expect_nearest(Stream& stream, const Case& c, const std::vector<float>& a,
                    const SvdOptions& options = {}) {
    ProjectionOptions how;
    how.order = c.order;
    how.svd = options;
    const Projection result = test::project_any(stream, upload(stream, a, {c.out(), c.in()}), c.shape(), how);
    EXPECT_EQ(result.matrix.order, c.order);
    expect_nearest(stream, c, result, reference::to_double(a));
}

std::vector<float> random_dense(const Case& c, unsigned seed, DataType type = DataType::f32) {
    return test::random_values(c.out() * c.in(), seed, type);
}

// Square, rectangular, k != l, ranks above 1, one block, blocks of one; l that does not divide q, with more
// inner features than rows, and with blocks that none are left for.
const Case cases[] = {{4, 4, 4, 4, 4},
                      {2, 6, 5, 3, 7},
                      {3, 4, 8, 2, 9},
                      {1, 5, 9, 1, 12},
                      {7, 7, 1, 7, 1},
                      {4, 3, 2, 6, 7},
                      {3, 4, 5, 6, 3},
                      {2, 3, 10, 2, 4},
                      {6, 2, 3, 4, 5},
                      {2, 40, 5, 4, 6},
                      {4, 1, 6, 4, 6},
                      {2, 16, 36, 4, 24},
                      {3, 8, 70, 2, 5},
                      {1, 8, 3, 4, 66},
                      {2, 70, 70, 2, 72},
                      {4, 4, 4, 4, 4, OutputOrder::blocked},
                      {3, 4, 5, 6, 3, OutputOrder::blocked}};

TEST(Projection, IsTheNearest) {
    Stream stream(test::device());
    unsigned seed = 0;
    for (const Case& c : cases) expect_nearest(stream, c, random_dense(c, ++seed));
}

TEST(Projection, RandomShapes) {
    Stream stream(test::device());
    test::property(15, [&] {
        Case c{draw(1, 5), 1, draw(1, 12), draw(1, 5), draw(1, 12)};
        c.q = c.l / std::gcd(c.k, c.l) * draw(1, 6);
        c.order = draw(0, 1) == 1 ? OutputOrder::blocked : OutputOrder::interleaved;
        expect_nearest(stream, c, random_dense(c, static_cast<unsigned>(draw(0, 999))));
        RC_ASSERT(!::testing::Test::HasFailure());
    });
}

std::vector<float> exact_monarch(Stream& stream, const Case& c, unsigned seed) {
    const Monarch m(
        upload(stream, test::random_values(c.k * c.q * c.p, seed), {c.k, c.q, c.p}),
        upload(stream, test::random_values(c.out() * c.k * c.q / c.l, seed + 1), {c.l, c.s, c.k * c.q / c.l}),
        c.order);
    return reference::to_float(dense_of(stream, c, m));
}

TEST(Projection, RecoversExactMonarchMatrices) {
    Stream stream(test::device());
    for (const Case& c :
         {Case{2, 2, 2, 2, 2}, Case{4, 4, 4, 4, 4}, Case{32, 32, 32, 32, 32}, Case{4, 3, 8, 6, 9},
          Case{3, 8, 20, 4, 10}, Case{2, 24, 40, 4, 30, OutputOrder::blocked}, Case{2, 6, 80, 3, 70}}) {
        const auto a = exact_monarch(stream, c, 17);
        ProjectionOptions options;
        options.order = c.order;
        const Projection result = project(stream, upload(stream, a, {c.out(), c.in()}), c.shape(), options);
        const auto again = dense_of(stream, c, result.matrix);
        const double whole = norm(reference::to_double(a));
        double worst = 0.0;
        for (std::size_t i = 0; i < a.size(); ++i)
            worst = std::max(worst, std::abs(again[i] - static_cast<double>(a[i])));
        EXPECT_LE(worst, 1e-6 * whole) << c;
        EXPECT_EQ(reference::first_mismatch(reference::to_float(again), reference::to_double(a), 1e-4, 1e-4),
                  "")
            << c;
        EXPECT_LE(norm(reference::to_double(download(stream, result.error))), 2e-6 * whole) << c;
    }
}

// The public case n = 2^12: 64 blocks of 64, by the formula of one term a block.
TEST(Projection, RecoversAMonarchMatrixOf4096Features) {
    Stream stream(test::device());
    constexpr std::size_t b = 64, n = b * b;
    const auto product_of = [](const std::vector<float>& w1, const std::vector<float>& w2, std::size_t row,
                               std::size_t column) {
        const std::size_t S = row / b, L = row % b, K = column / b, i = column % b;
        return w2[(L * b + S) * b + K] * w1[(K * b + L) * b + i];
    };
    const auto w1 = test::random_values(b * n, 31), w2 = test::random_values(b * n, 32);
    std::vector<float> a(n * n);
    for (std::size_t i = 0; i < a.size(); ++i) a[i] = product_of(w1, w2, i / n, i % n);
    const Projection result = project(stream, upload(stream, a, {n, n}), {b, b, b});
    const auto again1 = download(stream, result.matrix.w1), again2 = download(stream, result.matrix.w2);
    float worst = 0.0f;
    for (std::size_t i = 0; i < a.size(); ++i) {
        const float error = std::abs(product_of(again1, again2, i / n, i % n) - a[i]);
        if (!(error <= worst)) worst = error;
    }
    EXPECT_LE(worst, 1e-5f);
}

TEST(Projection, TypesAndStrides) {
    Stream stream(test::device());
    const Case c{3, 4, 5, 6, 3}, wide{2, 4, 66, 2, 7};
    for (const Case& one : {c, wide})
        for (const DataType from : types)
            for (const DataType to : types)
                for (const Layout& layout : {Layout{}, Layout{.feature_major = true, .gap = 3, .skew = 1}}) {
                    const auto values = random_dense(one, 5, from);
                    const Placed dense(stream, from, {one.out(), one.in()}, layout, values);
                    const Placed w1(stream, to, {one.k, one.q, one.p}, layout);
                    const Placed w2(stream, to, {one.l, one.s, one.k * one.q / one.l},
                                    Layout{.gap = 1, .skew = 3});
                    const Placed error(stream, DataType::f32, {one.k, one.l}, Layout{.gap = 2});
                    project_into(stream, Monarch(w1, w2), error, dense);
                    const double rounding = to == DataType::f32 ? 1e-6 : to == DataType::f16 ? 1e-3 : 8e-3;
                    // Rounded factors are at another place: the distance is what rounding can add.
                    expect_nearest(stream, one, {Monarch(w1, w2), error}, reference::to_double(values),
                                   rounding);
                    EXPECT_EQ(w1.read(stream).damage + w2.read(stream).damage + error.read(stream).damage,
                              "");
                }
}

TEST(Projection, TiesZerosAndScales) {
    Stream stream(test::device());
    for (const Case& c : {Case{3, 6, 8, 3, 8}, Case{2, 6, 70, 2, 8}}) {
        std::vector<float> a(c.out() * c.in());
        expect_nearest(stream, c, a);
        for (std::size_t i = 0; i < a.size(); ++i) a[i] = i / c.in() == i % c.in() ? 3.0f : 0.0f;
        expect_nearest(stream, c, a);
        std::fill(a.begin(), a.end(), -1.0f);
        expect_nearest(stream, c, a);
        for (const float scale : {1e-20f, 1e20f}) {
            a = random_dense(c, 4);
            for (float& x : a) x *= scale;
            expect_nearest(stream, c, a);
        }
    }
}

// σ itself leaves f32, or is among its subnormal numbers, where √σ is an ordinary number; and what is too
// small to be a term is in the error.
TEST(Projection, SingularValuesOutOfRange) {
    Stream stream(test::device());
    const auto product = [&](const std::vector<float>& a, std::uint64_t n, std::uint64_t q) {
        const Projection found = project(stream, upload(stream, a, {n, n}), {1, 1, q});
        const std::vector<float> w1 = download(stream, found.matrix.w1),
                                 w2 = download(stream, found.matrix.w2);
        std::vector<double> m(n * n);
        for (std::size_t r = 0; r < n; ++r)
            for (std::size_t c = 0; c < n; ++c)
                for (std::size_t t = 0; t < q; ++t)
                    m[r * n + c] += static_cast<double>(w2[r * q + t]) * static_cast<double>(w1[t * n + c]);
        return std::pair{m, download(stream, found.error)[0]};
    };
    const std::vector<float> large(64, 1e38f);
    for (const double value : product(large, 8, 1).first) EXPECT_NEAR(value, 1e38, 1e33);
    const std::vector<float> small{1e-34f, 1e-34f, 1e-34f, 1.0001e-34f};
    const auto tiny = product(small, 2, 2).first;
    for (std::size_t i = 0; i < 4; ++i) EXPECT_NEAR(tiny[i], static_cast<double>(small[i]), 1e-39);
    const auto [diagonal, error] = product({1.0f, 0.0f, 0.0f, 8e-7f}, 2, 2);
    EXPECT_NEAR(diagonal[0], 1.0, 1e-6);
    EXPECT_EQ(diagonal[3], 0.0);
    EXPECT_NEAR(static_cast<double>(error), 8e-7, 1e-12);
}

// All but one of the vectors kept are rounding, whose directions must not come into the product.
TEST(Projection, RanksBelowThoseKept) {
    Stream stream(test::device());
    for (const Case& c : {Case{2, 20, 70, 2, 66}, Case{2, 20, 30, 2, 20}}) {
        std::vector<float> a(c.out() * c.in());
        for (std::size_t i = 0; i < a.size(); ++i)
            a[i] = (static_cast<float>(i / c.in() * 7 % 5) - 2.0f) *
                   (static_cast<float>(i % c.in() * 3 % 5) - 2.0f);
        expect_nearest(stream, c, a);
    }
}

TEST(Projection, BalancesItsFactors) {
    // Both factors take the root of σ: equal norms of each term's row and column.
    Stream stream(test::device());
    const Case c{2, 4, 9, 2, 6};
    const Monarch m =
        project(stream, upload(stream, random_dense(c, 3), {c.out(), c.in()}), c.shape()).matrix;
    const auto w1 = download(stream, m.w1), w2 = download(stream, m.w2);
    for (std::size_t K = 0; K < c.k; ++K)
        for (std::size_t Q = 0; Q < c.q; ++Q) {
            const std::size_t f = K * c.q + Q, r = c.k * c.q / c.l;
            double one = 0.0, two = 0.0;
            for (std::size_t i = 0; i < c.p; ++i) one += std::pow(static_cast<double>(w1[f * c.p + i]), 2);
            for (std::size_t S = 0; S < c.s; ++S)
                two += std::pow(static_cast<double>(w2[(f % c.l * c.s + S) * r + f / c.l]), 2);
            EXPECT_NEAR(one / two, 1.0, 1e-5);
        }
}

TEST(Projection, DoublePrecision) {
    if (!test::device().capabilities().shader_float64) GTEST_SKIP() << "the device has no f64";
    Stream stream(test::device());
    for (const Case& c : {Case{2, 6, 5, 3, 7}, Case{1, 6, 70, 2, 9}})
        expect_nearest(stream, c, random_dense(c, 8), {.arithmetic = Arithmetic::f64});
}

TEST(Projection, NotFiniteBlocksSpoilThemselvesAlone) {
    Stream stream(test::device());
    const Case c{2, 2, 3, 2, 4};
    auto a = random_dense(c, 2);
    a[c.row(1, 2) * c.in() + 4] = std::numeric_limits<float>::infinity();  // of block (1, 1)
    const Projection result = project(stream, upload(stream, a, {c.out(), c.in()}), c.shape());
    const auto error = download(stream, result.error);
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(error[i]), i == 3) << i;
    const auto w1 = download(stream, result.matrix.w1);
    for (std::size_t i = 0; i < w1.size(); ++i)
        EXPECT_EQ(std::isnan(w1[i]), i / c.p == 3) << i;  // K = 1, Q = 1
}

TEST(Projection, EmptyMatrices) {
    Stream stream(test::device());
    const auto zeros = [&](const Tensor& t) {
        return download(stream, t) == std::vector<float>(t.elements(), 0.0f);
    };
    const Projection no_in = project(stream, Tensor(test::device(), DataType::f32, {6, 0}), {2, 3, 3});
    EXPECT_TRUE(zeros(no_in.matrix.w2) && zeros(no_in.error));
    EXPECT_EQ(no_in.matrix.w2.elements(), 12u);
    const Projection no_out = project(stream, Tensor(test::device(), DataType::bf16, {0, 4}), {2, 3, 3});
    EXPECT_TRUE(zeros(no_out.matrix.w1) && zeros(no_out.error));
}

TEST(Projection, LargeOnesAreSplit) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = 1 << 16;
        caps.max_workgroup_count = {64, 64, 64};
    });
    Stream stream(small);
    for (const Case& c : {Case{9, 6, 5, 9, 4}, Case{4, 3, 30, 6, 26}})
        expect_nearest(stream, c, random_dense(c, 6));
}

TEST(Projection, IsWhatTheMultiplyTakes) {
    Stream stream(test::device());
    const Case c{4, 4, 4, 4, 4};
    const auto a = exact_monarch(stream, c, 3);
    const Tensor dense = upload(stream, a, {c.out(), c.in()});
    const Tensor x = upload(stream, test::random_values(3 * c.in(), 1), {3, c.in()});
    const Tensor y = matmul(stream, x, project(stream, dense, c.shape()).matrix);
    const auto expected = reference::to_double(download(stream, matmul(stream, x, dense)));
    EXPECT_EQ(reference::first_mismatch(download(stream, y), expected, 1e-4, 1e-4), "");
}

TEST(Projection, WrongArguments) {
    Stream stream(test::device());
    const Tensor dense(test::device(), DataType::f32, {12, 20});
    const auto tensor = [](const Shape& shape) { return Tensor(test::device(), DataType::f32, shape); };
    expect_error(invalid, {"shape.k", "3", "in = 20", "1, 2, 4, 5, 10, 20"}, [&] {
        (void)project(stream, dense, {3, 2, 2});
    });
    expect_error(invalid, {"shape.l", "5", "out = 12", "1, 2, 3, 4, 6, 12"}, [&] {
        (void)project(stream, dense, {4, 5, 5});
    });
    expect_error(invalid, {"shape.q", "4", "l = 6", "multiples of 3"}, [&] {
        (void)project(stream, dense, {4, 6, 4});
    });
    // Blocks of 2 rows and 5 columns.
    expect_error(invalid, {"shape.q: 18", "ranks of 3", "(2, 5)", "at most 2", "17"}, [&] {
        (void)project(stream, dense, {4, 6, 18});
    });
    static_cast<void>(project(stream, dense, {4, 6, 15}));
    expect_error(invalid, {"shape.q", "4611686018427387904"}, [&] {
        (void)project(stream, dense, {4, 4, 1ull << 62});
    });
    const Monarch many(Tensor(test::device(), DataType::f32, {1, 70000, 2}),
                       Tensor(test::device(), DataType::f32, {1, 2, 70000}));
    expect_error(ErrorKind::unsupported, {"out.w1", "70000 terms"}, [&] {
        project_into(stream, many, {}, Tensor(test::device(), DataType::f32, {2, 2}));
    });
    expect_error(invalid, {"shape.q", "at least 1"}, [&] { (void)project(stream, dense, {4, 6, 0}); });
    expect_error(invalid, {"shape.k", "at least 1"}, [&] { (void)project(stream, dense, {0, 6, 3}); });
    expect_error(invalid, {"dense", "null"}, [&] { (void)project(stream, {}, {4, 6, 3}); });
    expect_error(invalid, {"dense", "(12)"}, [&] { (void)project(stream, dense.select(1, 0), {4, 6, 3}); });
    expect_error(invalid, {"dense", "u32"}, [&] {
        (void)project(stream, Tensor(test::device(), DataType::u32, {4, 4}), {2, 2, 2});
    });
    ProjectionOptions wrong;
    wrong.type = DataType::i32;
    expect_error(invalid, {"options.type", "i32"}, [&] { (void)project(stream, dense, {4, 6, 3}, wrong); });
    const Monarch other(tensor({4, 3, 5}), tensor({6, 3, 2}));
    expect_error(invalid, {"(18, 20)", "(12, 20)"}, [&] { project_into(stream, other, {}, dense); });
    const Monarch good(tensor({4, 3, 5}), tensor({6, 2, 2}));
    expect_error(invalid, {"error", "(6, 4)", "(4, 6)"}, [&] {
        project_into(stream, good, tensor({6, 4}), dense);
    });
    const Tensor inside = dense.as_strided({4, 3, 5}, {15, 5, 1});
    expect_error(invalid, {"out.w1", "dense"},
                 [&] { project_into(stream, Monarch(inside, good.w2), {}, dense); });
    project_into(stream, good, {}, upload(stream, std::vector<float>(240), {12, 20}));
    EXPECT_EQ(download(stream, good.w2), std::vector<float>(24, 0.0f));
}

}  // namespace
}  // namespace danaus
