#include "support/split_heaps.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <dlfcn.h>
#include <vulkan/vulkan.h>

namespace danaus::test {
namespace {

enum Type : std::uint32_t { device_type, coherent_type, cached_type, type_count };
constexpr std::uint32_t all_types = (1u << type_count) - 1;

// What the host sees of a mapping of cached memory. As aligned as mappings are at least.
struct alignas(64) Line {
    std::array<std::byte, 64> bytes;
};
struct Shadow {
    std::byte* real;
    VkDeviceSize begin, end;  // of the memory
    std::vector<Line> lines;
    [[nodiscard]] std::byte* bytes() { return lines.front().bytes.data(); }
};
// No number, and no value that a test expects.
constexpr Line poison = [] {
    Line line{};
    line.bytes.fill(std::byte{0xff});
    return line;
}();

struct Memory {
    Type type;
    VkDeviceSize size;
    std::optional<Shadow> shadow;
};

// What the wrappers below wrap. A loader is one per process, and so is this.
struct Wrapped {
    PFN_vkGetInstanceProcAddr instance_proc = nullptr;
    PFN_vkGetDeviceProcAddr device_proc = nullptr;
    PFN_vkGetPhysicalDeviceMemoryProperties memory_properties = nullptr;
    PFN_vkGetBufferMemoryRequirements requirements = nullptr;
    PFN_vkGetBufferMemoryRequirements2 requirements2 = nullptr;
    PFN_vkAllocateMemory allocate = nullptr;
    PFN_vkFreeMemory free = nullptr;
    PFN_vkMapMemory map = nullptr;
    PFN_vkUnmapMemory unmap = nullptr;
    PFN_vkFlushMappedMemoryRanges flush = nullptr;
    PFN_vkInvalidateMappedMemoryRanges invalidate = nullptr;
    std::uint32_t real_type = 0;  // of the device at hand: mappable, and good for storage buffers
    std::mutex mutex;
    std::map<VkDeviceMemory, Memory> memories;
    HeapUse use;
    std::vector<std::string> violations;
};

Wrapped& wrapped() {
    static Wrapped instance;
    return instance;
}

VKAPI_ATTR void VKAPI_CALL memory_properties(VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties* out) {
    VkPhysicalDeviceMemoryProperties real{};
    wrapped().memory_properties(device, &real);
    constexpr VkMemoryPropertyFlags mappable =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    std::uint32_t type = 0;
    while (type < real.memoryTypeCount && (real.memoryTypes[type].propertyFlags & mappable) != mappable)
        ++type;
    wrapped().real_type = type;
    *out = {};
    out->memoryHeapCount = 2;
    out->memoryTypeCount = type_count;
    const VkDeviceSize half = real.memoryHeaps[real.memoryTypes[type].heapIndex].size / 2;
    out->memoryHeaps[0] = {half, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    out->memoryHeaps[1] = {half, 0};
    out->memoryTypes[device_type] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    // Every implementation has this one.
    out->memoryTypes[coherent_type] = {mappable, 1};
    out->memoryTypes[cached_type] = {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
                                     1};
}

VKAPI_ATTR void VKAPI_CALL memory_properties2(VkPhysicalDevice device,
                                              VkPhysicalDeviceMemoryProperties2* out) {
    memory_properties(device, &out->memoryProperties);
}

VKAPI_ATTR void VKAPI_CALL requirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements* out) {
    wrapped().requirements(device, buffer, out);
    out->memoryTypeBits = all_types;
}

VKAPI_ATTR void VKAPI_CALL requirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* info,
                                         VkMemoryRequirements2* out) {
    wrapped().requirements2(device, info, out);
    out->memoryRequirements.memoryTypeBits = all_types;
}

VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo* info,
                                        const VkAllocationCallbacks* callbacks, VkDeviceMemory* out) {
    VkMemoryAllocateInfo real = *info;
    real.memoryTypeIndex = wrapped().real_type;
    const VkResult result = wrapped().allocate(device, &real, callbacks, out);
    if (result != VK_SUCCESS) return result;
    const std::lock_guard lock(wrapped().mutex);
    const auto type = static_cast<Type>(info->memoryTypeIndex);
    wrapped().memories.insert_or_assign(*out, Memory{type, info->allocationSize, {}});
    HeapUse& use = wrapped().use;
    (type == device_type     ? use.device
     : type == coherent_type ? use.coherent
                             : use.cached) += info->allocationSize;
    return result;
}

VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory,
                                       const VkAllocationCallbacks* callbacks) {
    {
        const std::lock_guard lock(wrapped().mutex);
        wrapped().memories.erase(memory);
    }
    wrapped().free(device, memory, callbacks);
}

VKAPI_ATTR VkResult VKAPI_CALL map(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
                                   VkDeviceSize size, VkMemoryMapFlags flags, void** out) {
    const std::lock_guard lock(wrapped().mutex);
    Memory& mapped = wrapped().memories.at(memory);
    if (mapped.type == device_type) {
        wrapped().violations.emplace_back("device-local memory that the host cannot see was mapped");
        return VK_ERROR_MEMORY_MAP_FAILED;
    }
    const VkResult result = wrapped().map(device, memory, offset, size, flags, out);
    if (result != VK_SUCCESS || mapped.type == coherent_type) return result;
    const VkDeviceSize end = size == VK_WHOLE_SIZE ? mapped.size : offset + size;
    const std::size_t lines = static_cast<std::size_t>((end - offset + sizeof(Line) - 1) / sizeof(Line));
    mapped.shadow = Shadow{static_cast<std::byte*>(*out), offset, end, std::vector<Line>(lines, poison)};
    *out = mapped.shadow->bytes();
    return result;
}

