// What lives how long: buffers behind work in flight, and everything behind a closed device.
#include "packets.hpp"
#include "support/device.hpp"

#include <memory>
#include <optional>

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

TEST(Lifetime, ABufferLivesUntilItsWorkIsDone) {
    const std::uint64_t before = device().allocated_bytes();
    {
        Stream stream(device());
        const Buffer result = words(device(), 64);
        {
            const Buffer source = words(device(), large);
            stream.record(fill_packet(source, 0, large, 6));
            stream.record(copy_packet(result, 0, source, large - 64, 64));
        }
        EXPECT_EQ(device().allocated_bytes(), before + 4ull * large + 256) << "recorded";
        stream.flush();
        // New buffers must not get the memory of one in flight.
        for (int i = 0; i < 4; ++i) {
            const Buffer other = words(device(), large);
            stream.record(fill_packet(other, 0, large, 9));
        }
        EXPECT_EQ(get(stream, result, 0, 64), Words(64, 6));
        EXPECT_EQ(device().allocated_bytes(), before + 256) << "finished";
    }
    EXPECT_EQ(device().allocated_bytes(), before);
}

TEST(Lifetime, AStreamWaitsForItsWorkWhenItGoes) {
    const std::uint64_t before = device().allocated_bytes();
    const Buffer kept = words(device(), large);
    {
        Stream stream(device());
        const Buffer source = words(device(), large);
        for (std::uint32_t i = 0; i < 3; ++i) {
            stream.record(fill_packet(source, 0, large, i));
            stream.record(copy_packet(kept, 0, source, 0, large));
            stream.flush();
        }
    }
    EXPECT_EQ(device().allocated_bytes(), before + 4ull * large);
    Stream stream(device());
    EXPECT_EQ(get(stream, kept, large - 1, 1), Words(1, 2));
}

TEST(Lifetime, UnflushedWorkLetsGoOfItsBuffers) {
    const std::uint64_t before = device().allocated_bytes();
    {
        Stream stream(device());
        stream.record(fill_packet(words(device(), large), 0, large, 1));
        EXPECT_GT(device().allocated_bytes(), before);
    }
    EXPECT_EQ(device().allocated_bytes(), before);
}

TEST(Lifetime, SizesAreWholeWords) {
    const std::uint64_t before = device().allocated_bytes();
    const Buffer none = device().allocate(0), one = device().allocate(1), five = device().allocate(5);
    EXPECT_EQ(none.size(), 4u);
    EXPECT_EQ(one.size(), 4u);
    EXPECT_EQ(five.size(), 8u);
    EXPECT_EQ(device().allocated_bytes(), before + 16);
}

