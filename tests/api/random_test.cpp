#include "api/training_support.hpp"
#include "reference/error_bound.hpp"
#include "reference/philox.hpp"

#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::reference_type;

constexpr std::uint64_t any_seed = 0x123456789abcdef0u;

// One multiplication and one addition in fp32, then the type's rounding.
std::vector<float> expected_uniform(DataType type, float low, float high, std::uint64_t seed,
                                    std::uint64_t offset, std::size_t count) {
    std::vector<float> values;
    for (const double u : reference::philox_uniform(seed, offset, count)) {
        volatile float product = static_cast<float>(u) * (high - low);
        values.push_back(product + low);
    }
    return reference::round_to(reference_type(type), values);
}

TEST(Uniform, IsBitExactForEveryTypeSizeAndLayout) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const auto& [rows, columns] : {std::pair{0u, 3u},
                                            {1u, 1u},
                                            {1u, 2u},
                                            {1u, 3u},
                                            {2u, 2u},
                                            {1u, 5u},
                                            {3u, 21u},
                                            {64u, 1u},
                                            {5u, 13u},
                                            {33u, 129u}})
            for (const test::Layout& layout : test::layouts) {
                const test::GuardedMatrix out(stream, type, rows, columns, layout);
                uniform_into(stream, out.tensor(), -0.75f, 2.0f, any_seed, 77);
                EXPECT_EQ(download(stream, out.tensor()),
                          expected_uniform(type, -0.75f, 2.0f, any_seed, 77, rows * columns))
                    << to_string(type) << " " << rows << " " << columns;
                out.check(stream);
            }
}

TEST(Uniform, ContiguousButMidWord) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const std::uint64_t count : {1u, 2u, 3u, 4u, 5u, 8u, 131u}) {
            const test::Guarded out(stream, type, {count}, 0, 1);
            uniform_into(stream, out.tensor(), 0.0f, 1.0f, 3, 0);
            EXPECT_EQ(download(stream, out.tensor()), expected_uniform(type, 0.0f, 1.0f, 3, 0, count));
            out.check(stream);
        }
}

TEST(Uniform, CountersCarryIntoTheUpperWord) {
    Stream stream(device());
    for (const std::uint64_t offset : {0xfffffffeull, 0xffffffffffffffffull, 0x1ffffffffull})
        EXPECT_EQ(download(stream, uniform(stream, DataType::f32, {37}, 0.0f, 1.0f, 1, offset)),
                  expected_uniform(DataType::f32, 0.0f, 1.0f, 1, offset, 37));
}

TEST(Uniform, FillsContinueEachOther) {
    Stream stream(device());
    const auto whole = download(stream, uniform(stream, DataType::f32, {100}, -1.0f, 1.0f, 5, 10));
    auto first = download(stream, uniform(stream, DataType::f32, {60}, -1.0f, 1.0f, 5, 10));
    const auto second =
        download(stream, uniform(stream, DataType::f32, {40}, -1.0f, 1.0f, 5, 10 + philox_blocks(60)));
    first.insert(first.end(), second.begin(), second.end());
    EXPECT_EQ(whole, first);
    EXPECT_EQ(philox_blocks(0), 0u);
    EXPECT_EQ(philox_blocks(61), 16u);
    EXPECT_EQ(philox_blocks(~0ull), 1ull << 62);
}

TEST(Uniform, ManyRoundsOfTheGrid) {
    Stream stream(device());
    constexpr std::size_t count = (4u << 20) + 12345;  // more blocks than invocations of the largest grid
    EXPECT_EQ(download(stream, uniform(stream, DataType::f32, {count}, 0.0f, 1.0f, 9)),
              expected_uniform(DataType::f32, 0.0f, 1.0f, 9, 0, count));
}

RC_GTEST_PROP(Uniform, AgreesWithTheOracle, ()) {
    Stream stream(device());
    const auto count = *rc::gen::inRange<std::uint64_t>(0, 3000);
    const auto seed = *rc::gen::arbitrary<std::uint64_t>(), offset = *rc::gen::arbitrary<std::uint64_t>();
    const DataType type =
        *rc::gen::elementOf(std::vector(test::float_types.begin(), test::float_types.end()));
    RC_ASSERT(download(stream, uniform(stream, type, {count}, 0.0f, 1.0f, seed, offset)) ==
              expected_uniform(type, 0.0f, 1.0f, seed, offset, count));
}

TEST(Normal, IsWithinItsStatedTolerance) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const std::size_t count : {0u, 1u, 2u, 3u, 4u, 7u, 200'001u}) {
            const auto unit = reference::philox_normal(any_seed, 4, count);
            const auto values = download(stream, normal(stream, type, {count}, 0.25f, 2.0f, any_seed, 4));
            std::vector<double> expected(count), bound(count);
            const double u = type == DataType::f32 ? 0x1p-23 : reference::unit_roundoff(reference_type(type));
            for (std::size_t i = 0; i < count; ++i) {
                expected[i] = 0.25 + 2.0 * unit[i];
                bound[i] =
                    2.0 * 4e-6 * std::max(1.0, std::abs(unit[i])) + u * std::abs(expected[i]) + 0x1p-24;
            }
            const auto actual = reference::to_double(values);
            EXPECT_EQ(reference::first_mismatch(std::span<const double>(actual), expected, bound), "")
                << to_string(type);
        }
}

