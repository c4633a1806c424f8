// Chains as other matrices and of them: Monarch, block-diagonal, Kronecker products, MM*, products, patterns;
// and what is refused.
#include "chain_case.hpp"
#include "monarch_case.hpp"
#include "reference/transforms.hpp"
#include "support/counter.hpp"
#include "support/device.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::expect_error;
using test::Placed;
using Case = test::ChainCase;
using Operands = test::ChainOperands;
using Patterns = std::vector<FactorPattern>;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

TEST(ChainForms, MonarchIsTheSameBitForBit) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const std::size_t tokens : {1u, 7u, 200u}) {
            if (type != DataType::f32 && tokens != 7) continue;
            const test::MonarchCase one{
                .k = 16, .q = 16, .p = 16, .l = 16, .s = 24, .tokens = tokens, .type = type};
            const test::MonarchOperands o(stream, one);
            const Chain chain(o.matrix), turned = transposed(chain);
            EXPECT_EQ(chain.factors[0].weight.buffer(), o.matrix.w1.buffer());
            EXPECT_EQ(chain.parameters(), o.matrix.parameters());
            EXPECT_EQ(chain.bytes(), o.matrix.parameters() * size_of(type));
            test::Counter packets(stream), chained(stream);
            const Tensor y = matmul(packets, o.tx, o.matrix),
                         dx = matmul_transposed(packets, o.tdy, o.matrix);
            EXPECT_EQ(download(stream, matmul(chained, o.tx, chain)), download(stream, y));
            EXPECT_EQ(download(stream, matmul_transposed(chained, o.tdy, chain)), download(stream, dx));
            EXPECT_EQ(chained.recorded, packets.recorded);
            EXPECT_EQ(download(stream, matmul(stream, o.tdy, turned)), download(stream, dx));
            EXPECT_EQ(download(stream, matmul_transposed(stream, o.tx, turned)), download(stream, y));
            const Monarch dw = weight_gradient(stream, o.tdy, o.tx, o.matrix);
            const Chain dc = weight_gradient(stream, o.tdy, o.tx, chain);
            EXPECT_EQ(download(stream, dc.factors[0].weight), download(stream, dw.w1));
            EXPECT_EQ(download(stream, dc.factors[1].weight), download(stream, dw.w2));
            EXPECT_EQ(download(stream, to_dense(stream, chain)),
                      download(stream, to_dense(stream, o.matrix)));
        }
}

TEST(ChainForms, BlockDiagonalIsTheSameBitForBit) {
    Stream stream(test::device());
    for (const DataType type : types) {
        const auto w = test::random_values(3 * 5 * 4, 1, type), x = test::random_values(7 * 12, 2, type),
                   dy = test::random_values(7 * 15, 3, type);
        const BlockDiagonal blocks(upload(stream, w, {3, 5, 4}, type));
        const Chain chain(blocks);
        EXPECT_EQ(chain.factors[0].pattern(), (FactorPattern{3, 5, 4, 1}));
        const Tensor tx = upload(stream, x, {7, 12}, type), tdy = upload(stream, dy, {7, 15}, type);
        EXPECT_EQ(download(stream, matmul(stream, tx, chain)), download(stream, matmul(stream, tx, blocks)));
        EXPECT_EQ(download(stream, matmul_transposed(stream, tdy, chain.factors[0])),
                  download(stream, matmul_transposed(stream, tdy, blocks)));
        EXPECT_EQ(download(stream, weight_gradient(stream, tdy, tx, FactorPattern{3, 5, 4, 1}).weight),
                  download(stream, weight_gradient(stream, tdy, tx, 3).weight));
        EXPECT_EQ(download(stream, to_dense(stream, chain)), download(stream, to_dense(stream, blocks)));
    }
}

