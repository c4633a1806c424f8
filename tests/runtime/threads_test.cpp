// One device, many threads: streams, kernels, allocations. Also run under ThreadSanitizer.
#include "packets.hpp"
#include "support/device.hpp"

#include <atomic>
#include <latch>
#include <thread>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::copy_packet;
using test::device;
using test::fill_packet;
using test::get;
using test::put;
using test::words;
using test::Words;

constexpr std::uint32_t thread_count = 8;

/// Runs action(0 … thread_count) at the same time.
void together(const std::function<void(std::uint32_t)>& action) {
    std::latch start(thread_count);
    std::vector<std::thread> threads;
    for (std::uint32_t i = 0; i < thread_count; ++i)
        threads.emplace_back([&, i] {
            start.arrive_and_wait();
            action(i);
        });
    for (std::thread& thread : threads) thread.join();
}

TEST(Threads, TheSameKernelIsCompiledOnce) {
    Device fresh = Device::open(test::device_options());
    std::atomic<int> wrong{0};
    together([&](std::uint32_t i) {
        Stream stream(fresh);
        const Buffer buffer = words(fresh, 256);
        stream.record(fill_packet(buffer, 0, 256, i));
        if (get(stream, buffer, 0, 256) != Words(256, i)) ++wrong;
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(fresh.pipeline_count(), 1u);
    EXPECT_EQ(fresh.allocated_bytes(), 0u);
    fresh.close();
}

TEST(Threads, DifferentKernelsAtOnce) {
    Device fresh = Device::open(test::device_options());
    constexpr std::uint32_t sizes[] = {32, 64, 128, 256};
    std::atomic<int> wrong{0};
    together([&](std::uint32_t i) {
        Stream stream(fresh);
        const Buffer buffer = words(fresh, 256);
        for (std::uint32_t j = 0; j < 4; ++j) {
            stream.record(fill_packet(buffer, 64 * j, 64, i + j, sizes[(i + j) % 4]));
            const Tensor half = convert(stream, Tensor(buffer, DataType::f32, {64}, 64 * j), DataType::f16);
        }
        for (std::uint32_t j = 0; j < 4; ++j)
            if (get(stream, buffer, 64 * j, 64) != Words(64, i + j)) ++wrong;
    });
    EXPECT_EQ(wrong, 0);
    EXPECT_EQ(fresh.pipeline_count(), 5u);
    fresh.close();
}

TEST(Threads, ProgramsAreMadeAndEmittedAtOnce) {
    ProgramRecorder recorder(device());
    const Buffer slot = recorder.slot("out", 256);
    recorder.record(fill_packet(slot, 0, 64, 3));
    const Program shared(std::move(recorder));
    std::atomic<int> wrong{0};
    together([&](std::uint32_t i) {
        ProgramRecorder own(device());
        const Buffer out = own.slot("out", 512);
        own.record(fill_packet(out, 64, 64, i));
        shared.emit(own, {{"out", out}});
        const Program program(std::move(own));
        Stream stream(device());
        const Buffer result = words(device(), 128);
        for (int round = 0; round < 5; ++round) program.emit(stream, {{"out", result}});
        Words expected(128, 3);
        std::fill_n(expected.begin() + 64, 64, i);
        if (get(stream, result, 0, 128) != expected) ++wrong;
    });
    EXPECT_EQ(wrong, 0);
}

TEST(Threads, WeightsAreReadByAll) {
    const Buffer weights = words(device(), 4096);
    {
        Stream stream(device());
        put(stream, weights, Words(4096, 77));
        stream.flush();
    }
    std::atomic<int> wrong{0};
    together([&](std::uint32_t) {
        Stream stream(device());
        for (int round = 0; round < 10; ++round) {
            const Buffer result = words(device(), 4096);
            stream.record(copy_packet(result, 0, weights, 0, 4096));
            if (round % 3 == 0) stream.flush();
            if (round % 4 == 0 && get(stream, result, 0, 4096) != Words(4096, 77)) ++wrong;
        }
    });
    EXPECT_EQ(wrong, 0);
    Stream stream(device());
    stream.record(fill_packet(weights, 0, 4096, 1));  // waits for every reader that flushed
    EXPECT_EQ(get(stream, weights, 0, 1), Words(1, 1));
}

TEST(Threads, AllocationsAndHandlesComeAndGo) {
    const std::uint64_t before = device().allocated_bytes();
    const Buffer shared = words(device(), 64);
    together([&](std::uint32_t i) {
        std::vector<Buffer> held;
        for (std::uint32_t round = 0; round < 200; ++round) {
            held.push_back(device().allocate((i * 977 + round * 131) % 65536));
            if (round % 3 == 2) held.erase(held.begin() + static_cast<std::ptrdiff_t>(round % held.size()));
            const Buffer copy = shared;
            (void)device().allocated_bytes();
            (void)copy.device().pipeline_count();
        }
    });
    EXPECT_EQ(device().allocated_bytes(), before + 256);
}

TEST(Threads, StreamsComeAndGo) {
    const std::uint64_t before = device().allocated_bytes();
    together([&](std::uint32_t i) {
        for (std::uint32_t round = 0; round < 10; ++round) {
            Stream stream(device(), {.max_in_flight = 1 + round % 3});
            const Buffer buffer = words(device(), 1024);
            stream.record(fill_packet(buffer, 0, 1024, i));
            if (round % 2) stream.flush();
        }
    });
    EXPECT_EQ(device().allocated_bytes(), before);
}

}  // namespace
}  // namespace danaus
