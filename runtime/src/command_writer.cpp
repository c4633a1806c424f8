#include "command_writer.hpp"

#include "buffer_state.hpp"
#include "joined.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danaus::runtime {
namespace {

constexpr VkPipelineStageFlags our_stages =
    VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;

}  // namespace

Interval interval_of(const BufferState& buffer, std::uint64_t offset, std::uint64_t bytes, bool write) {
    // Buffers of an alias group share memory in ways we do not know: each access stands for all of it.
    if (buffer.hazard_key >> 63) return {buffer.hazard_key, 0, UINT64_MAX, write};
    const std::uint64_t begin = buffer.base + offset;
    return {buffer.hazard_key, begin, begin + bytes, write};
}

DescriptorArena::DescriptorArena(DeviceState& device, std::uint32_t sets, bool fixed)
    : device_(device), sets_(sets), fixed_(fixed) {
    if (fixed && sets > 0) add_pool();
}

void DescriptorArena::add_pool() {
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                    sets_ * static_cast<std::uint32_t>(max_operands)};
    VkDescriptorPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    info.maxSets = sets_;
    info.poolSizeCount = 1;
    info.pPoolSizes = &size;
    pools_.reserve(pools_.size() + 1);
    VkDescriptorPool pool = VK_NULL_HANDLE;
    check(device_.vk().CreateDescriptorPool(device_.handle(), &info, nullptr, &pool),
          "creating a descriptor pool");
    pools_.push_back(pool);
}

void DescriptorArena::destroy() noexcept {
    for (VkDescriptorPool pool : pools_) device_.vk().DestroyDescriptorPool(device_.handle(), pool, nullptr);
    pools_.clear();
}

void DescriptorArena::reset() {
    for (VkDescriptorPool pool : pools_)
        check(device_.vk().ResetDescriptorPool(device_.handle(), pool, 0), "resetting a descriptor pool");
    current_ = 0;
    used_ = 0;
}

VkDescriptorSet DescriptorArena::allocate(VkDescriptorSetLayout layout) {
    if (fixed_ && used_ == sets_)
        throw Error(ErrorKind::unsupported,
                    fmt::format("the workspace holds {} descriptor sets, one for each packet, and all are "
                                "used; make it for more packets, see workspace_size()",
                                sets_));
    if (used_ == sets_) {
        ++current_;
        used_ = 0;
    }
    if (current_ == pools_.size()) add_pool();
    VkDescriptorSetAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    info.descriptorPool = pools_[current_];
    info.descriptorSetCount = 1;
    info.pSetLayouts = &layout;
    VkDescriptorSet set = VK_NULL_HANDLE;
    check(device_.vk().AllocateDescriptorSets(device_.handle(), &info, &set), "allocating a descriptor set");
    ++used_;
    return set;
}

