// Streams: order over many submissions, barriers, budgets, timings, what is left when a stream goes.
#include "packets.hpp"
#include "support/device.hpp"

#include <random>
#include <utility>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::copy_packet;
using test::device;
using test::expect_error;
using test::fill_packet;
using test::get;
using test::put;
using test::words;
using test::Words;

TEST(Stream, ReadAfterWriteWriteAfterReadWriteAfterWrite) {
    Stream stream(device());
    const Buffer a = words(device(), 5000), b = words(device(), 5000), c = words(device(), 5000);
    stream.record(fill_packet(a, 0, 5000, 1));
    stream.record(copy_packet(b, 0, a, 0, 5000));  // read after write
    stream.record(fill_packet(a, 0, 5000, 2));     // write after read
    stream.record(fill_packet(a, 0, 5000, 3));     // write after write
    stream.record(copy_packet(c, 0, a, 0, 5000));
    EXPECT_EQ(stream.barriers(), 4u);
    EXPECT_EQ(get(stream, b, 0, 5000), Words(5000, 1));
    EXPECT_EQ(get(stream, c, 0, 5000), Words(5000, 3));
}

TEST(Stream, IndependentWorkGetsNoBarrier) {
    Stream stream(device());
    std::vector<Buffer> buffers;
    for (std::uint32_t i = 0; i < 20; ++i) buffers.push_back(words(device(), 100));
    const Buffer shared = words(device(), 20 * 128);
    for (std::uint32_t i = 0; i < 20; ++i) stream.record(fill_packet(buffers[i], 0, 100, i));
    // Neighbouring ranges of one buffer, too. (Whole offset alignments apart: see the test below.)
    for (std::uint32_t i = 0; i < 8; ++i) stream.record(fill_packet(shared, 256 * i, 256, i));
    EXPECT_EQ(stream.barriers(), 0u);
    // One barrier settles all of it.
    for (std::uint32_t i = 0; i + 1 < 20; ++i) stream.record(copy_packet(shared, 128 * i, buffers[i], 0, 50));
    EXPECT_EQ(stream.barriers(), 1u);
    for (std::uint32_t i = 0; i + 1 < 20; ++i) EXPECT_EQ(get(stream, shared, 128 * i, 50), Words(50, i)) << i;
}

// A descriptor starts at a multiple of the device's alignment: what lies before the operand belongs to its
// interval.
TEST(Stream, NeighboursInsideADescriptorsAlignment) {
    Stream stream(device());
    const Buffer buffer = words(device(), 64);
    for (std::uint32_t i = 0; i < 64; ++i) stream.record(fill_packet(buffer, i, 1, i));
    const std::uint64_t aligned =
        std::min<std::uint64_t>(64, device().capabilities().storage_offset_alignment / 4);
    EXPECT_EQ(stream.barriers(), test::access() == Access::address ? 0 : 64 - 64 / aligned);
    const Words all = get(stream, buffer, 0, 64);
    for (std::uint32_t i = 0; i < 64; ++i) EXPECT_EQ(all[i], i);
}

TEST(Stream, BarriersLastAcrossSubmissions) {
    StreamOptions options;
    options.max_in_flight = 4;
    Stream stream(device(), options);
    const Buffer a = words(device(), 10000), b = words(device(), 10000);
    for (std::uint32_t i = 0; i < 200; ++i) {
        stream.record(fill_packet(a, 0, 10000, i));
        stream.flush();
        stream.record(copy_packet(b, 50 * i, a, 20 * i, 50));
        EXPECT_EQ(stream.flush(), 2 * i + 2);
    }
    EXPECT_EQ(stream.submissions(), 400u);
    EXPECT_EQ(stream.barriers(), 399u);
    const Words result = get(stream, b, 0, 10000);
    for (std::uint32_t i = 0; i < 200; ++i) ASSERT_EQ(result[50 * i + 7], i);
}

