// Packets and copies that cannot run are refused by name, before anything is recorded.
#include "packets.hpp"
#include "support/device.hpp"

#include <danaus/embedding.hpp>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::copy_packet;
using test::device;
using test::fill_packet;
using test::get;
using test::words;
using test::Words;

// Every recorder refuses the same packets: a stream, and a program that is being recorded.
class Packets : public ::testing::Test {
protected:
    void refused(ErrorKind kind, const std::vector<std::string>& parts, const Packet& packet) {
        test::expect_error(kind, parts, [&] { stream.record(packet); });
        test::expect_error(kind, parts, [&] { program.record(packet); });
        nothing_recorded();
    }
    void refused(const std::vector<std::string>& parts, const Copy& copy) {
        test::expect_error(ErrorKind::invalid_argument, parts, [&] { stream.record(copy); });
        test::expect_error(ErrorKind::invalid_argument, parts, [&] { program.record(copy); });
        nothing_recorded();
    }
    void nothing_recorded() {
        EXPECT_EQ(stream.flush(), 0u);
        EXPECT_EQ(Program(program).packet_count(), 0u);
    }

    Stream stream{device()};
    ProgramRecorder program{device()};
    Buffer a = words(device(), 64), b = words(device(), 64);
};

TEST_F(Packets, FieldBytes) {
    Packet packet = fill_packet(a, 0, 64, 1);
    packet.field_bytes = 4;
    refused(ErrorKind::invalid_argument, {"fill", "4 bytes of push fields", "8"}, packet);
    packet.field_bytes = 12;
    refused(ErrorKind::invalid_argument, {"fill", "12 bytes of push fields", "8"}, packet);
}

TEST_F(Packets, OperandOutsideItsBuffer) {
    refused(ErrorKind::invalid_argument, {"fill", "operand 0", "256 bytes from byte 4", "256"},
            fill_packet(a, 1, 64, 1));
    refused(ErrorKind::invalid_argument, {"copy", "operand 1", "260 bytes from byte 0", "256"},
            copy_packet(b, 0, words(device(), 65), 0, 65));
    Packet packet = fill_packet(a, 0, 64, 1);
    packet.operands[0].offset = UINT64_MAX - 1;
    packet.operands[0].bytes = 4;
    refused(ErrorKind::invalid_argument, {"operand 0", "18446744073709551614"}, packet);
}

TEST_F(Packets, MisalignedOffset) {
    Packet packet = fill_packet(a, 0, 32, 1);
    packet.operands[0].offset = 3;
    refused(ErrorKind::invalid_argument, {"fill", "operand 0", "byte 3", "multiple of 2"}, packet);
}

TEST_F(Packets, AnotherDevicesBuffer) {
    Device other = Device::open(test::device_options());
    {
        const Buffer foreign = words(other, 64);
        refused(ErrorKind::invalid_argument, {"copy", "operand 0", "another device"},
                copy_packet(a, 0, foreign, 0, 64));
        refused({"copy", "destination", "another device"}, Copy{a, foreign, 0, 0, 4});
        Packet packet = fill_packet(a, 0, 64, 1);
        packet.operands[5] = {foreign, 0, 4, Touch::read};
        refused(ErrorKind::invalid_argument, {"fill", "operand 5", "the kernel has 1"}, packet);
    }
    other.close();
}

TEST_F(Packets, ReadDeclaredButWritten) {
    Packet packet = copy_packet(b, 0, a, 0, 64);
    packet.operands[1].touch = Touch::read;
    refused(ErrorKind::invalid_argument, {"copy", "operand 1", "declared read", "writes"}, packet);
}

TEST_F(Packets, GridTooLarge) {
    for (std::size_t i = 0; i < 3; ++i) {
        Packet packet = fill_packet(a, 0, 64, 1);
        const std::uint32_t most = device().capabilities().max_workgroup_count[i];
        if (most == UINT32_MAX) continue;
        packet.grid[i] = most + 1;
        refused(ErrorKind::unsupported,
                {"fill", std::to_string(most + 1ull), "dimension " + std::to_string(i), std::to_string(most)},
                packet);
    }
}

TEST_F(Packets, MissingOperands) {
    Packet packet = fill_packet(a, 0, 64, 1);
    packet.operands[0] = {};
    refused(ErrorKind::invalid_argument, {"fill", "no operands"}, packet);
    Packet reads_only = copy_packet(b, 0, a, 0, 64);
    reads_only.operands[1] = {};
    refused(ErrorKind::invalid_argument, {"copy", "no operand that is written"}, reads_only);
}

TEST_F(Packets, InadmissibleConstant) {
    const Packet packet = fill_packet(a, 0, 64, 1, 48);
    test::expect_error(ErrorKind::unsupported, {"fill", "local_size is 48", "32, 64, 128, 256"},
                       [&] { stream.record(packet); });
    test::expect_error(ErrorKind::unsupported, {"fill", "local_size is 48"}, [&] { program.record(packet); });
    test::expect_error(ErrorKind::unsupported, {"fill", "local_size is 48"}, [&] {
        (void)workspace_size(device(), [&](Recorder& recorder) { recorder.record(packet); });
    });
    Packet unknown = packet;
    unknown.kernel.module = static_cast<kernels::Module>(65535);
    test::expect_error(ErrorKind::invalid_argument, {"no kernel module 65535"},
                       [&] { stream.record(unknown); });
}

TEST_F(Packets, Copies) {
    refused({"copy", "source", "null"}, Copy{{}, a, 0, 0, 4});
    refused({"copy", "destination", "null"}, Copy{a, {}, 0, 0, 4});
    refused({"copy", "source", "8 bytes from byte 252", "256"}, Copy{a, b, 252, 0, 8});
    refused({"copy", "destination", "8 bytes from byte 18446744073709551612"},
            Copy{a, b, 0, UINT64_MAX - 3, 8});
    refused({"copy", "overlap"}, Copy{a, a, 0, 4, 8});
    refused({"copy", "overlap"}, Copy{a, a, 4, 4, 8});
    stream.record(Copy{a, a, 0, 8, 8});
}

TEST_F(Packets, PlaceholdersBelongInPrograms) {
    const Buffer slot = program.slot("x", 256);
    test::expect_error(ErrorKind::invalid_argument, {"fill", "operand 0", "slot of a program"},
                       [&] { stream.record(fill_packet(slot, 0, 64, 1)); });
    test::expect_error(ErrorKind::invalid_argument, {"copy", "source", "slot of a program"}, [&] {
        stream.record(Copy{slot, a, 0, 0, 4});
    });
    test::expect_error(ErrorKind::invalid_argument, {"fill", "operand 0", "256"},
                       [&] { program.record(fill_packet(slot, 1, 64, 1)); });
}

TEST_F(Packets, AnEmptyOperandMayLieAtTheEnd) {
    // count = 0 with a grid of one: the kernel runs and touches nothing.
    test::put(stream, a, Words(64, 3));
    stream.record(fill_packet(a, 64, 0, 1));
    EXPECT_EQ(get(stream, a, 0, 64), Words(64, 3));
}

TEST_F(Packets, ARefusedPacketLeavesTheRecordedOnesAlone) {
    stream.record(fill_packet(a, 0, 64, 4));
    test::expect_error(ErrorKind::invalid_argument, {"fill"},
                       [&] { stream.record(fill_packet(a, 1, 64, 5)); });
    stream.record(copy_packet(b, 0, a, 0, 64));
    EXPECT_EQ(get(stream, b, 0, 64), Words(64, 4));
}

}  // namespace
}  // namespace danaus