void CommandWriter::validate(const Packet& packet, bool placeholders) const {
    if (!kernels::exists(packet.kernel))
        throw Error(ErrorKind::invalid_argument, "packet: " + kernels::check(packet.kernel));
    const auto& info = kernels::info(packet.kernel);
    const Capabilities& caps = device_.capabilities();
    const auto invalid = [&](const std::string& why) {
        throw Error(ErrorKind::invalid_argument, fmt::format("packet {}: {}", info.name, why));
    };
    for (std::size_t i = 0; i < 3; ++i)
        if (packet.grid[i] > caps.max_workgroup_count[i])
            throw Error(ErrorKind::unsupported,
                        fmt::format("packet {}: {} workgroups in dimension {}, {} allows {}", info.name,
                                    packet.grid[i], i, caps.name, caps.max_workgroup_count[i]));
    if (packet.field_bytes + 8 * info.slots != info.push_bytes)
        invalid(fmt::format("{} bytes of push fields, the kernel has {}", packet.field_bytes,
                            info.push_bytes - 8 * info.slots));
    bool any = false, written = false;
    for (std::uint32_t slot = 0; slot < max_operands; ++slot) {
        const Operand& operand = packet.operands[slot];
        if (!operand.buffer) continue;
        any = true;
        written = written || operand.touch != Touch::read;
        if (slot >= info.slots) invalid(fmt::format("operand {} given, the kernel has {}", slot, info.slots));
        const BufferState& buffer = *operand.buffer.state();
        if (buffer.device_pointer().get() != &device_)
            invalid(fmt::format("operand {} lives on another device ({})", slot,
                                buffer.device_pointer()->capabilities().name));
        if (buffer.kind == BufferState::Kind::placeholder && !placeholders)
            invalid(fmt::format("operand {} is an unbound slot of a program", slot));
        if (operand.offset % 2 != 0)
            invalid(
                fmt::format("operand {} starts at byte {}, not at a multiple of 2", slot, operand.offset));
        if (operand.bytes > buffer.size || operand.offset > buffer.size - operand.bytes)
            invalid(fmt::format("operand {} covers {} bytes from byte {} of a buffer of {}", slot,
                                operand.bytes, operand.offset, buffer.size));
        const bool writes = (info.writes >> slot & 1) != 0;
        if (writes && operand.touch == Touch::read && !sabotage.trust_touches)
            invalid(fmt::format("operand {} is declared read, but the kernel writes it", slot));
    }
    if (!any) invalid("it has no operands");
    // Slots that a variant of the kernel leaves unused need a stand-in of the same kind.
    if (info.writes != 0 && !written && !sabotage.trust_touches)
        invalid("it has no operand that is written, the kernel writes");
}

ResolvedOperands CommandWriter::resolve(const Packet& packet) const {
    validate(packet, false);
    const auto& info = kernels::info(packet.kernel);
    const Capabilities& caps = device_.capabilities();
    ResolvedOperands out;
    if (uses_joined(info, caps, device_.access())) return resolve_joined(packet);
    const Operand* any = nullptr;      // stands in for unused slots: a binding must hold something
    const Operand* written = nullptr;  // likewise for slots that the shader could write
    for (const Operand& operand : packet.operands) {
        if (!operand.buffer) continue;
        if (!any) any = &operand;
        if (operand.touch != Touch::read && !written) written = &operand;
    }

    for (std::uint32_t slot = 0; slot < info.slots; ++slot) {
        const bool used = static_cast<bool>(packet.operands[slot].buffer);
        const Operand* operand = used                                        ? &packet.operands[slot]
                                 : (info.writes >> slot & 1) != 0 && written ? written
                                                                             : any;
        const BufferState& buffer = *operand->buffer.state();
        // Kernels touch whole words; the upper half of the first word is marked in the reference
        // (access.glsl).
        const std::uint64_t half = (buffer.base + operand->offset) % 4;
        std::uint64_t begin = buffer.base + operand->offset - half;
        std::uint64_t bytes = std::max<std::uint64_t>(4, (operand->bytes + half + 3) / 4 * 4);
        // An empty operand may lie at its buffer's very end; a descriptor must not.
        if (operand->bytes == 0 && buffer.size >= 4)
            begin = std::min(begin, (buffer.base + buffer.size) / 4 * 4 - 4);
        if (device_.access() == Access::address) {
            const std::uint64_t address = buffer.allocation.address + begin + half;
            out.refs[slot] = {static_cast<std::uint32_t>(address), static_cast<std::uint32_t>(address >> 32)};
        } else {
            const std::uint64_t skip = begin % caps.storage_offset_alignment;
            begin -= skip;
            bytes += skip;
            if (bytes > caps.max_storage_range)
                throw Error(
                    ErrorKind::unsupported,
                    fmt::format(
                        "packet {}: operand {} spans {} bytes, {} allows {} in one storage descriptor",
                        info.name, slot, bytes, caps.name, caps.max_storage_range));
            out.refs[slot] = {static_cast<std::uint32_t>(skip / 4 | (half ? 1u << 31 : 0u)),
                              static_cast<std::uint32_t>((bytes - skip) / 4)};
            out.descriptors[slot] = {buffer.allocation.buffer, begin, bytes};
        }
        // A descriptor counts as accessed whole, even for an empty operand: that is what validation sees.
        if (!used || (operand->bytes == 0 && device_.access() == Access::address)) continue;
        const bool write = operand->touch != Touch::read;
        out.reaches[out.interval_count] = {&buffer, begin, begin + bytes, write};
        out.intervals[out.interval_count++] = interval_of(buffer, begin - buffer.base, bytes, write);
    }
    return out;
}

