// The dense multiply and both gradients: shapes, types, layouts. Epilogues and wrong input have files of
// their own.
#include "matmul_case.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::Layout;
using test::MatmulCase;
using test::mismatch;
using test::Verb;

constexpr Verb verbs[] = {Verb::forward, Verb::transposed, Verb::gradient};
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

TEST(Matmul, TilesOfRowsAndTheirEdges) {
    Stream stream(test::device());
    for (const std::size_t m :
         {1u, 2u, 3u, 4u, 5u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 32u, 33u, 63u, 64u, 65u, 130u})
        EXPECT_EQ(mismatch(stream, {.m = m, .n = 9, .k = 11}), "");
}

TEST(Matmul, TilesOfColumnsAndTheirEdges) {
    Stream stream(test::device());
    // Lanes × 2 and × 4 columns for every lane count that a subgroup of 1 … 64 leads to.
    for (const std::size_t n :
         {1u, 2u, 3u, 7u, 8u, 9u, 15u, 16u, 17u, 31u, 32u, 33u, 63u, 64u, 65u, 127u, 128u, 129u, 257u})
        for (const std::size_t m : {3u, 35u}) EXPECT_EQ(mismatch(stream, {.m = m, .n = n, .k = 9}), "");
}

TEST(Matmul, EveryDepth) {
    Stream stream(test::device());
    for (std::size_t k = 0; k <= 25; ++k)
        for (const Verb verb : verbs) EXPECT_EQ(mismatch(stream, {.verb = verb, .m = 5, .n = 6, .k = k}), "");
    EXPECT_EQ(mismatch(stream, {.m = 5, .n = 6, .k = 5003}), "");
}

TEST(Matmul, EmptySizes) {
    Stream stream(test::device());
    for (const Verb verb : verbs)
        for (const DataType type : types)
            for (const MatmulCase& one :
                 {MatmulCase{.m = 0, .n = 3, .k = 4}, MatmulCase{.m = 3, .n = 0, .k = 4},
                  MatmulCase{.m = 3, .n = 5, .k = 0}, MatmulCase{.m = 0, .n = 0, .k = 0},
                  MatmulCase{.m = 3, .n = 5, .k = 0, .batch = 2, .batched_b = true}}) {
                MatmulCase now = one;
                now.verb = verb;
                now.type = type;
                EXPECT_EQ(mismatch(stream, now), "");
            }
    const Tensor none(test::device(), DataType::f32, {0, 3, 4}), w(test::device(), DataType::f32, {5, 4});
    EXPECT_EQ(matmul(stream, none, w).shape(), (Shape{0, 3, 5}));
}

TEST(Matmul, LargeShapes) {
    Stream stream(test::device());
    for (const Verb verb : verbs) {
        EXPECT_EQ(mismatch(stream, {.verb = verb, .m = 257, .n = 515, .k = 131}), "");
        EXPECT_EQ(mismatch(stream, {.verb = verb, .m = 130, .n = 258, .k = 322, .type = DataType::f16}), "");
    }
}

TEST(Matmul, WholeNumbersComeOutBitForBit) {
    Stream stream(test::device());
    for (const Verb verb : verbs)
        for (const DataType type : types)
            for (const bool widen : {false, true})
                EXPECT_EQ(mismatch(stream, {.verb = verb,
                                            .m = 37,
                                            .n = 70,
                                            .k = 301,
                                            .type = type,
                                            .widen = widen,
                                            .whole = true}),
                          "");
}

// Pairs of 16-bit elements are loaded and stored as words where offsets and strides are even.
TEST(Matmul, LayoutsOfEveryType) {
    Stream stream(test::device());
    const Layout layouts[] = {{},
                              {.gap = 1},
                              {.gap = 2, .skew = 1},
                              {.feature_major = true},
                              {.feature_major = true, .gap = 1, .skew = 1}};
    for (const Verb verb : verbs)
        for (const DataType type : types)
            for (const Layout& layout : layouts)
                for (const std::size_t odd : {0u, 1u}) {
                    MatmulCase one{.verb = verb, .m = 6 + odd, .n = 18 + odd, .k = 12 + odd, .type = type};
                    one.a = layout;
                    EXPECT_EQ(mismatch(stream, one), "");
                    one.a = {};
                    one.b = layout;
                    EXPECT_EQ(mismatch(stream, one), "");
                    one.b = {};
                    one.c = layout;
                    EXPECT_EQ(mismatch(stream, one), "");
                }
}

