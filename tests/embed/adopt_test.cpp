// Adopting a host's device: what is checked, what is shared, and that nothing is left behind.
#include "support/host.hpp"

#include <mutex>
#include <numeric>

#include <gtest/gtest.h>
#include <vk_mem_alloc.h>

namespace danaus {
namespace {

using test::expect_error;
using test::Host;

std::vector<float> ramp(std::size_t count) {
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), 1.0f);
    return values;
}

TEST(Adopt, StreamSubmitsToTheHostsQueueUnderItsLock) {
    Host host;
    std::mutex queue;
    std::uint64_t locks = 0, unlocks = 0;
    HostDevice lent = host.lend();
    lent.lock_queue = [&] {
        queue.lock();
        ++locks;
    };
    lent.unlock_queue = [&] {
        ++unlocks;
        queue.unlock();
    };
    Device device = Device::adopt(lent);
    EXPECT_EQ(device.access(), test::access());
    EXPECT_EQ(device.choice(), "lent by the host");
    {
        Stream stream(device);
        const auto values = ramp(1000);
        const Tensor x = upload(stream, values, {20, 50});
        const Tensor y = convert(stream, x.transpose(), DataType::f16);
        EXPECT_EQ(download(stream, y.transpose()), values);
        EXPECT_GE(stream.submissions(), 1u);
        EXPECT_EQ(locks, stream.submissions());
        EXPECT_EQ(unlocks, locks);
    }
    device.close();
    EXPECT_EQ(locks, unlocks);
}

TEST(Adopt, DeviceWithoutQueueRecordsOnly) {
    Host host;
    HostDevice lent = host.lend();
    lent.queue = VK_NULL_HANDLE;
    Device device = Device::adopt(lent);
    Stream stream(device);
    const Tensor x = empty(stream, DataType::f32, {8});
    fill_into(stream, x, 1.0);
    expect_error(ErrorKind::unsupported, {"without a queue"}, [&] { stream.flush(); });
    expect_error(ErrorKind::unsupported, {"without a queue"}, [&] { (void)download(stream, x); });
    device.close();
}

TEST(Adopt, NamesTheMemberThatIsWrong) {
    Host host;
    const auto refused = [&](const std::vector<std::string>& parts, auto&& change) {
        HostDevice lent = host.lend();
        change(lent);
        expect_error(ErrorKind::invalid_argument, parts, [&] { (void)Device::adopt(lent); });
    };
    refused({"HostDevice.instance", "null"}, [](HostDevice& d) { d.instance = nullptr; });
    refused({"HostDevice.physical_device", "null"}, [](HostDevice& d) { d.physical_device = nullptr; });
    refused({"HostDevice.device", "null"}, [](HostDevice& d) { d.device = nullptr; });
    refused({"HostDevice.get_instance_proc_addr", "null"},
            [](HostDevice& d) { d.get_instance_proc_addr = nullptr; });
    refused({"HostDevice.queue_family = 77"}, [](HostDevice& d) { d.queue_family = 77; });
    refused({"HostDevice.lock_queue", "both or neither"}, [](HostDevice& d) { d.lock_queue = [] {}; });
    refused({"HostDevice.unlock_queue", "both or neither"}, [](HostDevice& d) { d.unlock_queue = [] {}; });
    refused({"HostDevice.allocator", "four"},
            [](HostDevice& d) { d.allocator.allocator = reinterpret_cast<VmaAllocator>(&d); });
}

TEST(Adopt, UsesOnlyFeaturesThatTheHostDeclares) {
    Host host;
    HostDevice lent = host.lend();
    lent.access.reset();
    lent.enabled_features = nullptr;
    expect_error(ErrorKind::invalid_argument, {"timelineSemaphore", "required_features()"},
                 [&] { (void)Device::adopt(lent); });

    VkPhysicalDeviceTimelineSemaphoreFeatures timeline{};
    timeline.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES;
    lent.enabled_features = &timeline;
    expect_error(ErrorKind::invalid_argument, {"timelineSemaphore"}, [&] { (void)Device::adopt(lent); });

    timeline.timelineSemaphore = VK_TRUE;
    Device device = Device::adopt(lent);
    EXPECT_EQ(device.access(), Access::descriptor);
    EXPECT_TRUE(device.capabilities().timeline_semaphore);
    EXPECT_FALSE(device.capabilities().buffer_device_address);
    EXPECT_FALSE(device.capabilities().shader_float16);
    EXPECT_FALSE(device.capabilities().storage_16bit);
    EXPECT_FALSE(device.capabilities().subgroup_size_control);
    EXPECT_FALSE(device.capabilities().compute_full_subgroups);
    EXPECT_FALSE(device.capabilities().vulkan_memory_model);
    EXPECT_FALSE(device.capabilities().cooperative_matrix);
    EXPECT_TRUE(device.capabilities().cooperative_matrices.empty());
    device.close();

    lent.access = Access::address;
    expect_error(ErrorKind::invalid_argument, {"access = address", "bufferDeviceAddress"},
                 [&] { (void)Device::adopt(lent); });
}

