// A recorder that looks at what passes: the packets of an operation, on their way to another recorder.
#pragma once

#include <danaus/runtime/recorder.hpp>

#include <vector>

namespace danaus::bench {

class PacketList final : public Recorder {
public:
    explicit PacketList(Recorder& next) : next_(next) {}

    [[nodiscard]] Device device() const override { return next_.device(); }
    void record(const Packet& packet) override {
        if (packet.grid[0] && packet.grid[1] && packet.grid[2]) packets.push_back(packet);
        next_.record(packet);
    }
    void record(const Copy& copy) override { next_.record(copy); }
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return next_.allocate(bytes); }

    std::vector<Packet> packets;  ///< those that dispatch something

private:
    Recorder& next_;
};

}  // namespace danaus::bench
