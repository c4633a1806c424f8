// The host's side: what any Vulkan compute program has. Nothing here knows of Danaus, but for the chain of
// features and the list of extensions that the device is created with.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <vulkan/vulkan.h>

/// Throws std::runtime_error unless `result` is VK_SUCCESS.
void check(VkResult result, const char* what);

struct Buffer {
    VkBuffer handle = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    std::byte* mapped = nullptr;
};

struct Pipeline {
    VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkPipeline handle = VK_NULL_HANDLE;
    VkDescriptorPool pool = VK_NULL_HANDLE;
    VkDescriptorSet set = VK_NULL_HANDLE;
};

class Host {
public:
    static constexpr std::uint32_t api_version = VK_API_VERSION_1_2;

    /// `messages` receives what the validation layers say, until the host is gone.
    Host(bool validation, std::vector<std::string>& messages);
    ~Host();
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    void create_device(const void* features, const std::vector<const char*>& extensions);
    Buffer create_buffer(VkDeviceSize bytes, bool with_address);
    /// A kernel over bytes [offset, offset + bytes) of `buffer`, with a count as its push constant.
    Pipeline create_pipeline(std::span<const std::uint32_t> code, VkBuffer buffer, VkDeviceSize offset,
                             VkDeviceSize bytes);
    VkCommandBuffer begin();
    void dispatch(VkCommandBuffer commands, const Pipeline& pipeline, std::uint32_t count);
    void submit_and_wait(VkCommandBuffer commands);

    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    std::uint32_t queue_family = 0;
    std::string name;

private:
    void create_instance(bool validation, std::vector<std::string>& messages);
    void choose_device();

    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    VkCommandPool command_pool_ = VK_NULL_HANDLE;
    std::vector<Buffer> buffers_;
    std::vector<Pipeline> pipelines_;
};
