// The pipeline cache's file: the driver's data behind a header that says whose it is and whether it is whole.
// Drivers trust the data they are given, so a cut, altered or foreign file must never reach them.
#pragma once

#include <danaus/runtime/capabilities.hpp>

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace danaus::runtime {

struct CacheLoad {
    std::vector<std::byte> data;  // empty when there is no usable file
    std::string warning;          // why an existing file was ignored; empty otherwise
};

/// Reads `path` if it was written for the device and driver of `capabilities` and is whole.
CacheLoad load_cache_file(const std::filesystem::path& path, const Capabilities& capabilities);

/// Writes `data` to a temporary name beside `path` and renames it. Returns why it failed, or "".
std::string save_cache_file(const std::filesystem::path& path, const Capabilities& capabilities,
                            std::span<const std::byte> data);

}  // namespace danaus::runtime
