// What stands behind a Stream: frames (one command buffer each) that are recorded, submitted and recycled.
#pragma once

#include "buffer_state.hpp"
#include "command_writer.hpp"

#include <danaus/runtime/stream.hpp>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace danaus {

class Stream::State final : public runtime::Resource {
public:
    State(std::shared_ptr<runtime::DeviceState> device, const StreamOptions& options);
    ~State() override;

    /// Whether `packet`, which is valid and compiled then, is to be recorded by record_joined().
    [[nodiscard]] bool joins(const Packet& packet);
    [[nodiscard]] Buffer& joined_scratch() { return joined_scratch_; }
    void record(const Packet& packet);
    void record(const Copy& copy);
    void upload(const Buffer& destination, std::uint64_t offset, std::span<const std::byte> bytes);
    void download(const Buffer& source, std::uint64_t offset, std::span<std::byte> bytes);
    std::uint64_t flush();
    void wait(std::uint64_t value);
    [[nodiscard]] bool passed(std::uint64_t value) const;
    std::vector<Timing> take_timings();

    [[nodiscard]] std::uint64_t submissions() const { return submissions_; }
    [[nodiscard]] std::uint64_t barriers() const { return writer_.barrier_count(); }
    [[nodiscard]] runtime::CommandWriter& writer() { return writer_; }

private:
    // Bytes of one staging piece, and of staging memory that one submission may hold.
    static constexpr std::uint64_t staging_piece = 4ull << 20;
    static constexpr std::size_t pieces_per_frame = 8;
    // Steps after which a submission is flushed even if its work is small.
    static constexpr std::uint32_t steps_per_frame = 1024;

    struct Frame {
        VkCommandPool pool = VK_NULL_HANDLE;
        VkCommandBuffer commands = VK_NULL_HANDLE;
        VkQueryPool queries = VK_NULL_HANDLE;
        std::unique_ptr<runtime::DescriptorArena> descriptors;
        std::uint64_t value = 0;    // timeline value that completes it
        std::uint32_t steps = 0;    // packets, copies and pieces of uploads
        std::uint32_t packets = 0;  // of which have timestamps
        std::uint64_t work = 0;
        std::vector<std::shared_ptr<runtime::BufferState>> retained;
        std::vector<runtime::Use> waits;
        std::vector<runtime::Allocation> staging;
        std::uint64_t staging_used = 0;  // of the last staging piece
        std::vector<Timing> timings;     // names now, times when finished
    };

    void release() noexcept override;
    Frame& recording();
    std::unique_ptr<Frame> make_frame();
    void destroy(Frame& frame) noexcept;
    void submit(Frame& frame);
    void recycle(Frame& frame);
    /// Recycles the frames up to timeline value `reached`. Values come from waits, not from asking the
    /// semaphore between submissions: synchronization validation forgets what is in flight when asked, and
    /// then misses hazards across submissions.
    void retire_until(std::uint64_t reached);
    /// Forgets a frame that will not be submitted.
    void drop(Frame& frame) noexcept;
    void retain(Frame& frame, const Buffer& buffer, bool write);
    void flush_if_full();
    /// A staging range of at most `bytes` bytes in the current frame: allocation, offset, length.
    struct Staging {
        runtime::Allocation allocation;
        std::uint64_t offset, bytes;
    };
    Staging stage(std::uint64_t bytes);

    StreamOptions options_;
    std::shared_ptr<runtime::Timeline> timeline_;
    Buffer joined_scratch_;  // of the largest joined packet so far
    runtime::CommandWriter writer_;
    std::unique_ptr<Frame> current_;
    std::deque<std::unique_ptr<Frame>> in_flight_;
    std::vector<std::unique_ptr<Frame>> free_frames_;
    std::vector<runtime::Allocation> free_staging_;
    std::vector<Timing> finished_timings_;
    std::uint64_t submissions_ = 0;
};

}  // namespace danaus
