// Programs: recorded once, emitted often, with other buffers each time.
#include "packets.hpp"
#include "support/device.hpp"

#include <gtest/gtest.h>

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

// out[0 … 32) = in[0 … 32), out[32 … 64) = value, by way of memory of its own.
Program two_halves(const Device& device, std::uint32_t value) {
    ProgramRecorder recorder(device);
    const Buffer in = recorder.slot("in", 128), out = recorder.slot("out", 256);
    const Buffer scratch = recorder.allocate(256);
    recorder.record(fill_packet(scratch, 0, 64, value));
    recorder.record(copy_packet(scratch, 0, in, 0, 32));
    recorder.record(Copy{scratch, out, 0, 0, 256});
    return Program(std::move(recorder));
}

Words halves(std::uint32_t first, std::uint32_t second) {
    Words values(64, second);
    std::fill_n(values.begin(), 32, first);
    return values;
}

TEST(Program, RunsWithOtherBuffersEachTime) {
    const Program program = two_halves(device(), 7);
    EXPECT_EQ(program.packet_count(), 3u);
    EXPECT_EQ(program.owned_bytes(), 256u);
    Stream stream(device());
    std::vector<Buffer> ins, outs;
    for (std::uint32_t i = 0; i < 5; ++i) {
        ins.push_back(words(device(), 32));
        outs.push_back(words(device(), 64));
        put(stream, ins[i], Words(32, i));
    }
    for (std::uint32_t i = 0; i < 5; ++i) program.emit(stream, {{"in", ins[i]}, {"out", outs[i]}});
    for (std::uint32_t i = 0; i < 5; ++i) EXPECT_EQ(get(stream, outs[i], 0, 64), halves(i, 7)) << i;
}

TEST(Program, BindsAtOffsets) {
    const Program program = two_halves(device(), 7);
    Stream stream(device());
    const Buffer pool = words(device(), 200);
    Words before(200);
    for (std::uint32_t i = 0; i < 200; ++i) before[i] = 1000 + i;
    put(stream, pool, before);
    program.emit(stream, {{"out", pool, 136 * 4}, {"in", pool, 4 * 4}});
    Words expected = before;
    std::copy_n(before.begin() + 4, 32, expected.begin() + 136);
    std::fill_n(expected.begin() + 168, 32, 7u);
    EXPECT_EQ(get(stream, pool, 0, 200), expected);
}

TEST(Program, InAndOutMayBeOneBuffer) {
    const Program program = two_halves(device(), 9);
    Stream stream(device());
    const Buffer both = words(device(), 64);
    put(stream, both, Words(64, 1));
    program.emit(stream, {{"in", both, 128}, {"out", both}});
    EXPECT_EQ(get(stream, both, 0, 64), halves(1, 9));
}

TEST(Program, OneStepMayNotReadWhatItWrites) {
    ProgramRecorder recorder(device());
    const Buffer in = recorder.slot("in", 128), out = recorder.slot("out", 128);
    recorder.record(copy_packet(out, 0, in, 0, 32));
    const Program program(std::move(recorder));
    Stream stream(device());
    const Buffer both = words(device(), 64);
    put(stream, both, Words(64, 3));
    const std::uint64_t before = stream.flush();
    for (const std::uint64_t offset : {0u, 64u, 112u})
        expect_error(ErrorKind::invalid_argument, {"operands 0 and 1", "overlapping"}, [&] {
            program.emit(stream, {{"in", both, offset}, {"out", both}});
        });
    EXPECT_EQ(stream.flush(), before);
    program.emit(stream, {{"in", both, 128}, {"out", both}});
    EXPECT_EQ(get(stream, both, 0, 64), Words(64, 3));
}

TEST(Program, EmittingCompilesAndAllocatesNothing) {
    const Program program = two_halves(device(), 7);
    Stream stream(device(), {.refuse_to_compile = true});
    const Buffer in = words(device(), 32), out = words(device(), 64);
    put(stream, in, Words(32, 5));
    const std::size_t pipelines = device().pipeline_count();
    const std::uint64_t bytes = device().allocated_bytes();
    for (int i = 0; i < 100; ++i) {
        program.emit(stream, {{"in", in}, {"out", out}});
        if (i % 7 == 0) stream.flush();
    }
    EXPECT_EQ(get(stream, out, 0, 64), halves(5, 7));
    EXPECT_EQ(device().pipeline_count(), pipelines);
    EXPECT_EQ(device().allocated_bytes(), bytes);
}

TEST(Program, CreatesItsKernelsAtOnce) {
    Device fresh = Device::open(test::device_options());
    {
        EXPECT_EQ(fresh.pipeline_count(), 0u);
        const Program program = two_halves(fresh, 1);
        EXPECT_EQ(fresh.pipeline_count(), 2u);
    }
    fresh.close();
}

