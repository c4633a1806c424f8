// Chains of complex64 factors: multiplies and gradients in any layout, with batches and epilogues, held
// against the oracle; products with adjoints.
#include "reference/kronecker.hpp"
#include "reference/monarch.hpp"
#include "support/complex.hpp"
#include "support/counter.hpp"
#include "support/device.hpp"

#include <danaus/danaus.hpp>

#include <algorithm>
#include <array>
#include <utility>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Complex;
using reference::ComplexMatrix;
using reference::ComplexTensor3;
using test::complex_values;
using test::ComplexValues;
using test::draw;
using test::expect_error;
using test::Layout;
using test::PlacedComplex;
constexpr auto invalid = ErrorKind::invalid_argument;

// Whole numbers, of which all sums are exact.
struct Case {
    std::vector<FactorPattern> patterns;
    std::size_t tokens = 5, batch = 0;
    Layout x = {}, y = {}, w = {};
    bool bias = false, residual = false;
    float scale = 1.0f;
};

class Operands {
public:
    Operands(Stream& stream, const Case& one) : case_(one) {
        std::vector<KroneckerFactor> factors;
        unsigned seed = 5;
        for (const auto& [a, b, c, d] : one.patterns) {
            const ComplexValues w = complex_values(a * b * c * d, seed++, true);
            factors.emplace_back(PlacedComplex(stream, {a, d, b, c}, one.w, w).tensor());
            oracle.emplace_back(a, d, ComplexTensor3(a * d, b, c, w));
        }
        chain = Chain(std::move(factors));
        const std::size_t rows = one.tokens * std::max<std::size_t>(1, one.batch);
        x = complex_values(rows * chain.in_features(), 1, true);
        dy = complex_values(rows * chain.out_features(), 2, true);
        rx = ComplexMatrix(rows, chain.in_features(), x);
        rdy = ComplexMatrix(rows, chain.out_features(), dy);
    }

    [[nodiscard]] Shape shape(std::size_t features) const {
        return case_.batch ? Shape{case_.batch, case_.tokens, features} : Shape{case_.tokens, features};
    }

    Chain chain;
    std::vector<reference::ComplexKroneckerFactor> oracle;
    ComplexValues x, dy;
    ComplexMatrix rx, rdy;

private:
    Case case_;
};

// Empty, or the first difference from what is exact.
std::string mismatch(Stream& stream, const Case& one) {
    const Operands o(stream, one);
    const Shape in = o.shape(o.chain.in_features()), out = o.shape(o.chain.out_features());
    const PlacedComplex tx(stream, in, one.x, o.x), tdy(stream, out, one.y, o.dy), y(stream, out, one.y),
        dx(stream, in, one.x), again(stream, in, one.x);
    std::string text;
    const auto check = [&](const std::string& what, const PlacedComplex& device,
                           const std::vector<Complex>& exact) {
        if (!text.empty()) return;
        text = device.mismatch(stream, exact, std::vector<double>(exact.size(), 0.0));
        if (!text.empty()) text = what + ": " + text;
    };

    Epilogue epilogue;
    epilogue.scale = one.scale;
    const ComplexValues bias = complex_values(o.chain.out_features(), 3, true),
                        residual = complex_values(o.dy.size(), 4, true);
    if (one.bias) epilogue.bias = upload(stream, bias, {bias.size()});
    if (one.residual) epilogue.residual = PlacedComplex(stream, out, one.x, residual).tensor();
    std::vector<Tensor> inner;
    matmul_into(stream, y, tx, o.chain, epilogue, &inner);
    ComplexMatrix exact = reference::chain_matmul(o.rx, o.oracle);
    for (std::size_t i = 0; i < exact.data.size(); ++i) {
        exact.data[i] *= static_cast<double>(one.scale);
        if (one.bias) exact.data[i] += Complex(bias[i % bias.size()]);
        if (one.residual) exact.data[i] += Complex(residual[i]);
    }
    check("y", y, exact.data);
    matmul_into(stream, y, tx, o.chain, epilogue);
    check("y without inner", y, exact.data);
    // What is there once more.
    epilogue.residual = Tensor();
    epilogue.bias = Tensor();
    epilogue.accumulate = true;
    matmul_into(stream, y, tx, o.chain, epilogue);
    const ComplexMatrix product = reference::chain_matmul(o.rx, o.oracle);
    for (std::size_t i = 0; i < exact.data.size(); ++i)
        exact.data[i] += static_cast<double>(one.scale) * product.data[i];
    check("y, accumulated", y, exact.data);

    const auto gradients = reference::chain_backward(o.rdy, o.rx, o.oracle);
    matmul_transposed_into(stream, dx, tdy, o.chain);
    check("dx", dx, gradients.dx.data);
    std::vector<PlacedComplex> dw;
    ChainGradients results{again, {}};
    for (const KroneckerFactor& factor : o.chain.factors) {
        dw.emplace_back(stream, factor.weight.shape(), one.w);
        results.dw.push_back(dw.back());
    }
    backward_into(stream, results, tdy, tx, o.chain, inner);
    check("dx of backward", again, gradients.dx.data);
    backward_into(stream, results, tdy, tx, o.chain, {}, {.scale = 2.0f, .accumulate = true});
    std::vector<Complex> twice = gradients.dx.data;
    for (Complex& value : twice) value *= 2.0;
    check("dx of backward, scaled", again, twice);
    for (std::size_t i = 0; i < dw.size(); ++i) {
        std::vector<Complex> thrice = gradients.dw[i].data;
        for (Complex& value : thrice) value *= 3.0;
        check("dw " + std::to_string(i), dw[i], thrice);
    }
    return text;
}