// The operands of a packet that need not be joined any more: one descriptor holds them all.
ResolvedOperands CommandWriter::resolve_joined(const Packet& packet) const {
    const auto& info = kernels::info(packet.kernel);
    const std::uint64_t alignment = device_.capabilities().storage_offset_alignment;
    const BufferState* buffer = nullptr;
    std::uint64_t begin = UINT64_MAX, end = 0;
    bool write = false;
    for (const Operand& operand : packet.operands) {
        if (!operand.buffer) continue;
        buffer = operand.buffer.state().get();
        begin = std::min(begin, buffer->base + operand.offset);
        end = std::max(end, buffer->base + operand.offset + operand.bytes);
        write = write || operand.touch != Touch::read;
    }
    if (end == buffer->base + buffer->size && begin == end) begin -= 4;  // empty, at the buffer's very end
    begin -= begin % alignment;
    end = std::max(begin + 4, (end + 3) / 4 * 4);
    ResolvedOperands out;
    for (std::uint32_t slot = 0; slot < info.slots; ++slot) {
        const Operand& operand = packet.operands[slot];
        if (!operand.buffer) continue;
        const std::uint64_t at = buffer->base + operand.offset - begin;
        out.refs[slot] = {static_cast<std::uint32_t>(at / 4 | (at % 4 ? 1u << 31 : 0u)),
                          static_cast<std::uint32_t>((at % 4 + operand.bytes + 3) / 4)};
    }
    out.descriptors[0] = {buffer->allocation.buffer, begin, end - begin};
    out.reaches[0] = {buffer, begin, end, write};
    out.intervals[0] = interval_of(*buffer, begin - buffer->base, end - begin, write);
    out.interval_count = 1;
    return out;
}

void CommandWriter::validate(const Copy& copy, bool placeholders) const {
    const auto side = [&](const char* name, const Buffer& buffer, std::uint64_t offset) {
        if (!buffer) throw Error(ErrorKind::invalid_argument, fmt::format("copy: {} is a null buffer", name));
        const BufferState& state = *buffer.state();
        if (state.device_pointer().get() != &device_)
            throw Error(ErrorKind::invalid_argument, fmt::format("copy: {} lives on another device", name));
        if (state.kind == BufferState::Kind::placeholder && !placeholders)
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("copy: {} is an unbound slot of a program", name));
        if (copy.bytes > state.size || offset > state.size - copy.bytes)
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("copy: {} covers {} bytes from byte {} of a buffer of {}", name,
                                    copy.bytes, offset, state.size));
    };
    side("source", copy.source, copy.source_offset);
    side("destination", copy.destination, copy.destination_offset);
    const BufferState& source = *copy.source.state();
    const BufferState& destination = *copy.destination.state();
    const std::uint64_t from = source.base + copy.source_offset;
    const std::uint64_t to = destination.base + copy.destination_offset;
    const bool same = &source == &destination ||
                      (source.allocation.buffer && source.allocation.buffer == destination.allocation.buffer);
    if (same && from < to + copy.bytes && to < from + copy.bytes)
        throw Error(ErrorKind::invalid_argument, "copy: source and destination overlap");
}

void CommandWriter::admit(VkCommandBuffer commands, std::span<const Interval> intervals) {
    // After a host's work anything may have come before, also stages that we never use.
    const bool after_anything = hazards_.is_dirty();
    if (hazards_.admit(intervals) && !sabotage.omit_barriers) barrier(commands, after_anything);
}