TEST(Matmul, OneRowStandsForAll) {
    Stream stream(test::device());
    for (const DataType type : types) {
        EXPECT_EQ(mismatch(stream, {.m = 9, .n = 5, .k = 8, .type = type, .a = {.broadcast = true}}), "");
        EXPECT_EQ(
            mismatch(stream, {.m = 9, .n = 5, .k = 8, .type = type, .b = {.skew = 1, .broadcast = true}}),
            "");
        EXPECT_EQ(mismatch(stream, {.verb = Verb::gradient,
                                    .m = 9,
                                    .n = 5,
                                    .k = 8,
                                    .type = type,
                                    .a = {.broadcast = true},
                                    .b = {.broadcast = true}}),
                  "");
    }
}

TEST(Matmul, BatchesWithOwnAndSharedOperands) {
    Stream stream(test::device());
    for (const Verb verb : verbs)
        for (const DataType type : {DataType::f32, DataType::f16})
            for (const auto& [a, b] : {std::pair{true, false}, std::pair{true, true}, std::pair{false, true}})
                for (const std::uint64_t batch_gap : {0u, 5u}) {
                    if (verb == Verb::gradient && !(a && b)) continue;
                    MatmulCase one{
                        .verb = verb, .m = 5, .n = 6, .k = 7, .batch = 3, .batched_a = a, .batched_b = b};
                    one.type = type;
                    one.a.batch_gap = batch_gap;
                    EXPECT_EQ(mismatch(stream, one), "");
                    one.c.batch_gap = batch_gap;
                    one.a.batch_gap = 0;
                    EXPECT_EQ(mismatch(stream, one), "");
                    one.c.feature_major = true;
                    EXPECT_EQ(mismatch(stream, one), "");
                }
    // One token per member: the batch may stand for the tokens.
    EXPECT_EQ(mismatch(stream, {.m = 1, .n = 6, .k = 7, .batch = 5}), "");
    EXPECT_EQ(
        mismatch(stream, {.m = 1, .n = 6, .k = 7, .batch = 5, .a = {.gap = 3}, .c = {.feature_major = true}}),
        "");
}

TEST(Matmul, NewResultsHaveTheChosenOrderAndType) {
    Stream stream(test::device());
    const auto x = test::random_values(2 * 3 * 4, 1, DataType::f16),
               w = test::random_values(5 * 4, 2, DataType::f16);
    const Tensor tx = upload(stream, x, {2, 3, 4}, DataType::f16),
                 tw = upload(stream, w, {5, 4}, DataType::f16);
    Epilogue epilogue;
    const std::vector<float> plain = download(stream, matmul(stream, tx, tw));
    epilogue.order = Order::feature_major;
    const Tensor turned = matmul(stream, tx, tw, epilogue);
    EXPECT_EQ(turned.shape(), (Shape{2, 3, 5}));
    EXPECT_EQ(turned.strides(), (Shape{15, 1, 3}));
    EXPECT_EQ(turned.type(), DataType::f16);
    EXPECT_EQ(download(stream, turned), plain);
    epilogue.widen = true;
    const Tensor wide = matmul(stream, tx, tw, epilogue);
    EXPECT_EQ(wide.type(), DataType::f32);
    EXPECT_EQ(reference::round_to(reference::FloatType::f16, download(stream, wide)), plain);
    GradientOptions options;
    options.widen = true;
    EXPECT_EQ(weight_gradient(stream, tx, tx, options).type(), DataType::f32);
    EXPECT_EQ(weight_gradient(stream, tx, tx).shape(), (Shape{2, 4, 4}));
}

TEST(Matmul, RandomCasesAgreeWithTheOracle) {
    Stream stream(test::device());
    test::property(80, [&] {
        MatmulCase one;
        one.verb = verbs[test::draw(0, 2)];
        one.m = test::draw(0, 40);
        one.n = test::draw(0, 70);
        one.k = test::draw(0, 40);
        one.batch = test::draw(0, 3);
        one.batched_a = test::draw(0, 1) == 1;
        one.batched_b = test::draw(0, 1) == 1;
        one.type = types[test::draw(0, 2)];
        one.widen = test::draw(0, 1) == 1;
        one.a = test::draw_layout();
        one.b = test::draw_layout();
        one.c = test::draw_layout();
        one.a.broadcast = test::draw(0, 5) == 5;
        one.whole = test::draw(0, 1) == 1;
        one.seed = static_cast<unsigned>(test::draw(1, 1000));
        const std::string text = mismatch(stream, one);
        RC_ASSERT(text == "");
    });
}

}  // namespace
}  // namespace danaus