TEST(Normal, LayoutDoesNotMatter) {
    Stream stream(device());
    for (const DataType type : test::float_types) {
        const auto plain = download(stream, normal(stream, type, {7, 13}, 0.0f, 1.0f, 6));
        for (const test::Layout& layout : test::layouts) {
            const test::GuardedMatrix out(stream, type, 7, 13, layout);
            normal_into(stream, out.tensor(), 0.0f, 1.0f, 6);
            EXPECT_EQ(download(stream, out.tensor()), plain);
            out.check(stream);
        }
    }
}

TEST(Normal, HasTheMomentsOfANormalDistribution) {
    Stream stream(device());
    constexpr std::size_t count = 1 << 20;
    const auto values = download(stream, normal(stream, DataType::f32, {count}, 0.0f, 1.0f, 11));
    double sum = 0.0, squares = 0.0, fourth = 0.0;
    for (const double v : values) sum += v, squares += v * v, fourth += v * v * v * v;
    EXPECT_NEAR(sum / count, 0.0, 5e-3);
    EXPECT_NEAR(squares / count, 1.0, 1e-2);
    EXPECT_NEAR(fourth / count, 3.0, 6e-2);
}

TEST(Initialisation, BoundsFollowTheFanIn) {
    Stream stream(device());
    const Tensor w = empty(stream, DataType::f32, {64, 48});
    fan_in_uniform_into(stream, w, 48, 2, 1);
    const auto bound = static_cast<float>(1.0 / std::sqrt(48.0));
    EXPECT_EQ(download(stream, w), expected_uniform(DataType::f32, -bound, bound, 2, 1, 64 * 48));
    kaiming_uniform_into(stream, w, 48, 2, 1);
    const auto values = download(stream, w);
    double squares = 0.0;
    for (const double v : values) squares += v * v;
    EXPECT_NEAR(squares / static_cast<double>(values.size()), 2.0 / 48.0, 2e-3);
}

TEST(Random, LargeFillsAreSplitAtWholeBlocks) {
    test::Capture capture(device());
    const std::uint64_t count = (1ull << 32) + 6;
    uniform_into(capture, capture.tensor(DataType::bf16, {count}), 0.0f, 1.0f, 1, 5);
    ASSERT_GE(capture.packets.size(), 4u);
    std::uint64_t done = 0;
    for (const Packet& packet : capture.packets) {
        EXPECT_EQ(packet.operands[0].offset, 2 * done);
        const std::uint64_t block =
            test::Capture::field(packet, 3) + (std::uint64_t{test::Capture::field(packet, 4)} << 32);
        EXPECT_EQ(block, 5 + done / 4);
        EXPECT_EQ(done % 4, 0u);
        EXPECT_LE(packet.grid[0], 65535u);
        done += test::Capture::field(packet, 0);
    }
    EXPECT_EQ(done, count);
}

TEST(Random, WrongInput) {
    Stream stream(device());
    const Tensor f = empty(stream, DataType::f32, {4, 4}), u = empty(stream, DataType::u32, {4});
    const float infinity = std::numeric_limits<float>::infinity();
    const auto invalid = ErrorKind::invalid_argument;
    expect_error(invalid, {"out", "u32", "f32, f16, bf16"}, [&] { uniform_into(stream, u, 0, 1, 1); });
    expect_error(invalid, {"type", "i32"}, [&] { (void)normal(stream, DataType::i32, {4}, 0, 1, 1); });
    expect_error(invalid, {"low", "2", "1"}, [&] { uniform_into(stream, f, 2, 1, 1); });
    expect_error(invalid, {"high", "inf"}, [&] { uniform_into(stream, f, 2, infinity, 1); });
    expect_error(invalid, {"difference"}, [&] { uniform_into(stream, f, -3e38f, 3e38f, 1); });
    expect_error(invalid, {"mean", "nan"}, [&] { normal_into(stream, f, std::nanf(""), 1, 1); });
    expect_error(invalid, {"stddev", "-1"}, [&] { normal_into(stream, f, 0, -1, 1); });
    expect_error(invalid, {"fan_in", "0"}, [&] { kaiming_uniform_into(stream, f, 0, 1); });
    expect_error(invalid, {"gain"}, [&] { kaiming_uniform_into(stream, f, 4, 1, 0, -1.0f); });
    expect_error(invalid, {"out", "null"}, [&] { uniform_into(stream, Tensor{}, 0, 1, 1); });
    expect_error(invalid, {"out", "more than once"}, [&] {
        uniform_into(stream, f.as_strided({4, 4}, {0, 1}), 0, 1, 1);
    });
    const Device other = test::capped_device([](Capabilities&) {});
    expect_error(invalid, {"out", "another device"},
                 [&] { uniform_into(stream, Tensor(other, DataType::f32, {3}), 0, 1, 1); });
}

}  // namespace
}  // namespace danaus
