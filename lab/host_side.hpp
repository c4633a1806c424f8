// The library's host side on a driver: allocation, recording, submission, waiting. Where nothing executes,
// results mean nothing; that all of it succeeds does.
#pragma once

#include "driver.hpp"

#include <danaus/runtime/device.hpp>

#include <nlohmann/json.hpp>

namespace danaus::lab {

/// Works on a device that the library opens and on one that it adopts; the second one tells where its memory
/// came from. Returns the heaps, the memory types with the allocations they served, and counts of what was
/// done. Throws what the library throws.
[[nodiscard]] nlohmann::ordered_json host_side(const DeviceOptions& options, const Driver& driver);

}  // namespace danaus::lab
