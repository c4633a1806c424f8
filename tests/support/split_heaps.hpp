// A Vulkan loader whose devices have two kinds of memory that share nothing: device-local memory that the
// host cannot map, and host memory that is neither device-local nor coherent, as discrete GPUs without
// resizable BAR have it.
#pragma once

#include <string>
#include <vector>

namespace danaus::test {

/// For DeviceOptions::get_instance_proc_addr. The device at hand does the work, whatever its own memory
/// types.
[[nodiscard]] void* split_heaps_loader();

/// What no driver of such a device would have done, since the last call: mapping device-local memory.
[[nodiscard]] std::vector<std::string> take_heap_violations();
/// Bytes ever allocated of the two kinds.
struct HeapUse {
    unsigned long long device = 0, host = 0;
};
[[nodiscard]] HeapUse heap_use();

}  // namespace danaus::test
