// Uploads and downloads: any size, any offset, in order with the kernels.
#include "packets.hpp"
#include "support/device.hpp"

#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::expect_error;

std::vector<std::byte> pattern(std::size_t size, std::uint32_t seed) {
    std::vector<std::byte> bytes(size);
    std::uint32_t state = seed * 2654435761u + 1;
    for (std::byte& byte : bytes) {
        state = state * 1664525u + 1013904223u;
        byte = static_cast<std::byte>(state >> 24);
    }
    return bytes;
}

constexpr std::size_t mebi = 1 << 20;

void round_trip(Stream& stream, std::size_t size, std::uint64_t offset) {
    const std::size_t guard = 16;
    const Buffer buffer = device().allocate(guard + offset + size + guard);
    const auto before = pattern(buffer.size(), 1);
    const auto bytes = pattern(size, 2);
    stream.upload(buffer, 0, before);
    stream.upload(buffer, guard + offset, bytes);
    std::vector<std::byte> part(size), whole(buffer.size());
    stream.download(buffer, guard + offset, part);
    EXPECT_TRUE(part == bytes) << size << " bytes at " << offset;
    stream.download(buffer, 0, whole);
    auto expected = before;
    std::copy(bytes.begin(), bytes.end(), expected.begin() + static_cast<std::ptrdiff_t>(guard + offset));
    EXPECT_TRUE(whole == expected) << "around " << size << " bytes at " << offset;
}

TEST(Transfer, AnySizeAndOffset) {
    Stream stream(device());
    for (const std::size_t size : {0u, 1u, 2u, 3u, 4u, 5u, 7u, 15u, 16u, 17u, 255u, 4097u})
        for (const std::uint64_t offset : {0u, 1u, 2u, 3u, 4u, 5u}) round_trip(stream, size, offset);
}

TEST(Transfer, AroundTheStagingPieces) {
    Stream stream(device());
    for (const std::size_t size : {4 * mebi - 1, 4 * mebi, 4 * mebi + 1, 8 * mebi + 3}) {
        round_trip(stream, size, 0);
        round_trip(stream, size, 3);
    }
}

TEST(Transfer, MoreThanOneSubmissionsStaging) {
    Stream stream(device());
    for (const std::size_t size : {32 * mebi - 1, 32 * mebi, 32 * mebi + 5, 67 * mebi + 13}) {
        const std::uint64_t before = stream.submissions();
        round_trip(stream, size, 1);
        if (size > 32 * mebi) {
            EXPECT_GT(stream.submissions(), before + 3);
        }
    }
}

TEST(Transfer, TheBytesAreTakenAtOnce) {
    Stream stream(device());
    const Buffer buffer = device().allocate(1024);
    auto bytes = pattern(1024, 3);
    const auto copy = bytes;
    stream.upload(buffer, 0, bytes);
    std::fill(bytes.begin(), bytes.end(), std::byte{0});
    stream.download(buffer, 0, bytes);
    EXPECT_TRUE(bytes == copy);
}

TEST(Transfer, ManySmallOnesInOrder) {
    Stream stream(device());
    const Buffer buffer = device().allocate(64);
    std::vector<std::byte> model(64);
    stream.upload(buffer, 0, model);
    for (std::uint32_t i = 0; i < 3000; ++i) {
        const std::uint64_t offset = i * 7 % 61;
        const auto bytes = pattern(1 + i % 3, i);
        stream.upload(buffer, offset, bytes);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(offset));
        if (i % 100 == 0) stream.record(test::fill_packet(buffer, 0, 1, i));
        if (i % 100 == 0) std::memcpy(model.data(), &i, 4);
    }
    std::vector<std::byte> result(64);
    stream.download(buffer, 0, result);
    EXPECT_TRUE(result == model);
}

TEST(Transfer, StagingIsReused) {
    Stream stream(device());
    const Buffer buffer = device().allocate(16 * mebi);
    const std::uint64_t held = device().allocated_bytes();
    const auto bytes = pattern(16 * mebi, 4);
    std::vector<std::byte> result(bytes.size());
    for (int i = 0; i < 6; ++i) {
        stream.upload(buffer, 0, bytes);
        stream.download(buffer, 0, result);
        ASSERT_TRUE(result == bytes);
    }
    EXPECT_EQ(device().allocated_bytes(), held) << "staging is not counted as buffers";
}

RC_GTEST_PROP(Transfer, RandomRanges, ()) {
    Stream stream(device());
    const auto size = *rc::gen::inRange<std::uint64_t>(1, 5000);
    const Buffer buffer = device().allocate(size);
    auto model = pattern(buffer.size(), 9);
    stream.upload(buffer, 0, model);
    for (int i = 0; i < 5; ++i) {
        const auto begin = *rc::gen::inRange<std::uint64_t>(0, size);
        const auto count = *rc::gen::inRange<std::uint64_t>(0, size - begin + 1);
        const auto bytes = pattern(count, static_cast<std::uint32_t>(begin));
        stream.upload(buffer, begin, bytes);
        std::copy(bytes.begin(), bytes.end(), model.begin() + static_cast<std::ptrdiff_t>(begin));
        if (*rc::gen::arbitrary<bool>()) stream.flush();
    }
    std::vector<std::byte> result(model.size());
    stream.download(buffer, 0, result);
    RC_ASSERT(result == model);
}

TEST(Transfer, RangesAreChecked) {
    Stream stream(device());
    const Buffer buffer = device().allocate(16);
    std::vector<std::byte> bytes(8);
    expect_error(ErrorKind::invalid_argument, {"upload", "8 bytes from byte 9", "16"},
                 [&] { stream.upload(buffer, 9, bytes); });
    expect_error(ErrorKind::invalid_argument, {"download", "8 bytes from byte 9", "16"},
                 [&] { stream.download(buffer, 9, bytes); });
    expect_error(ErrorKind::invalid_argument, {"upload"},
                 [&] { stream.upload(buffer, UINT64_MAX - 3, bytes); });
    expect_error(ErrorKind::invalid_argument, {"upload", "null"}, [&] { stream.upload({}, 0, bytes); });
    expect_error(ErrorKind::invalid_argument, {"download", "null"}, [&] { stream.download({}, 0, bytes); });
    ProgramRecorder program(device());
    const Buffer slot = program.slot("x", 16);
    expect_error(ErrorKind::invalid_argument, {"upload", "slot"}, [&] { stream.upload(slot, 0, bytes); });
    expect_error(ErrorKind::invalid_argument, {"download", "slot"}, [&] { stream.download(slot, 0, bytes); });
    EXPECT_EQ(stream.flush(), 0u) << "nothing was recorded";
}

}  // namespace
}  // namespace danaus
