// Device memory through VMA, and what stands behind a Buffer handle.
#pragma once

#include "vk.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

VK_DEFINE_HANDLE(VmaAllocator)
VK_DEFINE_HANDLE(VmaAllocation)
struct VmaAllocationCreateInfo;
struct VmaAllocationInfo;

namespace danaus::runtime {

class DeviceState;
struct BufferState;

/// One VkBuffer with its memory.
struct Allocation {
    VkBuffer buffer = VK_NULL_HANDLE;
    VmaAllocation memory = VK_NULL_HANDLE;
    std::uint64_t size = 0;
    VkDeviceAddress address = 0;  // 0 when the device is used through descriptors
    void* mapped = nullptr;       // staging only
};

enum class MemoryUse { device, staging };

/// An allocator and the functions of the copy of VMA that made it.
struct AllocatorCalls {
    VmaAllocator handle = VK_NULL_HANDLE;
    VkResult (*create_buffer)(VmaAllocator, const VkBufferCreateInfo*, const VmaAllocationCreateInfo*,
                              VkBuffer*, VmaAllocation*, VmaAllocationInfo*) = nullptr;
    void (*destroy_buffer)(VmaAllocator, VkBuffer, VmaAllocation) = nullptr;
    VkResult (*flush)(VmaAllocator, VmaAllocation, VkDeviceSize, VkDeviceSize) = nullptr;
    VkResult (*invalidate)(VmaAllocator, VmaAllocation, VkDeviceSize, VkDeviceSize) = nullptr;
};

class Memory {
public:
    /// `borrowed` is a host's allocator; with a null handle the library makes one of its own.
    Memory(DeviceState& device, VkInstance instance, PFN_vkGetInstanceProcAddr instance_loader,
           PFN_vkGetDeviceProcAddr device_loader, const AllocatorCalls& borrowed);
    ~Memory();
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    /// Throws Error(out_of_memory) naming the size and what the device has.
    Allocation allocate(std::uint64_t bytes, MemoryUse use);
    void free(Allocation& allocation) noexcept;
    void flush(const Allocation& allocation, std::uint64_t offset, std::uint64_t bytes);
    void invalidate(const Allocation& allocation, std::uint64_t offset, std::uint64_t bytes);
    /// Bytes of live device buffers, without staging.
    [[nodiscard]] std::uint64_t allocated_bytes() const { return allocated_; }

private:
    DeviceState& device_;
    AllocatorCalls calls_;
    bool owned_ = false;
    std::atomic<std::uint64_t> allocated_{0};
};

}  // namespace danaus::runtime
