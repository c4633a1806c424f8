// Upload, download, fill and conversion: every type, rank, stride and offset, and every rounding.
#include "support/device.hpp"
#include "support/operands.hpp"

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr DataType floats[] = {DataType::f32, DataType::f16, DataType::bf16};

TEST(Transfer, FillsInsideGuards) {
    Stream stream(device());
    for (const DataType type : floats)
        for (const std::uint64_t skew : {0u, 1u}) {
            test::Guarded out(stream, type, {3, 5}, 7, skew);
            fill_into(stream, out.tensor(), 1.5);
            EXPECT_EQ(download(stream, out.tensor()), std::vector<float>(15, 1.5f)) << to_string(type);
            out.check(stream, to_string(type));
        }
    const Tensor words(device(), DataType::u32, {4}), numbers(device(), DataType::i32, {2, 2});
    fill_into(stream, words, 4294967295.0);
    fill_into(stream, numbers.transpose(), -2147483648.0);
    EXPECT_EQ(download_u32(stream, words), std::vector<std::uint32_t>(4, UINT32_MAX));
    EXPECT_EQ(download_i32(stream, numbers), std::vector<std::int32_t>(4, INT32_MIN));
    for (const double value : {-1.0, 4294967296.0, static_cast<double>(NAN)})
        expect_error(invalid, {"value", "u32"}, [&] { fill_into(stream, words, value); });
    expect_error(invalid, {"value", "2147483648", "i32"}, [&] { fill_into(stream, numbers, 2147483648.0); });
    const Tensor scalar(device(), DataType::f16, {});
    fill_into(stream, scalar, -2.0);
    EXPECT_EQ(download(stream, scalar), std::vector<float>{-2.0f});
    fill_into(stream, Tensor(device(), DataType::f32, {0, 3}), 1.0);
}

TEST(Transfer, RanksTypesAndStrides) {
    Stream stream(device());
    for (const DataType type : floats)
        for (const Shape& shape : {Shape{}, Shape{5}, Shape{3, 5}, Shape{2, 3, 5}, Shape{2, 3, 4, 5},
                                   Shape{2, 0, 5}, Shape{1, 1, 1, 1}, Shape{1, 7, 1}}) {
            const auto values = test::random_values(shape.elements(), 3, type);
            EXPECT_EQ(download(stream, upload(stream, values, shape, type)), values);
            for (const Layout& layout :
                 {Layout{.gap = 1, .batch_gap = 1, .skew = 1}, Layout{.feature_major = true}}) {
                const Placed out(stream, type, shape, layout);
                upload_into(stream, out, values);
                EXPECT_EQ(out.values(stream), values) << to_string(shape) << layout << to_string(type);
                EXPECT_EQ(download(stream, out), values);
                EXPECT_EQ(download(stream, contiguous(stream, out)), values);
            }
        }
}

TEST(Transfer, IntegersKeepEveryBit) {
    Stream stream(device());
    std::mt19937 engine(7);
    std::vector<std::uint32_t> words(600);
    for (auto& word : words) word = static_cast<std::uint32_t>(engine());
    // Patterns that a float unit would alter: signalling NaN, subnormals.
    words[0] = 0x7f800001;
    words[1] = 0x00000001;
    words[2] = 0xffffffff;
    std::vector<std::int32_t> numbers(words.begin(), words.end());
    EXPECT_EQ(download_u32(stream, upload(stream, words, {20, 30})), words);
    EXPECT_EQ(download_i32(stream, upload(stream, numbers, {20, 30})), numbers);
    const Tensor turned = Tensor(device(), DataType::u32, {30, 20}).transpose();
    upload_into(stream, turned, words);
    EXPECT_EQ(download_u32(stream, turned), words);
    EXPECT_EQ(download_u32(stream, contiguous(stream, turned)), words);
    const Tensor spread = Tensor(device(), DataType::i32, {20, 60}).slice(1, 15, 45);
    upload_into(stream, spread, numbers);
    EXPECT_EQ(download_i32(stream, spread), numbers);
}

