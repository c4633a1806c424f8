// Packets of the two basic kernels, and words in and out of buffers.
#pragma once

#include <danaus/danaus.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace danaus::test {

using Words = std::vector<std::uint32_t>;

struct FillFields {
    std::uint32_t count, value;
};

struct CopyFields {
    std::uint32_t sizes[4], source_strides[4], destination_strides[4];
};

inline Buffer words(const Device& device, std::uint64_t count) {
    return device.allocate(count * 4);
}

/// buffer[first … first + count) = value.
inline Packet fill_packet(const Buffer& buffer, std::uint64_t first, std::uint32_t count, std::uint32_t value,
                          std::uint32_t local_size = 64) {
    kernels::Fill kernel;
    kernel.local_size = local_size;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {std::clamp((count + local_size - 1) / local_size, 1u, 1024u), 1, 1};
    packet.operands[0] = {buffer, first * 4, std::uint64_t{count} * 4, Touch::write};
    packet.set_fields(FillFields{count, value});
    packet.work = count;
    packet.label = "fill";
    return packet;
}

/// to[to_first + i] = from[from_first + i].
inline Packet copy_packet(const Buffer& to, std::uint64_t to_first, const Buffer& from,
                          std::uint64_t from_first, std::uint32_t count) {
    const kernels::Copy kernel;
    Packet packet;
    packet.kernel = kernel.kernel();
    packet.grid = {std::clamp((count + 63) / 64, 1u, 1024u), 1, 1};
    packet.operands[0] = {from, from_first * 4, std::uint64_t{count} * 4, Touch::read};
    packet.operands[1] = {to, to_first * 4, std::uint64_t{count} * 4, Touch::write};
    packet.set_fields(CopyFields{{1, 1, 1, count}, {0, 0, 0, 1}, {0, 0, 0, 1}});
    packet.work = count;
    packet.label = "copy";
    return packet;
}

inline void put(Stream& stream, const Buffer& buffer, const Words& values) {
    stream.upload(buffer, 0, std::as_bytes(std::span(values)));
}

inline Words get(Stream& stream, const Buffer& buffer, std::uint64_t first, std::size_t count) {
    Words values(count);
    stream.download(buffer, first * 4, std::as_writable_bytes(std::span(values)));
    return values;
}

}  // namespace danaus::test
