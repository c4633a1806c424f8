// Recording into a host's command buffer: results in order with the host's own work, imports, accesses.
#include "support/host.hpp"

#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace danaus {
namespace {

using test::expect_error;
using test::Host;
using test::HostBuffer;

struct Embedded : ::testing::Test {
    ~Embedded() override { device.close(); }
    Tensor tensor(const HostBuffer& buffer, const Shape& shape, std::uint64_t offset = 0,
                  std::uint64_t alias_group = 0) {
        return import_tensor(device, buffer.handle, DataType::f32, shape, offset, alias_group);
    }
    void run(VkCommandBuffer commands) {
        host.end(commands);
        host.submit(commands);
        host.wait();
    }
    Host host;
    Device device = Device::adopt(host.lend());
};

using Recording = Embedded;

TEST_F(Recording, StandsInOrderWithTheHostsWork) {
    const HostBuffer a = host.create_buffer(600, 1.0f), b = host.create_buffer(600);
    const Tensor x = tensor(a, {20, 30}), y = tensor(b, {30, 20});
    Workspace workspace(device, 1 << 16, 16);
    const VkCommandBuffer commands = host.begin();
    HostRecorder recorder(device, commands, &workspace);
    for (int round = 0; round < 3; ++round) {
        host.increment(commands, a, 0, 600);
        recorder.assume_dirty();
        const Tensor half = convert(recorder, x, DataType::f16);  // a result in the workspace
        convert_into(recorder, y.transpose(), half);
        recorder.finish(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                        VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
        host.increment(commands, b, 0, 600);
    }
    host.barrier(commands);
    run(commands);
    for (const float value : b.floats()) ASSERT_EQ(value, 5.0f);
}

TEST_F(Recording, ValidationSeesAFirstBarrierLeftOut) {
    const HostBuffer a = host.create_buffer(64, 1.0f), b = host.create_buffer(64);
    const Tensor x = tensor(a, {64}), y = tensor(b, {64});
    Workspace workspace(device, 0, 4);
    const auto record = [&](bool clean) {
        const VkCommandBuffer commands = host.begin();
        host.increment(commands, a, 0, 64);
        HostRecorderOptions options;
        options.assume_clean = clean;
        HostRecorder recorder(device, commands, &workspace, options);
        convert_into(recorder, y, x);
        EXPECT_EQ(recorder.barriers(), clean ? 0u : 1u);
        host.barrier(commands);
        run(commands);
        workspace.reset();
    };
    record(false);
    EXPECT_EQ(test::take_messages().size(), 0u);
    record(true);  // the library reads by vkCmdCopyBuffer, which the layers see in both modes
    EXPECT_GE(test::take_messages().size(), 1u);
}

TEST_F(Recording, GoesIntoASecondaryCommandBuffer) {
    const HostBuffer a = host.create_buffer(100, 3.0f), b = host.create_buffer(100);
    Workspace workspace(device, 1 << 16, 8);
    const VkCommandBuffer secondary = host.begin(VK_COMMAND_BUFFER_LEVEL_SECONDARY);
    {
        HostRecorder recorder(device, secondary, &workspace);
        const Tensor half = convert(recorder, tensor(a, {100}), DataType::bf16);
        convert_into(recorder, tensor(b, {100}), half);
    }
    host.end(secondary);
    const VkCommandBuffer primary = host.begin();
    host.increment(primary, a, 0, 100);
    vkCmdExecuteCommands(primary, 1, &secondary);
    host.barrier(primary);
    run(primary);
    for (const float value : b.floats()) ASSERT_EQ(value, 4.0f);
}

TEST_F(Recording, TwoRecordersInterleavedInTwoCommandBuffers) {
    const HostBuffer a = host.create_buffer(64), b = host.create_buffer(64), c = host.create_buffer(64),
                     d = host.create_buffer(64);
    Workspace first_space(device, 1 << 14, 16), second_space(device, 1 << 14, 16);
    const VkCommandBuffer first = host.begin(), second = host.begin();
    HostRecorder one(device, first, &first_space), two(device, second, &second_space);
    fill_into(one, tensor(a, {64}), 5.0);
    const Tensor in_two = convert(two, tensor(a, {64}), DataType::f16);  // runs after, sees the 5
    fill_into(one, tensor(b, {64}), 7.0);
    convert_into(two, tensor(c, {64}), in_two);
    host.increment(second, d, 0, 64);  // clobbers the bound state between two calls
    const Tensor more = convert(one, tensor(b, {64}), DataType::bf16);
    convert_into(two, tensor(b, {64}), in_two);
    convert_into(one, tensor(a, {64}), more);
    one.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    two.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    host.end(first);
    host.end(second);
    host.submit(first);
    host.submit(second);
    host.wait();
    EXPECT_EQ(a.values[63], 7.0f);
    EXPECT_EQ(b.values[63], 7.0f);
    EXPECT_EQ(c.values[63], 7.0f);
}

TEST_F(Recording, StreamsSeeTheHostsWorkAndTheHostTheirs) {
    const HostBuffer a = host.create_buffer(256, 1.0f);
    const Tensor x = tensor(a, {256});
    Stream stream(device);
    // Submission order and barriers only, no wait in between.
    convert_into(stream, x, upload(stream, std::vector<float>(256, 10.0f), {256}, DataType::f16));
    stream.flush();
    const VkCommandBuffer commands = host.begin();
    host.barrier(commands);
    host.increment(commands, a, 0, 256);
    host.end(commands);
    host.submit(commands);
    // Of a stream that remembers no access of its own.
    Stream fresh(device);
    EXPECT_EQ(download(fresh, x), std::vector<float>(256, 11.0f));

    // And a tensor of the library's own, changed by a recording in between.
    const Tensor own(device, DataType::f32, {256});
    fill_into(stream, own, 1.0);
    expect_error(ErrorKind::invalid_argument, {"flush"}, [&] {
        const VkCommandBuffer never = host.begin();
        HostRecorder early(device, never, nullptr);
        early.record(Copy{x.buffer(), own.buffer(), 0, 0, 64});
    });
    stream.flush();
    const VkCommandBuffer again = host.begin();
    HostRecorder recorder(device, again, nullptr);
    recorder.record(Copy{x.buffer(), own.buffer(), 0, 0, 512});
    host.end(again);
    host.submit(again);
    std::vector<float> wanted(256, 1.0f);
    std::fill_n(wanted.begin(), 128, 11.0f);
    Stream another(device);
    EXPECT_EQ(download(another, own), wanted);
}

TEST_F(Recording, ProgramsAreEmittedIntoIt) {
    ProgramRecorder program_recorder(device);
    const Buffer in = program_recorder.slot("in", 400), out = program_recorder.slot("out", 400);
    const Tensor middle = convert(program_recorder, Tensor(in, DataType::f32, {10, 10}), DataType::f16);
    convert_into(program_recorder, Tensor(out, DataType::f32, {10, 10}).transpose(), middle);
    const Program program(std::move(program_recorder));
    const HostBuffer a = host.create_buffer(100), b = host.create_buffer(200);
    std::iota(a.values, a.values + 100, 0.0f);
    Workspace workspace(device, 0, 8);
    const VkCommandBuffer commands = host.begin();
    HostRecorderOptions options;
    options.refuse_to_compile = true;
    HostRecorder recorder(device, commands, &workspace, options);
    const Buffer target = import_buffer(device, b.handle, 0, 800);
    program.emit(recorder, {{"in", tensor(a, {100}).buffer(), 0}, {"out", target, 400}});
    recorder.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    run(commands);
    for (std::size_t i = 0; i < 100; ++i) {
        ASSERT_EQ(b.values[i], 0.0f);
        ASSERT_EQ(b.values[100 + i / 10 + i % 10 * 10], static_cast<float>(i));
    }
}

TEST_F(Recording, ImportsOffAnAlignedAddressAreMovedElementByElement) {
    // Kernels move pairs of f32 only from addresses that are multiples of 8; these operands start 4 bytes
    // behind one.
    const HostBuffer a = host.create_buffer(1100), b = host.create_buffer(1100),
                     c = host.create_buffer(1100, -1.0f);
    for (std::size_t i = 0; i < 1100; ++i) {
        a.values[i] = static_cast<float>(i % 7) - 3.0f;
        b.values[i] = static_cast<float>(i % 5) - 2.0f;
    }
    const Shape square{32, 32};
    const Tensor x = tensor(a, square, 4), w = tensor(b, square, 4), y = tensor(c, square, 4);
    EXPECT_FALSE(x.buffer().starts_aligned());
    EXPECT_TRUE(tensor(a, square, 16).buffer().starts_aligned());
    Workspace workspace(device, 1 << 12, 8);
    const VkCommandBuffer commands = host.begin();
    HostRecorder recorder(device, commands, &workspace);
    matmul_into(recorder, y, x, w);
    recorder.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    run(commands);
    for (std::size_t t = 0; t < 32; ++t)
        for (std::size_t o = 0; o < 32; ++o) {
            float sum = 0.0f;
            for (std::size_t i = 0; i < 32; ++i) sum += a.values[1 + t * 32 + i] * b.values[1 + o * 32 + i];
            ASSERT_EQ(c.values[1 + t * 32 + o], sum) << t << ' ' << o;
        }
    EXPECT_EQ(c.values[0], -1.0f);
    EXPECT_EQ(c.values[1025], -1.0f);
    expect_error(ErrorKind::invalid_argument, {"multiple of 16"}, [&] {
        (void)Sparse24(import_buffer(device, a.handle, 4, 2000), DataType::f32, {4, 4});
    });
}

TEST_F(Recording, ImportsStartWhereTheySayAndEndThere) {
    const HostBuffer a = host.create_buffer(1000, -1.0f);
    // An offset that no storage descriptor could start at.
    const Tensor x = tensor(a, {10, 10}, 100);
    EXPECT_EQ(host_range(x.slice(0, 1, 3)), (HostRange{a.handle, 140, 80}));
    const VkCommandBuffer commands = host.begin();
    Workspace workspace(device, 1 << 12, 8);
    HostRecorder recorder(device, commands, &workspace);
    fill_into(recorder, x, 2.0);
    fill_into(recorder, x.slice(1, 3, 7), 3.0);
    recorder.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    run(commands);
    for (std::size_t i = 0; i < 1000; ++i) {
        const bool inside = i >= 25 && i < 125;
        const std::size_t column = (i - 25) % 10;
        const float wanted = !inside ? -1.0f : column >= 3 && column < 7 ? 3.0f : 2.0f;
        ASSERT_EQ(a.values[i], wanted) << i;
    }
    const Buffer part = import_buffer(device, a.handle, 100, 400);
    EXPECT_EQ(part.size(), 400u);
    expect_error(ErrorKind::invalid_argument, {"outside", "100"},
                 [&] { (void)Tensor(part, DataType::f32, {101}); });
    expect_error(ErrorKind::invalid_argument, {"outside"}, [&] {
        (void)Tensor(part, DataType::f32, {50, 2}, {2, 1}, 1);
    });
    expect_error(ErrorKind::invalid_argument, {"offset 2", "multiples of 4"},
                 [&] { (void)import_buffer(device, a.handle, 2, 4); });
    expect_error(ErrorKind::invalid_argument, {"bytes 6", "multiples of 4"},
                 [&] { (void)import_buffer(device, a.handle, 0, 6); });
    expect_error(ErrorKind::invalid_argument, {"bytes = 0"},
                 [&] { (void)import_buffer(device, a.handle, 0, 0); });
    expect_error(ErrorKind::invalid_argument, {"null"},
                 [&] { (void)import_buffer(device, VK_NULL_HANDLE, 0, 4); });
    expect_error(ErrorKind::invalid_argument, {"alias_group"},
                 [&] { (void)import_buffer(device, a.handle, 0, 4, 1ull << 63); });
    expect_error(ErrorKind::invalid_argument, {"null device"},
                 [&] { HostRecorder(Device(), commands, nullptr); });
    expect_error(ErrorKind::invalid_argument, {"null VkCommandBuffer"},
                 [&] { HostRecorder(device, VK_NULL_HANDLE, nullptr); });
    expect_error(ErrorKind::invalid_argument, {"another device"}, [&] {
        const Workspace foreign(test::device(), 64, 1);
        HostRecorder(device, commands, const_cast<Workspace*>(&foreign));
    });
}

TEST_F(Recording, OverlapsAreFoundAcrossImports) {
    const HostBuffer a = host.create_buffer(500), b = host.create_buffer(500);
    Workspace workspace(device, 1 << 12, 16);
    const VkCommandBuffer commands = host.begin();
    HostRecorder recorder(device, commands, &workspace);
    const Tensor low = tensor(a, {240}), high = tensor(a, {240}, 640), apart = tensor(a, {160}, 1024);
    expect_error(ErrorKind::invalid_argument, {"overlaps"}, [&] { convert_into(recorder, low, high); });
    expect_error(ErrorKind::invalid_argument, {"overlap"}, [&] {
        recorder.record(Copy{low.buffer(), high.buffer(), 640, 0, 320});
    });
    expect_error(ErrorKind::invalid_argument, {"overlaps"},
                 [&] { convert_into(recorder, tensor(a, {8}, 0, 5), tensor(b, {8}, 0, 5)); });
    EXPECT_EQ(recorder.barriers(), 0u);
    fill_into(recorder, low, 1.0);
    EXPECT_EQ(recorder.barriers(), 1u);  // the first
    fill_into(recorder, apart, 2.0);
    EXPECT_EQ(recorder.barriers(), 1u);
    fill_into(recorder, high, 3.0);  // overlaps both
    EXPECT_EQ(recorder.barriers(), 2u);
    // Other buffers share no memory, unless they are said to.
    fill_into(recorder, tensor(b, {8}), 1.0);
    EXPECT_EQ(recorder.barriers(), 2u);
    fill_into(recorder, tensor(a, {8}, 0, 9), 1.0);
    EXPECT_EQ(recorder.barriers(), 2u);
    fill_into(recorder, tensor(b, {8}, 64, 9), 1.0);
    EXPECT_EQ(recorder.barriers(), 3u);
    host.end(commands);
}

TEST_F(Recording, ReportsItsAccessesExactly) {
    const std::uint64_t unit = std::max<std::uint64_t>(64, device.capabilities().storage_offset_alignment);
    const auto floats = static_cast<std::size_t>(unit / 4);
    const HostBuffer a = host.create_buffer(8 * floats), b = host.create_buffer(8 * floats);
    const auto at = [&](const HostBuffer& buffer, std::uint64_t index, std::uint64_t count) {
        return tensor(buffer, {count * floats}, index * unit);
    };
    Workspace workspace(device, 1 << 14, 16);
    const VkCommandBuffer commands = host.begin();
    HostRecorder recorder(device, commands, &workspace);
    EXPECT_TRUE(recorder.accesses().empty());
    fill_into(recorder, at(a, 4, 1), 1.0);
    fill_into(recorder, at(a, 5, 2), 1.0);                              // touches the one before
    const Tensor half = convert(recorder, at(a, 0, 1), DataType::f16);  // scratch is left out
    convert_into(recorder, at(b, 2, 1), half);
    convert_into(recorder, at(b, 7, 1), at(a, 2, 1));  // by a copy
    fill_into(recorder, tensor(b, {3}, 0), 1.0);       // less than a unit
    const std::vector<HostAccess> wanted{
        {a.handle, 0, unit, false},           {a.handle, 2 * unit, 3 * unit, false},
        {a.handle, 4 * unit, 7 * unit, true}, {b.handle, 0, 12, true},
        {b.handle, 2 * unit, 3 * unit, true}, {b.handle, 7 * unit, 8 * unit, true}};
    EXPECT_EQ(recorder.accesses(), wanted);
    host.end(commands);
}

TEST_F(Recording, MatchesTheFormulaForAnyShape) {
    EXPECT_TRUE(rc::check("a transposition by way of another type", [&] {
        const auto rows = *rc::gen::inRange<std::uint64_t>(1, 70),
                   columns = *rc::gen::inRange<std::uint64_t>(1, 70);
        const auto offset = *rc::gen::inRange<std::uint64_t>(0, 20) * 4;
        const auto type = *rc::gen::element(DataType::f32, DataType::f16, DataType::bf16);
        const auto count = static_cast<std::size_t>(rows * columns + 20);
        const HostBuffer a = host.create_buffer(count), b = host.create_buffer(count);
        for (std::size_t i = 0; i < count; ++i) a.values[i] = static_cast<float>(i % 251);
        const Tensor x = tensor(a, {rows, columns}, offset), y = tensor(b, {columns, rows}, offset);
        const auto record = [&](Recorder& recorder) {
            const Tensor middle = convert(recorder, x.transpose(), type);
            convert_into(recorder, y, middle);
        };
        const WorkspaceSize size = workspace_size(device, record);
        Workspace workspace(device, size.bytes, size.packets);
        const VkCommandBuffer commands = host.begin();
        HostRecorder recorder(device, commands, &workspace);
        record(recorder);
        RC_ASSERT(workspace.used() == size.bytes);
        recorder.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
        run(commands);
        for (std::uint64_t i = 0; i < rows; ++i)
            for (std::uint64_t j = 0; j < columns; ++j)
                RC_ASSERT(b.values[offset / 4 + j * rows + i] == a.values[offset / 4 + i * columns + j]);
    }));
}

}  // namespace
}  // namespace danaus
