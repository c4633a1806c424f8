// danaus-bench --kernels: what the driver made of the kernels that the cases use. Plans and compiles; runs
// and verifies nothing.
#pragma once

#include "cases.hpp"

#include <filesystem>
#include <optional>

#include <nlohmann/json.hpp>

namespace danaus::bench {

/// Lists the distinct kernels of `cases` in the order of their first use, with what the driver tells of each:
/// printed, and returned as JSON. Internal representations (intermediate code, ISA) are
/// written into `folder`, one file each, where it is given. `device` was opened to be inspected.
[[nodiscard]] nlohmann::ordered_json list_kernels(const Device& device, const std::vector<Case>& cases,
                                                  const std::optional<std::filesystem::path>& folder);

}  // namespace danaus::bench
