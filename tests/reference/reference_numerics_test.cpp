// Proves the oracle's number formats, random bits, error bounds and 2:4 masks.
#include "reference/error_bound.hpp"
#include "reference/float_types.hpp"
#include "reference/kronecker.hpp"
#include "reference/monarch.hpp"
#include "reference/philox.hpp"
#include "reference/sparse24.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include <gtest/gtest.h>

namespace danaus::reference {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

TEST(FloatTypes, EveryF16RoundTrips) {
    for (std::uint32_t pattern = 0; pattern <= 0xffffu; ++pattern) {
        const auto bits = static_cast<std::uint16_t>(pattern);
        const bool nan = (bits & 0x7fffu) > 0x7c00u;
        const float value = f32_from_f16(bits);
        ASSERT_EQ(std::isnan(value), nan) << pattern;
        ASSERT_EQ(f16_from_f32(value), nan ? bits | 0x200u : bits) << pattern;
        ASSERT_EQ(std::signbit(value), bits >= 0x8000u) << pattern;
        if (nan || (bits & 0x7c00u) == 0x7c00u) continue;
        const int exponent = (bits >> 10) & 0x1f;
        const double significand = (exponent == 0 ? 0 : 1024) + (bits & 0x3ff);
        ASSERT_EQ(std::abs(value), std::ldexp(significand, std::max(exponent, 1) - 25)) << pattern;
    }
}

TEST(FloatTypes, EveryBf16RoundTrips) {
    for (std::uint32_t pattern = 0; pattern <= 0xffffu; ++pattern) {
        const auto bits = static_cast<std::uint16_t>(pattern);
        const bool nan = (bits & 0x7fffu) > 0x7f80u;
        const float value = f32_from_bf16(bits);
        ASSERT_EQ(std::isnan(value), nan) << pattern;
        ASSERT_EQ(bf16_from_f32(value), nan ? bits | 0x40u : bits) << pattern;
        ASSERT_EQ(std::bit_cast<std::uint32_t>(value) & ~0x400000u, (pattern << 16) & ~0x400000u);
    }
}

TEST(FloatTypes, RoundsToNearestEven) {
    EXPECT_EQ(f16_from_f32(1.0f + 0x1p-11f), 0x3c00);             // tie, even below
    EXPECT_EQ(f16_from_f32(1.0f + 3 * 0x1p-11f), 0x3c02);         // tie, even above
    EXPECT_EQ(f16_from_f32(1.0f + 0x1p-11f + 0x1p-23f), 0x3c01);  // just above a tie
    EXPECT_EQ(f16_from_f32(65519.996f), 0x7bff);
    EXPECT_EQ(f16_from_f32(65520.0f), 0x7c00);
    EXPECT_EQ(f16_from_f32(-1e30f), 0xfc00);
    EXPECT_EQ(f16_from_f32(0x1p-25f), 0x0000);  // half the smallest subnormal, tie to zero
    EXPECT_EQ(f16_from_f32(0x1.000002p-25f), 0x0001);
    EXPECT_EQ(f16_from_f32(0x1.8p-24f), 0x0002);
    EXPECT_EQ(f16_from_f32(0x1.ffcp-15f), 0x03ff + 1);  // subnormal tie carries into the smallest normal
    EXPECT_EQ(f16_from_f32(-0.0f), 0x8000);
    EXPECT_EQ(bf16_from_f32(1.0f + 0x1p-8f), 0x3f80);
    EXPECT_EQ(bf16_from_f32(1.0f + 3 * 0x1p-8f), 0x3f82);
    EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::max()), 0x7f80);
    EXPECT_EQ(bf16_from_f32(std::numeric_limits<float>::infinity()), 0x7f80);
    EXPECT_EQ(f16_from_f32(std::bit_cast<float>(0xff800001u)),
              0xfe00);  // signalling, low payload: stays a NaN
    EXPECT_EQ(bf16_from_f32(std::bit_cast<float>(0x7f800001u)), 0x7fc0);
}

TEST(FloatTypes, BitConversionsAgreeWithArithmeticRounding) {
    // Random patterns reach every exponent; multiples of a large odd step do not repeat.
    for (std::uint32_t i = 0; i < 2'000'000; ++i) {
        const auto value = std::bit_cast<float>(i * 2654435761u);
        if (std::isnan(value)) continue;
        ASSERT_EQ(double{f32_from_f16(f16_from_f32(value))}, round_to(FloatType::f16, double{value}))
            << value;
        ASSERT_EQ(double{f32_from_bf16(bf16_from_f32(value))}, round_to(FloatType::bf16, double{value}))
            << value;
        ASSERT_EQ(double{value}, round_to(FloatType::f32, double{value})) << value;
        const double wider = double{value} * (1.0 + 0x1.3p-24);
        if (std::abs(wider) < 3e38) {
            ASSERT_EQ(double{static_cast<float>(wider)}, round_to(FloatType::f32, wider)) << value;
        }
    }
    EXPECT_EQ(round_to(FloatType::f32, 1e39), infinity);
    EXPECT_TRUE(std::isnan(round_to(FloatType::bf16, not_a_number)));
}

