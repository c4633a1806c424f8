#include "memory.hpp"

#define VMA_STATIC_VULKAN_FUNCTIONS 0
#define VMA_DYNAMIC_VULKAN_FUNCTIONS 1
#include "device_state.hpp"

#include <array>

#include <fmt/format.h>
#include <vk_mem_alloc.h>

namespace danaus::runtime {

Memory::Memory(DeviceState& device, VkInstance instance, PFN_vkGetInstanceProcAddr instance_loader,
               PFN_vkGetDeviceProcAddr device_loader, const AllocatorCalls& borrowed)
    : device_(device), calls_(borrowed) {
    if (borrowed.handle) return;
    calls_ = {VK_NULL_HANDLE, vmaCreateBuffer, vmaDestroyBuffer, vmaFlushAllocation, vmaInvalidateAllocation};
    VmaVulkanFunctions functions{};
    functions.vkGetInstanceProcAddr = instance_loader;
    functions.vkGetDeviceProcAddr = device_loader;
    VmaAllocatorCreateInfo info{};
    info.physicalDevice = device.physical();
    info.device = device.handle();
    info.instance = instance;
    info.pVulkanFunctions = &functions;
    // Only functions of Vulkan 1.1 are needed; a newer version would make VMA ask for maintenance4 entry
    // points.
    info.vulkanApiVersion = VK_API_VERSION_1_1;
    // A capped device has smaller heaps, and runs out of them.
    const auto memory_properties = reinterpret_cast<PFN_vkGetPhysicalDeviceMemoryProperties>(
        instance_loader(instance, "vkGetPhysicalDeviceMemoryProperties"));
    VkPhysicalDeviceMemoryProperties properties{};
    memory_properties(device.physical(), &properties);
    std::array<VkDeviceSize, VK_MAX_MEMORY_HEAPS> limits{};
    for (std::uint32_t i = 0; i < properties.memoryHeapCount; ++i)
        limits[i] = (properties.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) != 0 &&
                            properties.memoryHeaps[i].size > device.capabilities().device_memory
                        ? device.capabilities().device_memory
                        : VK_WHOLE_SIZE;
    info.pHeapSizeLimit = limits.data();
    if (device.access() == Access::address) info.flags |= VMA_ALLOCATOR_CREATE_BUFFER_DEVICE_ADDRESS_BIT;
    check(vmaCreateAllocator(&info, &calls_.handle), "creating the memory allocator");
    owned_ = true;
}

Memory::~Memory() {
    if (owned_) vmaDestroyAllocator(calls_.handle);
}

Allocation Memory::allocate(std::uint64_t bytes, MemoryUse use) {
    const Capabilities& caps = device_.capabilities();
    // Kernels touch whole 32-bit words.
    const std::uint64_t size = bytes < 4 ? 4 : (bytes + 3) / 4 * 4;
    const auto too_large = [&](std::int32_t result) {
        return Error(
            ErrorKind::out_of_memory,
            fmt::format("cannot allocate {} bytes on {}: its largest heap has {} bytes, one allocation may "
                        "have {}, and {} are in use",
                        bytes, caps.name, caps.device_memory, caps.max_allocation, allocated_.load()),
            result);
    };
    if (size < bytes ||
        (use == MemoryUse::device && (size > caps.device_memory || size > caps.max_allocation)))
        throw too_large(0);

    VkBufferCreateInfo buffer{};
    buffer.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
    buffer.size = size;
    buffer.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    if (use == MemoryUse::device) {
        buffer.usage |= VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
        if (device_.access() == Access::address) buffer.usage |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    }
    VmaAllocationCreateInfo memory{};
    if (use == MemoryUse::device) {
        memory.usage = VMA_MEMORY_USAGE_AUTO_PREFER_DEVICE;
        // A full card is an error, not a reason to compute across the bus. Elsewhere all memory is one.
        if (caps.type == DeviceType::discrete) memory.requiredFlags = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    } else {
        memory.usage = VMA_MEMORY_USAGE_AUTO_PREFER_HOST;
        memory.flags = VMA_ALLOCATION_CREATE_MAPPED_BIT | VMA_ALLOCATION_CREATE_HOST_ACCESS_RANDOM_BIT;
    }
    Allocation allocation;
    VmaAllocationInfo info{};
    const VkResult result =
        calls_.create_buffer(calls_.handle, &buffer, &memory, &allocation.buffer, &allocation.memory, &info);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        throw too_large(result);
    check(result, "allocating a buffer");
    allocation.size = size;
    allocation.mapped = info.pMappedData;
    if (use == MemoryUse::device && device_.access() == Access::address) {
        VkBufferDeviceAddressInfo address{};
        address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
        address.buffer = allocation.buffer;
        allocation.address = device_.vk().GetBufferDeviceAddress(device_.handle(), &address);
    }
    if (use == MemoryUse::device) allocated_ += size;
    return allocation;
}

void Memory::free(Allocation& allocation) noexcept {
    if (!allocation.buffer) return;
    calls_.destroy_buffer(calls_.handle, allocation.buffer, allocation.memory);
    if (!allocation.mapped) allocated_ -= allocation.size;
    allocation = {};
}

void Memory::flush(const Allocation& allocation, std::uint64_t offset, std::uint64_t bytes) {
    check(calls_.flush(calls_.handle, allocation.memory, offset, bytes), "flushing staging memory");
}

void Memory::invalidate(const Allocation& allocation, std::uint64_t offset, std::uint64_t bytes) {
    check(calls_.invalidate(calls_.handle, allocation.memory, offset, bytes), "invalidating staging memory");
}

}  // namespace danaus::runtime
