// What a recording takes and keeps: memory, descriptor sets, kernels, handles.
#include "support/host.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::expect_error;
using test::Host;
using test::HostBuffer;

struct WorkspaceTest : ::testing::Test {
    ~WorkspaceTest() override { device.close(); }
    Tensor tensor(const HostBuffer& buffer, const Shape& shape) {
        return import_tensor(device, buffer.handle, DataType::f32, shape);
    }
    void run(VkCommandBuffer commands) {
        host.end(commands);
        host.submit(commands);
        host.wait();
    }
    Host host;
    Device device = Device::adopt(host.lend());
};

TEST_F(WorkspaceTest, NothingIsAllocatedOrCompiledWhileRecording) {
    // Too many tokens for one dispatch of both factors on a CPU: the intermediate is in the workspace.
    const std::uint64_t tokens = 130;
    const HostBuffer x = host.create_buffer(tokens * 24, 1.0f), y = host.create_buffer(tokens * 32),
                     w1 = host.create_buffer(4 * 10 * 6, 0.5f), w2 = host.create_buffer(8 * 4 * 5, 0.25f);
    const Monarch monarch(tensor(w1, {4, 10, 6}), tensor(w2, {8, 4, 5}));
    const auto layer = [&](Recorder& recorder) {
        matmul_into(recorder, tensor(y, {tokens, 32}), tensor(x, {tokens, 24}), monarch);
    };
    const WorkspaceSize size = workspace_size(device, layer);
    EXPECT_GE(size.bytes, tokens * 40 * 4);
    EXPECT_GE(size.packets, 2u);
    EXPECT_EQ(workspace_size(device, [](Recorder&) {}), WorkspaceSize());
    Workspace workspace(device, size.bytes, size.packets);
    HostRecorderOptions options;
    options.refuse_to_compile = true;
    const VkCommandBuffer early = host.begin();
    expect_error(ErrorKind::unsupported, {"refuses to compile", "prewarm"}, [&] {
        HostRecorder recorder(device, early, &workspace, options);
        layer(recorder);
    });
    host.end(early);
    workspace.reset();
    prewarm(device, layer);

    const std::uint64_t bytes = device.allocated_bytes();
    const std::size_t pipelines = device.pipeline_count();
    EXPECT_GE(pipelines, 1u);
    for (int frame = 0; frame < 3; ++frame) {
        const VkCommandBuffer commands = host.begin();
        HostRecorder recorder(device, commands, &workspace, options);
        layer(recorder);
        recorder.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
        EXPECT_EQ(workspace.used(), size.bytes);
        run(commands);
        workspace.reset();
        EXPECT_EQ(workspace.used(), 0u);
    }
    EXPECT_EQ(device.allocated_bytes(), bytes);
    EXPECT_EQ(device.pipeline_count(), pipelines);
    for (const float value : y.floats()) ASSERT_EQ(value, 5 * 0.25f * 6 * 0.5f);
}

TEST_F(WorkspaceTest, SaysHowManyBytesAreMissing) {
    Workspace workspace(device, 1024, 4);
    const VkCommandBuffer commands = host.begin();
    HostRecorder recorder(device, commands, &workspace);
    (void)recorder.allocate(512);
    expect_error(ErrorKind::out_of_memory, {"2048 bytes are needed", "512 of 1024 are left"},
                 [&] { (void)recorder.allocate(2048); });
    EXPECT_EQ(workspace.used(), 512u);
    (void)recorder.allocate(512);
    expect_error(ErrorKind::out_of_memory, {"0 of 1024 are left"}, [&] { (void)recorder.allocate(0); });
    expect_error(ErrorKind::out_of_memory, {"at most"}, [&] { (void)recorder.allocate(UINT64_MAX - 3); });
    HostRecorder bare(device, commands, nullptr);
    expect_error(ErrorKind::out_of_memory, {"no workspace"}, [&] { (void)bare.allocate(16); });
    host.end(commands);
}

TEST_F(WorkspaceTest, SaysWhenDescriptorSetsAreUsedUp) {
    const HostBuffer a = host.create_buffer(64);
    Workspace workspace(device, 0, 3), none(device, 0, 0);
    const Tensor x = tensor(a, {64});
    const bool limited = test::access() == Access::descriptor;  // addresses need no sets
    for (int round = 0; round < 2; ++round) {
        const VkCommandBuffer commands = host.begin();
        HostRecorder recorder(device, commands, &workspace), without(device, commands, &none),
            bare(device, commands, nullptr);
        for (int i = 0; i < 3; ++i) fill_into(recorder, x, i + 10 * round);
        const auto refused = [&](ErrorKind kind, const std::vector<std::string>& parts, HostRecorder& one) {
            if (limited)
                expect_error(kind, parts, [&] { fill_into(one, x, 4.0); });
            else
                fill_into(one, x, 2 + 10 * round);
        };
        refused(ErrorKind::unsupported, {"3 descriptor sets", "workspace_size()"}, recorder);
        refused(ErrorKind::unsupported, {"3 descriptor sets", "workspace_size()"}, recorder);
        refused(ErrorKind::unsupported, {"0 descriptor sets"}, without);
        refused(ErrorKind::invalid_argument, {"fill", "no workspace"}, bare);
        (limited ? recorder : bare).finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
        run(commands);
        EXPECT_EQ(a.values[10], static_cast<float>(2 + 10 * round));
        workspace.reset();
        none.reset();
    }
}

TEST_F(WorkspaceTest, KeepsWhatWasRecordedUntilReset) {
    const HostBuffer a = host.create_buffer(64);
    Workspace workspace(device, 4096, 8);
    const std::uint64_t before = device.allocated_bytes();
    const VkCommandBuffer commands = host.begin();
    {
        HostRecorder recorder(device, commands, &workspace);
        const Tensor own(device, DataType::f32, {64});
        fill_into(recorder, own, 9.0);
        convert_into(recorder, tensor(a, {64}), own);
        recorder.finish(VK_PIPELINE_STAGE_HOST_BIT, VK_ACCESS_HOST_READ_BIT);
    }
    EXPECT_EQ(device.allocated_bytes(), before + 256);
    run(commands);
    EXPECT_EQ(a.values[63], 9.0f);
    EXPECT_EQ(device.allocated_bytes(), before + 256);
    workspace.reset();
    EXPECT_EQ(device.allocated_bytes(), before);

    // Without a workspace the recorder keeps them.
    {
        const VkCommandBuffer again = host.begin();
        HostRecorder recorder(device, again, nullptr);
        {
            const Tensor own(device, DataType::f32, {64});
            recorder.record(Copy{tensor(a, {64}).buffer(), own.buffer(), 0, 0, 256});
        }
        EXPECT_EQ(device.allocated_bytes(), before + 256);
        run(again);
    }
    EXPECT_EQ(device.allocated_bytes(), before);
}

TEST_F(WorkspaceTest, ResultsOutliveTheWorkspacesHandle) {
    std::optional<Workspace> workspace(std::in_place, device, 4096, 8);
    const VkCommandBuffer commands = host.begin();
    std::optional<HostRecorder> recorder(std::in_place, device, commands, &*workspace);
    const Tensor result = empty(*recorder, DataType::f32, {32});
    fill_into(*recorder, result, 4.0);
    run(commands);
    Stream stream(device);
    EXPECT_EQ(download(stream, result), std::vector<float>(32, 4.0f));
    recorder.reset();
    workspace.reset();
    EXPECT_GE(device.allocated_bytes(), 4096u);  // held by the result
    EXPECT_EQ(download(stream, result), std::vector<float>(32, 4.0f));
}

}  // namespace
}  // namespace danaus
