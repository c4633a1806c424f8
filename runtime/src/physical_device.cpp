#include "physical_device.hpp"

#include "quirks.hpp"

#include <danaus/runtime/error.hpp>

#include <algorithm>
#include <cstring>
#include <set>
#include <string>

#include <fmt/format.h>

namespace danaus {

namespace {

// Whether matrices of this element can be multiplied with sums in f32 by kernels of the table.
bool multiplies(const Capabilities& c, MatrixElement element) {
    return c.cooperative_matrix && c.vulkan_memory_model && c.memory_model_device_scope &&
           (element == MatrixElement::bf16 ? c.shader_bfloat16 && c.matrix_bfloat16 : c.shader_float16);
}

bool subgroups_multiply(const Capabilities& c, MatrixElement element) {
    return multiplies(c, element) && c.compute_full_subgroups &&
           std::any_of(c.cooperative_matrices.begin(), c.cooperative_matrices.end(),
                       [&](const CooperativeMatrix& shape) { return shape.multiplies(element); });
}

// Their extension is written in SPIR-V 1.6.
bool workgroups_multiply(const Capabilities& c, MatrixElement element) {
    return multiplies(c, element) && c.matrix_workgroup_scope && c.matrix_flexible_dimensions &&
           c.api_version >= VK_API_VERSION_1_3 &&
           std::any_of(c.workgroup_matrices.begin(), c.workgroup_matrices.end(),
                       [&](const WorkgroupMatrix& shape) { return shape.steps.multiplies(element); });
}

}  // namespace

bool Capabilities::has(const std::string& requirement) const {
    if (requirement == "buffer_device_address") return buffer_device_address;
    if (requirement == "shader_float16") return shader_float16;
    if (requirement == "shader_float64") return shader_float64;
    if (requirement == "storage_16bit") return storage_16bit;
    if (requirement == "subgroup_arithmetic") return subgroup_arithmetic;
    if (requirement == "subgroup_shuffle") return subgroup_shuffle;
    if (requirement == "subgroup_size_control") return subgroup_size_control;
    if (requirement == "cooperative_matrix_f16") return subgroups_multiply(*this, MatrixElement::f16);
    if (requirement == "cooperative_matrix_bf16") return subgroups_multiply(*this, MatrixElement::bf16);
    if (requirement == "workgroup_matrix_f16") return workgroups_multiply(*this, MatrixElement::f16);
    if (requirement == "workgroup_matrix_bf16") return workgroups_multiply(*this, MatrixElement::bf16);
    throw Error(ErrorKind::unsupported, "unknown capability '" + requirement + "' in the kernel table");
}

std::string describe(const Capabilities& c) {
    return fmt::format("{} ({}{}{}, Vulkan {}.{}.{})", c.name, c.driver_name,
                       c.driver_name.empty() ? "" : " ",
                       c.driver_info.empty() ? std::to_string(c.driver_version) : c.driver_info,
                       VK_API_VERSION_MAJOR(c.api_version), VK_API_VERSION_MINOR(c.api_version),
                       VK_API_VERSION_PATCH(c.api_version));
}

const char* to_string(DeviceType type) {
    switch (type) {
        case DeviceType::integrated:
            return "integrated";
        case DeviceType::discrete:
            return "discrete";
        case DeviceType::virtual_gpu:
            return "virtual";
        case DeviceType::cpu:
            return "cpu";
        case DeviceType::other:
            break;
    }
    return "other";
}

std::string unusable_reason(const Capabilities& c) {
    if (c.api_version < VK_API_VERSION_1_1) return "it has Vulkan 1.0, Vulkan 1.1 is needed";
    if (!c.timeline_semaphore) return "it lacks timelineSemaphore";
    if (c.max_push_constants < 128)
        return fmt::format("it has {} bytes of push constants, 128 are needed", c.max_push_constants);
    if (!c.compute_queue) return "it has no compute queue";
    return {};
}

std::string uuid_to_string(const std::array<std::uint8_t, 16>& uuid) {
    std::string text;
    for (std::size_t i = 0; i < uuid.size(); ++i) {
        if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
        text += fmt::format("{:02x}", uuid[i]);
    }
    return text;
}

namespace runtime {
namespace {

DeviceType device_type(VkPhysicalDeviceType type) {
    switch (type) {
        case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
            return DeviceType::integrated;
        case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
            return DeviceType::discrete;
        case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
            return DeviceType::virtual_gpu;
        case VK_PHYSICAL_DEVICE_TYPE_CPU:
            return DeviceType::cpu;
        default:
            return DeviceType::other;
    }
}

std::set<std::string> device_extensions(const InstanceTable& vk, VkPhysicalDevice device) {
    std::uint32_t count = 0;
    check(vk.EnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr),
          "listing device extensions");
    std::vector<VkExtensionProperties> properties(count);
    check(vk.EnumerateDeviceExtensionProperties(device, nullptr, &count, properties.data()),
          "listing device extensions");
    std::set<std::string> names;
    for (std::uint32_t i = 0; i < count; ++i) names.insert(properties[i].extensionName);
    return names;
}

}  // namespace

Capabilities query_capabilities(const InstanceTable& vk, VkPhysicalDevice device, std::uint32_t version) {
    Capabilities c;
    VkPhysicalDeviceProperties basic{};
    vk.GetPhysicalDeviceProperties(device, &basic);
    basic.apiVersion = std::min(basic.apiVersion, version);
    const auto extensions = device_extensions(vk, device);
    const auto offers = [&](std::uint32_t core, const char* extension) {
        return basic.apiVersion >= core || extensions.contains(extension);
    };

    void* chain = nullptr;
    VkPhysicalDeviceIDProperties id{};
    link(id, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES, chain);
    VkPhysicalDeviceSubgroupProperties subgroup{};
    link(subgroup, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, chain);
    VkPhysicalDeviceMaintenance3Properties maintenance3{};
    link(maintenance3, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES, chain);
    VkPhysicalDeviceDriverProperties driver{};
    if (offers(VK_API_VERSION_1_2, VK_KHR_DRIVER_PROPERTIES_EXTENSION_NAME))
        link(driver, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, chain);
    VkPhysicalDeviceSubgroupSizeControlProperties sizes{};
    if (offers(VK_API_VERSION_1_3, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME))
        link(sizes, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES, chain);
    CooperativeMatrix2Properties matrix2_properties{};
    if (extensions.contains(cooperative_matrix2_extension))
        link(matrix2_properties, CooperativeMatrix2Properties::type, chain);
    VkPhysicalDeviceProperties2 properties{};
    properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
    properties.pNext = chain;
    vk.GetPhysicalDeviceProperties2(device, &properties);

    chain = nullptr;
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline{};
    if (offers(VK_API_VERSION_1_2, VK_KHR_TIMELINE_SEMAPHORE_EXTENSION_NAME))
        link(timeline, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_TIMELINE_SEMAPHORE_FEATURES, chain);
    VkPhysicalDeviceBufferDeviceAddressFeatures address{};
    if (offers(VK_API_VERSION_1_2, VK_KHR_BUFFER_DEVICE_ADDRESS_EXTENSION_NAME))
        link(address, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_BUFFER_DEVICE_ADDRESS_FEATURES, chain);
    VkPhysicalDeviceShaderFloat16Int8Features float16{};
    if (offers(VK_API_VERSION_1_2, VK_KHR_SHADER_FLOAT16_INT8_EXTENSION_NAME))
        link(float16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_FLOAT16_INT8_FEATURES, chain);
    VkPhysicalDevice16BitStorageFeatures storage16{};
    link(storage16, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_16BIT_STORAGE_FEATURES, chain);
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size{};
    if (offers(VK_API_VERSION_1_3, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME))
        link(subgroup_size, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, chain);
    CooperativeMatrixFeatures matrix{};
    if (extensions.contains(cooperative_matrix_extension))
        link(matrix, CooperativeMatrixFeatures::type, chain);
    CooperativeMatrix2Features matrix2{};
    if (extensions.contains(cooperative_matrix2_extension))
        link(matrix2, CooperativeMatrix2Features::type, chain);
    Bfloat16Features bfloat16{};
    if (extensions.contains(bfloat16_extension)) link(bfloat16, Bfloat16Features::type, chain);
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model{};
    if (offers(VK_API_VERSION_1_2, VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME))
        link(memory_model, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_MEMORY_MODEL_FEATURES, chain);
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features.pNext = chain;
    vk.GetPhysicalDeviceFeatures2(device, &features);

    c.name = basic.deviceName;
    c.driver_name = driver.driverName;
    c.driver_info = driver.driverInfo;
    c.driver_id = static_cast<std::uint32_t>(driver.driverID);
    c.vendor_id = basic.vendorID;
    c.device_id = basic.deviceID;
    c.driver_version = basic.driverVersion;
    c.api_version = basic.apiVersion;
    std::memcpy(c.device_uuid.data(), id.deviceUUID, 16);
    std::memcpy(c.driver_uuid.data(), id.driverUUID, 16);
    std::memcpy(c.pipeline_cache_uuid.data(), basic.pipelineCacheUUID, 16);
    c.type = device_type(basic.deviceType);

    const VkPhysicalDeviceLimits& limits = basic.limits;
    c.max_workgroup_invocations = limits.maxComputeWorkGroupInvocations;
    std::copy_n(limits.maxComputeWorkGroupSize, 3, c.max_workgroup_size.begin());
    std::copy_n(limits.maxComputeWorkGroupCount, 3, c.max_workgroup_count.begin());
    c.max_shared_memory = limits.maxComputeSharedMemorySize;
    c.max_push_constants = limits.maxPushConstantsSize;
    c.max_storage_buffers = limits.maxPerStageDescriptorStorageBuffers;
    c.max_storage_range = limits.maxStorageBufferRange;
    c.storage_offset_alignment = std::max<std::uint64_t>(4, limits.minStorageBufferOffsetAlignment);
    c.max_allocation = maintenance3.maxMemoryAllocationSize;
    c.subgroup_size = std::max(1u, subgroup.subgroupSize);
    c.min_subgroup_size = sizes.minSubgroupSize ? sizes.minSubgroupSize : c.subgroup_size;
    c.max_subgroup_size = sizes.maxSubgroupSize ? sizes.maxSubgroupSize : c.subgroup_size;
    // Where there is a choice, matrix units are as wide as the narrowest subgroups (Intel, AMD).
    c.matrix_subgroup_size = c.min_subgroup_size;
    c.matrix_reserved_shared = matrix2_properties.reservedSharedMemory;
    c.timestamp_period = static_cast<double>(limits.timestampPeriod);

    VkPhysicalDeviceMemoryProperties memory{};
    vk.GetPhysicalDeviceMemoryProperties(device, &memory);
    for (std::uint32_t i = 0; i < memory.memoryHeapCount; ++i)
        if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            c.device_memory = std::max<std::uint64_t>(c.device_memory, memory.memoryHeaps[i].size);

    const int family = compute_queue_family(vk, device);
    c.compute_queue = family >= 0;
    if (family >= 0) c.timestamp_bits = queue_timestamp_bits(vk, device, static_cast<std::uint32_t>(family));

    const bool compute_subgroups = (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    c.timeline_semaphore = timeline.timelineSemaphore == VK_TRUE;
    c.buffer_device_address = address.bufferDeviceAddress == VK_TRUE;
    c.shader_float16 = float16.shaderFloat16 == VK_TRUE;
    c.shader_float64 = features.features.shaderFloat64 == VK_TRUE;
    c.storage_16bit = storage16.storageBuffer16BitAccess == VK_TRUE;
    c.subgroup_arithmetic =
        compute_subgroups && (subgroup.supportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT) != 0;
    c.subgroup_shuffle =
        compute_subgroups && (subgroup.supportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT) != 0;
    c.subgroup_size_control = subgroup_size.subgroupSizeControl == VK_TRUE &&
                              (sizes.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    c.compute_full_subgroups = subgroup_size.computeFullSubgroups == VK_TRUE;
    c.vulkan_memory_model = memory_model.vulkanMemoryModel == VK_TRUE;
    c.memory_model_device_scope = memory_model.vulkanMemoryModelDeviceScope == VK_TRUE;
    // With the one and without the other, kernels that know nothing of either could not use atomics.
    if (!c.memory_model_device_scope) c.vulkan_memory_model = false;
    c.shader_bfloat16 = bfloat16.shaderBFloat16Type == VK_TRUE;
    c.matrix_bfloat16 = bfloat16.shaderBFloat16CooperativeMatrix == VK_TRUE;
    c.matrix_workgroup_scope = matrix2.workgroupScope == VK_TRUE;
    c.matrix_flexible_dimensions = matrix2.flexibleDimensions == VK_TRUE;
    c.portability_subset = extensions.contains("VK_KHR_portability_subset");
    if (matrix.cooperativeMatrix == VK_TRUE) c.cooperative_matrices = query_cooperative_matrices(vk, device);
    c.cooperative_matrix = !c.cooperative_matrices.empty();
    if (c.cooperative_matrix && c.matrix_workgroup_scope && c.matrix_flexible_dimensions)
        c.workgroup_matrices = query_workgroup_matrices(vk, device);
    apply_quirks(c);
    return c;
}

int compute_queue_family(const InstanceTable& vk, VkPhysicalDevice device) {
    std::uint32_t count = 0;
    vk.GetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vk.GetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
    int any = -1;
    for (std::uint32_t i = 0; i < count; ++i) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT) || families[i].queueCount == 0) continue;
        if (!(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT)) return static_cast<int>(i);
        if (any < 0) any = static_cast<int>(i);
    }
    return any;
}

std::uint32_t queue_timestamp_bits(const InstanceTable& vk, VkPhysicalDevice device, std::uint32_t family) {
    std::uint32_t count = 0;
    vk.GetPhysicalDeviceQueueFamilyProperties(device, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vk.GetPhysicalDeviceQueueFamilyProperties(device, &count, families.data());
    return family < count ? families[family].timestampValidBits : 0;
}

void require_usable(const Capabilities& c) {
    if (const std::string reason = unusable_reason(c); !reason.empty())
        throw Error(ErrorKind::no_device, fmt::format("{} cannot be used: {}", c.name, reason));
}

Access choose_access(const Capabilities& c, const std::optional<Access>& wanted) {
    if (wanted == Access::address && !c.buffer_device_address)
        throw Error(ErrorKind::unsupported,
                    fmt::format("access = address was asked for, but {} lacks bufferDeviceAddress", c.name));
    return wanted.value_or(c.buffer_device_address ? Access::address : Access::descriptor);
}

}  // namespace runtime
}  // namespace danaus
