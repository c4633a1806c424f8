#include "vulkan_host.hpp"

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

namespace danaus::bench {
namespace {

constexpr std::uint32_t api_version = VK_API_VERSION_1_2;

VkInstance create_instance() {
    VkApplicationInfo application{};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.pApplicationName = "danaus-bench-vkfft";
    application.apiVersion = api_version;
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    VkInstance instance = VK_NULL_HANDLE;
    check(vkCreateInstance(&info, nullptr, &instance), "vkCreateInstance");
    return instance;
}

}  // namespace

void check(VkResult result, const char* what) {
    if (result != VK_SUCCESS)
        throw std::runtime_error(std::string(what) + " failed: VkResult " + std::to_string(result));
}

Host::Host(const std::array<std::uint8_t, VK_UUID_SIZE>& uuid) : instance(create_instance()) {
    choose(uuid);
    create_device();
}

void Host::choose(const std::array<std::uint8_t, VK_UUID_SIZE>& uuid) {
    std::uint32_t count = 0;
    check(vkEnumeratePhysicalDevices(instance, &count, nullptr), "vkEnumeratePhysicalDevices");
    std::vector<VkPhysicalDevice> devices(count);
    check(vkEnumeratePhysicalDevices(instance, &count, devices.data()), "vkEnumeratePhysicalDevices");
    for (const VkPhysicalDevice candidate : devices) {
        VkPhysicalDeviceIDProperties id{};
        id.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
        VkPhysicalDeviceProperties2 properties{};
        properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
        properties.pNext = &id;
        vkGetPhysicalDeviceProperties2(candidate, &properties);
        if (!std::equal(uuid.begin(), uuid.end(), id.deviceUUID)) continue;
        std::uint32_t families = 0;
        vkGetPhysicalDeviceQueueFamilyProperties(candidate, &families, nullptr);
        std::vector<VkQueueFamilyProperties> list(families);
        vkGetPhysicalDeviceQueueFamilyProperties(candidate, &families, list.data());
        for (family_ = 0; family_ < families; ++family_)
            if ((list[family_].queueFlags & VK_QUEUE_COMPUTE_BIT) != 0 &&
                list[family_].timestampValidBits > 0)
                break;
        if (family_ == families) throw std::runtime_error("the device has no compute queue with timestamps");
        physical = candidate;
        period_ = static_cast<double>(properties.properties.limits.timestampPeriod);
        return;
    }
    throw std::runtime_error("no Vulkan device with the UUID of Danaus's choice");
}

void Host::create_device() {
    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue_info{};
    queue_info.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue_info.queueFamilyIndex = family_;
    queue_info.queueCount = 1;
    queue_info.pQueuePriorities = &priority;
    const std::vector<const char*> extensions =
        required_extensions(instance, physical, vkGetInstanceProcAddr, api_version);
    features_.emplace(required_features(instance, physical, vkGetInstanceProcAddr, api_version));
    VkDeviceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.pNext = enabled_ = features_->chain();
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue_info;
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    check(vkCreateDevice(physical, &info, nullptr, &device), "vkCreateDevice");
    vkGetDeviceQueue(device, family_, 0, &queue);
    VkCommandPoolCreateInfo pool_info{};
    pool_info.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
    pool_info.queueFamilyIndex = family_;
    check(vkCreateCommandPool(device, &pool_info, nullptr, &pool), "vkCreateCommandPool");
    VkFenceCreateInfo fence_info{};
    fence_info.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
    check(vkCreateFence(device, &fence_info, nullptr, &fence), "vkCreateFence");
    VkQueryPoolCreateInfo stamps{};
    stamps.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
    stamps.queryType = VK_QUERY_TYPE_TIMESTAMP;
    stamps.queryCount = 2;
    check(vkCreateQueryPool(device, &stamps, nullptr, &stamps_), "vkCreateQueryPool");
}

Device Host::adopt() const {
    HostDevice lent;
    lent.instance = instance;
    lent.physical_device = physical;
    lent.device = device;
    lent.queue = queue;
    lent.queue_family = family_;
    lent.get_instance_proc_addr = vkGetInstanceProcAddr;
    lent.enabled_features = enabled_;
    return Device::adopt(lent);
}

VkCommandBuffer Host::record(const std::function<void(VkCommandBuffer)>& commands) const {
    VkCommandBufferAllocateInfo allocate{};
    allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
    allocate.commandPool = pool;
    allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
    allocate.commandBufferCount = 1;
    VkCommandBuffer buffer = VK_NULL_HANDLE;
    check(vkAllocateCommandBuffers(device, &allocate, &buffer), "vkAllocateCommandBuffers");
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    check(vkBeginCommandBuffer(buffer, &begin), "vkBeginCommandBuffer");
    VkMemoryBarrier everything{};
    everything.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    everything.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
    everything.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
    const auto barrier = [&] {
        vkCmdPipelineBarrier(buffer, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                             0, 1, &everything, 0, nullptr, 0, nullptr);
    };
    vkCmdResetQueryPool(buffer, stamps_, 0, 2);
    barrier();
    vkCmdWriteTimestamp(buffer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, stamps_, 0);
    commands(buffer);
    barrier();
    vkCmdWriteTimestamp(buffer, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, stamps_, 1);
    check(vkEndCommandBuffer(buffer), "vkEndCommandBuffer");
    return buffer;
}

Host::Times Host::run(VkCommandBuffer commands) const {
    VkSubmitInfo submit{};
    submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    submit.commandBufferCount = 1;
    submit.pCommandBuffers = &commands;
    const auto start = std::chrono::steady_clock::now();
    check(vkQueueSubmit(queue, 1, &submit, fence), "vkQueueSubmit");
    check(vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX), "vkWaitForFences");
    const std::chrono::duration<double, std::nano> waited = std::chrono::steady_clock::now() - start;
    check(vkResetFences(device, 1, &fence), "vkResetFences");
    std::array<std::uint64_t, 2> ticks{};
    check(vkGetQueryPoolResults(device, stamps_, 0, 2, sizeof ticks, ticks.data(), sizeof ticks[0],
                                VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
          "vkGetQueryPoolResults");
    return {static_cast<double>(ticks[1] - ticks[0]) * period_, waited.count()};
}

Host::~Host() {
    if (device) {
        vkDeviceWaitIdle(device);
        vkDestroyQueryPool(device, stamps_, nullptr);
        vkDestroyFence(device, fence, nullptr);
        vkDestroyCommandPool(device, pool, nullptr);
        vkDestroyDevice(device, nullptr);
    }
    vkDestroyInstance(instance, nullptr);
}

}  // namespace danaus::bench
