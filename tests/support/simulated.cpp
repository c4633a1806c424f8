#include "support/simulated.hpp"

#include <algorithm>
#include <array>

namespace danaus::test {
namespace {

constexpr std::array list{
    Simulation{"small_workgroups", "128 invocations in a workgroup",
               [](Capabilities& c) {
                   c.max_workgroup_invocations = 128;
                   c.max_workgroup_size = {128, 128, 64};
               }},
    Simulation{"small_shared_memory", "16 KiB of shared memory",
               [](Capabilities& c) { c.max_shared_memory = 16384; }},
    Simulation{"few_storage_buffers", "4 storage buffers in a shader stage, no device addresses",
               [](Capabilities& c) {
                   c.max_storage_buffers = 4;
                   c.buffer_device_address = false;
               }},
    Simulation{"small_storage_range",
               "storage descriptors of 16 KiB at offsets of 256 bytes, no device addresses",
               [](Capabilities& c) {
                   c.max_storage_range = 16384;
                   c.storage_offset_alignment = 256;
                   c.buffer_device_address = false;
               }},
    Simulation{"no_subgroup_operations", "no subgroup arithmetic, shuffle or size control",
               [](Capabilities& c) {
                   c.subgroup_arithmetic = c.subgroup_shuffle = c.subgroup_size_control = false;
               }},
    Simulation{"no_timestamps", "a queue without timestamps", [](Capabilities& c) { c.timestamp_bits = 0; }},
    Simulation{"no_16bit", "no 16-bit storage, no fp16 arithmetic",
               [](Capabilities& c) { c.storage_16bit = c.shader_float16 = false; }},
    Simulation{"separate_heaps", "device memory that the host cannot map, host memory that is not coherent",
               [](Capabilities&) {}, true},
    Simulation{"least", "all of these at once",
               [](Capabilities& c) {
                   for (const Simulation& other : simulations())
                       if (other.name != "least") other.cap(c);
               }},
};

}  // namespace

std::span<const Simulation> simulations() {
    return list;
}

const Simulation* find_simulation(std::string_view name) {
    const auto found =
        std::find_if(list.begin(), list.end(), [&](const Simulation& s) { return s.name == name; });
    return found == list.end() ? nullptr : &*found;
}

}  // namespace danaus::test