// Random packets, copies and flushes against the same steps on the host.
RC_GTEST_PROP(Stream, RandomWorkEqualsTheHost, ()) {
    constexpr std::uint32_t size = 128;
    Stream stream(device(), {.max_in_flight = *rc::gen::inRange(1u, 4u),
                             .work_budget = *rc::gen::inRange<std::uint64_t>(1, 2000)});
    std::vector<Buffer> buffers;
    std::vector<Words> model(3, Words(size, 0));
    for (Words& values : model) {
        for (std::uint32_t& value : values) value = *rc::gen::arbitrary<std::uint32_t>();
        buffers.push_back(words(device(), size));
        put(stream, buffers.back(), values);
    }
    const auto steps = *rc::gen::inRange(1, 60);
    for (int i = 0; i < steps; ++i) {
        const auto to = *rc::gen::inRange<std::size_t>(0, 3),
                   from = (to + *rc::gen::inRange<std::size_t>(1, 3)) % 3;
        const auto count = *rc::gen::inRange(1u, size);
        const auto to_first = *rc::gen::inRange(0u, size - count + 1);
        const auto from_first = *rc::gen::inRange(0u, size - count + 1);
        switch (*rc::gen::inRange(0, 5)) {
            case 0: {
                const auto value = *rc::gen::arbitrary<std::uint32_t>();
                stream.record(fill_packet(buffers[to], to_first, count, value));
                std::fill_n(model[to].begin() + to_first, count, value);
                break;
            }
            case 1:
                stream.record(Copy{buffers[from], buffers[to], from_first * 4, to_first * 4, count * 4});
                std::copy_n(model[from].begin() + from_first, count, model[to].begin() + to_first);
                break;
            case 2:
                stream.flush();
                break;
            default:
                stream.record(copy_packet(buffers[to], to_first, buffers[from], from_first, count));
                std::copy_n(model[from].begin() + from_first, count, model[to].begin() + to_first);
        }
    }
    for (std::size_t i = 0; i < 3; ++i) RC_ASSERT(get(stream, buffers[i], 0, size) == model[i]);
}

TEST(Stream, TheWorkBudgetFlushes) {
    StreamOptions options;
    options.work_budget = 1000;
    Stream stream(device(), options);
    const Buffer buffer = words(device(), 400);
    for (int i = 0; i < 2; ++i) stream.record(fill_packet(buffer, 0, 400, 7));
    EXPECT_EQ(stream.submissions(), 0u);
    stream.record(fill_packet(buffer, 0, 400, 8));
    EXPECT_EQ(stream.submissions(), 1u);
    stream.record(Copy{buffer, words(device(), 400), 0, 0, 1600});
    EXPECT_EQ(stream.submissions(), 1u);
    for (int i = 0; i < 2; ++i) stream.record(fill_packet(buffer, 0, 400, 9));
    EXPECT_EQ(stream.submissions(), 2u);
}

TEST(Stream, ManySmallStepsFlushToo) {
    Stream stream(device());
    const Buffer from = words(device(), 4), to = words(device(), 4);
    for (int i = 0; i < 1023; ++i) stream.record(Copy{from, to, 0, 4, 4});
    EXPECT_EQ(stream.submissions(), 0u);
    stream.record(Copy{from, to, 0, 4, 4});
    EXPECT_EQ(stream.submissions(), 1u);
    const std::uint32_t value = 5;
    for (std::uint32_t i = 0; i < 1024; ++i)
        stream.upload(to, 4 * (i % 4), std::as_bytes(std::span(&value, 1)));
    EXPECT_EQ(stream.submissions(), 2u);
    EXPECT_EQ(get(stream, to, 0, 4), Words(4, 5));
}

TEST(Stream, EmptyWorkIsNoWork) {
    Stream stream(device());
    const Buffer buffer = words(device(), 4);
    Packet nothing = fill_packet(buffer, 0, 4, 1);
    nothing.grid[1] = 0;
    stream.record(nothing);
    stream.record(Copy{buffer, buffer, 0, 8, 0});
    stream.upload(buffer, 0, {});
    stream.download(buffer, 0, {});
    EXPECT_EQ(stream.flush(), 0u);
    stream.finish();
    EXPECT_EQ(stream.submissions(), 0u);
}

