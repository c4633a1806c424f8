// Kernels with more operands than the device binds: the joined build gives the same bits, from every
// recorder.
#include "joined.hpp"

#include "packets.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/embedding.hpp>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::Words;

Device four_buffers(std::uint64_t range = 1 << 17) {
    return test::capped_device([range](Capabilities& c) {
        c.max_storage_buffers = 4;
        c.max_storage_range = std::min(c.max_storage_range, range);
    });
}

bool joins() {
    return test::access() == Access::descriptor;
}

/// Keeps packets instead of running them.
class Keep final : public Recorder {
public:
    explicit Keep(Recorder& memory) : memory_(memory) {}
    [[nodiscard]] Device device() const override { return memory_.device(); }
    void record(const Packet& packet) override { packets.push_back(packet); }
    void record(const Copy&) override {}
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return memory_.allocate(bytes); }
    std::vector<Packet> packets;

private:
    Recorder& memory_;
};

// Operands of a multiply with everything in its epilogue, side by side in one buffer of 16-bit elements, so
// that most start in the middle of a word and neighbours share words.
struct Crowd {
    static constexpr std::uint64_t m = 5, n = 7, k = 9;
    static constexpr std::uint64_t elements = m * k + n * k + n + 3 * m * n + 9;
    explicit Crowd(const Buffer& buffer, DataType type = DataType::f16) {
        std::uint64_t next = 3;
        const auto take = [&](const Shape& shape) {
            const Tensor tensor(buffer, type, shape, next);
            next += shape.elements();
            return tensor;
        };
        x = take({m, k});
        out = take({m, n});
        bias = take({n});
        residual = take({m, n});
        w = take({n, k});
        aux = take({m, n});
    }
    void record(Recorder& recorder) const {
        Epilogue epilogue;
        epilogue.bias = bias;
        epilogue.residual = residual;
        epilogue.aux = aux;
        epilogue.activation = Activation::relu;
        matmul_into(recorder, out, x, w, epilogue);
    }
    Tensor x, out, bias, residual, w, aux;
};

constexpr std::uint64_t crowd_words = (Crowd::elements + 1) / 2 + 4;

Words crowd_image() {
    const auto values = test::random_values(crowd_words * 2, 7, DataType::f16);
    Words image(crowd_words);
    for (std::size_t i = 0; i < values.size(); ++i)
        image[i / 2] |= std::uint32_t{reference::f16_from_f32(values[i])} << i % 2 * 16;
    return image;
}

// Runs the crowd on `device`, its operands in one buffer or each in a copy of it, and returns all bits.
Words run_crowd(const Device& device, bool apart) {
    Stream stream(device);
    std::vector<Buffer> buffers;
    for (int i = 0; i < (apart ? 6 : 1); ++i) {
        buffers.push_back(test::words(device, crowd_words));
        test::put(stream, buffers.back(), crowd_image());
    }
    Crowd crowd(buffers[0]);
    if (apart) {
        crowd.out = Crowd(buffers[1]).out;
        crowd.bias = Crowd(buffers[2]).bias;
        crowd.residual = Crowd(buffers[3]).residual;
        crowd.w = Crowd(buffers[4]).w;
        crowd.aux = Crowd(buffers[5]).aux;
    }
    crowd.record(stream);
    Words all;
    for (const Buffer& buffer : buffers) {
        const Words image = test::get(stream, buffer, 0, crowd_words);
        all.insert(all.end(), image.begin(), image.end());
    }
    return all;
}

TEST(Joined, GivesTheSameBitsAndTouchesNothingElse) {
    Device capped = four_buffers();
    for (const bool apart : {false, true}) {
        const Words expected = run_crowd(device(), apart);
        EXPECT_NE(expected, run_crowd(device(), !apart));
        EXPECT_EQ(run_crowd(capped, apart), expected) << apart;
    }
    capped.close();
}

TEST(Joined, OperandsInOneBufferNeedNoCopies) {
    Device capped = four_buffers();
    {
        Stream stream(capped);
        const Buffer one = test::words(capped, crowd_words), other = test::words(capped, crowd_words);
        Keep keep(stream);
        Crowd(one).record(keep);
        ASSERT_EQ(keep.packets.size(), 1u);
        EXPECT_FALSE(runtime::must_join(*capped.state(), keep.packets[0]));
        keep.packets[0].operands[1].buffer = other;
        EXPECT_EQ(runtime::must_join(*capped.state(), keep.packets[0]), joins());
        EXPECT_FALSE(runtime::must_join(*capped.state(), test::fill_packet(one, 0, 4, 1))) << "one operand";
    }
    capped.close();
}

TEST(Joined, ProgramsKeepTheirScratch) {
    Device capped = four_buffers();
    {
        ProgramRecorder recorder(capped);
        const Buffer slot = recorder.slot("data", crowd_words * 4),
                     fixed = recorder.allocate(crowd_words * 4);
        Crowd crowd(slot);
        crowd.w = Crowd(fixed).w;
        recorder.record(Copy{slot, fixed, 0, 0, crowd_words * 4});
        crowd.record(recorder);
        const Program program(std::move(recorder));
        EXPECT_EQ(program.packet_count(), 2u);
        EXPECT_EQ(program.owned_bytes(), fixed.size()) << "scratch is the recorder's";
        Stream stream(capped);
        const std::size_t pipelines = capped.pipeline_count();
        for (int round = 0; round < 3; ++round) {
            const Buffer data = test::words(capped, crowd_words);
            test::put(stream, data, crowd_image());
            program.emit(stream, {{"data", data}});
            EXPECT_EQ(test::get(stream, data, 0, crowd_words), run_crowd(device(), false)) << round;
        }
        EXPECT_EQ(capped.pipeline_count(), pipelines);
    }
    capped.close();
}