// One 2×2 block, read by every block of every factor through strides of 0.
TEST(ChainForms, WalshHadamardIsExact) {
    Stream stream(test::device());
    const Tensor h = upload(stream, std::vector<float>{1, 1, 1, -1}, {2, 2});
    for (const unsigned m : {1u, 4u, 7u}) {
        const std::uint64_t n = 1ull << m;
        std::vector<KroneckerFactor> factors;
        for (const auto& [a, b, c, d] : butterfly_patterns(n))
            factors.emplace_back(h.as_strided({a, d, b, c}, {0, 0, 2, 1}));
        const Chain chain(std::move(factors));
        const Matrix exact = reference::hadamard_matrix(m);
        EXPECT_EQ(download(stream, to_dense(stream, chain)), reference::to_float(exact.data));
        const auto x = test::whole_values(5 * n, 1, 100);
        EXPECT_EQ(download(stream, matmul(stream, upload(stream, x, {5, n}), chain)),
                  reference::to_float(reference::matmul(Matrix(5, n, x), exact).data));
    }
}

TEST(ChainForms, ToDenseIsTheMatrix) {
    Stream stream(test::device());
    const std::vector<std::uint64_t> out{2, 3, 4}, in{4, 1, 3};
    for (const DataType type : types)
        for (const Patterns& patterns : {butterfly_patterns(8), radix_patterns(out, in),
                                         Patterns{{3, 4, 2, 2}}, Patterns{{2, 0, 3, 2}}}) {
            const Operands o(stream, {.patterns = patterns, .type = type, .whole = true});
            const Tensor dense = to_dense(stream, o.matrix);
            EXPECT_EQ(dense.shape(), (Shape{o.matrix.out_features(), o.matrix.in_features()}));
            EXPECT_EQ(download(stream, dense), reference::to_float(test::dense_of(o.oracle).data));
        }
}

TEST(ChainForms, ProductsHaveAPattern) {
    Stream stream(test::device());
    struct Product {
        FactorPattern left, right, result;
    };
    for (const auto& [left, right, result] :
         {Product{{3, 4, 2, 5}, {3, 2, 7, 5}, {3, 4, 7, 5}},  // the same a and d
          Product{{4, 2, 2, 2}, {8, 2, 2, 1}, {4, 4, 4, 1}},  // neighbours of a butterfly
          Product{{1, 3, 3, 6}, {3, 3, 1, 2}, {1, 9, 3, 2}},  // of mixed radices, both ways round
          Product{{6, 2, 3, 1}, {2, 3, 4, 3}, {2, 6, 12, 1}},
          Product{{1, 5, 4, 3}, {2, 6, 4, 1}, {1, 15, 8, 1}},    // a Monarch matrix is dense
          Product{{4, 3, 3, 2}, {6, 2, 2, 2}, {2, 6, 6, 2}},     // neither divides the other
          Product{{2, 3, 0, 2}, {2, 0, 2, 2}, {2, 3, 2, 2}}}) {  // an empty sum
        for (const DataType type : types) {
            const Operands o(stream,
                             {.patterns = {right, left}, .type = type, .whole = true, .w = {.gap = 1}});
            const KroneckerFactor whole = product(stream, o.matrix.factors[1], o.matrix.factors[0]);
            EXPECT_EQ(whole.pattern(), result) << to_string(whole.pattern());
            EXPECT_EQ(download(stream, to_dense(stream, whole)),
                      reference::to_float(test::dense_of(o.oracle).data));
        }
    }
}

TEST(ChainForms, MonarchTimesMonarchTransposed) {
    Stream stream(test::device());
    const test::MonarchCase left{.k = 4, .q = 3, .p = 5, .l = 6, .s = 2},
        right{.k = 4, .q = 2, .p = 5, .l = 2, .s = 7};
    const auto whole = [&](std::size_t a, std::size_t b, std::size_t c, unsigned seed) {
        return upload(stream, test::whole_values(a * b * c, seed, 2), {a, b, c});
    };
    const auto monarch = [&](const test::MonarchCase& one, unsigned seed) {
        return Monarch(whole(one.k, one.q, one.p, seed), whole(one.l, one.s, one.r(), seed + 1));
    };
    const Monarch m1 = monarch(left, 1), m2 = monarch(right, 3);
    const Chain both = monarch_monarch_transposed(stream, m1, m2);
    ASSERT_EQ(both.factors.size(), 3u);
    EXPECT_EQ(both.factors[1].pattern(), (FactorPattern{4, 3, 2, 1}));
    const Tensor expected = matmul(stream, to_dense(stream, m1), to_dense(stream, m2));
    EXPECT_EQ(download(stream, to_dense(stream, both)), download(stream, expected));
    const Tensor x = upload(stream, test::whole_values(3 * 14, 9, 2), {3, 14});
    const Tensor y = matmul(stream, matmul_transposed(stream, x, m2), m1);
    EXPECT_EQ(download(stream, matmul(stream, x, both)), download(stream, y));
    EXPECT_EQ(download(stream, matmul_transposed(stream, y, both)),
              download(stream, matmul(stream, matmul_transposed(stream, y, m1), m2)));
    expect_error(invalid, {"m2", "(3, 4, 5)", "4 blocks of 5"}, [&] {
        static_cast<void>(
            monarch_monarch_transposed(stream, m1, Monarch(whole(3, 4, 5, 5), whole(2, 3, 6, 6))));
    });
}

