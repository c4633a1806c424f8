// A file of a test's own.
#pragma once

#include <filesystem>
#include <random>
#include <string>

namespace danaus::test {

/// A name in the folder for temporary files that nothing else has; what is there at the end is removed.
struct TemporaryFile {
    TemporaryFile() = default;
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }

    const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                       ("danaus_" + std::to_string(std::random_device()()) + ".safetensors");
};

}  // namespace danaus::test
