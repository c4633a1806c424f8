// Writes packets into a command buffer: validation, barriers, operands, dispatch. Shared by every recorder.
#pragma once

#include "device_state.hpp"
#include "hazards.hpp"

#include <danaus/runtime/recorder.hpp>

#include <array>
#include <cstdint>
#include <vector>

namespace danaus::runtime {

/// Descriptor sets for one command buffer's life.
class DescriptorArena {
public:
    /// Grows as needed, or (fixed) throws Error(unsupported) past `sets`.
    DescriptorArena(DeviceState& device, std::uint32_t sets, bool fixed);
    void destroy() noexcept;  // before the device goes
    void reset();
    VkDescriptorSet allocate(VkDescriptorSetLayout layout);

private:
    void add_pool();
    DeviceState& device_;
    std::uint32_t sets_;
    bool fixed_;
    std::vector<VkDescriptorPool> pools_;
    std::size_t current_ = 0;
    std::uint32_t used_ = 0;
};

/// Hooks that only the test suite uses, to prove that it notices a broken recorder.
struct Sabotage {
    bool omit_barriers = false;  ///< places no barrier at all
    bool trust_touches = false;  ///< accepts an operand declared read that the kernel writes
};

/// Bytes [begin, end) of a buffer's VkBuffer.
struct Reach {
    const BufferState* buffer = nullptr;
    std::uint64_t begin = 0, end = 0;
    bool write = false;
};

/// A packet's operands as the device sees them.
struct ResolvedOperands {
    std::array<std::array<std::uint32_t, 2>, max_operands> refs{};
    std::array<VkDescriptorBufferInfo, max_operands> descriptors{};
    std::array<Interval, max_operands> intervals{};  // for hazards
    std::array<Reach, max_operands> reaches{};       // the same operands, for a host
    std::size_t interval_count = 0;
};

class CommandWriter {
public:
    explicit CommandWriter(DeviceState& device) : device_(device) {}

    /// Throws when `packet` cannot run on the device. Slots of programs are operands like any other where
    /// `placeholders` are allowed.
    void validate(const Packet& packet, bool placeholders) const;
    void validate(const Copy& copy, bool placeholders) const;
    /// Validates a packet without placeholders and returns its operands resolved.
    ResolvedOperands resolve(const Packet& packet) const;

    void dispatch(VkCommandBuffer commands, DescriptorArena& arena, const Packet& packet,
                  const Pipeline& pipeline, const ResolvedOperands& operands);
    void copy(VkCommandBuffer commands, const Copy& copy);
    /// A copy of which one side is staging memory, which has no hazards of its own.
    void copy_raw(VkCommandBuffer commands, VkBuffer source, VkBuffer destination, const VkBufferCopy& region,
                  const Interval& device_side);
    /// Makes transfer writes visible to the host.
    void host_barrier(VkCommandBuffer commands);
    void barrier(VkCommandBuffer commands, bool after_anything = false);
    /// Orders everything recorded before a host's own work.
    void barrier_to(VkCommandBuffer commands, VkPipelineStageFlags stages, VkAccessFlags access);

    HazardTracker& hazards() { return hazards_; }
    [[nodiscard]] std::uint64_t barrier_count() const { return barriers_; }
    Sabotage sabotage;

private:
    [[nodiscard]] ResolvedOperands resolve_joined(const Packet& packet) const;
    void admit(VkCommandBuffer commands, std::span<const Interval> intervals);
    DeviceState& device_;
    HazardTracker hazards_;
    std::uint64_t barriers_ = 0;
};

/// Bytes [offset, offset + bytes) of `buffer` as an interval for hazards.
Interval interval_of(const BufferState& buffer, std::uint64_t offset, std::uint64_t bytes, bool write);

}  // namespace danaus::runtime