// Values at and around every boundary of both 16-bit types.
std::vector<float> special_values() {
    std::vector<float> values;
    const auto add = [&](std::uint32_t bits) {
        for (const std::uint32_t sign : {0u, 0x80000000u})
            for (const int step : {-2, -1, 0, 1, 2})
                values.push_back(std::bit_cast<float>((bits + static_cast<std::uint32_t>(step)) | sign));
    };
    add(2);  // zero and the smallest subnormals
    for (std::uint32_t exponent = 0; exponent < 256; ++exponent)
        for (const std::uint32_t fraction :
             {0u, 0x1000u, 0x3000u, 0x8000u, 0x18000u, 0x7fe000u, 0x7ff000u, 0x7f8000u})
            add(exponent << 23 | fraction);
    for (std::uint32_t half = 0; half < 0x7c00; half += 37)  // ties between neighbours of f16
        add(std::bit_cast<std::uint32_t>((reference::f32_from_f16(static_cast<std::uint16_t>(half)) +
                                          reference::f32_from_f16(static_cast<std::uint16_t>(half + 1))) /
                                         2));
    return values;
}

std::vector<std::uint16_t> rounded_on_device(Stream& stream, const std::vector<float>& values, DataType type,
                                             bool pairs) {
    // An odd start takes the single-element path, an even one the path of pairs.
    const Tensor out =
        Tensor(device(), type, {values.size() + 2}).slice(0, pairs ? 2 : 1, values.size() + (pairs ? 2 : 1));
    convert_into(stream, out, upload(stream, values, {values.size()}));
    std::vector<std::uint16_t> bits(values.size());
    stream.download(out.buffer(), out.offset() * 2, std::as_writable_bytes(std::span(bits)));
    return bits;
}

TEST(Transfer, RoundsEveryKindOfValueToNearestEven) {
    Stream stream(device());
    std::vector<float> values = special_values();
    std::mt19937 engine(std::random_device{}());
    for (int i = 0; i < 200000; ++i)
        values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(engine())));
    for (int i = 0; i < 100000; ++i)  // the exponents that f16 distinguishes
        values.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(engine() % 0x10000000 + 0x32000000) |
                                              static_cast<std::uint32_t>(engine() & 0x80000000)));
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const bool pairs : {true, false}) {
            const auto bits = rounded_on_device(stream, values, type, pairs);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < values.size(); ++i) {
                const bool half = type == DataType::f16;
                std::uint16_t expected =
                    half ? reference::f16_from_f32(values[i]) : reference::bf16_from_f32(values[i]);
                // Any NaN becomes the quiet one of its sign.
                if (std::isnan(values[i]))
                    expected = static_cast<std::uint16_t>((std::signbit(values[i]) ? 0x8000 : 0) |
                                                          (half ? 0x7e00 : 0x7fc0));
                if (bits[i] != expected && wrong++ == 0)
                    ADD_FAILURE() << to_string(type) << (pairs ? " pairs" : "") << std::hex << ": f32 bits "
                                  << std::bit_cast<std::uint32_t>(values[i]) << " became " << bits[i]
                                  << ", not " << expected;
            }
            EXPECT_EQ(wrong, 0u);
        }
}

TEST(Transfer, WidensEvery16BitPattern) {
    Stream stream(device());
    std::vector<std::uint16_t> patterns(65536);
    std::iota(patterns.begin(), patterns.end(), std::uint16_t{0});
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const std::uint64_t start : {0u, 1u}) {
            const Tensor in =
                Tensor(device(), type, {patterns.size() + 1}).slice(0, start, start + patterns.size());
            stream.upload(in.buffer(), start * 2, std::as_bytes(std::span(patterns)));
            const std::vector<float> wide = download(stream, in);
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < patterns.size(); ++i) {
                const float expected = type == DataType::f16 ? reference::f32_from_f16(patterns[i])
                                                             : reference::f32_from_bf16(patterns[i]);
                const bool same = std::isnan(expected) ? std::isnan(wide[i])
                                                       : std::bit_cast<std::uint32_t>(expected) ==
                                                             std::bit_cast<std::uint32_t>(wide[i]);
                if (!same && wrong++ == 0)
                    ADD_FAILURE() << to_string(type) << " " << i << " became " << wide[i] << ", not "
                                  << expected;
            }
            EXPECT_EQ(wrong, 0u);
            // And back, to the same bits: a 16-bit type holds its own values.
            const Tensor again = convert(stream, convert(stream, in, DataType::f32), type);
            std::vector<std::uint16_t> bits(patterns.size());
            stream.download(again.buffer(), 0, std::as_writable_bytes(std::span(bits)));
            for (std::size_t i = 0; i < bits.size(); ++i) {
                const std::uint16_t magnitude = patterns[i] & 0x7fff,
                                    infinity = type == DataType::f16 ? 0x7c00 : 0x7f80;
                if (magnitude <= infinity) {
                    ASSERT_EQ(bits[i], patterns[i]);
                }
            }
        }
}