TEST(ComplexChain, FactorsOfEveryKind) {
    Stream stream(test::device());
    using Patterns = std::vector<FactorPattern>;
    const std::vector<std::uint64_t> radices{2, 3, 2};
    for (const Patterns& patterns :
         {Patterns{{3, 3, 4, 1}}, Patterns{{1, 3, 4, 5}}, Patterns{{3, 4, 2, 2}}, radix_patterns(radices),
          Patterns{{1, 3, 3, 4}, {3, 4, 4, 1}, {1, 3, 3, 4}}, Patterns{{4, 3, 2, 1}, {1, 2, 4, 3}}})
        for (const std::size_t batch : {0u, 2u})
            for (const bool feature_major : {false, true}) {
                Case one{.patterns = patterns, .batch = batch};
                EXPECT_EQ(mismatch(stream, one), "");
                one.x = {.feature_major = feature_major, .gap = 1, .batch_gap = 3};
                one.y = {.feature_major = !feature_major, .gap = 2, .skew = 1};
                one.w = {.gap = 1, .skew = 1};
                one.bias = !feature_major;
                one.residual = true;
                one.scale = 2.0f;
                EXPECT_EQ(mismatch(stream, one), "");
            }
}

TEST(ComplexChain, RandomCases) {
    Stream stream(test::device());
    test::property(15, [&] {
        Case one;
        const std::size_t radices = draw(1, 3);
        std::vector<std::uint64_t> out, in;
        for (std::size_t i = 0; i < radices; ++i) out.push_back(draw(1, 4)), in.push_back(draw(1, 4));
        one.patterns = radix_patterns(out, in);
        one.tokens = draw(0, 6);
        one.batch = draw(0, 3);
        one.x = test::draw_layout();
        one.y = test::draw_layout();
        one.w = test::draw_layout();
        one.bias = draw(0, 1) == 1;
        one.residual = draw(0, 1) == 1;
        one.scale = static_cast<float>(draw(0, 3));
        RC_ASSERT(mismatch(stream, one) == "");
    });
}

TEST(ComplexChain, ToDense) {
    Stream stream(test::device());
    const Operands o(stream, {.patterns = {{1, 3, 3, 4}, {3, 4, 4, 1}, {1, 3, 3, 4}}});
    const std::size_t in = o.chain.in_features();
    ComplexMatrix units(in, in);
    for (std::size_t i = 0; i < in; ++i) units(i, i) = 1.0;
    // Row i of Aᵀ is what A makes of the unit vector i.
    EXPECT_EQ(test::flat(download_complex(stream, to_dense(stream, o.chain).transpose())),
              test::flat(reference::chain_matmul(units, o.oracle).data));
}

// M1·M2*; of M2 = M1 the MM* matrices of the paper.
TEST(ComplexChain, MonarchTimesAdjoint) {
    Stream stream(test::device());
    struct Pair {
        Monarch matrix;
        reference::ComplexMonarch oracle;
    };
    const auto monarch = [&](std::size_t k, std::size_t q, std::size_t p, std::size_t l, std::size_t s,
                             unsigned seed) {
        const ComplexValues w1 = complex_values(k * q * p, seed, true),
                            w2 = complex_values(s * k * q, seed + 1, true);
        return Pair{Monarch(upload(stream, w1, {k, q, p}), upload(stream, w2, {l, s, k * q / l})),
                    {ComplexTensor3(k, q, p, w1), ComplexTensor3(l, s, k * q / l, w2)}};
    };
    const Pair left = monarch(4, 3, 5, 6, 2, 1), right = monarch(4, 2, 5, 2, 7, 3);
    for (const Pair* second : {&right, &left}) {
        const Chain both = monarch_monarch_adjoint(stream, left.matrix, second->matrix);
        ASSERT_EQ(both.factors.size(), 3u);
        EXPECT_EQ(both.factors[1].pattern(), (FactorPattern{4, 3, second->matrix.w1.size(1), 1}));
        const ComplexMatrix a = reference::to_dense(left.oracle), b = reference::to_dense(second->oracle);
        ComplexMatrix exact(a.rows, b.rows);
        for (std::size_t i = 0; i < a.rows; ++i)
            for (std::size_t j = 0; j < b.rows; ++j)
                for (std::size_t c = 0; c < a.cols; ++c) exact(i, j) += a(i, c) * std::conj(b(j, c));
        EXPECT_EQ(test::flat(download_complex(stream, to_dense(stream, both))), test::flat(exact.data));
    }
    // Of real numbers nothing is copied.
    const Monarch plain(upload(stream, test::whole_values(8, 1, 2), {2, 2, 2}),
                        upload(stream, test::whole_values(8, 2, 2), {2, 2, 2}));
    test::Counter counter(stream);
    EXPECT_EQ(monarch_monarch_transposed(counter, plain, plain).factors[0].weight.buffer(),
              plain.w2.buffer());
    const int recorded = std::exchange(counter.recorded, 0);
    EXPECT_EQ(monarch_monarch_adjoint(counter, plain, plain).factors[0].weight.buffer(), plain.w2.buffer());
    EXPECT_EQ(counter.recorded, recorded);
    const auto refused = [&](const std::vector<std::string>& parts, const Monarch& m2) {
        counter.recorded = 0;
        expect_error(invalid, parts,
                     [&] { static_cast<void>(monarch_monarch_adjoint(counter, left.matrix, m2)); });
        EXPECT_EQ(counter.recorded, 0);
    };
    refused({"m2", "f32", "complex64"}, plain);
    refused({"m2.w1", "null"}, Monarch());
    refused({"m2", "(3, 2, 5)", "4 blocks of 5"}, monarch(3, 2, 5, 2, 7, 5).matrix);
    refused({"m2", "blocked"}, Monarch(right.matrix.w1, right.matrix.w2, OutputOrder::blocked));
}

}  // namespace
}  // namespace danaus