TEST(ChainForms, Patterns) {
    EXPECT_EQ(butterfly_patterns(8), (Patterns{{4, 2, 2, 1}, {2, 2, 2, 2}, {1, 2, 2, 4}}));
    EXPECT_EQ(monarch_patterns(4096, 3), (Patterns{{256, 16, 16, 1}, {16, 16, 16, 16}, {1, 16, 16, 256}}));
    EXPECT_EQ(monarch_patterns(16, 2), (Patterns{{4, 4, 4, 1}, {1, 4, 4, 4}}));
    EXPECT_EQ(monarch_patterns(7, 1), (Patterns{{1, 7, 7, 1}}));
    const std::vector<std::uint64_t> out{2, 3}, in{5, 7}, none, zero{2, 0};
    EXPECT_EQ(radix_patterns(out, in), (Patterns{{7, 2, 5, 1}, {1, 3, 7, 2}}));
    const auto refused = [&](const std::vector<std::string>& parts, auto&& action) {
        expect_error(invalid, parts, [&] { static_cast<void>(action()); });
    };
    refused({"n", "12", "power of two"}, [] { return butterfly_patterns(12); });
    refused({"n", "1", "power of two"}, [] { return butterfly_patterns(1); });
    refused({"order", "5", "4096", "1, 2, 3, 4, 6, 12"}, [] { return monarch_patterns(4096, 5); });
    refused({"order", "0"}, [] { return monarch_patterns(9, 0); });
    refused({"n", "0"}, [] { return monarch_patterns(0, 2); });
    refused({"out", "no radices"}, [&] { return radix_patterns(none); });
    refused({"in", "1 radices", "2"}, [&] { return radix_patterns(out, std::vector<std::uint64_t>{2}); });
    refused({"in", "2, 0"}, [&] { return radix_patterns(out, zero); });
    refused({"out", "2^62"}, [] { return radix_patterns(std::vector<std::uint64_t>(3, 1ull << 31)); });
}

