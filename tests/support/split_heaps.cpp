#include "support/split_heaps.hpp"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <set>
#include <string_view>
#include <utility>

#include <dlfcn.h>
#include <vulkan/vulkan.h>

namespace danaus::test {
namespace {

constexpr std::uint32_t device_type = 0, host_type = 1;

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
    std::uint32_t real_type = 0;  // of the device at hand: mappable, and good for storage buffers
    std::mutex mutex;
    std::set<VkDeviceMemory> device_local;
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
    out->memoryHeapCount = out->memoryTypeCount = 2;
    const VkDeviceSize half = real.memoryHeaps[real.memoryTypes[type].heapIndex].size / 2;
    out->memoryHeaps[0] = {half, VK_MEMORY_HEAP_DEVICE_LOCAL_BIT};
    out->memoryHeaps[1] = {half, 0};
    out->memoryTypes[device_type] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0};
    out->memoryTypes[host_type] = {VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT,
                                   1};
}

VKAPI_ATTR void VKAPI_CALL memory_properties2(VkPhysicalDevice device,
                                              VkPhysicalDeviceMemoryProperties2* out) {
    memory_properties(device, &out->memoryProperties);
}

VKAPI_ATTR void VKAPI_CALL requirements(VkDevice device, VkBuffer buffer, VkMemoryRequirements* out) {
    wrapped().requirements(device, buffer, out);
    out->memoryTypeBits = 1u << device_type | 1u << host_type;
}

VKAPI_ATTR void VKAPI_CALL requirements2(VkDevice device, const VkBufferMemoryRequirementsInfo2* info,
                                         VkMemoryRequirements2* out) {
    wrapped().requirements2(device, info, out);
    out->memoryRequirements.memoryTypeBits = 1u << device_type | 1u << host_type;
}

VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo* info,
                                        const VkAllocationCallbacks* callbacks, VkDeviceMemory* out) {
    VkMemoryAllocateInfo real = *info;
    real.memoryTypeIndex = wrapped().real_type;
    const VkResult result = wrapped().allocate(device, &real, callbacks, out);
    if (result != VK_SUCCESS) return result;
    const std::lock_guard lock(wrapped().mutex);
    if (info->memoryTypeIndex == device_type) wrapped().device_local.insert(*out);
    (info->memoryTypeIndex == device_type ? wrapped().use.device : wrapped().use.host) +=
        info->allocationSize;
    return result;
}

VKAPI_ATTR void VKAPI_CALL free_memory(VkDevice device, VkDeviceMemory memory,
                                       const VkAllocationCallbacks* callbacks) {
    {
        const std::lock_guard lock(wrapped().mutex);
        wrapped().device_local.erase(memory);
    }
    wrapped().free(device, memory, callbacks);
}

VKAPI_ATTR VkResult VKAPI_CALL map(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
                                   VkDeviceSize size, VkMemoryMapFlags flags, void** out) {
    {
        const std::lock_guard lock(wrapped().mutex);
        if (wrapped().device_local.contains(memory)) {
            wrapped().violations.emplace_back("device-local memory that the host cannot see was mapped");
            return VK_ERROR_MEMORY_MAP_FAILED;
        }
    }
    return wrapped().map(device, memory, offset, size, flags, out);
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
