#include "sparse24_host.hpp"

#include "check.hpp"

#include <algorithm>
#include <span>

namespace danaus::detail {

std::string HostSparse24::place(std::uint64_t row, std::uint64_t group) const {
    if (shape.rank() == 2) return fmt::format("row {}, group {}", row, group);
    return fmt::format("block {}, row {}, group {}", row / shape[1], row % shape[1], group);
}

std::string invalid_places(const HostSparse24& a) {
    const std::uint64_t columns = a.columns(), groups = a.groups(), size = size_of(a.type);
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
                if (column < columns) continue;
                const auto value =
                    a.values.begin() + static_cast<std::ptrdiff_t>((row * 2 * groups + 2 * group + i) * size);
                if (std::any_of(value, value + static_cast<std::ptrdiff_t>(size),
                                [](std::byte byte) { return byte != std::byte{0}; }))
                    return fmt::format("{}: a value for column {}, the matrix has {}", a.place(row, group),
                                       column, columns);
            }
        }
    return {};
}

HostSparse24 download(Stream& stream, const Sparse24& a) {
    const Tensor &values = a.values(), &metadata = a.metadata();
    HostSparse24 out{a.type(), a.shape(), {}, std::vector<std::uint32_t>(metadata.elements())};
    out.values.resize(values.elements() * size_of(a.type()));
    if (out.values.empty()) return out;
    stream.download(values.buffer(), values.offset() * size_of(a.type()), out.values);
    stream.download(metadata.buffer(), metadata.offset() * 4,
                    std::as_writable_bytes(std::span(out.metadata)));
    return out;
}

void upload(Stream& stream, const Sparse24& out, const HostSparse24& a) {
    if (a.values.empty()) return;
    stream.upload(out.values().buffer(), out.values().offset() * size_of(a.type), a.values);
    stream.upload(out.metadata().buffer(), out.metadata().offset() * 4, std::as_bytes(std::span(a.metadata)));
}

}  // namespace danaus::detail
