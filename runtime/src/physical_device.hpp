// Reading what a physical device is and can do, and what a logical device must enable for the library.
#pragma once

#include "vk.hpp"

#include <danaus/runtime/access.hpp>
#include <danaus/runtime/capabilities.hpp>

#include <optional>
#include <vector>

namespace danaus::runtime {

/// Everything the library wants to know about `device`. Extensions are those the driver offers; features
/// those it reports. `version` caps the device's Vulkan version at that of the instance.
Capabilities query_capabilities(const InstanceTable& vk, VkPhysicalDevice device,
                                std::uint32_t version = UINT32_MAX);

/// The queue family the library uses: compute without graphics if there is one, else any with compute.
/// Returns -1 when there is none.
int compute_queue_family(const InstanceTable& vk, VkPhysicalDevice device);
std::uint32_t queue_timestamp_bits(const InstanceTable& vk, VkPhysicalDevice device, std::uint32_t family);

/// What the device lists of the two kinds.
std::vector<CooperativeMatrix> query_cooperative_matrices(const InstanceTable& vk, VkPhysicalDevice device);
std::vector<WorkgroupMatrix> query_workgroup_matrices(const InstanceTable& vk, VkPhysicalDevice device);

/// Appends `value` to a pNext chain.
template <typename T>
void link(T& value, VkStructureType type, void*& chain) {
    value.sType = type;
    value.pNext = chain;
    chain = &value;
}

/// A chain of feature structures with exactly the features that `capabilities` reports and the library uses.
class FeatureChain {
public:
    /// `tail` is another chain to end in.
    explicit FeatureChain(const Capabilities& capabilities, void* tail = nullptr);
    FeatureChain(const FeatureChain&) = delete;
    FeatureChain& operator=(const FeatureChain&) = delete;
    [[nodiscard]] const void* chain() const { return head_; }

private:
    VkPhysicalDeviceFeatures2 core_{};
    VkPhysicalDeviceTimelineSemaphoreFeatures timeline_{};
    VkPhysicalDeviceBufferDeviceAddressFeatures address_{};
    VkPhysicalDevice16BitStorageFeatures storage16_{};
    VkPhysicalDeviceShaderFloat16Int8Features float16_{};
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size_{};
    CooperativeMatrixFeatures matrix_{};
    CooperativeMatrix2Features matrix2_{};
    Bfloat16Features bfloat16_{};
    VkPhysicalDeviceVulkanMemoryModelFeatures memory_model_{};
    const void* head_ = nullptr;
};

/// Throws Error(no_device) naming what the library needs and the device lacks.
void require_usable(const Capabilities& capabilities);
/// Device addresses where there are any, unless `wanted` says otherwise; Error(unsupported) when it cannot
/// be.
Access choose_access(const Capabilities& capabilities, const std::optional<Access>& wanted);

/// Extensions a device of these capabilities must enable for the library.
std::vector<const char*> required_extensions(const Capabilities& capabilities);

}  // namespace danaus::runtime
