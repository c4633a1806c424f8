// Device memory through VMA, and what stands behind a Buffer handle.
#pragma once

#include "vk.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

VK_DEFINE_HANDLE(VmaAllocator)
VK_DEFINE_HANDLE(VmaAllocation)

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

class Memory {
public:
    /// `borrowed` is a host's allocator, or null for one of our own.
    Memory(DeviceState& device, VkInstance instance, PFN_vkGetInstanceProcAddr instance_loader,
           PFN_vkGetDeviceProcAddr device_loader, VmaAllocator borrowed);
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
    VmaAllocator allocator_ = VK_NULL_HANDLE;
    bool owned_ = false;
    std::atomic<std::uint64_t> allocated_{0};
};

}  // namespace danaus::runtime
