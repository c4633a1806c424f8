#include "device_state.hpp"
#include "platform.hpp"

#include <danaus/runtime/layers.hpp>

#include <atomic>
#include <fstream>
#include <system_error>

#include <fmt/format.h>

namespace danaus::runtime {
namespace {

DeviceState& state_of(const Device& device) {
    if (!device)
        throw Error(ErrorKind::invalid_argument, "device: a null handle where an open device is needed");
    return *device.state();
}

// Removes what a failed write has left; after a rename there is nothing of that name.
struct Leftover {
    const std::filesystem::path& path;

    explicit Leftover(const std::filesystem::path& file) : path(file) {}
    ~Leftover() {
        std::error_code ignored;
        std::filesystem::remove(path, ignored);
    }
    Leftover(const Leftover&) = delete;
    Leftover& operator=(const Leftover&) = delete;
};

}  // namespace

std::shared_ptr<const void> attachment(const Device& device) {
    return state_of(device).attachment();
}

bool attach(const Device& device, const std::shared_ptr<const void>& expected,
            std::shared_ptr<const void> next) {
    state_of(device).ensure_open();
    return state_of(device).attach(expected, std::move(next));
}

void warn(const Device& device, const std::string& message) {
    state_of(device).warn(message);
}

std::string replace_file(const std::filesystem::path& path, std::span<const std::byte> data) {
    return replace_file(path, [&](std::ostream& file) {
        file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
    });
}

std::string replace_file(const std::filesystem::path& path, const std::function<void(std::ostream&)>& write) {
    std::error_code error;
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), error);
    // Process and counter make the temporary name unique, so that two writers never share one.
    static std::atomic<std::uint32_t> counter{0};
    std::filesystem::path temporary = path;
    temporary += fmt::format(".{}.{}.tmp", platform::process_id(), counter++);
    const Leftover leftover{temporary};
    {
        std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
        if (file) write(file);
        file.flush();
        if (!file) return "cannot be written";
    }
    std::filesystem::rename(temporary, path, error);
    return error ? fmt::format("cannot be written: {}", error.message()) : "";
}

std::uint64_t hash(std::span<const std::byte> data) {
    std::uint64_t value = 0xcbf29ce484222325ull;
    for (const std::byte byte : data) value = (value ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3ull;
    return value;
}

}  // namespace danaus::runtime
