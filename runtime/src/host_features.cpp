#include "host_features.hpp"

#include <array>
#include <cstddef>
#include <cstring>

namespace danaus::runtime {
namespace {

/// A VkBool32 of a structure.
struct Place {
    VkStructureType type;
    std::size_t offset;
};

/// A feature lives in a structure of its own and in that of the Vulkan version which took it up; a chain may
/// hold one of them.
struct Feature {
    bool Capabilities::*flag;
    std::array<Place, 2> places;
};

#define PLACE(type, structure, member) \
    { VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_##type##_FEATURES, offsetof(structure, member) }

constexpr Place cooperative_matrix{CooperativeMatrixFeatures::type,
                                   offsetof(CooperativeMatrixFeatures, cooperativeMatrix)};

constexpr Place bfloat16{Bfloat16Features::type, offsetof(Bfloat16Features, shaderBFloat16Type)};
constexpr Place bfloat16_matrix{Bfloat16Features::type,
                                offsetof(Bfloat16Features, shaderBFloat16CooperativeMatrix)};
constexpr Place workgroup_scope{CooperativeMatrix2Features::type,
                                offsetof(CooperativeMatrix2Features, workgroupScope)};
constexpr Place flexible_dimensions{CooperativeMatrix2Features::type,
                                    offsetof(CooperativeMatrix2Features, flexibleDimensions)};

// Of Vulkan 1.0; a host that passes VkDeviceCreateInfo::pEnabledFeatures instead does without.
constexpr Place float64{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                        offsetof(VkPhysicalDeviceFeatures2, features.shaderFloat64)};

constexpr std::array<Feature, 14> features{{
    {&Capabilities::timeline_semaphore,
     {{PLACE(TIMELINE_SEMAPHORE, VkPhysicalDeviceTimelineSemaphoreFeatures, timelineSemaphore),
       PLACE(VULKAN_1_2, VkPhysicalDeviceVulkan12Features, timelineSemaphore)}}},
    {&Capabilities::buffer_device_address,
     {{PLACE(BUFFER_DEVICE_ADDRESS, VkPhysicalDeviceBufferDeviceAddressFeatures, bufferDeviceAddress),
       PLACE(VULKAN_1_2, VkPhysicalDeviceVulkan12Features, bufferDeviceAddress)}}},
    {&Capabilities::shader_float16,
     {{PLACE(SHADER_FLOAT16_INT8, VkPhysicalDeviceShaderFloat16Int8Features, shaderFloat16),
       PLACE(VULKAN_1_2, VkPhysicalDeviceVulkan12Features, shaderFloat16)}}},
    {&Capabilities::storage_16bit,
     {{PLACE(16BIT_STORAGE, VkPhysicalDevice16BitStorageFeatures, storageBuffer16BitAccess),
       PLACE(VULKAN_1_1, VkPhysicalDeviceVulkan11Features, storageBuffer16BitAccess)}}},
    {&Capabilities::subgroup_size_control,
     {{PLACE(SUBGROUP_SIZE_CONTROL, VkPhysicalDeviceSubgroupSizeControlFeatures, subgroupSizeControl),
       PLACE(VULKAN_1_3, VkPhysicalDeviceVulkan13Features, subgroupSizeControl)}}},
    {&Capabilities::compute_full_subgroups,
     {{PLACE(SUBGROUP_SIZE_CONTROL, VkPhysicalDeviceSubgroupSizeControlFeatures, computeFullSubgroups),
       PLACE(VULKAN_1_3, VkPhysicalDeviceVulkan13Features, computeFullSubgroups)}}},
    {&Capabilities::vulkan_memory_model,
     {{PLACE(VULKAN_MEMORY_MODEL, VkPhysicalDeviceVulkanMemoryModelFeatures, vulkanMemoryModel),
       PLACE(VULKAN_1_2, VkPhysicalDeviceVulkan12Features, vulkanMemoryModel)}}},
    {&Capabilities::memory_model_device_scope,
     {{PLACE(VULKAN_MEMORY_MODEL, VkPhysicalDeviceVulkanMemoryModelFeatures, vulkanMemoryModelDeviceScope),
       PLACE(VULKAN_1_2, VkPhysicalDeviceVulkan12Features, vulkanMemoryModelDeviceScope)}}},
    // No version has taken these up.
    {&Capabilities::shader_float64, {{float64, float64}}},
    {&Capabilities::cooperative_matrix, {{cooperative_matrix, cooperative_matrix}}},
    {&Capabilities::shader_bfloat16, {{bfloat16, bfloat16}}},
    {&Capabilities::matrix_bfloat16, {{bfloat16_matrix, bfloat16_matrix}}},
    {&Capabilities::matrix_workgroup_scope, {{workgroup_scope, workgroup_scope}}},
    {&Capabilities::matrix_flexible_dimensions, {{flexible_dimensions, flexible_dimensions}}},
}};
#undef PLACE

bool enabled(const void* chain, const Place& place) {
    for (auto node = static_cast<const VkBaseInStructure*>(chain); node; node = node->pNext) {
        if (node->sType != place.type) continue;
        VkBool32 value = VK_FALSE;
        std::memcpy(&value, reinterpret_cast<const std::byte*>(node) + place.offset, sizeof value);
        return value == VK_TRUE;
    }
    return false;
}

bool enable(void* chain, const Place& place) {
    for (auto node = static_cast<VkBaseOutStructure*>(chain); node; node = node->pNext) {
        if (node->sType != place.type) continue;
        const VkBool32 value = VK_TRUE;
        std::memcpy(reinterpret_cast<std::byte*>(node) + place.offset, &value, sizeof value);
        return true;
    }
    return false;
}

}  // namespace

void keep_enabled_features(const void* chain, Capabilities& capabilities) {
    for (const Feature& feature : features)
        if (!enabled(chain, feature.places[0]) && !enabled(chain, feature.places[1]))
            capabilities.*feature.flag = false;
    if (!capabilities.cooperative_matrix) capabilities.cooperative_matrices.clear();
    if (!capabilities.cooperative_matrix || !capabilities.matrix_workgroup_scope ||
        !capabilities.matrix_flexible_dimensions)
        capabilities.workgroup_matrices.clear();
}

Capabilities enable_features(void* chain, const Capabilities& capabilities) {
    Capabilities rest = capabilities;
    for (const Feature& feature : features)
        if (rest.*feature.flag && (enable(chain, feature.places[0]) || enable(chain, feature.places[1])))
            rest.*feature.flag = false;
    // Its structure would forbid the host pEnabledFeatures: only used where the host has one itself.
    rest.shader_float64 = false;
    return rest;
}

}  // namespace danaus::runtime
