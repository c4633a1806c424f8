// Proof that the suite notices a broken recorder. Synchronization validation follows descriptors only: in
// that run a removed barrier and an under-declared write must bring a message. Behind device addresses the
// layers are blind; there the same recordings prove that the tracker asks for the barriers whose removal the
// other run notices, which is all that can be proven: one source and one tracker serve both.
#include "packets.hpp"
#include "stream_state.hpp"
#include "support/device.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::copy_packet;
using test::device;
using test::fill_packet;
using test::take_messages;
using test::words;

bool layers_see_operands() {
    return test::access() == Access::descriptor;
}

bool hazard_reported() {
    const auto messages = take_messages();
    for (const std::string& message : messages)
        EXPECT_NE(message.find("SYNC-HAZARD"), message.npos) << message;
    return !messages.empty();
}

constexpr std::uint32_t size = 1 << 24;

using Recording = void (*)(Stream&, const Buffer&, const Buffer&);

struct Case {
    const char* name;
    Recording record;
    bool transfers_only = false;  // seen in both runs
};

const Case cases[] = {
    {"read after write",
     [](Stream& stream, const Buffer& a, const Buffer& b) {
         stream.record(fill_packet(a, 0, 64, 1));
         stream.record(copy_packet(b, 0, a, 0, 64));
     }},
    {"write after read",
     [](Stream& stream, const Buffer& a, const Buffer& b) {
         stream.record(copy_packet(b, 0, a, 0, 64));
         stream.record(fill_packet(a, 0, 64, 1));
     }},
    {"write after write",
     [](Stream& stream, const Buffer& a, const Buffer&) {
         stream.record(fill_packet(a, 0, 64, 1));
         stream.record(fill_packet(a, 32, 32, 2));
     }},
    {"across submissions",
     [](Stream& stream, const Buffer& a, const Buffer& b) {
         // Long enough that the device is still at it when the next submission is made: once the host has
         // seen the end of it there is no hazard.
         stream.record(fill_packet(a, 0, size, 1));
         stream.flush();
         stream.record(copy_packet(b, 0, a, 0, 64));
     }},
    {"kernel then transfer",
     [](Stream& stream, const Buffer& a, const Buffer& b) {
         stream.record(fill_packet(a, 0, 64, 1));
         stream.record(Copy{a, b, 0, 0, 256});
     }},
    {"transfers across submissions",
     [](Stream& stream, const Buffer& a, const Buffer& b) {
         stream.record(Copy{a, b, 0, 0, 256});
         stream.record(fill_packet(a, 256, size - 256, 1));
         stream.flush();
         stream.record(Copy{b, a, 0, 0, 256});
         stream.flush();
     },
     true},
    {"transfer then transfer",
     [](Stream& stream, const Buffer& a, const Buffer& b) {
         stream.record(Copy{a, b, 0, 0, 256});
         stream.record(Copy{b, a, 0, 0, 256});
     },
     true},
};

TEST(Canary, ARemovedBarrierIsNoticed) {
    for (const Case& one : cases) {
        const Buffer a = words(device(), size), b = words(device(), 64);
        {
            Stream sound(device());
            one.record(sound, a, b);
            sound.finish();
            EXPECT_EQ(sound.barriers(), 1u) << one.name;
            EXPECT_FALSE(hazard_reported()) << one.name;
        }
        Stream broken(device());
        broken.state().writer().sabotage.omit_barriers = true;
        one.record(broken, a, b);
        broken.finish();
        EXPECT_EQ(broken.barriers(), 0u) << one.name;
        EXPECT_EQ(hazard_reported(), layers_see_operands() || one.transfers_only) << one.name;
    }
}

TEST(Canary, AnUnderDeclaredWriteIsNoticed) {
    const Buffer a = words(device(), 64), b = words(device(), 64);
    Packet lying = fill_packet(a, 0, 64, 1);
    lying.operands[0].touch = Touch::read;
    {
        Stream sound(device());
        test::expect_error(ErrorKind::invalid_argument, {"fill", "operand 0", "declared read", "writes"},
                           [&] { sound.record(lying); });
        EXPECT_EQ(sound.flush(), 0u);
    }
    Stream broken(device());
    broken.state().writer().sabotage.trust_touches = true;
    broken.record(lying);
    broken.record(copy_packet(b, 0, a, 0, 64));
    broken.finish();
    // Two reads, the tracker thinks: the honest packet asks for a barrier here, see above.
    EXPECT_EQ(broken.barriers(), 0u);
    EXPECT_EQ(hazard_reported(), layers_see_operands());
}

TEST(Canary, TheHonestRecordingsAreSilent) {
    Stream stream(device());
    const Buffer a = words(device(), 4096), b = words(device(), 4096);
    for (std::uint32_t i = 0; i < 50; ++i) {
        stream.record(fill_packet(a, 3 * i, 61, i));
        stream.record(copy_packet(b, 5 * i, a, 2 * i, 97));
        stream.record(Copy{b, a, 40 * i, 44 * i + 4000, 36});
        if (i % 9 == 0) stream.flush();
    }
    stream.finish();
    EXPECT_GT(stream.barriers(), 0u);
    EXPECT_FALSE(hazard_reported());
}

}  // namespace
}  // namespace danaus
