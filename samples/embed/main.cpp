// embed: a Vulkan program with a Monarch layer in the middle of its own command buffer.
//
//   before.comp writes x   →   y = relu(Monarch(x) + bias), recorded by Danaus   →   after.comp changes y
//
// The program owns the instance, the device, the queue, the buffer with all operands, and the command buffer,
// and submits it. The library submits nothing, waits for nothing, and while recording allocates nothing.
//
//   embed [--access=address|descriptor] [--validation]
#include "host.hpp"

#include <danaus/danaus.hpp>
#include <danaus/embedding.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <exception>
#include <optional>

namespace {

constexpr std::uint32_t before_code[] = {
#include "before.inc"
};
constexpr std::uint32_t after_code[] = {
#include "after.inc"
};

// 192 features to 256: 4 blocks of 64 x 48, then 8 blocks of 32 x 32.
constexpr std::uint32_t tokens = 24;
constexpr std::uint32_t k = 4, q = 64, p = 48, l = 8, s = 32, r = 32;
constexpr std::uint32_t in = k * p, inner = k * q, out = s * l;
static_assert(inner == l * r);

/// Multiples of 1/8, so that float sums of products are exact and the check is too.
float weight(std::uint32_t i) {
    return (static_cast<float>((i * 29 + 5) % 13) - 6.0f) / 8.0f;
}

/// Places the operands in one buffer, 256 bytes apart at least, as storage descriptors want it.
struct Layout {
    VkDeviceSize end = 0;
    VkDeviceSize place(std::uint32_t floats) {
        const VkDeviceSize offset = end;
        end += (floats * sizeof(float) + 255) / 256 * 256;
        return offset;
    }
};

/// What the command buffer should leave in y.
std::vector<double> expected() {
    std::vector<double> result;
    for (std::uint32_t token = 0; token < tokens; ++token) {
        std::vector<double> t(inner), y(out);
        const auto x = [&](std::uint32_t i) {
            return (static_cast<double>(((token * in + i) * 37 + 11) % 17) - 8.0) / 8.0;
        };
        for (std::uint32_t block = 0; block < k; ++block)
            for (std::uint32_t row = 0; row < q; ++row)
                for (std::uint32_t c = 0; c < p; ++c)
                    t[block * q + row] += weight((block * q + row) * p + c) * x(block * p + c);
        for (std::uint32_t block = 0; block < l; ++block)
            for (std::uint32_t row = 0; row < s; ++row)
                for (std::uint32_t c = 0; c < r; ++c)
                    y[row * l + block] += weight((block * s + row) * r + c) * t[c * l + block];
        for (std::uint32_t i = 0; i < out; ++i) result.push_back(2.0 * std::max(y[i] + weight(i), 0.0) + 1.0);
    }
    return result;
}

/// Returns the largest error.
double run(Host& host, std::optional<danaus::Access> access) {
    // The device, with what the library needs.
    auto features =
        danaus::required_features(host.instance, host.physical, vkGetInstanceProcAddr, Host::api_version);
    host.create_device(
        features.chain(),
        danaus::required_extensions(host.instance, host.physical, vkGetInstanceProcAddr, Host::api_version));
    danaus::HostDevice lent;
    lent.instance = host.instance;
    lent.physical_device = host.physical;
    lent.device = host.device;
    lent.queue_family = host.queue_family;  // and no queue: the library only records
    lent.get_instance_proc_addr = vkGetInstanceProcAddr;
    lent.enabled_features = features.chain();
    lent.access = access;
    danaus::Device device = danaus::Device::adopt(lent);

    // The operands, all in one buffer of the host.
    Layout layout;
    const VkDeviceSize x_at = layout.place(tokens * in), w1_at = layout.place(k * q * p),
                       w2_at = layout.place(l * s * r), bias_at = layout.place(out),
                       y_at = layout.place(tokens * out);
    const Buffer buffer = host.create_buffer(layout.end, device.access() == danaus::Access::address);
    const auto fill = [&](VkDeviceSize at, std::uint32_t count) {
        auto* values = reinterpret_cast<float*>(buffer.mapped + at);
        for (std::uint32_t i = 0; i < count; ++i) values[i] = weight(i);
    };
    fill(w1_at, k * q * p);
    fill(w2_at, l * s * r);
    fill(bias_at, out);
    const auto tensor = [&](VkDeviceSize at, const danaus::Shape& shape) {
        return danaus::import_tensor(device, buffer.handle, danaus::DataType::f32, shape, at);
    };
    const danaus::Tensor x = tensor(x_at, {tokens, in}), y = tensor(y_at, {tokens, out});
    const danaus::Monarch monarch(tensor(w1_at, {k, q, p}), tensor(w2_at, {l, s, r}));
    danaus::Epilogue epilogue;
    epilogue.bias = tensor(bias_at, {out});
    epilogue.activation = danaus::Activation::relu;
    const auto layer = [&](danaus::Recorder& recorder) {
        danaus::matmul_into(recorder, y, x, monarch, epilogue);
    };

    // Everything that takes time or memory happens before the recording.
    const danaus::WorkspaceSize size = danaus::workspace_size(device, layer);
    danaus::Workspace workspace(device, size.bytes, size.packets);
    danaus::prewarm(device, layer);
    const Pipeline before =
        host.create_pipeline(before_code, buffer.handle, x_at, tokens * in * sizeof(float));
    const Pipeline after =
        host.create_pipeline(after_code, buffer.handle, y_at, tokens * out * sizeof(float));

    const VkCommandBuffer commands = host.begin();
    host.dispatch(commands, before, tokens * in);
    danaus::HostRecorderOptions options;
    options.refuse_to_compile = true;
    danaus::HostRecorder recorder(device, commands, &workspace, options);  // waits for the dispatch before
    layer(recorder);
    recorder.finish(VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                    VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT);
    host.dispatch(commands, after, tokens * out);
    VkMemoryBarrier to_host{};
    to_host.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    to_host.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
    to_host.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                         &to_host, 0, nullptr, 0, nullptr);
    host.submit_and_wait(commands);
    workspace.reset();

