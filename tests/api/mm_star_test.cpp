// The factorisation of MM* matrices: the product of what is found, never the factors, which are not unique.
#include "reference/kronecker.hpp"
#include "support/device.hpp"

#include <danaus/mm_star.hpp>

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::BasicMatrix;
using reference::BasicTensor3;
using reference::Complex;
using test::expect_error;
constexpr auto invalid = ErrorKind::invalid_argument;

template <typename T>
T normal(std::mt19937_64& engine) {
    std::normal_distribution<double> one;
    if constexpr (std::is_same_v<T, double>)
        return one(engine);
    else
        return {one(engine), one(engine)};
}

template <typename T>
std::vector<reference::BasicKroneckerFactor<T>> chain_of(std::size_t l, std::size_t s,
                                                         const std::vector<T>& left,
                                                         const std::vector<T>& middle,
                                                         const std::vector<T>& right) {
    return {{1, l, BasicTensor3<T>(l, s, s, right)},
            {s, 1, BasicTensor3<T>(s, l, l, middle)},
            {1, l, BasicTensor3<T>(l, s, s, left)}};
}

// The oracle's product, by the support formula.
template <typename T>
BasicMatrix<T> product(const std::vector<reference::BasicKroneckerFactor<T>>& chain) {
    BasicMatrix<T> unit(chain.front().in_features(), chain.front().in_features());
    for (std::size_t i = 0; i < unit.rows; ++i) unit(i, i) = 1;
    return reference::transpose(reference::chain_matmul(unit, chain));
}

template <typename T>
BasicMatrix<T> random_mm_star(std::size_t l, std::size_t s, unsigned seed) {
    std::mt19937_64 engine(seed);
    const auto values = [&](std::size_t count) {
        std::vector<T> result(count);
        for (T& value : result) value = normal<T>(engine);
        return result;
    };
    return product(chain_of(l, s, values(l * s * s), values(s * l * l), values(l * s * s)));
}

template <typename T>
double distance(const std::vector<T>& a, const std::vector<T>& b) {
    double wrong = 0, all = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        wrong += std::norm(a[i] - b[i]);
        all += std::norm(b[i]);
    }
    return std::sqrt(wrong / all);
}

// Reconstructs M from its factors, by the oracle and by the library's own product.
template <typename T>
void expect_factors(const BasicMatrix<T>& m, std::size_t l, double tolerance = 1e-6) {
    const std::size_t s = m.rows / l;
    const auto found = factorize_mm_star(std::span<const T>(m.data), m.rows, l);
    ASSERT_EQ(found.n(), m.rows);
    const double error =
        distance(product(chain_of(l, s, found.left, found.middle, found.right)).data, m.data);
    EXPECT_LT(error, tolerance) << "n " << m.rows << ", blocks " << l;
    EXPECT_LT(distance(to_dense(found), m.data), tolerance);
    EXPECT_NEAR(found.residual, error, 1e-3 * error + 1e-13);
}

TEST(MmStar, RandomSquareCases) {
    for (const std::size_t root : {4u, 8u, 16u})
        for (unsigned seed = 1; seed <= 5; ++seed) {
            expect_factors(random_mm_star<double>(root, root, seed), root);
            expect_factors(random_mm_star<Complex>(root, root, seed), root);
        }
}

TEST(MmStar, AnyNumberOfBlocks) {
    for (const auto& [l, s] :
         {std::pair{1u, 5u}, {5u, 1u}, {2u, 3u}, {3u, 2u}, {4u, 12u}, {12u, 4u}, {1u, 1u}})
        for (unsigned seed = 1; seed <= 3; ++seed) {
            expect_factors(random_mm_star<double>(l, s, seed), l);
            expect_factors(random_mm_star<Complex>(l, s, seed), l);
        }
}

// Eigenvalues that agree in all the matrices that commute: any vectors of their space serve.
TEST(MmStar, RepeatedEigenvalues) {
    constexpr std::size_t l = 4, s = 6;
    std::mt19937_64 engine(1);
    const auto values = [&](std::size_t count) {
        std::vector<double> result(count);
        for (double& value : result) value = normal<double>(engine);
        return result;
    };
    for (const std::size_t groups : {1u, 2u, 4u})
        for (int i = 0; i < 5; ++i) {
            std::vector<double> middle = values(s * l * l);
            for (std::size_t k = groups; k < s; ++k)
                std::copy_n(middle.begin() + static_cast<std::ptrdiff_t>(k % groups * l * l), l * l,
                            middle.begin() + static_cast<std::ptrdiff_t>(k * l * l));
            expect_factors(product(chain_of(l, s, values(l * s * s), middle, values(l * s * s))), l);
        }
}

