// A stream that counts what it is given to record.
#pragma once

#include <danaus/danaus.hpp>

namespace danaus::test {

class Counter final : public Recorder {
public:
    explicit Counter(Stream& stream) : stream_(stream) {}
    [[nodiscard]] Device device() const override { return stream_.device(); }
    void record(const Packet& packet) override {
        ++recorded;
        stream_.record(packet);
    }
    void record(const Copy& copy) override {
        ++recorded;
        stream_.record(copy);
    }
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return stream_.allocate(bytes); }

    int recorded = 0;  ///< packets and copies

private:
    Stream& stream_;
};

}  // namespace danaus::test
