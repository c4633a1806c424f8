// Weaker devices: every limit that stops something is named, and nothing is lost when memory runs out.
#include "packets.hpp"
#include "support/device.hpp"

#include <danaus/runtime/kernel_support.hpp>

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

void on_capped(const std::function<void(Capabilities&)>& cap,
               const std::function<void(const Device&)>& action) {
    Device capped = test::capped_device(cap);
    action(capped);
    capped.close();
}

void expect_usable(const Device& device) {
    Stream stream(device);
    const Buffer buffer = words(device, 64);
    stream.record(fill_packet(buffer, 0, 64, 4));
    EXPECT_EQ(get(stream, buffer, 0, 64), Words(64, 4));
}

TEST(Limits, StorageBuffersPerStage) {
    on_capped([](Capabilities& c) { c.max_storage_buffers = 1; },
              [](const Device& capped) {
                  Stream stream(capped);
                  const Buffer a = words(capped, 64), b = words(capped, 64);
                  const auto copy = [&] { stream.record(copy_packet(b, 0, a, 0, 64)); };
                  if (test::access() == Access::descriptor) {
                      expect_error(ErrorKind::unsupported,
                                   {"kernel copy", "2 storage buffers", "allows 1", "max_storage_buffers"},
                                   copy);
                      EXPECT_EQ(stream.flush(), 0u);
                  } else {
                      copy();  // addresses need no descriptors
                  }
                  expect_usable(capped);
              });
}

TEST(Limits, WorkgroupInvocations) {
    on_capped([](Capabilities& c) { c.max_workgroup_invocations = 64; },
              [](const Device& capped) {
                  Stream stream(capped);
                  const Buffer a = words(capped, 512);
                  expect_error(ErrorKind::unsupported,
                               {"kernel fill", "a workgroup of 128 invocations", "allows 64",
                                "max_workgroup_invocations"},
                               [&] { stream.record(fill_packet(a, 0, 512, 1, 128)); });
                  stream.record(fill_packet(a, 0, 512, 3, 64));
                  EXPECT_EQ(get(stream, a, 0, 512), Words(512, 3));
              });
}

TEST(Limits, WorkgroupCount) {
    on_capped(
        [](Capabilities& c) {
            c.max_workgroup_count = {4, 4, 4};
        },
        [](const Device& capped) {
            Stream stream(capped);
            const Buffer a = words(capped, 512);
            expect_error(ErrorKind::unsupported, {"fill", "8 workgroups in dimension 0", "allows 4"},
                         [&] { stream.record(fill_packet(a, 0, 512, 1)); });
            expect_usable(capped);
        });
}

TEST(Limits, StorageRange) {
    on_capped([](Capabilities& c) { c.max_storage_range = 1024; },
              [](const Device& capped) {
                  Stream stream(capped);
                  const Buffer a = words(capped, 4096);
                  stream.record(fill_packet(a, 1024, 256, 1));
                  const auto longer = [&] { stream.record(fill_packet(a, 0, 257, 1)); };
                  if (test::access() == Access::descriptor)
                      expect_error(ErrorKind::unsupported,
                                   {"fill", "operand 0", "1028 bytes", "1024", "storage descriptor"}, longer);
                  else
                      longer();
                  stream.finish();
              });
}

TEST(Limits, StorageOffsetAlignment) {
    // A coarse alignment moves the descriptor's start, and the shader makes up for it.
    on_capped([](Capabilities& c) { c.storage_offset_alignment = 256; },
              [](const Device& capped) {
                  Stream stream(capped);
                  const Buffer a = words(capped, 256), b = words(capped, 256);
                  test::put(stream, b, Words(256, 9));
                  for (std::uint32_t i = 0; i < 256; ++i) stream.record(fill_packet(a, i, 1, i));
                  stream.record(copy_packet(b, 67, a, 129, 101));
                  Words expected(256, 9);
                  for (std::uint32_t i = 0; i < 101; ++i) expected[67 + i] = 129 + i;
                  EXPECT_EQ(get(stream, b, 0, 256), expected);
              });
}

