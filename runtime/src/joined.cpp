#include "joined.hpp"

#include "buffer_state.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

namespace danaus::runtime {
namespace {

/// Bytes that operands of a packet share in a buffer, and where they go.
struct Region {
    Buffer buffer;
    std::uint64_t begin = 0, end = 0;
    bool written = false;
    std::uint64_t place = 0;
};

// Overlapping operands stay one: what the kernel writes through one of them it reads through the other.
std::vector<Region> regions_of(const Packet& packet) {
    std::vector<Region> regions;
    for (const Operand& operand : packet.operands) {
        if (!operand.buffer || operand.bytes == 0) continue;
        Region region{operand.buffer, operand.offset, operand.offset + operand.bytes,
                      operand.touch != Touch::read, 0};
        const auto joins = [&](const Region& other) {
            return other.buffer == region.buffer && other.begin < region.end && region.begin < other.end;
        };
        for (auto other = std::find_if(regions.begin(), regions.end(), joins); other != regions.end();
             other = std::find_if(regions.begin(), regions.end(), joins)) {
            region.begin = std::min(region.begin, other->begin);
            region.end = std::max(region.end, other->end);
            region.written = region.written || other->written;
            regions.erase(other);
        }
        regions.push_back(region);
    }
    return regions;
}

}  // namespace

bool uses_joined(const kernels::ModuleInfo& info, const Capabilities& caps, Access access) {
    return access == Access::descriptor && info.slots > caps.max_storage_buffers && !info.joined.empty();
}

bool must_join(const DeviceState& device, const Packet& packet) {
    const Capabilities& caps = device.capabilities();
    if (!kernels::exists(packet.kernel) || !uses_joined(kernels::info(packet.kernel), caps, device.access()))
        return false;
    const Buffer* first = nullptr;
    std::uint64_t begin = UINT64_MAX, end = 0;
    for (const Operand& operand : packet.operands) {
        if (!operand.buffer) continue;
        if (first && !(operand.buffer == *first)) return true;
        first = &operand.buffer;
        begin = std::min(begin, operand.offset);
        end = std::max(end, operand.offset + operand.bytes);
    }
    return first && end - begin + caps.storage_offset_alignment > caps.max_storage_range;
}

namespace {

// Gives every region its place in the scratch; returns the bytes of all.
std::uint64_t place(std::vector<Region>& regions) {
    // Pairs of elements stay aligned, and a 16-bit element stays in its half of a word.
    constexpr std::uint64_t alignment = 16;
    std::uint64_t bytes = 0;
    for (Region& region : regions) {
        const std::uint64_t skew = (region.buffer.state()->base + region.begin) % alignment;
        region.place = bytes + skew;
        bytes = (region.place + region.end - region.begin + alignment - 1) / alignment * alignment;
    }
    return bytes;
}

void require_reach(const Capabilities& caps, const Packet& packet, std::uint64_t bytes) {
    if (bytes + caps.storage_offset_alignment <= caps.max_storage_range) return;
    const auto& info = kernels::info(packet.kernel);
    throw Error(
        ErrorKind::unsupported,
        fmt::format("packet {}: {} binds {} storage buffers in one stage, so its {} operands share one "
                    "descriptor; they have {} bytes, {} are allowed (max_storage_range)",
                    info.name, caps.name, caps.max_storage_buffers, info.slots, bytes,
                    caps.max_storage_range));
}

}  // namespace

void check_joined(const DeviceState& device, const Packet& packet) {
    auto regions = regions_of(packet);
    require_reach(device.capabilities(), packet, place(regions));
}

void record_joined(Recorder& recorder, const Packet& packet, Buffer& scratch) {
    auto regions = regions_of(packet);
    const std::uint64_t bytes = place(regions);
    require_reach(recorder.device().capabilities(), packet, bytes);
    if (!scratch || scratch.size() < bytes) scratch = recorder.allocate(bytes);
    Packet joined = packet;
    for (Operand& operand : joined.operands) {
        if (!operand.buffer) continue;
        std::uint64_t at = 0;
        for (const Region& region : regions)
            if (region.buffer == operand.buffer && region.begin <= operand.offset &&
                operand.offset + operand.bytes <= region.end)
                at = region.place + operand.offset - region.begin;
        operand.buffer = scratch;
        operand.offset = at;
    }
    // What is written only is copied too: an operand may have gaps that the kernel does not write.
    for (const Region& region : regions)
        recorder.record(Copy{region.buffer, scratch, region.begin, region.place, region.end - region.begin});
    recorder.record(joined);
    for (const Region& region : regions)
        if (region.written)
            recorder.record(
                Copy{scratch, region.buffer, region.place, region.begin, region.end - region.begin});
}

}  // namespace danaus::runtime