TEST(Transfer, MoreRowsThanAGridHolds) {
    Stream stream(device());
    // Gaps keep the dimensions apart, so that rows are dimensions of the grid.
    for (const Shape& shape : {Shape{70001, 1, 3}, Shape{3, 70001, 1}, Shape{300, 250, 2, 1}}) {
        std::vector<float> values(shape.elements());
        std::iota(values.begin(), values.end(), 0.0f);
        const Placed out(stream, DataType::f32, shape, {.gap = 1, .batch_gap = 1});
        upload_into(stream, out, values);
        EXPECT_EQ(out.values(stream), values);
        EXPECT_EQ(download(stream, out.tensor().transpose().transpose()), values);
    }
    const std::size_t many = 64 * 65535 + 7;  // more lanes than workgroups of the first dimension
    std::vector<float> values(2 * many);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 2039);
    const Tensor half = convert(stream, upload(stream, values, {2 * many}), DataType::f16);
    EXPECT_EQ(download(stream, half), values);
}

// Tiles of sixteen rows, their tails, and transposes whose lanes own two elements.
TEST(Transfer, TilesOfRowsAndTransposes) {
    Stream stream(device());
    for (const Shape& shape : {Shape{8, 5}, Shape{9, 17}, Shape{16, 32}, Shape{37, 53}, Shape{3, 33, 20}})
        for (const DataType from : floats)
            for (const DataType to : floats)
                for (const bool turned_in : {false, true})
                    for (const bool turned_out : {false, true}) {
                        const auto values = test::random_values(shape.elements(), 3, from);
                        const Placed in(stream, from, shape, {.feature_major = turned_in, .gap = 1}, values),
                            out(stream, to, shape, {.feature_major = turned_out, .gap = turned_in ? 1u : 2u});
                        convert_into(stream, out, in);
                        EXPECT_EQ(out.values(stream),
                                  reference::round_to(test::float_type(to), std::span<const float>(values)))
                            << to_string(shape) << ' ' << to_string(from) << ' ' << to_string(to) << turned_in
                            << turned_out;
                    }
}

TEST(Transfer, RandomConversions) {
    Stream stream(device());
    test::property(150, [&] {
        std::vector<std::uint64_t> sizes(draw(0, 4));
        for (auto& size : sizes) size = draw(0, 6);
        const Shape shape{std::span<const std::uint64_t>(sizes)};
        const DataType from = floats[draw(0, 2)], to = floats[draw(0, 2)];
        const auto values = test::random_values(shape.elements(), static_cast<unsigned>(draw(1, 1000)), from);
        Layout source = test::draw_layout();
        const Placed in(stream, from, shape, source, values), out(stream, to, shape, test::draw_layout());
        Tensor read = in, written = out;
        if (shape.rank() >= 2 && draw(0, 1)) {  // the same transposition on both sides changes the walk only
            read = read.transpose(0, shape.rank() - 1);
            written = written.transpose(0, shape.rank() - 1);
        }
        convert_into(stream, written, read);
        const Placed::Contents contents = out.read(stream);
        RC_ASSERT(contents.values ==
                  reference::round_to(test::float_type(to), std::span<const float>(values)));
        RC_ASSERT(contents.damage == "");
    });
}