void CommandWriter::barrier(VkCommandBuffer commands, bool after_anything) {
    VkMemoryBarrier memory{};
    memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    memory.srcAccessMask = after_anything ? VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT
                                          : VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    memory.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                           VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    device_.vk().CmdPipelineBarrier(
        commands, after_anything ? VkPipelineStageFlags{VK_PIPELINE_STAGE_ALL_COMMANDS_BIT} : our_stages,
        our_stages, 0, 1, &memory, 0, nullptr, 0, nullptr);
    ++barriers_;
}

void CommandWriter::barrier_to(VkCommandBuffer commands, VkPipelineStageFlags stages, VkAccessFlags access) {
    VkMemoryBarrier memory{};
    memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    memory.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    memory.dstAccessMask = access;
    device_.vk().CmdPipelineBarrier(commands, our_stages, stages, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

void CommandWriter::host_barrier(VkCommandBuffer commands) {
    VkMemoryBarrier memory{};
    memory.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    memory.srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT;
    memory.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
    device_.vk().CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT, 0,
                                    1, &memory, 0, nullptr, 0, nullptr);
}

void CommandWriter::dispatch(VkCommandBuffer commands, DescriptorArena& arena, const Packet& packet,
                             const Pipeline& pipeline, const ResolvedOperands& operands) {
    const auto& info = kernels::info(packet.kernel);
    const DeviceTable& vk = device_.vk();
    VkDescriptorSet set = VK_NULL_HANDLE;
    if (pipeline.set_layout) {
        set = arena.allocate(pipeline.set_layout);
        std::array<VkWriteDescriptorSet, max_operands> writes{};
        for (std::uint32_t slot = 0; slot < pipeline.bindings; ++slot) {
            writes[slot].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
            writes[slot].dstSet = set;
            writes[slot].dstBinding = slot;
            writes[slot].descriptorCount = 1;
            writes[slot].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
            writes[slot].pBufferInfo = &operands.descriptors[slot];
        }
        vk.UpdateDescriptorSets(device_.handle(), pipeline.bindings, writes.data(), 0, nullptr);
    }
    admit(commands, {operands.intervals.data(), operands.interval_count});

    const bool labelled = device_.debug_utils() && vk.CmdBeginDebugUtilsLabelEXT && !packet.label.empty();
    if (labelled) {
        const std::string text(packet.label);
        VkDebugUtilsLabelEXT label{};
        label.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT;
        label.pLabelName = text.c_str();
        vk.CmdBeginDebugUtilsLabelEXT(commands, &label);
    }
    vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.handle);
    if (set)
        vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &set, 0,
                                 nullptr);
    std::array<std::byte, 128> push{};
    std::memcpy(push.data(), operands.refs.data(), 8 * info.slots);
    std::memcpy(push.data() + 8 * info.slots, packet.fields.data(), packet.field_bytes);
    vk.CmdPushConstants(commands, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, info.push_bytes,
                        push.data());
    vk.CmdDispatch(commands, packet.grid[0], packet.grid[1], packet.grid[2]);
    if (labelled) vk.CmdEndDebugUtilsLabelEXT(commands);
}

void CommandWriter::copy(VkCommandBuffer commands, const Copy& copy) {
    const BufferState& source = *copy.source.state();
    const BufferState& destination = *copy.destination.state();
    const std::array<Interval, 2> intervals{
        interval_of(source, copy.source_offset, copy.bytes, false),
        interval_of(destination, copy.destination_offset, copy.bytes, true)};
    admit(commands, intervals);
    const VkBufferCopy region{source.base + copy.source_offset, destination.base + copy.destination_offset,
                              copy.bytes};
    device_.vk().CmdCopyBuffer(commands, source.allocation.buffer, destination.allocation.buffer, 1, &region);
}

void CommandWriter::copy_raw(VkCommandBuffer commands, VkBuffer source, VkBuffer destination,
                             const VkBufferCopy& region, const Interval& device_side) {
    admit(commands, {&device_side, 1});
    device_.vk().CmdCopyBuffer(commands, source, destination, 1, &region);
}

}  // namespace danaus::runtime
