// A host for tests of embedding: owns instance, device, queue, buffers and command buffers, under the same
// validation as every test. Its layers' messages go where those of the other tests go.
#pragma once

#include "support/device.hpp"

#include <danaus/embedding.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

namespace danaus::test {

/// A buffer of floats in host-visible memory.
struct HostBuffer {
    VkBuffer handle = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    float* values = nullptr;
    std::size_t count = 0;
    [[nodiscard]] std::span<float> floats() const { return {values, count}; }
};

class Host {
public:
    struct Options {
        /// Enables the features in a VkPhysicalDeviceVulkan12Features of the host's own.
        bool own_chain = false;
    };
    Host() : Host(Options()) {}
    explicit Host(const Options& options);
    ~Host();
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    /// Everything filled in, in the access mode of this run.
    [[nodiscard]] const HostDevice& lend() const { return lent_; }

    HostBuffer create_buffer(std::size_t floats, float value = 0.0f);
    /// Begins a command buffer.
    VkCommandBuffer begin(VkCommandBufferLevel level = VK_COMMAND_BUFFER_LEVEL_PRIMARY);
    /// The host's own dispatch: adds 1 to elements [first, first + count).
    void increment(VkCommandBuffer commands, const HostBuffer& buffer, std::uint32_t first,
                   std::uint32_t count);
    /// Orders all compute and transfer work before all after it, and host reads.
    void barrier(VkCommandBuffer commands);
    void end(VkCommandBuffer commands);
    void submit(VkCommandBuffer commands);
    void wait();

    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;

private:
    void create_instance();
    void create_device(const Options& options);
    void create_pipeline();

    std::optional<RequiredFeatures> features_;
    VkPhysicalDeviceVulkan12Features own_features_{};
    HostDevice lent_;
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    VkCommandPool commands_ = VK_NULL_HANDLE;
    VkDescriptorSetLayout set_layout_ = VK_NULL_HANDLE;
    VkPipelineLayout layout_ = VK_NULL_HANDLE;
    VkPipeline pipeline_ = VK_NULL_HANDLE;
    VkDescriptorPool sets_ = VK_NULL_HANDLE;
    std::vector<HostBuffer> buffers_;
};

}  // namespace danaus::test
