// Several streams and several threads: buffers handed over are waited for.
#include "packets.hpp"
#include "support/device.hpp"

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::copy_packet;
using test::device;
using test::expect_error;
using test::fill_packet;
using test::get;
using test::words;
using test::Words;

constexpr std::uint32_t large = 1 << 20;

TEST(Streams, AHandOverWaitsOnTheDevice) {
    Stream producer(device()), consumer(device());
    const Buffer a = words(device(), large), b = words(device(), large);
    for (std::uint32_t i = 0; i < 20; ++i) {
        producer.record(fill_packet(a, 0, large, i));
        producer.flush();
        consumer.record(copy_packet(b, 0, a, 0, large));  // write before read, on another stream
        consumer.flush();
        // The next round's fill waits for this copy: write after read.
    }
    producer.record(fill_packet(a, 0, large, 99));
    producer.flush();
    EXPECT_EQ(get(consumer, b, 0, large), Words(large, 19));
    EXPECT_EQ(get(producer, a, 0, 4), Words(4, 99));
}

TEST(Streams, UnflushedUseIsAnError) {
    Stream first(device()), second(device());
    const Buffer buffer = words(device(), 64), fine = words(device(), 64);
    first.record(fill_packet(buffer, 0, 64, 1));
    const auto refused = [&](const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, {"another stream", "not flushed", "flush"}, action);
    };
    Words host(64);
    refused([&] { second.record(fill_packet(buffer, 0, 64, 2)); });
    refused([&] { second.record(copy_packet(fine, 0, buffer, 0, 64)); });
    refused([&] { second.record(Copy{fine, buffer, 0, 0, 4}); });
    refused([&] { second.upload(buffer, 0, std::as_bytes(std::span(host))); });
    refused([&] { second.download(buffer, 0, std::as_writable_bytes(std::span(host))); });
    EXPECT_EQ(second.flush(), 0u) << "nothing was recorded";
    first.record(fill_packet(fine, 0, 64, 3));  // the operand beside the refused one was not taken
    first.flush();
    second.record(copy_packet(fine, 0, buffer, 0, 64));
    EXPECT_EQ(get(second, fine, 0, 64), Words(64, 1));
}

TEST(Streams, ReadersDoNotWaitForEachOther) {
    Stream writer(device()), first(device()), second(device());
    const Buffer weights = words(device(), 64), a = words(device(), 64), b = words(device(), 64);
    writer.record(fill_packet(weights, 0, 64, 5));
    writer.flush();
    first.record(copy_packet(a, 0, weights, 0, 64));   // unflushed
    second.record(copy_packet(b, 0, weights, 0, 64));  // and yet no error: both only read
    expect_error(ErrorKind::invalid_argument, {"not flushed"},
                 [&] { writer.record(fill_packet(weights, 0, 64, 6)); });
    second.flush();
    expect_error(ErrorKind::invalid_argument, {"not flushed"},
                 [&] { writer.record(fill_packet(weights, 0, 64, 6)); });
    first.flush();
    writer.record(fill_packet(weights, 0, 64, 6));  // waits for both
    writer.flush();
    EXPECT_EQ(get(first, a, 0, 64), Words(64, 5));
    EXPECT_EQ(get(second, b, 0, 64), Words(64, 5));
    EXPECT_EQ(get(second, weights, 0, 64), Words(64, 6));
}

TEST(Streams, AWriteWaitsForEveryReader) {
    // Long readers on their own streams; the write that follows must not overtake any of them.
    Stream writer(device());
    std::vector<Stream> readers;
    for (int i = 0; i < 4; ++i) readers.emplace_back(device());
    const Buffer source = words(device(), large);
    std::vector<Buffer> copies;
    for (int i = 0; i < 4; ++i) copies.push_back(words(device(), large));
    for (std::uint32_t round = 0; round < 5; ++round) {
        writer.record(fill_packet(source, 0, large, round));
        writer.flush();
        for (std::size_t i = 0; i < 4; ++i) {
            readers[i].record(copy_packet(copies[i], 0, source, 0, large));
            readers[i].flush();
        }
    }
    writer.record(fill_packet(source, 0, large, 77));
    writer.flush();
    for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(get(readers[i], copies[i], 0, large), Words(large, 4)) << i;
}

TEST(Streams, AStreamMayEndBeforeItsBuffersNextUse) {
    const Buffer buffer = words(device(), large);
    for (std::uint32_t i = 0; i < 10; ++i) {
        Stream stream(device());
        if (i > 0) {
            ASSERT_EQ(get(stream, buffer, large - 1, 1), Words(1, i - 1));
        }
        stream.record(fill_packet(buffer, 0, large, i));
        stream.flush();
    }
}

TEST(Streams, DroppedReadsAndWritesLeaveEarlierUsesInPlace) {
    Stream first(device()), last(device());
    const Buffer a = words(device(), large), b = words(device(), large);
    first.record(fill_packet(a, 0, large, 1));
    first.flush();
    first.record(copy_packet(b, 0, a, 0, large));
    first.flush();
    {
        Stream dropped(device());
        dropped.record(copy_packet(words(device(), 4), 0, a, 0, 4));
        dropped.record(fill_packet(a, 0, large, 2));
        dropped.record(fill_packet(b, 0, large, 2));
    }
    last.record(fill_packet(a, 0, large, 3));  // still waits for the copy
    EXPECT_EQ(get(last, b, 0, large), Words(large, 1));
    EXPECT_EQ(get(last, a, 0, 1), Words(1, 3));
}

// Two threads, each with its own stream, pass a buffer to and fro.
TEST(Streams, TwoThreadsHandOver) {
    const Buffer ball = words(device(), 4096);
    std::mutex mutex;
    std::condition_variable changed;
    int turn = 0;
    std::atomic<int> wrong{0};
    const auto player = [&](int me) {
        Stream stream(device());
        for (std::uint32_t round = 0; round < 30; ++round) {
            std::unique_lock lock(mutex);
            changed.wait(lock, [&] { return turn == me; });
            const std::uint32_t expected = 2 * round + static_cast<std::uint32_t>(me);
            if (expected > 0) {
                const Buffer copy = words(device(), 4096);
                stream.record(copy_packet(copy, 0, ball, 0, 4096));
                if (round % 7 == 0 && get(stream, copy, 0, 4096) != Words(4096, expected)) ++wrong;
            }
            stream.record(fill_packet(ball, 0, 4096, expected + 1));
            stream.flush();
            turn = 1 - me;
            changed.notify_all();
        }
    };
    std::thread other(player, 1);
    player(0);
    other.join();
    EXPECT_EQ(wrong, 0);
    Stream stream(device());
    EXPECT_EQ(get(stream, ball, 0, 4096), Words(4096, 60));
}

}  // namespace
}  // namespace danaus
