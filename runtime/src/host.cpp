// Taking up a host's device and its buffers.
#include "buffer_state.hpp"
#include "device_state.hpp"
#include "host_features.hpp"
#include "physical_device.hpp"

#include <danaus/runtime/host.hpp>

#include <fmt/format.h>

namespace danaus {
namespace {

[[noreturn]] void invalid(const std::string& message) {
    throw Error(ErrorKind::invalid_argument, message);
}

Capabilities usable_capabilities(VkInstance instance, VkPhysicalDevice physical,
                                 PFN_vkGetInstanceProcAddr loader, std::uint32_t api_version) {
    if (!instance) invalid("instance is null");
    if (!physical) invalid("physical_device is null");
    if (!loader) invalid("get_instance_proc_addr is null");
    const runtime::InstanceTable vk(loader, instance);
    Capabilities capabilities = runtime::query_capabilities(vk, physical, api_version);
    runtime::require_usable(capabilities);
    return capabilities;
}

void check_members(const HostDevice& host) {
    if (!host.instance) invalid("HostDevice.instance is null");
    if (!host.physical_device) invalid("HostDevice.physical_device is null");
    if (!host.device) invalid("HostDevice.device is null");
    if (!host.get_instance_proc_addr) invalid("HostDevice.get_instance_proc_addr is null");
    if (static_cast<bool>(host.lock_queue) != static_cast<bool>(host.unlock_queue))
        invalid(fmt::format("HostDevice.{} is set without its counterpart: both or neither",
                            host.lock_queue ? "lock_queue" : "unlock_queue"));
    const HostAllocator& a = host.allocator;
    if (a.allocator &&
        (!a.create_buffer || !a.destroy_buffer || !a.flush_allocation || !a.invalidate_allocation))
        invalid("HostDevice.allocator has an allocator, but not all four of its functions");
}

void check_queue_family(const runtime::InstanceTable& vk, const HostDevice& host, const std::string& name) {
    std::uint32_t count = 0;
    vk.GetPhysicalDeviceQueueFamilyProperties(host.physical_device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vk.GetPhysicalDeviceQueueFamilyProperties(host.physical_device, &count, families.data());
    if (host.queue_family >= count)
        invalid(
            fmt::format("HostDevice.queue_family = {}, {} has {} families", host.queue_family, name, count));
    if (!(families[host.queue_family].queueFlags & VK_QUEUE_COMPUTE_BIT))
        invalid(fmt::format("HostDevice.queue_family = {} of {} has no compute", host.queue_family, name));
}

}  // namespace

std::vector<const char*> required_extensions(VkInstance instance, VkPhysicalDevice physical_device,
                                             PFN_vkGetInstanceProcAddr get_instance_proc_addr,
                                             std::uint32_t api_version) {
    return runtime::required_extensions(
        usable_capabilities(instance, physical_device, get_instance_proc_addr, api_version));
}

struct RequiredFeatures::State {
    Capabilities capabilities;
    std::optional<runtime::FeatureChain> chain;
};

RequiredFeatures::RequiredFeatures(std::unique_ptr<State> state) : state_(std::move(state)) {}
RequiredFeatures::RequiredFeatures(RequiredFeatures&&) noexcept = default;
RequiredFeatures& RequiredFeatures::operator=(RequiredFeatures&&) noexcept = default;
RequiredFeatures::~RequiredFeatures() = default;

const void* RequiredFeatures::chain(void* host_chain) {
    state_->chain.emplace(runtime::enable_features(host_chain, state_->capabilities), host_chain);
    return state_->chain->chain();
}

const Capabilities& RequiredFeatures::capabilities() const noexcept {
    return state_->capabilities;
}

RequiredFeatures required_features(VkInstance instance, VkPhysicalDevice physical_device,
                                   PFN_vkGetInstanceProcAddr get_instance_proc_addr,
                                   std::uint32_t api_version) {
    auto state = std::make_unique<RequiredFeatures::State>();
    state->capabilities = usable_capabilities(instance, physical_device, get_instance_proc_addr, api_version);
    return RequiredFeatures(std::move(state));
}

Device Device::adopt(const HostDevice& host) {
    check_members(host);
    const runtime::InstanceTable vk(host.get_instance_proc_addr, host.instance);
    Capabilities capabilities = runtime::query_capabilities(vk, host.physical_device);
    runtime::require_usable(capabilities);
    check_queue_family(vk, host, capabilities.name);
    runtime::keep_enabled_features(host.enabled_features, capabilities);
    if (!capabilities.timeline_semaphore)
        invalid(
            "HostDevice.enabled_features does not enable timelineSemaphore, which the library needs; pass "
            "the "
            "pNext chain that the device was created with, see required_features()");
    if (host.access == Access::address && !capabilities.buffer_device_address)
        invalid(
            "HostDevice.access = address, but HostDevice.enabled_features does not enable "
            "bufferDeviceAddress");
    capabilities.timestamp_bits = runtime::queue_timestamp_bits(vk, host.physical_device, host.queue_family);

    runtime::DeviceState::Setup setup;
    setup.vk_instance = vk;
    setup.instance_handle = host.instance;
    setup.physical = host.physical_device;
    setup.device = host.device;
    setup.queue = host.queue;
    setup.queue_family = host.queue_family;
    setup.lock_queue = host.lock_queue;
    setup.unlock_queue = host.unlock_queue;
    setup.allocator = {host.allocator.allocator, host.allocator.create_buffer, host.allocator.destroy_buffer,
                       host.allocator.flush_allocation, host.allocator.invalidate_allocation};
    setup.pipeline_cache = host.pipeline_cache;
    setup.access = runtime::choose_access(capabilities, host.access);
    setup.capabilities = std::move(capabilities);
    setup.choice = "lent by the host";
    setup.debug_utils = host.debug_utils;
    setup.on_message = host.on_message;
    return Device(std::make_shared<runtime::DeviceState>(std::move(setup)));
}

Buffer import_buffer(const Device& device, VkBuffer buffer, std::uint64_t offset, std::uint64_t bytes,
                     std::uint64_t alias_group) {
    if (!device) invalid("import_buffer: device is a null handle");
    device.state()->ensure_open();
    if (!buffer) invalid("import_buffer: buffer is null");
    if (offset % 4 != 0 || bytes % 4 != 0)
        invalid(
            fmt::format("import_buffer: offset {} and bytes {} must be multiples of 4, the words that "
                        "kernels touch",
                        offset, bytes));
    if (bytes == 0) invalid("import_buffer: bytes = 0, at least 4 are needed");
    if (offset > UINT64_MAX - bytes)
        invalid(fmt::format("import_buffer: offset {} + bytes {} exceed 2^64", offset, bytes));
    if (alias_group >> 63)
        invalid(fmt::format("import_buffer: alias_group = {}, it must be below 2^63", alias_group));
    return Buffer(std::make_shared<runtime::BufferState>(
        device.state(), runtime::BufferState::Import{buffer, offset, bytes, alias_group}));
}

HostRange host_range(const Buffer& buffer) {
    if (!buffer || buffer.is_placeholder())
        invalid("host_range: the buffer is a null handle or a slot of a program, which lie nowhere");
    const runtime::BufferState& state = *buffer.state();
    state.device_pointer()->ensure_open();
    return {state.allocation.buffer, state.base, state.size};
}

}  // namespace danaus