TEST(Transfer, SmallStorageRangesAndGridsSplit) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = caps.storage_offset_alignment + 256;
        caps.max_workgroup_count = {3, 2, 2};
    });
    Stream stream(small);
    for (const DataType type : floats) {
        const auto values = test::random_values(7 * 9 * 11, 5, type);
        const Placed out(stream, type, {7, 9, 11}, {.gap = 3, .batch_gap = 5, .skew = 1});
        upload_into(stream, out, values);
        EXPECT_EQ(out.values(stream), values) << to_string(type);
        EXPECT_EQ(download(stream, out), values);
        const Placed filled(stream, type, {40, 21}, {.gap = 1});
        fill_into(stream, filled, 0.5);
        EXPECT_EQ(filled.values(stream), std::vector<float>(840, 0.5f));
        const Tensor flat(small, type, {1000});
        fill_into(stream, flat, 2.0);
        EXPECT_EQ(download(stream, flat), std::vector<float>(1000, 2.0f));
    }
    const Device none = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 0; });
    if (none.access() == Access::descriptor) {
        Stream empty_handed(none);
        const Tensor out(none, DataType::f32, {4});
        expect_error(ErrorKind::unsupported, {"storage"}, [&] { fill_into(empty_handed, out, 1.0); });
        expect_error(ErrorKind::unsupported, {"storage"},
                     [&] { convert_into(empty_handed, Tensor(none, DataType::f16, {4}), out); });
    }
}

TEST(Transfer, WrongInputIsNamedAndNothingIsRecorded) {
    Stream stream(device());
    const Device second = test::capped_device([](Capabilities&) {});
    const Tensor f(device(), DataType::f32, {2, 3}), i(device(), DataType::i32, {2, 3}),
        foreign(second, DataType::f32, {2, 3});
    const std::vector<float> values(6), short_values(5);
    const std::vector<std::uint32_t> words(6);
    const std::uint64_t before = stream.submissions();
    expect_error(invalid, {"values", "5", "(2, 3)", "6"}, [&] { upload_into(stream, f, short_values); });
    expect_error(invalid, {"out", "i32", "f32"}, [&] { upload_into(stream, i, values); });
    expect_error(invalid, {"out", "f32", "u32"}, [&] { upload_into(stream, f, words); });
    expect_error(invalid, {"out", "null"}, [&] { upload_into(stream, {}, values); });
    expect_error(invalid, {"out", "another device"}, [&] { upload_into(stream, foreign, values); });
    expect_error(invalid, {"tensor", "i32", "f32"}, [&] { static_cast<void>(download(stream, i)); });
    expect_error(invalid, {"tensor", "f32", "u32"}, [&] { static_cast<void>(download_u32(stream, f)); });
    expect_error(invalid, {"tensor", "null"}, [&] { static_cast<void>(download(stream, {})); });
    expect_error(invalid, {"out", "(3, 2)", "(2, 3)"}, [&] { convert_into(stream, f.transpose(), f); });
    expect_error(invalid, {"out", "i32", "f32, f16, bf16 and complex64"},
                 [&] { convert_into(stream, i, f); });
    expect_error(invalid, {"out", "f32", "itself"}, [&] { convert_into(stream, f, i); });
    expect_error(invalid, {"out", "overlaps in"}, [&] { convert_into(stream, f, f); });
    expect_error(invalid, {"out", "more than once"}, [&] {
        convert_into(stream, f.as_strided({2, 3}, {0, 1}), Tensor(device(), DataType::f32, {2, 3}));
    });
    expect_error(invalid, {"in", "another device"}, [&] { convert_into(stream, f, foreign); });
    expect_error(invalid, {"in", "null"}, [&] { static_cast<void>(convert(stream, {}, DataType::f32)); });
    expect_error(invalid, {"out", "null"}, [&] { fill_into(stream, {}, 1.0); });
    EXPECT_EQ(stream.submissions(), before);
    EXPECT_EQ(stream.barriers(), 0u);
    upload_into(stream, f, values);
    EXPECT_EQ(download(stream, f), values);
}

}  // namespace
}  // namespace danaus
