// Stream: records, submits and waits; the recorder of programs that leave the queue to the library.
#pragma once

#include <danaus/runtime/recorder.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace danaus {

struct StreamOptions {
    /// Submissions that may be in flight before recording waits for the oldest; at least 1.
    std::uint32_t max_in_flight = 3;
    /// Work estimate after which a submission is flushed on its own, so that many dispatches do not add up to
    /// more than a driver's watchdog allows. A single dispatch is not split by its work.
    /// 0: by device type (2^34 multiply-adds on CPUs, 2^38 elsewhere).
    std::uint64_t work_budget = 0;
    /// Writes a timestamp before and after every dispatch; see Stream::timings(). Error(unsupported) on
    /// queues without timestamps.
    bool profile = false;
    /// Throws Error(unsupported) instead of compiling a kernel on first use.
    bool refuse_to_compile = false;
};

/// Device time of one recorded packet.
struct Timing {
    std::string label;
    std::string kernel;
    double nanoseconds = 0.0;
};

/// Owns command buffers and submits them in order to the device's queue. Barriers are placed from the
/// packets' byte ranges and last across submissions. Used by one thread at a time; different streams may run
/// on different threads. A read waits for the buffer's last write on another stream, a write for all its uses
/// there; work to wait for must have been flushed, Error(invalid_argument) otherwise.
class DANAUS_EXPORT Stream final : public Recorder {
public:
    explicit Stream(const Device& device, const StreamOptions& options = {});
    /// Submits nothing; waits for what was submitted. Recorded but unflushed work is dropped.
    ~Stream() override;
    Stream(Stream&&) noexcept;
    Stream& operator=(Stream&&) noexcept;

    [[nodiscard]] Device device() const override;
    void record(const Packet& packet) override;
    void record(const Copy& copy) override;
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override;

    /// Copies host bytes to a buffer, in order with the recorded work. The bytes are taken before the call
    /// returns. Any size: long uploads pass through staging memory in pieces.
    void upload(const Buffer& destination, std::uint64_t offset, std::span<const std::byte> bytes);
    /// Flushes, waits for the work recorded so far and copies bytes of a buffer to the host.
    void download(const Buffer& source, std::uint64_t offset, std::span<std::byte> bytes);

    /// Submits what was recorded. Returns the timeline value that completes it. What was recorded is dropped
    /// when the device refuses it (device loss, out of memory).
    std::uint64_t flush();
    /// Waits until timeline value `value` (from flush()) has passed.
    void wait(std::uint64_t value);
    /// flush() and wait().
    void finish();
    /// Whether timeline value `value` has passed, without waiting.
    [[nodiscard]] bool passed(std::uint64_t value) const;

    /// Submissions made so far, and barriers recorded so far.
    [[nodiscard]] std::uint64_t submissions() const;
    [[nodiscard]] std::uint64_t barriers() const;

    /// Timings of the packets that have finished since the last call, in recording order (profile only).
    [[nodiscard]] std::vector<Timing> timings();

    class State;
    /// For the library's own layers and tests. Throws Error(invalid_argument) when the stream was moved from.
    [[nodiscard]] State& state() const;

private:
    std::unique_ptr<State> state_;
};

}  // namespace danaus
