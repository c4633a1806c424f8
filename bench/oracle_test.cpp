// The oracle's sample of large products: what it computes is what the whole oracle computes, and the rest
// stays unknown.
#include "gemm.hpp"
#include "noise.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace danaus::bench {
namespace {

constexpr std::uint64_t tokens = 130, out = 24, in = 40, blocks = 3;

Values operands(std::size_t computed) {
    const std::size_t sizes[] = {tokens * in * blocks, out * in * blocks, tokens * out * blocks};
    Noise noise(7, std::uniform_int_distribution<int>(-2, 2));
    Values values;
    for (std::size_t i = 0; i < 3; ++i) {
        values.emplace_back(sizes[i], std::numeric_limits<float>::quiet_NaN());
        if (i != computed) noise.fill(values.back());
    }
    return values;
}

void expect_part_of_the_whole(const Gemm& product) {
    Values whole = operands(product.c), some = whole;
    multiply_in_double(product, whole, 24);
    const Sample sample{{0, 5}, {{1, 2}, {product.m - 1, product.n - 1}}};
    multiply_in_double(product, some, 24, sample);
    std::size_t known = 0;
    for (std::size_t i = 0; i < whole[product.c].size(); ++i) {
        ASSERT_FALSE(std::isnan(whole[product.c][i])) << i;
        if (std::isnan(some[product.c][i])) continue;
        EXPECT_EQ(some[product.c][i], whole[product.c][i]) << i;
        ++known;
    }
    EXPECT_EQ(known, (2 * product.n + 2) * product.batch);
}

TEST(Oracle, SamplesOfEveryDirectionArePartsOfTheWhole) {
    const Gemm forward_product{
        0, 1, 2, tokens, out, in, blocks, {in * blocks, 1, in}, {1, in, out * in}, {out * blocks, 1, out}};
    expect_part_of_the_whole(forward_product);
    expect_part_of_the_whole(input_gradient(forward_product, 0, 1, 2));
    expect_part_of_the_whole(weight_gradient(forward_product, 1, 0, 2));
}

TEST(Oracle, SamplesGrowWithTheBudgetAndShareRows) {
    const Gemm small = forward(0, 1, 2, 1024, 1024, 1024), large = forward(0, 1, 2, 64, 16384, 16384);
    EXPECT_EQ(sample_of({small}).rows.size(), 64u);
    EXPECT_EQ(sample_of({large}).rows.size(), 1u);
    EXPECT_EQ(sample_of({small}).rows.front(), 0u);
    EXPECT_EQ(sample_of({small}).elements.size(), 4096u);
    EXPECT_TRUE(sample_of({small, small}).elements.empty());
    for (const std::uint64_t row : sample_of({small}).rows) EXPECT_LT(row, 1024u);
}

TEST(Noise, RepeatsWithAPrimePeriod) {
    std::vector<float> values(1048573 * 2 + 5);
    Noise(1, std::uniform_real_distribution<float>(0.0f, 1.0f)).fill(values);
    EXPECT_EQ(values[3], values[1048573 + 3]);
    EXPECT_EQ(values[4], values[2 * 1048573 + 4]);
    EXPECT_NE(values[0], values[1048576]);
}

}  // namespace
}  // namespace danaus::bench
