// The features and extensions that a device is created with.
#include "physical_device.hpp"

namespace danaus::runtime {
namespace {

// The second extension needs the first.
bool extends_matrices(const Capabilities& c) {
    return c.cooperative_matrix && (c.matrix_workgroup_scope || c.matrix_flexible_dimensions);
}

// Both or neither: with the model alone, the atomics of all kernels that are not written for it are invalid.
bool models_memory(const Capabilities& c) {
    return c.vulkan_memory_model && c.memory_model_device_scope;
}

}  // namespace

FeatureChain::FeatureChain(const Capabilities& c, void* tail) {
    void* chain = tail;
    if (c.shader_float64) {
        core_.features.shaderFloat64 = VK_TRUE;
        link(core_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, chain);
    }
    if (c.timeline_semaphore) {
        timeline_.timelineSemaphore = VK_TRUE;
        link(timeline_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES, chain);
    }
    if (c.buffer_device_address) {
        address_.bufferDeviceAddress = VK_TRUE;
        link(address_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES, chain);
    }
    if (c.storage_16bit) {
        storage16_.storageBuffer16BitAccess = VK_TRUE;
        link(storage16_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, chain);
    }
    if (c.shader_float16) {
        float16_.shaderFloat16 = VK_TRUE;
        link(float16_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, chain);
    }
    if (c.subgroup_size_control || c.compute_full_subgroups) {
        subgroup_size_.subgroupSizeControl = c.subgroup_size_control ? VK_TRUE : VK_FALSE;
        subgroup_size_.computeFullSubgroups = c.compute_full_subgroups ? VK_TRUE : VK_FALSE;
        link(subgroup_size_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, chain);
    }
    if (c.cooperative_matrix) {
        matrix_.cooperativeMatrix = VK_TRUE;
        link(matrix_, CooperativeMatrixFeatures::type, chain);
    }
    if (models_memory(c)) {
        memory_model_.vulkanMemoryModel = VK_TRUE;
        memory_model_.vulkanMemoryModelDeviceScope = VK_TRUE;
        link(memory_model_, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES, chain);
    }
    if (c.shader_bfloat16) {
        bfloat16_.shaderBFloat16Type = VK_TRUE;
        bfloat16_.shaderBFloat16CooperativeMatrix = c.matrix_bfloat16 ? VK_TRUE : VK_FALSE;
        link(bfloat16_, Bfloat16Features::type, chain);
    }
    if (extends_matrices(c)) {
        matrix2_.workgroupScope = c.matrix_workgroup_scope ? VK_TRUE : VK_FALSE;
        matrix2_.flexibleDimensions = c.matrix_flexible_dimensions ? VK_TRUE : VK_FALSE;
        link(matrix2_, CooperativeMatrix2Features::type, chain);
    }
    head_ = chain;
}

std::vector<const char*> required_extensions(const Capabilities& c) {
    std::vector<const char*> names;
    if (c.api_version < VK_API_VERSION_1_2) {
        names.push_back(VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME);
        if (c.buffer_device_address) names.push_back(VK_KHR_BUFFER_DEVICE_ADDRESS_EXTENSION_NAME);
        if (c.shader_float16) names.push_back(VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME);
    }
    if (c.api_version < VK_API_VERSION_1_2 && models_memory(c))
        names.push_back(VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME);
    if (c.api_version < VK_API_VERSION_1_3 && (c.subgroup_size_control || c.compute_full_subgroups))
        names.push_back(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME);
    if (c.cooperative_matrix) names.push_back(cooperative_matrix_extension);
    if (c.shader_bfloat16) names.push_back(bfloat16_extension);
    if (extends_matrices(c)) names.push_back(cooperative_matrix2_extension);
    if (c.portability_subset) names.push_back("VK_KHR_portability_subset");
    return names;
}

}  // namespace danaus::runtime
