// Vulkan's entry points as plain tables, one for an instance and one for a device.
// No process-wide function pointers: a host's own loader, ours, and two devices of different loaders coexist,
// and linking beside a host that brings volk or the loader's prototypes cannot clash.
#pragma once

#define VK_NO_PROTOTYPES
#include <danaus/runtime/error.hpp>

#include <span>
#include <string>

#include <vulkan/vulkan.h>

namespace danaus::runtime {

// VK_KHR_cooperative_matrix is younger than the headers we build with; its structures are part of its
// contract.
inline constexpr const char* cooperative_matrix_extension = "VK_KHR_cooperative_matrix";
struct CooperativeMatrixFeatures {
    static constexpr auto type = static_cast<VkStructureType>(1000506000);
    VkStructureType sType;
    void* pNext;
    VkBool32 cooperativeMatrix, cooperativeMatrixRobustBufferAccess;
};
struct CooperativeMatrixProperties {
    static constexpr auto type = static_cast<VkStructureType>(1000506001);
    VkStructureType sType;
    void* pNext;
    std::uint32_t m, n, k;
    std::uint32_t a, b, c, result;  // VkComponentTypeKHR
    VkBool32 saturatingAccumulation;
    VkScopeNV scope;
};
using PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR =
    VkResult(VKAPI_PTR*)(VkPhysicalDevice, std::uint32_t*, CooperativeMatrixProperties*);

// So are VK_KHR_shader_bfloat16 and VK_NV_cooperative_matrix2.
inline constexpr const char* bfloat16_extension = "VK_KHR_shader_bfloat16";
struct Bfloat16Features {
    static constexpr auto type = static_cast<VkStructureType>(1000141000);
    VkStructureType sType;
    void* pNext;
    VkBool32 shaderBFloat16Type, shaderBFloat16DotProduct, shaderBFloat16CooperativeMatrix;
};
inline constexpr const char* cooperative_matrix2_extension = "VK_NV_cooperative_matrix2";
struct CooperativeMatrix2Features {
    static constexpr auto type = static_cast<VkStructureType>(1000593000);
    VkStructureType sType;
    void* pNext;
    VkBool32 workgroupScope, flexibleDimensions, reductions, conversions, perElementOperations;
    VkBool32 tensorAddressing, blockLoads;
};
struct FlexibleMatrixProperties {
    static constexpr auto type = static_cast<VkStructureType>(1000593001);
    VkStructureType sType;
    void* pNext;
    std::uint32_t m, n, k;  // granularities
    std::uint32_t a, b, c, result;
    VkBool32 saturatingAccumulation;
    VkScopeNV scope;
    std::uint32_t workgroupInvocations;
};
struct CooperativeMatrix2Properties {
    static constexpr auto type = static_cast<VkStructureType>(1000593002);
    VkStructureType sType;
    void* pNext;
    std::uint32_t maxWorkgroupSize, maxDimension, reservedSharedMemory;
};
using PFN_vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV =
    VkResult(VKAPI_PTR*)(VkPhysicalDevice, std::uint32_t*, FlexibleMatrixProperties*);

#define DANAUS_INSTANCE_FUNCTIONS(X)          \
    X(DestroyInstance)                        \
    X(EnumeratePhysicalDevices)               \
    X(EnumerateDeviceExtensionProperties)     \
    X(GetPhysicalDeviceFeatures2)             \
    X(GetPhysicalDeviceProperties)            \
    X(GetPhysicalDeviceProperties2)           \
    X(GetPhysicalDeviceMemoryProperties)      \
    X(GetPhysicalDeviceMemoryProperties2)     \
    X(GetPhysicalDeviceQueueFamilyProperties) \
    X(CreateDevice)                           \
    X(GetDeviceProcAddr)

#define DANAUS_DEVICE_FUNCTIONS(X) \
    X(AllocateCommandBuffers)      \
    X(AllocateDescriptorSets)      \
    X(BeginCommandBuffer)          \
    X(CmdBindDescriptorSets)       \
    X(CmdBindPipeline)             \
    X(CmdCopyBuffer)               \
    X(CmdDispatch)                 \
    X(CmdPipelineBarrier)          \
    X(CmdPushConstants)            \
    X(CmdResetQueryPool)           \
    X(CmdWriteTimestamp)           \
    X(CreateBuffer)                \
    X(CreateCommandPool)           \
    X(CreateComputePipelines)      \
    X(CreateDescriptorPool)        \
    X(CreateDescriptorSetLayout)   \
    X(CreatePipelineCache)         \
    X(CreatePipelineLayout)        \
    X(CreateQueryPool)             \
    X(CreateSemaphore)             \
    X(CreateShaderModule)          \
    X(DestroyBuffer)               \
    X(DestroyCommandPool)          \
    X(DestroyDescriptorPool)       \
    X(DestroyDescriptorSetLayout)  \
    X(DestroyDevice)               \
    X(DestroyPipeline)             \
    X(DestroyPipelineCache)        \
    X(DestroyPipelineLayout)       \
    X(DestroyQueryPool)            \
    X(DestroySemaphore)            \
    X(DestroyShaderModule)         \
    X(DeviceWaitIdle)              \
    X(EndCommandBuffer)            \
    X(GetDeviceQueue)              \
    X(GetPipelineCacheData)        \
    X(GetQueryPoolResults)         \
    X(QueueSubmit)                 \
    X(ResetCommandPool)            \
    X(ResetDescriptorPool)         \
    X(UpdateDescriptorSets)

struct InstanceTable {
#define X(name) PFN_vk##name name = nullptr;
    DANAUS_INSTANCE_FUNCTIONS(X)
#undef X
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
    PFN_vkCreateDebugUtilsMessengerEXT CreateDebugUtilsMessengerEXT = nullptr;  // null without the extension
    PFN_vkDestroyDebugUtilsMessengerEXT DestroyDebugUtilsMessengerEXT = nullptr;  // likewise
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR GetPhysicalDeviceCooperativeMatrixPropertiesKHR =
        nullptr;  // likewise
    PFN_vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV
        GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV = nullptr;  // likewise

