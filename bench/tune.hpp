// danaus-bench tune: fills a tuning table from the cases' multiplies.
#pragma once

#include "cases.hpp"

#include <filesystem>

namespace danaus::bench {

/// Measures what the cases multiply and the device's table does not know yet, or all of it, and prints every
/// problem's way by rules and the best one. With `file`, the table that is there is gone on with, and saved
/// after every case, so that little is lost when it is stopped.
void tune_cases(const Device& device, const std::vector<Case>& cases, const std::filesystem::path& file,
                bool again);

}  // namespace danaus::bench
