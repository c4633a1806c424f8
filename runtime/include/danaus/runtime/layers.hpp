// What the runtime lends to the library's own layers above it. Not for users: it may change at any time.
#pragma once

#include <danaus/runtime/device.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <iosfwd>
#include <memory>
#include <span>
#include <string>

namespace danaus::runtime {

/// The one object that a layer above keeps with a device, which the runtime never looks into; null at first.
/// Lives as long as the device's last handle. Thread-safe, like the two below.
[[nodiscard]] std::shared_ptr<const void> attachment(const Device& device);
/// Replaces it unless another thread was faster: false, and nothing changed, unless it still is `expected`.
[[nodiscard]] bool attach(const Device& device, const std::shared_ptr<const void>& expected,
                          std::shared_ptr<const void> next);
/// Through DeviceOptions::on_message.
void warn(const Device& device, const std::string& message);

/// Writes a temporary file beside `path` and renames it, so that readers see the old content or the new one.
/// Returns why it failed ("cannot be written: …"), or "".
[[nodiscard]] std::string replace_file(const std::filesystem::path& path, std::span<const std::byte> data);
/// The same with content that `write` puts out piece by piece; it may stop when the stream has failed. What
/// it throws passes, and the file is as it was.
[[nodiscard]] std::string replace_file(const std::filesystem::path& path,
                                       const std::function<void(std::ostream&)>& write);
/// FNV-1a, 64 bits: detects accidents, not attackers.
[[nodiscard]] std::uint64_t hash(std::span<const std::byte> data);

}  // namespace danaus::runtime
