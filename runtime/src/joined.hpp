// Packets of kernels with more operands than the device binds storage buffers: their operands are copied into
// one buffer, which the kernel's joined build reaches through one binding, and the written ones are copied
// back.
#pragma once

#include "device_state.hpp"

#include <danaus/runtime/recorder.hpp>

namespace danaus::runtime {

/// Whether kernels of `module` run in their joined build on this device.
[[nodiscard]] bool uses_joined(const kernels::ModuleInfo& info, const Capabilities& capabilities,
                               Access access);

/// Whether `packet` has to be recorded by record_joined(): its kernel runs in its joined build and its
/// operands do not lie in one buffer already, within reach of one descriptor.
[[nodiscard]] bool must_join(const DeviceState& device, const Packet& packet);

/// Throws Error(unsupported) naming the limit when the operands of `packet` do not fit into one descriptor.
void check_joined(const DeviceState& device, const Packet& packet);

/// Records `packet`, which is valid, as copies around a packet whose operands lie in `scratch`, which is
/// replaced by memory of recorder.allocate() where it is too small. Throws as check_joined() before anything
/// is recorded. A profile times the kernel alone.
void record_joined(Recorder& recorder, const Packet& packet, Buffer& scratch);

}  // namespace danaus::runtime
