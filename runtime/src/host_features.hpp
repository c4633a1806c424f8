// The library's features inside a host's chain of feature structures.
#pragma once

#include "vk.hpp"

#include <danaus/runtime/capabilities.hpp>

namespace danaus::runtime {

/// Withdraws from `capabilities` every feature that `chain` (a VkDeviceCreateInfo::pNext) does not enable.
void keep_enabled_features(const void* chain, Capabilities& capabilities);

/// Enables in `chain` the features of `capabilities` whose structures it holds, and returns those left over.
Capabilities enable_features(void* chain, const Capabilities& capabilities);

}  // namespace danaus::runtime
