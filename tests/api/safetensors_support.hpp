// Safetensors files made by hand, byte by byte.
#pragma once

#include "support/device.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace danaus::test {

/// Eight bytes, little-endian.
inline std::string length_bytes(std::uint64_t length) {
    std::string bytes;
    for (int i = 0; i < 8; ++i) bytes += static_cast<char>(length >> 8 * i & 255);
    return bytes;
}

/// A file of this header and data.
inline std::string file_of(const std::string& header, const std::string& data = {}) {
    return length_bytes(header.size()) + header + data;
}

inline std::string text_of(const std::vector<std::byte>& bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// A folder of the test's own, and one file in it.
class SafetensorsTest : public ::testing::Test {
protected:
    SafetensorsTest() {
        const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
        folder = std::filesystem::temp_directory_path() /
                 (std::string("danaus-") + test->test_suite_name() + "-" + test->name() +
                  (access() == Access::address ? "-a" : "-d"));
        std::filesystem::remove_all(folder);
        std::filesystem::create_directories(folder);
        path = folder / "x.safetensors";
    }
    ~SafetensorsTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    }

    [[nodiscard]] std::string content() const {
        std::ifstream file(path, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void write(const std::string& bytes) const {
        std::ofstream file(path, std::ios::binary | std::ios::trunc);
        file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    }
    [[nodiscard]] std::ptrdiff_t files() const {
        return std::distance(std::filesystem::directory_iterator(folder), {});
    }

    std::filesystem::path folder, path;
};

}  // namespace danaus::test