TEST(FloatTypes, Limits) {
    EXPECT_EQ(largest_finite(FloatType::f16), 65504.0);
    EXPECT_EQ(largest_finite(FloatType::f32), double{std::numeric_limits<float>::max()});
    EXPECT_EQ(largest_finite(FloatType::bf16), double{f32_from_bf16(0x7f7f)});
    EXPECT_EQ(smallest_subnormal(FloatType::bf16), double{f32_from_bf16(1)});
    EXPECT_EQ(smallest_subnormal(FloatType::f16), 0x1p-24);
    EXPECT_EQ(smallest_normal(FloatType::f16), 0x1p-14);
    EXPECT_EQ(unit_roundoff(FloatType::f32), 0x1p-24);
    EXPECT_EQ(unit_roundoff(FloatType::f16), 0x1p-11);
    EXPECT_EQ(unit_roundoff(FloatType::bf16), 0x1p-8);
}

TEST(FloatTypes, EncodeAndDecode) {
    const std::vector<float> values{1.0f, -2.5f, 0.0f, 65504.0f};
    for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16}) {
        const auto bytes = encode(type, values);
        EXPECT_EQ(bytes.size(), values.size() * size_of(type));
        EXPECT_EQ(decode(type, bytes), round_to(type, values));
    }
    EXPECT_EQ(encode(FloatType::f16, values)[1], std::byte{0x3c});
    EXPECT_THROW(decode(FloatType::f32, std::vector<std::byte>(5)), std::invalid_argument);
}