TEST(Lifetime, CloseMakesEverythingInert) {
    Device owner = Device::open(test::device_options());
    const Device copy = owner;
    std::optional<Tensor> tensor;
    std::optional<Stream> busy, recording, idle;
    std::optional<ProgramRecorder> recorder;
    std::optional<Program> program;
    const Buffer buffer = words(owner, large), survivor = words(owner, 64);
    busy.emplace(owner);
    recording.emplace(owner, StreamOptions{.profile = owner.capabilities().timestamp_bits > 0});
    idle.emplace(owner);
    tensor = upload(*idle, std::vector<float>(12, 1.0f), {3, 4}, DataType::f16);
    idle->finish();
    for (std::uint32_t i = 0; i < 3; ++i) {
        busy->record(fill_packet(buffer, 0, large, i));
        busy->flush();
    }
    recording->record(fill_packet(survivor, 0, 64, 1));
    recorder.emplace(owner);
    const Buffer slot = recorder->slot("x", 256);
    recorder->record(fill_packet(slot, 0, 64, 1));
    recorder->record(fill_packet(recorder->allocate(256), 0, 64, 1));
    program.emplace(*recorder);

    owner.close();
    EXPECT_FALSE(owner.is_open());
    EXPECT_FALSE(copy.is_open());
    owner.close();
    Device(copy).close();

    const auto closed = [](const std::function<void()>& action) {
        expect_error(ErrorKind::closed, {"was closed"}, action);
    };
    Words host(4);
    const auto bytes = std::as_writable_bytes(std::span(host));
    closed([&] { (void)copy.allocate(4); });
    closed([&] { (void)copy.allocated_bytes(); });
    closed([&] { (void)copy.pipeline_count(); });
    closed([&] { (void)copy.access(); });
    closed([&] { copy.save_pipeline_cache(); });
    closed([&] { Stream{copy}; });
    closed([&] { ProgramRecorder{copy}; });
    for (Stream* stream : {&*busy, &*recording, &*idle}) {
        closed([&] { stream->record(fill_packet(buffer, 0, 64, 1)); });
        closed([&] { stream->record(Copy{buffer, survivor, 0, 0, 4}); });
        closed([&] { stream->upload(buffer, 0, bytes); });
        closed([&] { stream->download(buffer, 0, bytes); });
        closed([&] { stream->flush(); });
        closed([&] { stream->wait(0); });
        closed([&] { stream->finish(); });
        closed([&] { (void)stream->passed(1); });
        closed([&] { (void)stream->allocate(4); });
        closed([&] { program->emit(*stream, {{"x", survivor}}); });
    }
    closed([&] { (void)recorder->slot("y", 4); });
    closed([&] { (void)recorder->allocate(4); });
    closed([&] { recorder->record(fill_packet(slot, 0, 64, 1)); });
    closed([&] { recorder->record(Copy{buffer, survivor, 0, 0, 4}); });
    closed([&] { Program again(*recorder); });
    closed([&] { (void)download(*idle, *tensor); });
    closed([&] { (void)tensor->slice(0, 0, 1).device().allocate(4); });
    // What is known without the device stays known.
    EXPECT_EQ(buffer.size(), 4ull * large);
    EXPECT_EQ(tensor->shape(), (Shape{3, 4}));
    EXPECT_EQ(program->owned_bytes(), 256u);
    EXPECT_FALSE(copy.capabilities().name.empty());

    // Destroyed in every order after the device; the layers would name whatever close() left behind.
    tensor.reset();
    program.reset();
    busy.reset();
    recorder.reset();
    recording.reset();
    idle.reset();
}

TEST(Lifetime, TheLastHandleClosesTheDevice) {
    Buffer last;
    {
        const Device other = Device::open(test::device_options());
        last = words(other, 64);
        Stream stream(other);
        stream.record(fill_packet(last, 0, 64, 1));
        stream.flush();
    }
    EXPECT_TRUE(last.device().is_open());
    last = {};
}

TEST(Lifetime, CloseFreesWhatOthersStillHold) {
    // Two devices at once: closing one leaves the other alone.
    Device first = Device::open(test::device_options()), second = Device::open(test::device_options());
    const Buffer a = words(first, 64), b = words(second, 64);
    EXPECT_NE(first, second);
    first.close();
    Stream stream(second);
    stream.record(fill_packet(b, 0, 64, 8));
    EXPECT_EQ(get(stream, b, 0, 64), Words(64, 8));
    second.close();
}

TEST(Lifetime, NullHandles) {
    Device none;
    const Buffer empty;
    EXPECT_FALSE(none);
    EXPECT_FALSE(none.is_open());
    EXPECT_FALSE(empty);
    EXPECT_FALSE(empty.device());
    EXPECT_FALSE(empty.is_placeholder());
    none.close();
    const auto null = [](const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, {"null handle"}, action);
    };
    null([&] { (void)none.allocate(4); });
    null([&] { (void)none.capabilities(); });
    null([&] { (void)none.access(); });
    null([&] { (void)none.choice(); });
    null([&] { (void)none.allocated_bytes(); });
    null([&] { (void)none.pipeline_count(); });
    null([&] { none.save_pipeline_cache(); });
    null([&] { (void)empty.size(); });
    expect_error(ErrorKind::invalid_argument, {"null"}, [&] { Stream{none}; });
    expect_error(ErrorKind::invalid_argument, {"null"}, [&] { ProgramRecorder{none}; });
}

}  // namespace
}  // namespace danaus
