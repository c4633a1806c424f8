// The header of a safetensors file: parsed and checked, and written.
#pragma once

#include <danaus/safetensors.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace danaus::detail {

inline constexpr std::uint64_t most_header_bytes = 100'000'000;

struct SafetensorsHeader {
    std::vector<SafetensorsEntry> entries;
    std::map<std::string, std::string> metadata;
};

/// Throws Error(file), its text starting with `label`, unless `text` is a header of exactly `data_bytes` of
/// tensors.
[[nodiscard]] SafetensorsHeader parse_safetensors(const std::string& label, const std::string& text,
                                                  std::uint64_t data_bytes);

/// Length and text, padded to a multiple of eight bytes. The entries' offsets are those of their order here.
/// Throws Error(invalid_argument) beyond most_header_bytes.
[[nodiscard]] std::string format_safetensors(std::span<const SafetensorsEntry* const> entries,
                                             const std::map<std::string, std::string>& metadata);

/// Position of a type in the format's order of types, in which alignment never falls; empty for unknown ones.
[[nodiscard]] std::optional<std::size_t> dtype_rank(const std::string& dtype);
[[nodiscard]] const char* dtype_of(DataType type);

/// Bytes of the elements, or why they cannot be counted.
struct ByteCount {
    std::uint64_t bytes = 0;
    std::string why;
};
/// `dtype` must be known.
[[nodiscard]] ByteCount bytes_of(const std::string& dtype, std::span<const std::uint64_t> shape);

/// For messages: `"text"` on one line, cut when long.
[[nodiscard]] std::string in_quotes(const std::string& text);
/// Whether `text` is UTF-8.
[[nodiscard]] bool is_utf8(const std::string& text);

}  // namespace danaus::detail
