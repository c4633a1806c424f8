#include "vk.hpp"

#include "platform.hpp"

namespace danaus::runtime {

InstanceTable::InstanceTable(PFN_vkGetInstanceProcAddr loader, VkInstance instance)
    : GetInstanceProcAddr(loader) {
#define X(name) name = reinterpret_cast<PFN_vk##name>(loader(instance, "vk" #name));
    DANAUS_INSTANCE_FUNCTIONS(X)
    X(CreateDebugUtilsMessengerEXT)
    X(DestroyDebugUtilsMessengerEXT)
    X(GetPhysicalDeviceCooperativeMatrixPropertiesKHR)
    X(GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV)
#undef X
}

DeviceTable::DeviceTable(PFN_vkGetDeviceProcAddr loader, VkDevice device) {
#define X(name) name = reinterpret_cast<PFN_vk##name>(loader(device, "vk" #name));
    DANAUS_DEVICE_FUNCTIONS(X)
    X(GetBufferDeviceAddress)
    X(GetSemaphoreCounterValue)
    X(WaitSemaphores)
    X(SetDebugUtilsObjectNameEXT)
    X(CmdBeginDebugUtilsLabelEXT)
    X(CmdEndDebugUtilsLabelEXT)
#undef X
#define X(name) \
    if (!name) name = reinterpret_cast<PFN_vk##name>(loader(device, "vk" #name "KHR"));
    X(GetBufferDeviceAddress)
    X(GetSemaphoreCounterValue)
    X(WaitSemaphores)
#undef X
}

std::string to_string(VkResult result) {
    switch (result) {
#define X(name) \
    case name:  \
        return #name;
        X(VK_SUCCESS)
        X(VK_NOT_READY)
        X(VK_TIMEOUT)
        X(VK_INCOMPLETE)
        X(VK_ERROR_OUT_OF_HOST_MEMORY)
        X(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        X(VK_ERROR_INITIALIZATION_FAILED)
        X(VK_ERROR_DEVICE_LOST)
        X(VK_ERROR_MEMORY_MAP_FAILED)
        X(VK_ERROR_LAYER_NOT_PRESENT)
        X(VK_ERROR_EXTENSION_NOT_PRESENT)
        X(VK_ERROR_FEATURE_NOT_PRESENT)
        X(VK_ERROR_INCOMPATIBLE_DRIVER)
        X(VK_ERROR_TOO_MANY_OBJECTS)
        X(VK_ERROR_FRAGMENTED_POOL)
        X(VK_ERROR_UNKNOWN)
        X(VK_ERROR_OUT_OF_POOL_MEMORY)
#undef X
        default:
            return "VkResult " + std::to_string(static_cast<int>(result));
    }
}

void check(VkResult result, const char* what) {
    if (result >= VK_SUCCESS) return;
    const ErrorKind kind = result == VK_ERROR_DEVICE_LOST ? ErrorKind::device_lost
                           : result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY
                               ? ErrorKind::out_of_memory
                               : ErrorKind::vulkan;
    throw Error(kind, std::string(what) + " failed: " + to_string(result), static_cast<std::int32_t>(result));
}

std::span<const char* const> system_loader_names() {
#if defined(_WIN32)
    static constexpr const char* names[] = {"vulkan-1.dll"};
#elif defined(__APPLE__)
    static constexpr const char* names[] = {"libvulkan.dylib", "libvulkan.1.dylib", "libMoltenVK.dylib"};
#else
    static constexpr const char* names[] = {"libvulkan.so.1", "libvulkan.so"};
#endif
    return names;
}

PFN_vkGetInstanceProcAddr load_vulkan(std::span<const char* const> names) {
    // The loader stays loaded for the life of the process: drivers do not survive being unloaded.
    void* loader = platform::open_library(names);
    if (!loader) return nullptr;
    return reinterpret_cast<PFN_vkGetInstanceProcAddr>(platform::symbol(loader, "vkGetInstanceProcAddr"));
}

}  // namespace danaus::runtime