// Only one row and one column of blocks must have inverses.
TEST(MmStar, BlocksOfZero) {
    constexpr std::size_t l = 3, s = 4;
    std::mt19937_64 engine(1);
    std::vector<double> left(l * s * s), middle(s * l * l), right(l * s * s);
    for (auto* values : {&left, &middle, &right})
        for (double& value : *values) value = normal<double>(engine);
    for (std::size_t k = 0; k < s; ++k)
        for (const std::size_t i : {0u, 1u})
            for (const std::size_t j : {1u, 2u})
                if (i + j != 2 || k < 2) middle[(k * l + i) * l + j] = 0;
    expect_factors(product(chain_of(l, s, left, middle, right)), l);
}

// Squares of such elements are out of range.
TEST(MmStar, ElementsOfAnySize) {
    for (const double scale : {1e-290, 1e-200, 1e180, 1e300}) {
        auto real_one = random_mm_star<double>(4, 3, 2);
        for (double& value : real_one.data) value *= scale;
        const auto found = factorize_mm_star(real_one.data, 12, 4);
        EXPECT_LT(found.residual, 1e-6);
        std::vector<double> product = to_dense(found), wanted = real_one.data;
        for (auto* values : {&product, &wanted})
            for (double& value : *values) value /= scale;
        EXPECT_LT(distance(product, wanted), 1e-6);
        auto complex = random_mm_star<Complex>(3, 4, 2);
        for (Complex& value : complex.data) value *= scale;
        EXPECT_LT(factorize_mm_star(std::span<const Complex>(complex.data), 12, 3).residual, 1e-6);
    }
    // The factors' own elements are larger than those of M.
    auto large = random_mm_star<double>(4, 3, 2);
    double largest = 0;
    for (const double value : large.data) largest = std::max(largest, std::abs(value));
    for (double& value : large.data) value *= 1.7e308 / largest;
    expect_error(invalid, {"m", "1.7e+308", "middle factor"},
                 [&] { static_cast<void>(factorize_mm_star(large.data, 12, 4)); });
}

TEST(MmStar, RoundedInput) {
    const auto m = random_mm_star<double>(4, 4, 1);
    std::vector<double> rounded = m.data;
    for (double& value : rounded) value = static_cast<float>(value);
    MmStarOptions options;
    options.tolerance = 1e-4;
    const auto found = factorize_mm_star(rounded, 16, 4, options);
    EXPECT_GT(found.residual, 1e-9);
    EXPECT_LT(distance(to_dense(found), m.data), 1e-4);
    // The same seed gives the same factors.
    EXPECT_EQ(factorize_mm_star(rounded, 16, 4, options).middle, found.middle);
}

// F_22 is a rotation: its eigenvalues are ±i.
TEST(MmStar, RealMatrixWithComplexFactors) {
    const std::vector<double> m{1, 1, 0, 0, 1, 0, 0, -1, 0, 0, 1, 1, 0, 1, 1, 0};
    const BasicMatrix<Complex> complex(4, 4, std::vector<Complex>(m.begin(), m.end()));
    expect_factors(complex, 2);
    expect_error(invalid, {"m: no MM* matrix of 2 blocks with real factors", "residual", "1.0e-06"},
                 [&] { static_cast<void>(factorize_mm_star(m, 4, 2)); });
}

