#include "memory.hpp"

#define VMA_STATIC_VULKAN_FUNCTIONS 0
#define VMA_DYNAMIC_VULKAN_FUNCTIONS 1
#include "buffer_state.hpp"
#include "device_state.hpp"

#include <fmt/format.h>
#include <vk_mem_alloc.h>

namespace danaus::runtime {

Memory::Memory(DeviceState& device, VkInstance instance, PFN_vkGetInstanceProcAddr instance_loader,
               PFN_vkGetDeviceProcAddr device_loader, VmaAllocator borrowed)
    : device_(device), allocator_(borrowed) {
    if (borrowed) return;
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
    if (device.access() == Access::address) info.flags |= VMA_ALLOCATOR_CREATE_BUFFER_DEVICE_ADDRESS_BIT;
    check(vmaCreateAllocator(&info, &allocator_), "creating the memory allocator");
    owned_ = true;
}

Memory::~Memory() {
    if (owned_) vmaDestroyAllocator(allocator_);
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
    } else {
        memory.usage = VMA_MEMORY_USAGE_AUTO_PREFER_HOST;
        memory.flags = VMA_ALLOCATION_CREATE_MAPPED_BIT | VMA_ALLOCATION_CREATE_HOST_ACCESS_RANDOM_BIT;
    }
    Allocation allocation;
    VmaAllocationInfo info{};
    const VkResult result =
        vmaCreateBuffer(allocator_, &buffer, &memory, &allocation.buffer, &allocation.memory, &info);
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
    allocated_ += size;
    return allocation;
}

void Memory::free(Allocation& allocation) noexcept {
    if (!allocation.buffer) return;
    vmaDestroyBuffer(allocator_, allocation.buffer, allocation.memory);
    allocated_ -= allocation.size;
    allocation = {};
}

void Memory::flush(const Allocation& allocation, std::uint64_t offset, std::uint64_t bytes) {
    check(vmaFlushAllocation(allocator_, allocation.memory, offset, bytes), "flushing staging memory");
}

void Memory::invalidate(const Allocation& allocation, std::uint64_t offset, std::uint64_t bytes) {
    check(vmaInvalidateAllocation(allocator_, allocation.memory, offset, bytes),
          "invalidating staging memory");
}

Timeline::Timeline(std::shared_ptr<DeviceState> state) : Resource(std::move(state)) {
    VkSemaphoreTypeCreateInfo type{};
    type.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO;
    type.semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE;
    VkSemaphoreCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO;
    info.pNext = &type;
    check(device().vk().CreateSemaphore(device().handle(), &info, nullptr, &handle_),
          "creating a timeline semaphore");
}

std::uint64_t Timeline::reached() const {
    std::uint64_t value = 0;
    check(device().vk().GetSemaphoreCounterValue(device().handle(), handle_, &value),
          "reading a timeline semaphore");
    return value;
}

void Timeline::wait(std::uint64_t value) const {
    VkSemaphoreWaitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO;
    info.semaphoreCount = 1;
    info.pSemaphores = &handle_;
    info.pValues = &value;
    check(device().vk().WaitSemaphores(device().handle(), &info, UINT64_MAX), "waiting for the device");
}

void Timeline::release() noexcept {
    DeviceState& state = *device_pointer();
    state.vk().DestroySemaphore(state.handle(), handle_, nullptr);
    handle_ = VK_NULL_HANDLE;
}

namespace {

std::uint64_t key_of(VkBuffer buffer) {
    return reinterpret_cast<std::uint64_t>(buffer);
}

}  // namespace

BufferState::BufferState(std::shared_ptr<DeviceState> state, std::uint64_t bytes)
    : Resource(std::move(state)) {
    allocation = device().memory().allocate(bytes, MemoryUse::device);
    size = allocation.size;
    hazard_key = key_of(allocation.buffer);
}

BufferState::BufferState(std::shared_ptr<DeviceState> state, Placeholder placeholder)
    : Resource(std::move(state)), kind(Kind::placeholder), size(placeholder.bytes) {}

BufferState::BufferState(std::shared_ptr<DeviceState> state, const Import& import)
    : Resource(std::move(state)), kind(Kind::imported), base(import.offset), size(import.bytes) {
    allocation.buffer = import.buffer;
    // An alias group is its own key space: the top bit keeps it apart from buffer handles.
    hazard_key = import.alias_group ? (1ull << 63 | import.alias_group) : key_of(import.buffer);
    if (device().access() == Access::address) {
        VkBufferDeviceAddressInfo address{};
        address.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
        address.buffer = import.buffer;
        allocation.address = device().vk().GetBufferDeviceAddress(device().handle(), &address);
    }
}

LastUse BufferState::last_use() const {
    const std::lock_guard lock(mutex_);
    return last_use_;
}

void BufferState::set_last_use(LastUse use) {
    const std::lock_guard lock(mutex_);
    last_use_ = std::move(use);
}

void BufferState::release() noexcept {
    if (kind == Kind::owned) device_pointer()->memory().free(allocation);
    allocation = {};
}

}  // namespace danaus::runtime
