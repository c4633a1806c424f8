// A Vulkan loader whose devices have memory as discrete GPUs without resizable BAR have it, in two heaps that
// share nothing: device-local memory that the host cannot map, and host memory, coherent or cached. The
// cached kind is not coherent: what is mapped of it is a copy that only flushing and invalidating bring in
// step.
#pragma once

#include <string>
#include <vector>

namespace danaus::test {

/// For DeviceOptions::get_instance_proc_addr. The device at hand does the work, whatever its own memory
/// types.
[[nodiscard]] void* split_heaps_loader();

/// What no driver of such a device would have done, since the last call: mapping device-local memory.
[[nodiscard]] std::vector<std::string> take_heap_violations();
/// Bytes ever allocated of the three kinds, and ranges of cached memory brought in step.
struct HeapUse {
    unsigned long long device = 0, coherent = 0, cached = 0;
    unsigned long long flushed = 0, invalidated = 0;
};
[[nodiscard]] HeapUse heap_use();

}  // namespace danaus::test