    double error = 0.0;
    const auto* results = reinterpret_cast<const float*>(buffer.mapped + y_at);
    const std::vector<double> wanted = expected();
    for (std::size_t i = 0; i < wanted.size(); ++i)
        error = std::max(error, std::abs(static_cast<double>(results[i]) - wanted[i]));
    std::printf(
        "embed: Monarch %u -> %u on %u tokens between two dispatches of the host, in its command buffer: "
        "%u packets, %llu bytes of workspace, %s mode on %s; largest error %g\n",
        in, out, tokens, size.packets, static_cast<unsigned long long>(size.bytes),
        device.access() == danaus::Access::address ? "address" : "descriptor", host.name.c_str(), error);
    device.close();  // before the host destroys its device; the tensors still in scope are inert from here on
    return error;
}

}  // namespace

int main(int argc, char** argv) {
    std::optional<danaus::Access> access;
    bool validation = false;
    for (int i = 1; i < argc; ++i) {
        if (std::strcmp(argv[i], "--access=address") == 0) {
            access = danaus::Access::address;
        } else if (std::strcmp(argv[i], "--access=descriptor") == 0) {
            access = danaus::Access::descriptor;
        } else if (std::strcmp(argv[i], "--validation") == 0) {
            validation = true;
        } else {
            std::fprintf(stderr, "usage: embed [--access=address|descriptor] [--validation]; got '%s'\n",
                         argv[i]);
            return 2;
        }
    }
    std::vector<std::string> messages;
    bool correct = false;
    try {
        Host host(validation, messages);
        correct = run(host, access) == 0.0;
        if (!correct) std::fprintf(stderr, "embed: the result is wrong\n");
    } catch (const std::exception& error) {
        std::fprintf(stderr, "embed: %s\n", error.what());
    }
    for (const std::string& message : messages) std::fprintf(stderr, "validation: %s\n", message.c_str());
    return correct && messages.empty() ? 0 : 1;
}
