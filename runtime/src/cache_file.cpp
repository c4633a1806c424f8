#include "cache_file.hpp"

#include "platform.hpp"

#include <array>
#include <atomic>
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

// FNV-1a, 64 bits: detects accidents, not attackers.
std::uint64_t hash(std::span<const std::byte> data) {
    std::uint64_t value = 0xcbf29ce484222325ull;
    for (const std::byte byte : data) value = (value ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3ull;
    return value;
}

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
    std::error_code error;
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
    // Process and counter make the temporary name unique, so that two writers never share one.
    static std::atomic<std::uint32_t> counter{0};
    std::filesystem::path temporary = path;
    temporary += fmt::format(".{}.{}.tmp", platform::process_id(), counter++);
    const Header header = header_for(capabilities, data);
    {
        std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
        file.write(reinterpret_cast<const char*>(&header), sizeof header);
        file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
        file.flush();
        if (!file) {
            file.close();
            std::filesystem::remove(temporary, error);
            return fmt::format("pipeline cache {} cannot be written", platform::utf8(path));
        }
    }
    std::filesystem::rename(temporary, path, error);
    if (!error) return {};
    const std::string reason = error.message();
    std::filesystem::remove(temporary, error);
    return fmt::format("pipeline cache {} cannot be written: {}", platform::utf8(path), reason);
}

}  // namespace danaus::runtime
