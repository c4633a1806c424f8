// VK_KHR_pipeline_executable_properties.
#pragma once

#include "vk.hpp"

#include <danaus/runtime/inspect.hpp>

#include <vector>

namespace danaus::runtime {

/// Whether the driver has the extension and its feature.
bool offers_executables(const InstanceTable& vk, VkPhysicalDevice device);

}  // namespace danaus::runtime