VKAPI_ATTR void VKAPI_CALL unmap(VkDevice device, VkDeviceMemory memory) {
    const std::lock_guard lock(wrapped().mutex);
    wrapped().memories.at(memory).shadow.reset();
    wrapped().unmap(device, memory);
}

// Calls copy(mapped, real, bytes) for the parts of `ranges` that have a shadow, and counts them.
template <typename Copy>
void in_step(std::uint32_t count, const VkMappedMemoryRange* ranges, unsigned long long& counter,
             const Copy& copy) {
    for (std::uint32_t i = 0; i < count; ++i) {
        const VkMappedMemoryRange& range = ranges[i];
        std::optional<Shadow>& shadow = wrapped().memories.at(range.memory).shadow;
        if (!shadow) continue;
        const VkDeviceSize begin = std::max(range.offset, shadow->begin);
        const VkDeviceSize end =
            range.size == VK_WHOLE_SIZE ? shadow->end : std::min(range.offset + range.size, shadow->end);
        if (begin >= end) continue;
        const VkDeviceSize at = begin - shadow->begin;
        copy(shadow->bytes() + at, shadow->real + at, static_cast<std::size_t>(end - begin));
        ++counter;
    }
}

VKAPI_ATTR VkResult VKAPI_CALL flush(VkDevice device, std::uint32_t count,
                                     const VkMappedMemoryRange* ranges) {
    const std::lock_guard lock(wrapped().mutex);
    in_step(count, ranges, wrapped().use.flushed,
            [](const std::byte* mapped, std::byte* real, std::size_t bytes) {
                std::memcpy(real, mapped, bytes);
            });
    return wrapped().flush(device, count, ranges);
}

VKAPI_ATTR VkResult VKAPI_CALL invalidate(VkDevice device, std::uint32_t count,
                                          const VkMappedMemoryRange* ranges) {
    const std::lock_guard lock(wrapped().mutex);
    const VkResult result = wrapped().invalidate(device, count, ranges);
    in_step(count, ranges, wrapped().use.invalidated,
            [](std::byte* mapped, const std::byte* real, std::size_t bytes) {
                std::memcpy(mapped, real, bytes);
            });
    return result;
}

template <typename Function>
PFN_vkVoidFunction wrap(Function& slot, PFN_vkVoidFunction real, Function replacement) {
    if (!real) return nullptr;
    slot = reinterpret_cast<Function>(real);
    return reinterpret_cast<PFN_vkVoidFunction>(replacement);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL device_proc(VkDevice device, const char* name) {
    const PFN_vkVoidFunction real = wrapped().device_proc(device, name);
    const std::string_view wanted = name;
    if (wanted == "vkGetBufferMemoryRequirements") return wrap(wrapped().requirements, real, &requirements);
    if (wanted == "vkGetBufferMemoryRequirements2" || wanted == "vkGetBufferMemoryRequirements2KHR")
        return wrap(wrapped().requirements2, real, &requirements2);
    if (wanted == "vkAllocateMemory") return wrap(wrapped().allocate, real, &allocate);
    if (wanted == "vkFreeMemory") return wrap(wrapped().free, real, &free_memory);
    if (wanted == "vkMapMemory") return wrap(wrapped().map, real, &map);
    if (wanted == "vkUnmapMemory") return wrap(wrapped().unmap, real, &unmap);
    if (wanted == "vkFlushMappedMemoryRanges") return wrap(wrapped().flush, real, &flush);
    if (wanted == "vkInvalidateMappedMemoryRanges") return wrap(wrapped().invalidate, real, &invalidate);
    return real;
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL instance_proc(VkInstance instance, const char* name) {
    const PFN_vkVoidFunction real = wrapped().instance_proc(instance, name);
    const std::string_view wanted = name;
    if (wanted == "vkGetInstanceProcAddr") return reinterpret_cast<PFN_vkVoidFunction>(&instance_proc);
    if (wanted == "vkGetDeviceProcAddr") return wrap(wrapped().device_proc, real, &device_proc);
    if (wanted == "vkGetPhysicalDeviceMemoryProperties")
        return wrap(wrapped().memory_properties, real, &memory_properties);
    if (wanted == "vkGetPhysicalDeviceMemoryProperties2" ||
        wanted == "vkGetPhysicalDeviceMemoryProperties2KHR")
        return real ? reinterpret_cast<PFN_vkVoidFunction>(&memory_properties2) : nullptr;
    return real;
}

}  // namespace

void* split_heaps_loader() {
    if (!wrapped().instance_proc) {
        void* const loader = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
        if (!loader) return nullptr;
        wrapped().instance_proc =
            reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(loader, "vkGetInstanceProcAddr"));
    }
    return reinterpret_cast<void*>(&instance_proc);
}

std::vector<std::string> take_heap_violations() {
    const std::lock_guard lock(wrapped().mutex);
    return std::exchange(wrapped().violations, {});
}

HeapUse heap_use() {
    const std::lock_guard lock(wrapped().mutex);
    return wrapped().use;
}

}  // namespace danaus::test