TEST(Adopt, FeaturesJoinTheHostsOwnChain) {
    Host::Options options;
    options.own_chain = true;  // a second structure for the same feature would be an error of validation
    Host host(options);
    Device device = Device::adopt(host.lend());
    EXPECT_TRUE(device.capabilities().timeline_semaphore);
    bool found = false;
    for (auto node = static_cast<const VkBaseInStructure*>(host.lend().enabled_features); node;
         node = node->pNext) {
        EXPECT_NE(node->sType, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES);
        found = found || node->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    }
    EXPECT_TRUE(found);
    Stream stream(device);
    const auto values = ramp(9);
    EXPECT_EQ(download(stream, upload(stream, values, {9}, DataType::bf16)), values);
    stream = Stream(device);
    device.close();
}

TEST(Adopt, ExtensionsFollowTheInstancesVersion) {
    Host host;
    const auto has = [](const std::vector<const char*>& list, std::string_view name) {
        return std::find(list.begin(), list.end(), name) != list.end();
    };
    const auto old = required_extensions(host.instance, host.physical, vkGetInstanceProcAddr);
    const auto now =
        required_extensions(host.instance, host.physical, vkGetInstanceProcAddr, VK_API_VERSION_1_2);
    EXPECT_TRUE(has(old, VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME));
    EXPECT_FALSE(has(now, VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME));
    expect_error(ErrorKind::invalid_argument, {"physical_device is null"},
                 [&] { (void)required_extensions(host.instance, VK_NULL_HANDLE, vkGetInstanceProcAddr); });
    expect_error(ErrorKind::invalid_argument, {"get_instance_proc_addr is null"},
                 [&] { (void)required_features(host.instance, host.physical, nullptr); });
    expect_error(ErrorKind::no_device, {"Vulkan 1.0"}, [&] {
        (void)required_features(host.instance, host.physical, vkGetInstanceProcAddr, VK_API_VERSION_1_0);
    });
}

TEST(Adopt, LivesOnTheHostsAllocatorAndPipelineCache) {
    Host host;
    VmaVulkanFunctions functions{};
    functions.vkGetInstanceProcAddr = vkGetInstanceProcAddr;
    functions.vkGetDeviceProcAddr = vkGetDeviceProcAddr;
    VmaAllocatorCreateInfo info{};
    info.instance = host.instance;
    info.physicalDevice = host.physical;
    info.device = host.device;
    info.pVulkanFunctions = &functions;
    info.vulkanApiVersion = VK_API_VERSION_1_1;
    if (test::access() == Access::address) info.flags = VMA_ALLOCATOR_CREATE_BUFFER_DEVICE_ADDRESS_BIT;
    VmaAllocator allocator = VK_NULL_HANDLE;
    ASSERT_EQ(vmaCreateAllocator(&info, &allocator), VK_SUCCESS);
    VkPipelineCacheCreateInfo cache_info{};
    cache_info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    VkPipelineCache cache = VK_NULL_HANDLE;
    ASSERT_EQ(vkCreatePipelineCache(host.device, &cache_info, nullptr, &cache), VK_SUCCESS);
    const auto allocated = [&] {
        VmaTotalStatistics statistics{};
        vmaCalculateStatistics(allocator, &statistics);
        return statistics.total.statistics.allocationBytes;
    };

    HostDevice lent = host.lend();
    lent.allocator = {allocator, vmaCreateBuffer, vmaDestroyBuffer, vmaFlushAllocation,
                      vmaInvalidateAllocation};
    lent.pipeline_cache = cache;
    Device device = Device::adopt(lent);
    {
        Stream stream(device);
        const auto values = ramp(300);
        const Tensor x = upload(stream, values, {300}, DataType::f16);
        EXPECT_GE(allocated(), 600u);
        EXPECT_EQ(download(stream, x), values);
    }
    device.close();
    EXPECT_EQ(allocated(), 0u);
    std::size_t bytes = 0;
    EXPECT_EQ(vkGetPipelineCacheData(host.device, cache, &bytes, nullptr), VK_SUCCESS);
    vkDestroyPipelineCache(host.device, cache, nullptr);
    vmaDestroyAllocator(allocator);
}

TEST(Adopt, ClosingMakesHandlesInertAndLeavesNothingBehind) {
    std::optional<Host> host(std::in_place);
    Device device = Device::adopt(host->lend());
    const auto imported = host->create_buffer(64);
    const Tensor own(device, DataType::f32, {64});
    const Tensor lent = import_tensor(device, imported.handle, DataType::f32, {64});
    Workspace workspace(device, 4096, 8);
    const VkCommandBuffer commands = host->begin();
    std::optional<HostRecorder> recorder(std::in_place, device, commands, &workspace);
    const Tensor scratch = empty(*recorder, DataType::f32, {64});
    convert_into(*recorder, scratch, lent);
    Stream stream(device);
    fill_into(stream, own, 2.0);
    stream.flush();  // closing waits for it
    host->end(commands);

    device.close();
    EXPECT_FALSE(device.is_open());
    expect_error(ErrorKind::closed, {"closed"}, [&] { fill_into(*recorder, own, 1.0); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { (void)recorder->allocate(4); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { recorder->finish(0, 0); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { workspace.reset(); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { (void)host_range(own); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { fill_into(stream, own, 1.0); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { (void)import_buffer(device, imported.handle, 0, 4); });
    expect_error(ErrorKind::closed, {"closed"}, [&] { Workspace(device, 4, 1); });
    host.reset();  // destroys the VkDevice: the layers list what is left
    EXPECT_EQ(test::take_messages(), std::vector<std::string>());
    // The handles of this scope go after the device.
}

}  // namespace
}  // namespace danaus