TEST(Program, WrongBindingsRecordNothing) {
    const Program program = two_halves(device(), 7);
    Stream stream(device());
    const Buffer in = words(device(), 32), out = words(device(), 64);
    Device other = Device::open(test::device_options());
    const auto refused = [&](const std::vector<std::string>& parts, const std::vector<Binding>& bindings) {
        expect_error(ErrorKind::invalid_argument, parts, [&] { program.emit(stream, bindings); });
        EXPECT_EQ(stream.flush(), 0u) << parts.front();
    };
    refused({"'in' is not bound"}, {{"out", out}});
    refused({"'out' is not bound"}, {{"in", in}});
    refused({"no slot is called 'weights'"}, {{"in", in}, {"out", out}, {"weights", in}});
    refused({"'in' is bound twice"}, {{"in", in}, {"out", out}, {"in", in}});
    refused({"'out'", "256 bytes", "offset 0", "128"}, {{"in", in}, {"out", in}});
    refused({"'in'", "128 bytes", "offset 16", "128"}, {{"in", in, 16}, {"out", out}});
    refused({"'in'", "multiple of 16", "offset 12"}, {{"in", out, 12}, {"out", out}});
    refused({"'in'", "128 bytes"}, {{"in", Buffer()}, {"out", out}});
    refused({"'in'"}, {{"in", out, UINT64_MAX - 15}, {"out", out}});
    refused({"'in'", "another device"}, {{"in", words(other, 32)}, {"out", out}});
    {
        ProgramRecorder outer(device());
        refused({"'in'", "slot of a program"}, {{"in", outer.slot("x", 128)}, {"out", out}});
    }
    {
        Stream foreign(other);
        expect_error(ErrorKind::invalid_argument, {"another device"}, [&] {
            program.emit(foreign, {{"in", in}, {"out", out}});
        });
    }
    expect_error(ErrorKind::invalid_argument, {"empty program"}, [&] { Program().emit(stream); });
    other.close();
}

TEST(Program, SlotsAreNamedOnce) {
    ProgramRecorder recorder(device());
    const Buffer slot = recorder.slot("x", 5);
    EXPECT_TRUE(slot.is_placeholder());
    EXPECT_EQ(slot.size(), 8u) << "whole words";
    EXPECT_EQ(recorder.slot("empty", 0).size(), 4u);
    expect_error(ErrorKind::invalid_argument, {"'x'", "twice"}, [&] { (void)recorder.slot("x", 4); });
}

TEST(Program, NestsInAnotherProgram) {
    const Program inner = two_halves(device(), 7);
    ProgramRecorder recorder(device());
    const Buffer source = recorder.slot("source", 256), result = recorder.slot("result", 512);
    const Buffer own = recorder.allocate(128);
    recorder.record(copy_packet(own, 0, source, 16, 32));
    inner.emit(recorder, {{"in", own}, {"out", result}});
    inner.emit(recorder, {{"in", source, 128}, {"out", result, 256}});  // slots of the outer one, at offsets
    const Program outer(std::move(recorder));
    EXPECT_EQ(outer.packet_count(), 7u);

    Stream stream(device());
    const Buffer in = words(device(), 80), out = words(device(), 144);
    Words values(80);
    for (std::uint32_t i = 0; i < 80; ++i) values[i] = i;
    put(stream, in, values);
    put(stream, out, Words(144, 99));
    outer.emit(stream, {{"source", in, 64}, {"result", out, 32}});
    Words expected(144, 99);
    std::fill_n(expected.begin() + 8, 128, 7u);
    for (std::uint32_t i = 0; i < 32; ++i) {
        expected[8 + i] = 16 + 16 + i;
        expected[72 + i] = 16 + 32 + i;
    }
    EXPECT_EQ(get(stream, out, 0, 144), expected);
}

TEST(Program, OutlivesItsRecorderAndItsStream) {
    Program program;
    {
        Stream gone(device());
        program = two_halves(device(), 3);
        program.emit(gone, {{"in", words(device(), 32)}, {"out", words(device(), 64)}});
    }
    Stream stream(device());
    const Buffer in = words(device(), 32), out = words(device(), 64);
    put(stream, in, Words(32, 2));
    program.emit(stream, {{"in", in}, {"out", out}});
    program = {};
    EXPECT_EQ(get(stream, out, 0, 64), halves(2, 3));
}

TEST(Program, AnEmptyOneDoesNothing) {
    const Program program{ProgramRecorder(device())};
    Stream stream(device());
    program.emit(stream);
    EXPECT_EQ(stream.flush(), 0u);
}

}  // namespace
}  // namespace danaus
