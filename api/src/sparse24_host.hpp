// A 2:4 matrix in host memory, on its way to or from another format.
#pragma once

#include "stored24.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace danaus::detail {

struct HostSparse24 {
    DataType type = DataType::f32;
    Shape shape;
    std::vector<std::byte> values;
    std::vector<std::uint32_t> metadata;  ///< or codes
    bool tile_codes = false;

    [[nodiscard]] std::uint64_t columns() const { return shape[shape.rank() - 1]; }
    [[nodiscard]] std::uint64_t rows() const {
        return shape.elements() == 0 ? 0 : shape.elements() / columns();
    }
    [[nodiscard]] std::uint64_t groups() const { return (columns() + 3) / 4; }
    /// Of metadata, of a row or of a band of four.
    [[nodiscard]] std::uint64_t words() const { return tile_codes ? (groups() + 3) / 4 : (groups() + 7) / 8; }
    [[nodiscard]] std::uint32_t nibble(std::uint64_t row, std::uint64_t group) const {
        return metadata[row * words() + group / 8] >> group % 8 * 4 & 15;
    }
    /// "row 3, group 5", or "block 1, row 3, group 5".
    [[nodiscard]] std::string place(std::uint64_t row, std::uint64_t group) const;
    /// Row `row` of all blocks' rows, in its block; and the block, or nothing where there is one only.
    [[nodiscard]] std::uint64_t row_in_block(std::uint64_t row) const;
    [[nodiscard]] std::string block(std::uint64_t row) const;
};

/// What is wrong with the metadata of `a` or its values behind the last column; empty when nothing is.
[[nodiscard]] std::string invalid_places(const HostSparse24& a);
/// The same of one with codes of tiles.
[[nodiscard]] std::string invalid_tiles(const HostSparse24& a);

/// Waits for the stream.
[[nodiscard]] HostSparse24 download(Stream& stream, const Stored24& a);
void upload(Stream& stream, const Stored24& out, const HostSparse24& a);

}  // namespace danaus::detail
