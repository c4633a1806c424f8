#include "cache_file.hpp"

#include "platform.hpp"

#include <danaus/runtime/layers.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

namespace danaus::runtime {
namespace {

struct Header {
    std::array<char, 8> magic;
    std::uint32_t version;
    std::uint32_t driver_version;
    std::array<std::uint8_t, 16> device_uuid;
    std::array<std::uint8_t, 16> driver_uuid;
    std::array<std::uint8_t, 16> pipeline_cache_uuid;
    std::uint64_t payload_bytes;
    std::uint64_t payload_hash;
};
static_assert(sizeof(Header) == 80 && std::is_trivially_copyable_v<Header>);

constexpr std::array<char, 8> magic{'D', 'A', 'N', 'A', 'U', 'S', 'P', 'C'};
constexpr std::uint32_t format_version = 1;

Header header_for(const Capabilities& c, std::span<const std::byte> data) {
    return {magic,         format_version,        c.driver_version, c.device_uuid,
            c.driver_uuid, c.pipeline_cache_uuid, data.size(),      hash(data)};
}

}  // namespace

CacheLoad load_cache_file(const std::filesystem::path& path, const Capabilities& capabilities) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return {};
    const auto ignore = [&](const std::string& why) {
        return CacheLoad{{}, fmt::format("pipeline cache {} ignored: {}", platform::utf8(path), why)};
    };
    std::ifstream file(path, std::ios::binary);
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (!file || error) return ignore("it cannot be read");
    Header header{};
    if (size < sizeof header || !file.read(reinterpret_cast<char*>(&header), sizeof header))
        return ignore(fmt::format("{} bytes, shorter than its header", size));
    if (header.magic != magic) return ignore("not a pipeline cache file");
    if (header.version != format_version)
        return ignore(fmt::format("format version {}, expected {}", header.version, format_version));
    if (size - sizeof header != header.payload_bytes)
        return ignore(
            fmt::format("{} bytes of data, its header says {}", size - sizeof header, header.payload_bytes));
    CacheLoad load;
    load.data.resize(header.payload_bytes);
    if (!file.read(reinterpret_cast<char*>(load.data.data()), static_cast<std::streamsize>(load.data.size())))
        return ignore("it cannot be read");
    const Header expected = header_for(capabilities, load.data);
    if (header.device_uuid != expected.device_uuid || header.driver_uuid != expected.driver_uuid ||
        header.pipeline_cache_uuid != expected.pipeline_cache_uuid ||
        header.driver_version != expected.driver_version)
        return ignore("written by another device or driver version");
    if (header.payload_hash != expected.payload_hash) return ignore("its data is damaged (hash mismatch)");
    return load;
}

std::string save_cache_file(const std::filesystem::path& path, const Capabilities& capabilities,
                            std::span<const std::byte> data) {
    const Header header = header_for(capabilities, data);
    std::vector<std::byte> content(sizeof header + data.size());
    std::memcpy(content.data(), &header, sizeof header);
    std::copy(data.begin(), data.end(), content.begin() + sizeof header);
    const std::string failure = replace_file(path, content);
    return failure.empty() ? "" : fmt::format("pipeline cache {} {}", platform::utf8(path), failure);
}

}  // namespace danaus::runtime
