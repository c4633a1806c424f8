// Files of tensors in the safetensors format, which every framework reads and writes.
//
//   8 bytes      length N of the header, little-endian
//   N bytes      the header: JSON, "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, and
//   strings
//                of the user's own under "__metadata__"
//   the rest     the tensors, row-major and little-endian, one behind the other without holes
//
// A file is checked whole when it is opened: nothing of a file that is cut, damaged or contradicts itself is
// ever loaded.
#pragma once

#include <danaus/tensor.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace danaus {

/// A tensor in a file.
struct DANAUS_EXPORT SafetensorsEntry {
    std::string name;
    /// As the file has it: "F32", "F16", "BF16", "I32", "U32", "C64", or a type of the format that Danaus
    /// does not compute with ("BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3",
    /// "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16", "U16", "F64", "I64", "U64").
    std::string dtype;
    /// Of any rank.
    std::vector<std::uint64_t> shape;
    /// Where its bytes are, from the start of the data.
    std::uint64_t begin = 0;
    std::uint64_t end = 0;

    [[nodiscard]] std::uint64_t bytes() const noexcept { return end - begin; }
    /// The type of the tensor that load() makes of it; empty when there is none.
    [[nodiscard]] std::optional<DataType> type() const;
};

/// A file that is open for reading. Copies share it, and any thread may read. A file that is replaced
/// meanwhile, as save() does, stays readable as it was (Windows does not let it be replaced).
class DANAUS_EXPORT SafetensorsFile {
public:
    /// Reads and checks the header. Throws Error(file) naming the file, the tensor and what is wrong: cut
    /// files, headers beyond 100 MB, what is not UTF-8 or JSON, names that occur twice, unknown types, fields
    /// missing or unknown, sizes that are negative, no whole numbers or too large, offsets that overlap,
    /// leave holes, do not fill the file or do not fit to type and shape. Tensors may start at any byte.
    explicit SafetensorsFile(const std::filesystem::path& file);

    /// In the order of their bytes.
    [[nodiscard]] const std::vector<SafetensorsEntry>& entries() const noexcept;
    /// Null when the file has none of that name.
    [[nodiscard]] const SafetensorsEntry* find(std::string_view name) const noexcept;
    /// Throws Error(invalid_argument) when the file has none of that name.
    [[nodiscard]] const SafetensorsEntry& entry(std::string_view name) const;
    /// The strings under "__metadata__".
    [[nodiscard]] const std::map<std::string, std::string>& metadata() const noexcept;
    /// The file's name, as messages have it.
    [[nodiscard]] const std::string& label() const noexcept;

    /// The tensor on the stream's device, contiguous. Throws Error(unsupported) for types and ranks that a
    /// Tensor cannot have (read() gives their bytes).
    [[nodiscard]] Tensor load(Stream& stream, std::string_view name) const;
    /// Into an existing tensor of any strides. Throws Error(invalid_argument) unless it has the type and
    /// shape of the file's; nothing is written before the tensor has been read whole.
    void load_into(Stream& stream, const Tensor& out, std::string_view name) const;
    /// The bytes as they are in the file, of any type and rank.
    [[nodiscard]] std::vector<std::byte> read(std::string_view name) const;

private:
    class State;
    std::shared_ptr<State> state_;
};

/// Collects tensors and writes them to a file.
class DANAUS_EXPORT SafetensorsWriter {
public:
    /// A tensor of any strides. Its elements are read by save(), not here. Throws Error(invalid_argument) for
    /// a null tensor and for a name that is not UTF-8, is "__metadata__" or was added before.
    void add(const std::string& name, const Tensor& tensor);
    /// Host bytes of any of the format's types. Throws Error(invalid_argument) likewise and when type, shape
    /// and bytes do not fit together.
    void add(const std::string& name, const std::string& dtype, const std::vector<std::uint64_t>& shape,
             std::vector<std::byte> bytes);
    /// Throws Error(invalid_argument) unless both are UTF-8. A later value replaces an earlier one.
    void set_metadata(const std::string& key, const std::string& value);

    [[nodiscard]] bool contains(const std::string& name) const { return items_.contains(name); }

    /// Waits for the work recorded on `stream` and writes all: larger types first, then by name, so that the
    /// same tensors always give the same bytes. Readers see the old file or the new one, and after an error
    /// the old one stays. Tensors pass through a buffer of a few megabytes. Throws Error(file) when the file
    /// cannot be written, Error(invalid_argument) for tensors of another device and headers beyond 100 MB.
    void save(Stream& stream, const std::filesystem::path& file) const;

private:
    struct Item {
        SafetensorsEntry entry;
        Tensor tensor;
        std::vector<std::byte> bytes;
    };
    void insert(Item item);
    std::map<std::string, Item> items_;
    std::map<std::string, std::string> metadata_;
};

}  // namespace danaus
