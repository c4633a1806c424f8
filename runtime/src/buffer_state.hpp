// What stands behind a Buffer handle.
#pragma once

#include "device_state.hpp"
#include "memory.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace danaus::runtime {

/// A timeline semaphore and the last value submitted to signal it.
class Timeline final : public Resource {
public:
    explicit Timeline(std::shared_ptr<DeviceState> device);
    ~Timeline() override { retire(); }

    [[nodiscard]] VkSemaphore handle() const { return handle_; }
    [[nodiscard]] std::uint64_t submitted() const { return submitted_; }
    void set_submitted(std::uint64_t value) { submitted_ = value; }
    /// The value the device has reached.
    [[nodiscard]] std::uint64_t reached() const;
    void wait(std::uint64_t value) const;

private:
    void settle() const noexcept override;
    void release() noexcept override;
    VkSemaphore handle_ = VK_NULL_HANDLE;
    std::atomic<std::uint64_t> submitted_{0};
};

/// Work of a stream: what is done when `timeline` reaches `value`.
struct Use {
    std::shared_ptr<Timeline> timeline;  // null: none
    std::uint64_t value = 0;
};

/// Which work last touched a buffer, so that another stream knows what to wait for: a read waits for the last
/// write, a write for everything since. Streams of several threads may read a buffer at the same time.
class UseLog {
public:
    /// Throws Error(invalid_argument) when `timeline` would have to wait for work that was never submitted.
    void check(const Timeline& timeline, bool write) const;
    /// For a host's command buffer, which is submitted after whatever streams have submitted.
    void check_host() const;
    /// The same as check(), and notes the use at `value`, which is yet to be submitted. Appends what it has
    /// to wait for to `waits`. Returns false when that use was noted before.
    bool admit(const std::shared_ptr<Timeline>& timeline, std::uint64_t value, bool write,
               std::vector<Use>& waits);
    /// Forgets the use of `timeline` at `value`: it will not be submitted.
    void drop(const Timeline& timeline, std::uint64_t value);

private:
    template <typename Visit>
    void for_each_wait(const Timeline& timeline, bool write, Visit&& visit) const;
    void require_submitted(const Timeline& timeline, bool write) const;

    mutable std::mutex mutex_;
    Use write_;
    std::vector<Use> reads_;  // since write_, one per timeline
    // What the first write of an unsubmitted frame replaced. Nobody else gets in before it is submitted.
    Use write_before_;
    std::vector<Use> reads_before_;
};

struct BufferState final : Resource {
    enum class Kind { owned, imported, part, placeholder };

    /// Memory of our own.
    BufferState(std::shared_ptr<DeviceState> device, std::uint64_t bytes);
    /// A slot of a program: no memory.
    struct Placeholder {
        std::uint64_t bytes;
    };
    BufferState(std::shared_ptr<DeviceState> device, Placeholder placeholder);
    /// A host's buffer, from byte `offset` on.
    struct Import {
        VkBuffer buffer;
        std::uint64_t offset, bytes;
        std::uint64_t alias_group;  // 0: overlaps nothing but other imports of the same VkBuffer
    };
    BufferState(std::shared_ptr<DeviceState> device, const Import& import);
    /// Bytes [offset, offset + bytes) of a workspace.
    BufferState(std::shared_ptr<BufferState> whole, std::uint64_t offset, std::uint64_t bytes);
    ~BufferState() override { retire(); }

    Kind kind = Kind::owned;
    Allocation allocation;
    std::uint64_t base = 0;  // bytes from the VkBuffer's start
    std::uint64_t size = 0;
    std::uint64_t hazard_key = 0;  // buffers with equal keys may share bytes
    // Command buffers of a host may touch it at any time: a stream takes it for dirty in each submission.
    std::atomic<bool> used_by_host{false};

    UseLog uses;

private:
    void release() noexcept override;
    std::shared_ptr<BufferState> whole_;  // of a part
};

}  // namespace danaus::runtime
