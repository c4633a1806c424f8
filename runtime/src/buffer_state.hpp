// What stands behind a Buffer handle.
#pragma once

#include "device_state.hpp"
#include "memory.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

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
    void release() noexcept override;
    VkSemaphore handle_ = VK_NULL_HANDLE;
    std::atomic<std::uint64_t> submitted_{0};
};

/// The last use of a buffer, for use from another stream.
struct LastUse {
    std::shared_ptr<Timeline> timeline;  // null: never used by a stream
    std::uint64_t value = 0;
};

struct BufferState final : Resource {
    enum class Kind { owned, imported, placeholder };

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
    ~BufferState() override { retire(); }

    Kind kind = Kind::owned;
    Allocation allocation;
    std::uint64_t base = 0;  // bytes from the VkBuffer's start
    std::uint64_t size = 0;
    std::uint64_t hazard_key = 0;  // buffers with equal keys may share bytes

    LastUse last_use() const;
    void set_last_use(LastUse use);

private:
    void release() noexcept override;
    mutable std::mutex mutex_;
    LastUse last_use_;
};

}  // namespace danaus::runtime
