// A Sparse24 in host memory, on its way to or from another format.
#pragma once

#include <danaus/sparse24.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace danaus::detail {

struct HostSparse24 {
    DataType type = DataType::f32;
    Shape shape;
    std::vector<std::byte> values;
    std::vector<std::uint32_t> metadata;

    [[nodiscard]] std::uint64_t columns() const { return shape[shape.rank() - 1]; }
    [[nodiscard]] std::uint64_t rows() const {
        return shape.elements() == 0 ? 0 : shape.elements() / columns();
    }
    [[nodiscard]] std::uint64_t groups() const { return (columns() + 3) / 4; }
    [[nodiscard]] std::uint64_t words() const { return (groups() + 7) / 8; }
    [[nodiscard]] std::uint32_t nibble(std::uint64_t row, std::uint64_t group) const {
        return metadata[row * words() + group / 8] >> group % 8 * 4 & 15;
    }
    /// "row 3, group 5", or "block 1, row 3, group 5".
    [[nodiscard]] std::string place(std::uint64_t row, std::uint64_t group) const;
};

/// What is wrong with the metadata of `a` or its values behind the last column; empty when nothing is.
[[nodiscard]] std::string invalid_places(const HostSparse24& a);

/// Waits for the stream.
[[nodiscard]] HostSparse24 download(Stream& stream, const Sparse24& a);
void upload(Stream& stream, const Sparse24& out, const HostSparse24& a);

}  // namespace danaus::detail