TEST(ChainForms, WrongInput) {
    const Device device = test::device(), second = test::capped_device([](Capabilities&) {});
    Stream stream(device);
    const auto tensor = [&](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device, type, shape);
    };
    const auto factor = [&](const Shape& shape, DataType type = DataType::f32) {
        return KroneckerFactor(tensor(shape, type));
    };
    const auto refused = [&](const std::vector<std::string>& parts, auto&& action) {
        expect_error(invalid, parts, [&] { static_cast<void>(action()); });
    };
    refused({"weight", "null"}, [] { return KroneckerFactor(Tensor()); });
    refused({"weight", "(2, 3, 4)", "rank 4"}, [&] { return factor({2, 3, 4}); });
    refused({"weight", "u32"}, [&] { return factor({1, 1, 2, 2}, DataType::u32); });
    refused({"factors", "none"}, [] { return Chain(std::vector<KroneckerFactor>()); });
    refused({"factors[1]", "null"}, [&] { return Chain({factor({1, 1, 2, 2}), {}}); });
    refused({"factors[1]", "f16", "f32"}, [&] {
        return Chain({factor({1, 1, 2, 2}), factor({1, 1, 2, 2}, DataType::f16)});
    });
    refused({"factors[1]", "(2, 2, 3, 1)", "6", "factors[0]", "(1, 4, 2, 1)", "4"}, [&] {
        return Chain({factor({1, 1, 4, 2}), factor({2, 1, 2, 3})});
    });
    refused({"order", "blocked"}, [&] {
        return Chain(Monarch(tensor({2, 2, 2}), tensor({2, 2, 2}), OutputOrder::blocked));
    });
    refused({"left", "(1, 2, 3, 1)", "3", "(1, 4, 2, 1)", "4"}, [&] {
        return product(stream, factor({1, 1, 2, 3}), factor({1, 1, 4, 2}));
    });
    refused({"right", "f16", "f32"}, [&] {
        return product(stream, factor({1, 1, 2, 3}), factor({1, 1, 3, 2}, DataType::f16));
    });

    const Chain chain({factor({2, 3, 2, 2}), factor({1, 2, 3, 6})});
    const Tensor x = tensor({7, 12}), dy = tensor({7, 6}), dx = tensor({7, 12});
    refused({"w", "null chain"}, [&] { return matmul(stream, x, Chain()); });
    refused({"x", "(7, 6)", "12"}, [&] { return matmul(stream, dy, chain); });
    refused({"dy", "(7, 12)", "6"}, [&] { return matmul_transposed(stream, x, chain); });
    refused({"x", "bf16", "f32"}, [&] { return matmul(stream, tensor({7, 12}, DataType::bf16), chain); });
    refused({"x", "another device"}, [&] {
        return matmul(stream, Tensor(second, DataType::f32, {7, 12}), chain);
    });
    refused({"x", "(7, 6)", "12"}, [&] { return matmul(stream, dy, chain.factors[0]); });
    refused({"dy", "(7, 5)", "6"}, [&] {
        return weight_gradient(stream, tensor({7, 5}), x, FactorPattern{2, 1, 2, 3});
    });
    refused({"x", "(7, 6)", "12"}, [&] {
        return weight_gradient(stream, dy, dy, FactorPattern{2, 1, 2, 3});
    });
    const auto into = [&](const std::vector<std::string>& parts, const Tensor& out) {
        expect_error(invalid, parts, [&] { matmul_into(stream, out, tensor({1, 12}), chain); });
    };
    into({"out", "(7, 6)", "(1, 6)"}, dy);
    into({"out", "overlaps factors[1]"}, chain.factors[1].weight.as_strided({1, 6}, {6, 1}));
    const auto backward = [&](const std::vector<std::string>& parts, const ChainGradients& out,
                              const std::vector<Tensor>& inner = {}, const Tensor& gradient = {}) {
        expect_error(invalid, parts,
                     [&] { backward_into(stream, out, gradient ? gradient : dy, x, chain, inner); });
    };
    const Tensor dw0 = tensor({2, 3, 2, 2}), shared = tensor({36}), all = tensor({7, 12});
    backward({"inner", "2 tensors", "has 1"}, {dx, {}}, {dx, dx});
    backward({"inner[0]", "(7, 6)", "(7, 12)"}, {dx, {}}, {dy});
    backward({"dw", "1 tensors", "2 factors"}, {dx, {dw0}});
    backward({"dw[1]", "(2, 3, 2, 2)", "(1, 2, 3, 6)"}, {dx, {dw0, dw0}});
    backward({"dw[1]", "overlaps factors[1]"}, {dx, {{}, chain.factors[1].weight}});
    backward({"dw[1]", "overlaps dw[0]"},
             {{}, {shared.as_strided({2, 3, 2, 2}, {12, 4, 2, 1}), shared.reshape({1, 2, 3, 6})}});
    backward({"out", "overlaps dy"}, {all, {}}, {}, all.slice(1, 3, 9));
    refused({"accumulate", "backward_into"}, [&] {
        GradientOptions accumulate;
        accumulate.accumulate = true;
        return weight_gradient(stream, dy, x, chain, accumulate);
    });
    EXPECT_EQ(stream.submissions(), 0u);
}

}  // namespace
}  // namespace danaus