TEST(Philox, KnownAnswers) {
    EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
              (PhiloxCounter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
    EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
              (PhiloxCounter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
    EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              (PhiloxCounter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, StreamsAndDistributions) {
    EXPECT_EQ(philox_word(0, 0, 2), 0xbc57ac4cu);
    EXPECT_EQ(philox_word(7, 3, 5), philox_word(7, 4, 1));
    EXPECT_NE(philox_word(7, 3, 5), philox_word(8, 3, 5));
    EXPECT_NE(philox_word(0, 0, 0), philox_word(0, std::uint64_t{1} << 32, 0));
    EXPECT_EQ(uniform_from_bits(0), 0.0);
    EXPECT_EQ(uniform_from_bits(~0u), 1.0 - 0x1p-24);
    EXPECT_TRUE(std::isfinite(normal_from_bits(~0u, 0)[0]));
    const std::size_t count = 200'000;
    double mean = 0.0;
    for (const double u : philox_uniform(1, 0, count)) mean += u / static_cast<double>(count);
    EXPECT_NEAR(mean, 0.5, 5 * std::sqrt(1.0 / 12.0 / static_cast<double>(count)));
    double normal_mean = 0.0;
    double normal_square = 0.0;
    for (const double z : philox_normal(2, 0, count)) {
        normal_mean += z / static_cast<double>(count);
        normal_square += z * z / static_cast<double>(count);
    }
    EXPECT_NEAR(normal_mean, 0.0, 5 / std::sqrt(static_cast<double>(count)));
    EXPECT_NEAR(normal_square, 1.0, 5 * std::sqrt(2.0 / static_cast<double>(count)));
}

std::vector<float> float_matmul(const std::vector<float>& x, const std::vector<float>& w, std::size_t tokens,
                                std::size_t in, std::size_t out) {
    std::vector<float> y(tokens * out);
    for (std::size_t t = 0; t < tokens; ++t) {
        for (std::size_t o = 0; o < out; ++o) {
            float sum = 0.0f;
            for (std::size_t i = 0; i < in; ++i) sum += x[t * in + i] * w[o * in + i];
            y[t * out + o] = sum;
        }
    }
    return y;
}

TEST(ErrorBound, HoldsForFp32AndIsNotVacuous) {
    const std::size_t in = 300;
    const std::vector<double> x = philox_normal(1, 0, 5 * in);
    const std::vector<double> w = philox_normal(2, 0, 7 * in);
    const Matrix exact = matmul(Matrix(5, in, x), Matrix(7, in, w));
    const Matrix magnitude = absolute_product(Matrix(5, in, x), Matrix(7, in, w));
    for (const FloatType type : {FloatType::f32, FloatType::f16, FloatType::bf16}) {
        const auto x_rounded = to_float(round_to(type, x));
        const auto w_rounded = to_float(round_to(type, w));
        const auto y = round_to(type, float_matmul(x_rounded, w_rounded, 5, in, 7));
        const Matrix bound = dot_bound(in, {.output = type, .input = type}, magnitude, exact);
        EXPECT_EQ(first_mismatch(y, exact, bound), "");
        EXPECT_LT(bound(0, 0),
                  4 * unit_roundoff(type) * magnitude(0, 0) * (type == FloatType::f32 ? 300 : 1));
        const Matrix rounded_exact = matmul(Matrix(5, in, x_rounded), Matrix(7, in, w_rounded));
        const Matrix tighter = dot_bound(in, {.output = type}, magnitude, rounded_exact);
        EXPECT_EQ(first_mismatch(y, rounded_exact, tighter), "");
        EXPECT_LT(tighter(0, 0), bound(0, 0));
    }
    EXPECT_EQ(dot_bound(10, 0x1p-24, 0.0), 0.0);
    EXPECT_EQ(gamma_bound(10, 0.1), infinity);
}

TEST(ErrorBound, ChainHoldsWithHalfIntermediate) {
    // Rounded operands, an f16 intermediate and an f16 result, as a device would compute.
    const std::vector<float> x = round_to(FloatType::f16, to_float(philox_normal(3, 0, 4 * 48)));
    const std::vector<float> w1 = round_to(FloatType::f16, to_float(philox_normal(4, 0, 4 * 12 * 12)));
    const std::vector<float> w2 = round_to(FloatType::f16, to_float(philox_normal(5, 0, 4 * 12 * 12)));
    const Monarch m(Tensor3(4, 12, 12, w1), Tensor3(4, 12, 12, w2));
    const Matrix input(4, 48, x);
    const Matrix t(4, 48, round_to(FloatType::f16, monarch_intermediate(input, m).data));
    const Matrix y = matmul(t, to_chain(m)[1]);
    const auto result = to_float(round_to(FloatType::f16, y.data));
    const Matrix bound = monarch_bound(input, m, {.output = FloatType::f16}, {.output = FloatType::f16});
    EXPECT_EQ(first_mismatch(result, matmul(input, m), bound), "");
    const Matrix without = monarch_bound(input, m, {}, {});
    EXPECT_NE(first_mismatch(result, matmul(input, m), without), "");
}

TEST(ErrorBound, MismatchesAreNamed) {
    const Matrix expected(2, 2, {1, 2, 3, 4});
    const Matrix bound(2, 2, 0.1);
    EXPECT_EQ(first_mismatch(std::vector<float>{1, 2, 3, 4}, expected, bound), "");
    const std::string text = first_mismatch(std::vector<float>{1, 2, 3.5f, NAN}, expected, bound);
    EXPECT_EQ(text, "at (1, 0): 3.5, expected 3, difference 0.5 > 0.1; 2 of 4 elements differ");
    EXPECT_NE(first_mismatch(std::vector<float>{1, 2, 3}, expected, bound), "");
    const std::vector<double> special{infinity, -infinity, not_a_number};
    EXPECT_EQ(first_mismatch(special, special, 1e-4, 1e-4), "");
    EXPECT_NE(first_mismatch(std::vector<double>{infinity}, std::vector<double>{-infinity}, 1e-4, 1e-4), "");
    EXPECT_NE(first_mismatch(std::vector<double>{infinity}, std::vector<double>{1.0}, 1e-4, 1e-4), "");
    EXPECT_NE(first_mismatch(std::vector<double>{1.0}, std::vector<double>{not_a_number}, 1e-4, 1e-4), "");
    EXPECT_NE(first_mismatch(std::vector<double>{1.0}, std::vector<double>{2.0}, infinity, infinity), "");
}

TEST(Sparse24, MaskIsOptimalByBruteForce) {
    // Small integers: sums are exact and ties are frequent. Columns are no multiple of any group size.
    std::vector<int> values(6 * 103);
    for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = static_cast<int>(philox_word(9, 0, i) % 9u) - 4;
    const Matrix w(6, 103, values);
    for (const auto& [n, m] :
         {std::pair<std::size_t, std::size_t>{2, 4}, {1, 2}, {1, 4}, {4, 8}, {3, 7}, {0, 4}, {4, 4}}) {
        const Mask mask = select_mask(w, n, m);
        EXPECT_TRUE(is_mask(mask, n, m));
        for (std::size_t row = 0; row < w.rows; ++row) {
            for (std::size_t first = 0; first < w.cols; first += m) {
                const auto group = w.row(row).subspan(first, std::min(m, w.cols - first));
                double kept = 0.0;
                for (std::size_t i = 0; i < group.size(); ++i) {
                    kept += mask(row, first + i) != 0 ? std::abs(group[i]) : 0.0;
                }
                ASSERT_EQ(kept, best_group_magnitude(group, n))
                    << n << ":" << m << " row " << row << " at " << first;
            }
        }
    }
}

TEST(Sparse24, TiesNanAndTails) {
    EXPECT_EQ(select_mask(Matrix(1, 4, {1, -1, 1, 1})), Mask(1, 4, {1, 1, 0, 0}));
    EXPECT_EQ(select_mask(Matrix(1, 4, {0, 2, -3, 2})), Mask(1, 4, {0, 1, 1, 0}));
    EXPECT_EQ(select_mask(Matrix(1, 4, {9, -infinity, 1, not_a_number})), Mask(1, 4, {0, 1, 0, 1}));
    EXPECT_EQ(select_mask(Matrix(1, 4, {-infinity, 1, infinity, not_a_number})), Mask(1, 4, {1, 0, 0, 1}));
    EXPECT_EQ(select_mask(Matrix(1, 4)), Mask(1, 4, {1, 1, 0, 0}));
    EXPECT_EQ(select_mask(Matrix(1, 5, {1, 2, 3, 4, 0})), Mask(1, 5, {0, 0, 1, 1, 1}));
    EXPECT_EQ(select_mask(Matrix(1, 6)), Mask(1, 6, {1, 1, 0, 0, 1, 1}));
    EXPECT_EQ(select_mask(Matrix(1, 7, {0, 0, 0, 0, 1, 0, 5})), Mask(1, 7, {1, 1, 0, 0, 1, 0, 1}));
    EXPECT_FALSE(is_mask(Mask(1, 4, {1, 0, 0, 0})));
    EXPECT_EQ(apply_mask(Matrix(1, 4, {9, infinity, 1, not_a_number}), Mask(1, 4, {1, 0, 1, 0})),
              Matrix(1, 4, {9, 0, 1, 0}));
}

TEST(Sparse24, GaussianFractionKept) {
    const Matrix w(200, 400, philox_normal(10, 0, 200 * 400));
    const double kept =
        kept_magnitude(w, select_mask(w)) / kept_magnitude(w, Mask(200, 400, std::uint8_t{1}));
    EXPECT_NEAR(kept, 0.7444, 0.003);
}

TEST(Sparse24, CompressesToAscendingIndices) {
    const Matrix w(6, 4, {1, 2, 0, 0, 1, 0, 2, 0, 0, 1, 2, 0, 1, 0, 0, 2, 0, 1, 0, 2, 0, 0, 1, 2});
    const Sparse24 s = compress(w, select_mask(w));
    EXPECT_EQ(s.indices.data, (std::vector<std::uint8_t>{4, 8, 9, 12, 13, 14}));
    for (std::size_t row = 0; row < 6; ++row) EXPECT_EQ(s.values(row, 0) + 2 * s.values(row, 1), 5.0);
    EXPECT_EQ(decompress(s), w);
    EXPECT_THROW(compress(w, Mask(6, 4, std::uint8_t{1})), std::invalid_argument);
}

TEST(Sparse24, RoundTripsAnyWidthAndMultiplies) {
    for (std::size_t cols = 0; cols <= 9; ++cols) {
        const Matrix w(3, cols, philox_normal(11, cols, 3 * cols));
        const Mask mask = select_mask(w);
        const Sparse24 s = compress(w, mask);
        const Matrix masked = apply_mask(w, mask);
        EXPECT_EQ(decompress(s), masked) << cols;
        for (const std::uint8_t index : s.indices.data) EXPECT_LT(index & 3, index >> 2);
        const Matrix x(2, cols, philox_normal(12, 0, 2 * cols));
        const Matrix dy(2, 3, philox_normal(13, 0, 6));
        EXPECT_EQ(matmul(x, s), matmul(x, masked));
        EXPECT_EQ(matmul_transposed(dy, s), matmul_transposed(dy, masked));
        EXPECT_EQ(weight_gradient(dy, x, s), weight_gradient(dy, x));
        const Matrix decayed = masked_decay(w, w, mask, 1.0);
        EXPECT_EQ(axpby(2.0, w, -1.0, masked), decayed);
    }
    EXPECT_EQ(flip_rate(Mask(1, 4, {1, 1, 0, 0}), Mask(1, 4, {1, 0, 1, 0})), 0.5);
}

}  // namespace
}  // namespace danaus::reference