TEST(Stream, ValuesPassInOrder) {
    Stream stream(device());
    const Buffer buffer = words(device(), 1 << 16);
    std::vector<std::uint64_t> values;
    for (int i = 0; i < 5; ++i) {
        stream.record(fill_packet(buffer, 0, 1 << 16, 1));
        values.push_back(stream.flush());
    }
    EXPECT_TRUE(stream.passed(0));
    stream.wait(values[2]);
    EXPECT_TRUE(stream.passed(values[2]));
    stream.finish();
    EXPECT_TRUE(stream.passed(values[4]));
    EXPECT_FALSE(stream.passed(values[4] + 1));
    expect_error(ErrorKind::invalid_argument, {"wait", "6", "5"}, [&] { stream.wait(6); });
}

TEST(Stream, TimingsNameEveryPacket) {
    StreamOptions options;
    options.profile = true;
    Stream stream(device(), options);
    const Buffer a = words(device(), 1 << 20), b = words(device(), 1 << 20);
    EXPECT_TRUE(stream.timings().empty());
    for (int round = 0; round < 3; ++round) {
        stream.record(fill_packet(a, 0, 1 << 20, 3));
        stream.record(Copy{a, b, 0, 0, 16});  // copies are not timed
        Packet copy = copy_packet(b, 0, a, 0, 1 << 20);
        copy.label = {};
        stream.record(copy);
        stream.flush();
    }
    stream.finish();
    const std::vector<Timing> timings = stream.timings();
    ASSERT_EQ(timings.size(), 6u);
    for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_EQ(timings[i].kernel, i % 2 ? "copy" : "fill");
        EXPECT_EQ(timings[i].label, i % 2 ? "" : "fill");
        EXPECT_GT(timings[i].nanoseconds, 0.0);
        EXPECT_LT(timings[i].nanoseconds, 60e9);
    }
    EXPECT_TRUE(stream.timings().empty());
    EXPECT_EQ(get(stream, b, 0, 4), Words(4, 3));
}

TEST(Stream, ProfileNeedsTimestamps) {
    Device blind = test::capped_device([](Capabilities& c) { c.timestamp_bits = 0; });
    expect_error(ErrorKind::unsupported, {"profile", "timestamp"}, [&] { Stream(blind, {.profile = true}); });
    blind.close();
}

TEST(Stream, RefusesToCompile) {
    Device fresh = Device::open(test::device_options());
    {
        Stream strict(fresh, {.refuse_to_compile = true});
        const Buffer buffer = words(fresh, 64);
        expect_error(ErrorKind::unsupported, {"fill", "local_size=64", "not compiled", "prewarm"},
                     [&] { strict.record(fill_packet(buffer, 0, 64, 1)); });
        EXPECT_EQ(strict.flush(), 0u) << "nothing was recorded";
        Stream(fresh).record(fill_packet(buffer, 0, 64, 1));
        strict.record(fill_packet(buffer, 0, 64, 2));
        EXPECT_EQ(get(strict, buffer, 0, 64), Words(64, 2));
    }
    fresh.close();
}

TEST(Stream, OptionsAreChecked) {
    expect_error(ErrorKind::invalid_argument, {"max_in_flight = 0", "at least 1"},
                 [] { Stream(device(), {.max_in_flight = 0}); });
    expect_error(ErrorKind::invalid_argument, {"null"}, [] { Stream{Device()}; });
}

TEST(Stream, MovesAndIsChecked) {
    Stream first(device());
    const Buffer buffer = words(device(), 8);
    first.record(fill_packet(buffer, 0, 8, 4));
    Stream second = std::move(first);
    EXPECT_EQ(get(second, buffer, 0, 8), Words(8, 4));
    expect_error(ErrorKind::invalid_argument, {"moved from"}, [&] { first.flush(); });
    first = std::move(second);
    EXPECT_EQ(first.submissions(), 1u);
}

TEST(Stream, UnflushedWorkIsDropped) {
    const Buffer buffer = words(device(), 8);
    Stream other(device());
    put(other, buffer, Words(8, 1));
    other.flush();
    {
        Stream stream(device());
        stream.record(fill_packet(buffer, 0, 8, 2));
    }
    // The stream that is gone is in nobody's way, and what came before is still waited for.
    Stream third(device());
    third.record(copy_packet(buffer, 4, buffer, 0, 4));
    EXPECT_EQ(get(third, buffer, 0, 8), Words(8, 1));
    EXPECT_EQ(get(other, buffer, 0, 8), Words(8, 1));
}

}  // namespace
}  // namespace danaus