TEST(MmStar, WrongInput) {
    const auto refused = [](const std::vector<std::string>& parts, const std::vector<double>& m,
                            std::uint64_t n, std::uint64_t blocks) {
        expect_error(invalid, parts, [&] { static_cast<void>(factorize_mm_star(m, n, blocks)); });
    };
    const auto good = random_mm_star<double>(4, 4, 1).data;
    refused({"m", "256 elements", "n = 15"}, good, 15, 3);
    refused({"m", "0 elements", "n = 0"}, {}, 0, 1);
    refused({"blocks: 3", "n = 16", "1, 2, 4, 8, 16"}, good, 16, 3);
    refused({"blocks: 0", "n = 16"}, good, 16, 0);
    auto bad = good;
    bad[35] = std::nan("");
    refused({"m", "row 2, column 3", "not finite"}, bad, 16, 4);

    // The identity's blocks off the diagonal are 0.
    std::vector<double> identity(256);
    for (std::size_t i = 0; i < 16; ++i) identity[17 * i] = 1;
    refused({"singular input", "row of its 4 × 4 blocks", "condition inf", "1.1e+15"}, identity, 16, 4);
    refused({"singular input"}, std::vector<double>(256), 16, 4);
    // Of rank 3, as all of its blocks.
    std::mt19937_64 engine(1);
    std::vector<double> u(48), v(48), low(256);
    for (std::size_t i = 0; i < 48; ++i) u[i] = normal<double>(engine), v[i] = normal<double>(engine);
    for (std::size_t i = 0; i < 256; ++i)
        for (std::size_t t = 0; t < 3; ++t) low[i] += u[i / 16 * 3 + t] * v[i % 16 * 3 + t];
    refused({"singular input", "block (", "condition"}, low, 16, 4);
    // A block without an inverse is avoided; then the matrix is looked at as a whole.
    auto column = good;
    for (std::size_t i = 0; i < 256; ++i)
        if (i % 16 % 4 == 0 && i / 16 == 5) column[i] = column[i - 16 * 4];
    refused({"no MM* matrix"}, column, 16, 4);

    std::vector<double> any(256);
    for (double& value : any) value = normal<double>(engine);
    refused({"no MM* matrix of 4 blocks with real factors", "relative residual of", "tolerance"}, any, 16, 4);
    const std::vector<Complex> complex(any.begin(), any.end());
    expect_error(invalid, {"no MM* matrix of 4 blocks with complex factors"},
                 [&] { static_cast<void>(factorize_mm_star(complex, 16, 4)); });
    MmStarFactors<double> factors;
    factors.blocks = factors.size = 2;
    expect_error(invalid, {"left", "0 elements", "8"}, [&] { static_cast<void>(to_dense(factors)); });
}

TEST(MmStar, ComplexFactorsAreAChain) {
    constexpr std::size_t l = 4, s = 6, n = l * s;
    const auto m = random_mm_star<Complex>(l, s, 7);
    Stream stream(test::device());
    const Chain chain = upload(stream, factorize_mm_star(std::span<const Complex>(m.data), n, l));
    EXPECT_EQ(chain.factors[1].pattern(), (FactorPattern{s, l, l, 1}));
    const auto dense = download_complex(stream, to_dense(stream, chain));
    EXPECT_LT(distance(std::vector<Complex>(dense.begin(), dense.end()), m.data), 1e-4);
    MmStarFactors<Complex> factors;
    factors.blocks = factors.size = 2;
    expect_error(invalid, {"right", "0 elements", "8"}, [&] { static_cast<void>(upload(stream, factors)); });
}

TEST(MmStar, FactorsAreAChain) {
    constexpr std::size_t l = 4, s = 6, n = l * s;
    const auto m = random_mm_star<double>(l, s, 7);
    Stream stream(test::device());
    const Chain chain = upload(stream, factorize_mm_star(m.data, n, l));
    EXPECT_EQ(chain.factors[0].pattern(), (FactorPattern{1, s, s, l}));
    EXPECT_EQ(chain.factors[1].pattern(), (FactorPattern{s, l, l, 1}));
    const std::vector<float> dense = download(stream, to_dense(stream, chain));
    EXPECT_LT(distance(reference::to_double(dense), m.data), 1e-4);
    MmStarFactors<double> factors;
    factors.blocks = factors.size = 2;
    expect_error(invalid, {"right", "0 elements", "8"}, [&] { static_cast<void>(upload(stream, factors)); });
    factors.left = factors.middle = factors.right = std::vector<double>(8, 1.0);
    factors.middle[3] = -1e39;
    expect_error(invalid, {"middle", "element 3", "1.0e+39", "3.4e+38"},
                 [&] { static_cast<void>(upload(stream, factors)); });
}

}  // namespace
}  // namespace danaus