    InstanceTable() = default;
    InstanceTable(PFN_vkGetInstanceProcAddr loader, VkInstance instance);
};

struct DeviceTable {
#define X(name) PFN_vk##name name = nullptr;
    DANAUS_DEVICE_FUNCTIONS(X)
#undef X
    // Core in Vulkan 1.2, extensions before.
    PFN_vkGetBufferDeviceAddress GetBufferDeviceAddress = nullptr;
    PFN_vkGetSemaphoreCounterValue GetSemaphoreCounterValue = nullptr;
    PFN_vkWaitSemaphores WaitSemaphores = nullptr;
    // Null without VK_EXT_debug_utils.
    PFN_vkSetDebugUtilsObjectNameEXT SetDebugUtilsObjectNameEXT = nullptr;
    PFN_vkCmdBeginDebugUtilsLabelEXT CmdBeginDebugUtilsLabelEXT = nullptr;
    PFN_vkCmdEndDebugUtilsLabelEXT CmdEndDebugUtilsLabelEXT = nullptr;

    DeviceTable() = default;
    DeviceTable(PFN_vkGetDeviceProcAddr loader, VkDevice device);
};

/// "VK_ERROR_OUT_OF_DEVICE_MEMORY" and so on; "VkResult N" for values the library has no name for.
std::string to_string(VkResult result);

/// Throws the Error that fits `result` unless it is a success code. `what` says what was being done.
void check(VkResult result, const char* what);

/// What the Vulkan loader's library is called on this system.
std::span<const char* const> system_loader_names();

/// vkGetInstanceProcAddr of the first library of `names` that can be opened; null when none can.
PFN_vkGetInstanceProcAddr load_vulkan(std::span<const char* const> names);

}  // namespace danaus::runtime
