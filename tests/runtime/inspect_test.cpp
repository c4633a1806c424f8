// What a driver tells of kernels: asked for, it is there where the driver has it, and changes nothing else.
#include "packets.hpp"
#include "support/device.hpp"

#include <danaus/runtime/inspect.hpp>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::get;
using test::Words;
using test::words;

TEST(Inspect, NamesTheKernelAndItsConstants) {
    EXPECT_FALSE(can_inspect(test::device()));
    DeviceOptions options = test::device_options();
    options.inspect = true;
    Device device = Device::open(options);
    kernels::Copy copy;
    copy.local_size = 128;
    copy.out_type = 2;
    const KernelReport report = inspect(device, copy.kernel());
    EXPECT_EQ(report.module, "copy");
    const std::vector<std::pair<std::string, std::string>> constants{
        {"local_size", "128"}, {"in_type", "0"},  {"out_type", "2"},   {"pairs", "false"},
        {"tile", "1"},         {"wide", "false"}, {"negates", "false"}};
    EXPECT_EQ(report.constants, constants);
    EXPECT_EQ(report.executables.empty(), !can_inspect(device));
    for (const Executable& executable : report.executables) EXPECT_FALSE(executable.name.empty());
    EXPECT_EQ(device.pipeline_count(), 1u);

    Stream stream(device);
    const Buffer buffer = words(device, 64);
    stream.record(test::fill_packet(buffer, 0, 64, 4));
    EXPECT_EQ(get(stream, buffer, 0, 64), Words(64, 4));
}

TEST(Inspect, RefusesWhatRecordersRefuse) {
    kernels::Copy copy;
    copy.local_size = 7;
    test::expect_error(ErrorKind::unsupported, {"copy", "local_size"},
                       [&] { static_cast<void>(inspect(test::device(), copy.kernel())); });
    test::expect_error(ErrorKind::invalid_argument, {"null"},
                       [&] { static_cast<void>(inspect(Device(), copy.kernel())); });
}

}  // namespace
}  // namespace danaus
