#include "sparse24_host.hpp"

#include "check.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <span>

namespace danaus::detail {

std::uint64_t HostSparse24::row_in_block(std::uint64_t row) const {
    return shape.rank() == 2 ? row : row % shape[1];
}

std::string HostSparse24::block(std::uint64_t row) const {
    return shape.rank() == 2 ? "" : fmt::format("block {}, ", row / shape[1]);
}

std::string HostSparse24::place(std::uint64_t row, std::uint64_t group) const {
    return fmt::format("{}row {}, group {}", block(row), row_in_block(row), group);
}

namespace {

// The nibble of every row of a tile with this code; empty if there is no such tile.
std::optional<std::array<std::uint32_t, 4>> nibbles_of(std::uint32_t code) {
    constexpr std::array<std::uint32_t, 6> nibbles{0x4, 0x8, 0x9, 0xc, 0xd, 0xe};  // 01 02 12 03 13 23
    const std::array<std::uint32_t, 3> pairs{code / 36, code / 6 % 6, code % 6};
    const std::uint32_t sum = pairs[0] + pairs[1] + pairs[2];
    if (code >= 216 || sum > 10 || sum < 5) return std::nullopt;
    const std::array<std::uint32_t, 4> rows{nibbles[pairs[0]], nibbles[pairs[1]], nibbles[pairs[2]],
                                            nibbles[10 - sum]};
    std::array<int, 4> kept{};
    for (const std::uint32_t row : rows)
        for (const std::uint32_t column : {row & 3, row >> 2}) ++kept[column];
    if (kept != std::array<int, 4>{2, 2, 2, 2}) return std::nullopt;
    return rows;
}

// Whether value `i` of a group is not zero.
bool has_value(const HostSparse24& a, std::uint64_t row, std::uint64_t group, std::uint64_t i) {
    const std::uint64_t size = size_of(a.type), at = (row * 2 * a.groups() + 2 * group + i) * size;
    const auto value = a.values.begin() + static_cast<std::ptrdiff_t>(at);
    return std::any_of(value, value + static_cast<std::ptrdiff_t>(size),
                       [](std::byte byte) { return byte != std::byte{0}; });
}

}  // namespace

std::string invalid_tiles(const HostSparse24& a) {
    const std::uint64_t columns = a.columns(), tiles = a.groups();
    if (tiles == 0 || a.rows() == 0) return {};
    const std::uint64_t rows = a.shape[a.shape.rank() - 2], bands = divide_up(rows, 4);
    for (std::uint64_t line = 0; line < a.metadata.size() / a.words(); ++line)
        for (std::uint64_t tile = 0; tile < a.words() * 4; ++tile) {
            const std::uint64_t first = line / bands * rows + line % bands * 4;
            const std::uint32_t code = a.metadata[line * a.words() + tile / 4] >> tile % 4 * 8 & 255;
            const auto place = [&] {
                return fmt::format("{}band {}, tile {}", a.block(first), line % bands, tile);
            };
            if (tile >= tiles) {
                if (code == 0) continue;
                return fmt::format("{}: {} where there are only {} tiles", place(), code, tiles);
            }
            const auto nibbles = nibbles_of(code);
            if (!nibbles) return fmt::format("{}: {} is none of the 90 codes", place(), code);
            for (std::uint64_t r = 0; r < std::min<std::uint64_t>(4, rows - line % bands * 4); ++r)
                for (std::uint64_t i = 0; i < 2; ++i) {
                    const std::uint64_t column = 4 * tile + ((*nibbles)[r] >> 2 * i & 3);
                    if (column >= columns && has_value(a, first + r, tile, i))
                        return fmt::format("{}: a value for column {}, the matrix has {}", place(), column,
                                           columns);
                }
        }
    return {};
}

std::string invalid_places(const HostSparse24& a) {
    const std::uint64_t columns = a.columns(), groups = a.groups();
    for (std::uint64_t row = 0; row < a.rows(); ++row)
        for (std::uint64_t group = 0; group < a.words() * 8; ++group) {
            const std::uint32_t nibble = a.nibble(row, group), first = nibble & 3, second = nibble >> 2;
            if (group >= groups) {
                if (nibble == 0) continue;
                return fmt::format("{}: {} where there are only {} groups", a.place(row, group), nibble,
                                   groups);
            }
            if (first >= second)
                return fmt::format("{}: places {} and {}, they must ascend", a.place(row, group), first,
                                   second);
            for (std::uint64_t i = 0; i < 2; ++i) {
                const std::uint64_t column = 4 * group + (i == 0 ? first : second);
                if (column >= columns && has_value(a, row, group, i))
                    return fmt::format("{}: a value for column {}, the matrix has {}", a.place(row, group),
                                       column, columns);
            }
        }
    return {};
}

HostSparse24 download(Stream& stream, const Stored24& a) {
    const DataType type = a.values.type();
    HostSparse24 out{type, a.shape, {}, std::vector<std::uint32_t>(a.places.elements()), a.tile_codes};
    out.values.resize(a.values.elements() * size_of(type));
    if (out.values.empty()) return out;
    stream.download(a.values.buffer(), a.values.offset() * size_of(type), out.values);
    stream.download(a.places.buffer(), a.places.offset() * 4,
                    std::as_writable_bytes(std::span(out.metadata)));
    return out;
}

void upload(Stream& stream, const Stored24& out, const HostSparse24& a) {
    if (a.values.empty()) return;
    stream.upload(out.values.buffer(), out.values.offset() * size_of(a.type), a.values);
    stream.upload(out.places.buffer(), out.places.offset() * 4, std::as_bytes(std::span(a.metadata)));
}

}  // namespace danaus::detail
