// What the short suite's tests share: a stream that notes kernels, and drawn operands.
#pragma once

#include "reference/error_bound.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/kernels.hpp>

#include <set>

#include <gtest/gtest.h>

namespace danaus::test {

/// The kernels that ran, over all tests of the program.
inline std::set<kernels::Module>& seen() {
    static std::set<kernels::Module> modules;
    return modules;
}

/// A stream that notes which kernels it was given.
class Witness final : public Recorder {
public:
    explicit Witness(Stream& stream) : stream_(stream) {}
    [[nodiscard]] Device device() const override { return stream_.device(); }
    void record(const Packet& packet) override {
        seen().insert(packet.kernel.module);
        stream_.record(packet);
    }
    void record(const Copy& copy) override { stream_.record(copy); }
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return stream_.allocate(bytes); }

private:
    Stream& stream_;
};

class ShortTest : public ::testing::Test {
protected:
    Stream stream{device()};
    Witness witness{stream};

    // Operands that share few descriptors of a short range (the simulated device "least") reach fewer words
    // each than the smallest decomposition takes.
    static bool too_small_for_svd() {
        const Capabilities& caps = device().capabilities();
        return !caps.buffer_device_address && caps.max_storage_buffers < 8 && caps.max_storage_range <= 16384;
    }

    // Drawn values of `type` as a tensor and as the oracle's matrix.
    struct Drawn {
        Tensor tensor;
        reference::Matrix matrix;
    };
    Drawn draw(DataType type, std::size_t rows, std::size_t columns, unsigned seed,
               const Layout& layout = {}) {
        const auto values = random_values(rows * columns, seed, type);
        return {Placed(stream, type, {rows, columns}, layout, values),
                reference::Matrix(rows, columns, values)};
    }
    void expect_near(const Placed& actual, const reference::Matrix& expected, double tolerance) {
        EXPECT_EQ(reference::first_mismatch(actual.values(stream), expected.data, tolerance, tolerance), "");
    }
};

}  // namespace danaus::test