TEST(Limits, SupportNamesTheReason) {
    Capabilities c = device().capabilities();
    for (const Access access : {Access::address, Access::descriptor})
        for (const KernelSupport& kernel : kernel_support(c, access)) {
            EXPECT_FALSE(kernel.name.empty());
            EXPECT_FALSE(kernel.family.empty());
            EXPECT_EQ(kernel.reason.find('\n'), std::string::npos);
        }
    EXPECT_EQ(unusable_reason(kernels::Module::copy, c, Access::descriptor), "");
    c.max_storage_buffers = 1;
    EXPECT_EQ(unusable_reason(kernels::Module::fill, c, Access::descriptor), "");
    EXPECT_EQ(unusable_reason(kernels::Module::copy, c, Access::address), "");
    EXPECT_EQ(unusable_reason(kernels::Module::copy, c, Access::descriptor),
              "it binds 2 storage buffers, the device allows 1 in one stage (max_storage_buffers)");
    c.max_workgroup_invocations = 16;
    EXPECT_NE(unusable_reason(kernels::Module::fill, c, Access::address).find("at least 32 invocations"),
              std::string::npos);
    c.max_push_constants = 32;
    EXPECT_NE(unusable_reason(kernels::Module::copy, c, Access::address).find("64 bytes of push constants"),
              std::string::npos);
}

TEST(OutOfMemory, OneAllocationLargerThanTheHeap) {
    const Capabilities& caps = device().capabilities();
    const std::uint64_t before = device().allocated_bytes();
    for (const std::uint64_t bytes : {caps.device_memory + 4, std::uint64_t{1} << 62, UINT64_MAX})
        expect_error(ErrorKind::out_of_memory,
                     {"cannot allocate " + std::to_string(bytes) + " bytes", caps.name,
                      std::to_string(caps.device_memory)},
                     [&] { (void)device().allocate(bytes); });
    EXPECT_EQ(device().allocated_bytes(), before);
    expect_usable(device());
    on_capped([](Capabilities& c) { c.max_allocation = 4096; },
              [](const Device& capped) {
                  (void)capped.allocate(4096);
                  expect_error(ErrorKind::out_of_memory, {"cannot allocate 4097 bytes", "4096"},
                               [&] { (void)capped.allocate(4097); });
              });
}

TEST(OutOfMemory, TheHeapIsFilled) {
    // Staging shares the heap on devices with one kind of memory, hence more than its 4 MiB pieces.
    constexpr std::uint64_t heap = 64ull << 20, piece = 1ull << 20;
    on_capped([](Capabilities& c) { c.device_memory = heap; },
              [](const Device& capped) {
                  Stream stream(capped);
                  const Buffer kept = words(capped, 1024);
                  stream.record(fill_packet(kept, 0, 1024, 6));
                  EXPECT_EQ(get(stream, kept, 0, 1024), Words(1024, 6));
                  for (int round = 0; round < 2; ++round) {
                      std::vector<Buffer> held;
                      const auto all = [&] {
                          for (std::uint64_t i = 0; i <= heap / piece; ++i)
                              held.push_back(capped.allocate(piece));
                      };
                      expect_error(ErrorKind::out_of_memory,
                                   {"cannot allocate 1048576 bytes", "67108864 bytes", "are in use"}, all);
                      EXPECT_GT(held.size(), heap / piece / 2);
                      EXPECT_EQ(capped.allocated_bytes(), held.size() * piece + 4096);
                      // What there is goes on working.
                      stream.record(fill_packet(held.back(), 0, 1024, 7));
                      stream.record(copy_packet(kept, 0, held.back(), 0, 1024));
                      EXPECT_EQ(get(stream, kept, 0, 1024), Words(1024, 7));
                      held.clear();
                      EXPECT_EQ(capped.allocated_bytes(), 4096u) << "nothing is lost";
                  }
              });
}

TEST(OutOfMemory, ATensorSaysSo) {
    const std::uint64_t before = device().allocated_bytes();
    expect_error(ErrorKind::out_of_memory, {"cannot allocate"}, [] {
        const Tensor tensor(device(), DataType::f32, {1 << 20, 1 << 20});
    });
    EXPECT_EQ(device().allocated_bytes(), before);
}

}  // namespace
}  // namespace danaus