TEST(Joined, AliasedSlotsAreStillRefused) {
    Device capped = four_buffers();
    for (const Device& on : {device(), capped}) {
        ProgramRecorder recorder(on);
        const Buffer data = recorder.slot("data", crowd_words * 4),
                     aux = recorder.slot("aux", crowd_words * 4);
        Crowd crowd(data);
        crowd.aux = Tensor(aux, DataType::f16, crowd.aux.shape(), crowd.out.offset());
        crowd.record(recorder);
        const Program program(std::move(recorder));
        Stream stream(on);
        const Buffer one = test::words(on, crowd_words);
        expect_error(ErrorKind::invalid_argument, {"operands 2 and 5 are bound to overlapping bytes"}, [&] {
            program.emit(stream, {{"data", one}, {"aux", one}});
        });
    }
    capped.close();
}

TEST(Joined, ManyPacketsShareOneScratch) {
    Device capped = four_buffers();
    {
        Stream stream(capped);
        const Buffer one = test::words(capped, crowd_words), other = test::words(capped, crowd_words);
        for (const Buffer& buffer : {one, other}) test::put(stream, buffer, crowd_image());
        Crowd crowd(one);
        crowd.w = Crowd(other).w;
        const auto record = [&](int times) {
            return [&crowd, times](Recorder& recorder) {
                for (int i = 0; i < times; ++i) crowd.record(recorder);
            };
        };
        EXPECT_EQ(workspace_size(capped, record(20)).bytes, workspace_size(capped, record(1)).bytes);
        crowd.record(stream);
        stream.finish();
        const std::uint64_t before = capped.allocated_bytes();
        record(20)(stream);
        EXPECT_EQ(capped.allocated_bytes(), before);
        stream.finish();
    }
    capped.close();
}

TEST(Joined, HostRecordersTakeScratchFromTheWorkspace) {
    Device capped = four_buffers();
    {
        Stream stream(capped);
        std::array<Buffer, 2> buffers{test::words(capped, crowd_words), test::words(capped, crowd_words)};
        for (const Buffer& buffer : buffers) test::put(stream, buffer, crowd_image());
        stream.finish();
        Crowd crowd(buffers[0]);
        crowd.w = Crowd(buffers[1]).w;
        const WorkspaceSize size =
            workspace_size(capped, [&](Recorder& recorder) { crowd.record(recorder); });
        EXPECT_EQ(size.packets, 1u);
        EXPECT_EQ(size.bytes > 0, joins());
        Workspace workspace(capped, size.bytes, size.packets);

        const runtime::DeviceTable& vk = capped.state()->vk();
        const VkDevice handle = capped.state()->handle();
        VkCommandPoolCreateInfo pool_info{};
        pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
        pool_info.queueFamilyIndex = capped.state()->queue_family();
        VkCommandPool pool = VK_NULL_HANDLE;
        runtime::check(vk.CreateCommandPool(handle, &pool_info, nullptr, &pool), "pool");
        VkCommandBufferAllocateInfo info{};
        info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
        info.commandPool = pool;
        info.commandBufferCount = 1;
        VkCommandBuffer commands = VK_NULL_HANDLE;
        runtime::check(vk.AllocateCommandBuffers(handle, &info, &commands), "commands");
        VkCommandBufferBeginInfo begin{};
        begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
        runtime::check(vk.BeginCommandBuffer(commands, &begin), "begin");
        {
            HostRecorder recorder(capped, commands, &workspace,
                                  {.assume_clean = false, .refuse_to_compile = true});
            expect_error(ErrorKind::unsupported, {"not compiled"}, [&] { crowd.record(recorder); });
            EXPECT_EQ(recorder.barriers(), 0u) << "nothing was recorded";
        }
        prewarm(capped, [&](Recorder& recorder) { crowd.record(recorder); });
        HostRecorder recorder(capped, commands, &workspace,
                              {.assume_clean = false, .refuse_to_compile = true});
        crowd.record(recorder);
        EXPECT_EQ(workspace.used(), size.bytes);
        runtime::check(vk.EndCommandBuffer(commands), "end");
        VkSubmitInfo submit{};
        submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
        submit.commandBufferCount = 1;
        submit.pCommandBuffers = &commands;
        capped.state()->submit(submit);
        runtime::check(vk.DeviceWaitIdle(handle), "idle");
        const Words image = test::get(stream, buffers[0], 0, crowd_words);
        // The weight of the other buffer is the same.
        EXPECT_EQ(image, run_crowd(device(), false));
        vk.DestroyCommandPool(handle, pool, nullptr);
    }
    capped.close();
}

TEST(Joined, WhatDoesNotFitIntoOneDescriptorIsRefused) {
    if (!joins()) return;  // addresses have no such limit
    Device capped = four_buffers(8192);
    {
        Stream stream(capped);
        const Buffer one = test::words(capped, 2048), other = test::words(capped, 2048);
        Keep keep(stream);
        Crowd crowd(one);
        crowd.w = Crowd(other).w;
        crowd.record(keep);
        ASSERT_EQ(keep.packets.size(), 1u);
        Packet wide = keep.packets[0];
        wide.operands[0] = {one, 0, 8192, Touch::read};
        stream.record(test::fill_packet(one, 0, 4, 1));
        const std::uint64_t barriers = stream.barriers(), bytes = capped.allocated_bytes();
        expect_error(ErrorKind::unsupported,
                     {"matmul_direct_dense", "4 storage buffers", "6 operands", "8192", "max_storage_range"},
                     [&] { stream.record(wide); });
        EXPECT_EQ(stream.barriers(), barriers);
        EXPECT_EQ(capped.allocated_bytes(), bytes);
        stream.finish();
    }
    capped.close();
}

}  // namespace
}  // namespace danaus
