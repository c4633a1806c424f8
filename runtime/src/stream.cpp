#include "joined.hpp"
#include "stream_state.hpp"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

namespace danaus {

using runtime::check;

Recorder::~Recorder() = default;

Stream::State::State(std::shared_ptr<runtime::DeviceState> state, const StreamOptions& options)
    : Resource(state),
      options_(options),
      timeline_(std::make_shared<runtime::Timeline>(state)),
      writer_(*state) {
    const Capabilities& caps = state->capabilities();
    if (options_.max_in_flight == 0)
        throw Error(ErrorKind::invalid_argument,
                    "max_in_flight = 0; a stream needs at least 1 submission in flight");
    if (options_.profile && caps.timestamp_bits == 0)
        throw Error(ErrorKind::unsupported, "profile was asked for, but the queue of " + caps.name +
                                                " has no timestamps (timestampValidBits = 0)");
    // About a second of work at a tenth of what a CPU or a small GPU can do.
    if (options_.work_budget == 0)
        options_.work_budget = caps.type == DeviceType::cpu ? 1ull << 34 : 1ull << 38;
}

Stream::State::~State() {
    if (device_pointer()->is_open() && !in_flight_.empty()) {
        try {
            timeline_->wait(in_flight_.back()->value);
        } catch (const Error&) {
            // The device was lost: there is nothing left to wait for.
        }
    }
    retire();
}

void Stream::State::release() noexcept {
    if (current_) drop(*current_);
    for (auto& frame : in_flight_) destroy(*frame);
    for (auto& frame : free_frames_) destroy(*frame);
    for (auto& staging : free_staging_) device_pointer()->memory().free(staging);
    joined_scratch_ = {};
    current_.reset();
    in_flight_.clear();
    free_frames_.clear();
    free_staging_.clear();
}

std::unique_ptr<Stream::State::Frame> Stream::State::make_frame() {
    auto frame = std::make_unique<Frame>();
    const runtime::DeviceTable& vk = device().vk();
    const VkDevice handle = device().handle();
    try {
        VkCommandPoolCreateInfo pool{};
        pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
        pool.flags = VK_COMMAND_POOL_CREATE_TRANSIENT_BIT;
        pool.queueFamilyIndex = device().queue_family();
        check(vk.CreateCommandPool(handle, &pool, nullptr, &frame->pool), "creating a command pool");
        VkCommandBufferAllocateInfo allocate{};
        allocate.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
        allocate.commandPool = frame->pool;
        allocate.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
        allocate.commandBufferCount = 1;
        check(vk.AllocateCommandBuffers(handle, &allocate, &frame->commands), "allocating a command buffer");
        if (options_.profile) {
            VkQueryPoolCreateInfo queries{};
            queries.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
            queries.queryType = VK_QUERY_TYPE_TIMESTAMP;
            queries.queryCount = 2 * steps_per_frame;
            check(vk.CreateQueryPool(handle, &queries, nullptr, &frame->queries), "creating a query pool");
        }
        frame->descriptors = std::make_unique<runtime::DescriptorArena>(device(), 128, false);
    } catch (...) {
        destroy(*frame);
        throw;
    }
    return frame;
}

void Stream::State::destroy(Frame& frame) noexcept {
    runtime::DeviceState& state = *device_pointer();
    if (frame.descriptors) frame.descriptors->destroy();
    if (frame.queries) state.vk().DestroyQueryPool(state.handle(), frame.queries, nullptr);
    if (frame.pool) state.vk().DestroyCommandPool(state.handle(), frame.pool, nullptr);
    for (auto& staging : frame.staging) state.memory().free(staging);
    frame.staging.clear();
    frame.retained.clear();
}

Stream::State::Frame& Stream::State::recording() {
    if (current_) return *current_;
    std::unique_ptr<Frame> frame;
    if (!free_frames_.empty()) {
        frame = std::move(free_frames_.back());
        free_frames_.pop_back();
    } else {
        frame = make_frame();
    }
    VkCommandBufferBeginInfo begin{};
    begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
    begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
    try {
        check(device().vk().BeginCommandBuffer(frame->commands, &begin), "beginning a command buffer");
    } catch (...) {
        destroy(*frame);
        throw;
    }
    if (frame->queries)
        device().vk().CmdResetQueryPool(frame->commands, frame->queries, 0, 2 * steps_per_frame);
    current_ = std::move(frame);
    return *current_;
}

void Stream::State::drop(Frame& frame) noexcept {
    for (const auto& buffer : frame.retained) buffer->uses.drop(*timeline_, submissions_ + 1);
    destroy(frame);
}

void Stream::State::retain(Frame& frame, const Buffer& buffer, bool write) {
    const auto& state = buffer.state();
    if (!state->uses.admit(timeline_, submissions_ + 1, write, frame.waits)) return;
    // The host may have submitted work on it to the same queue since our last submission.
    if (state->used_by_host) writer_.hazards().assume_dirty();
    frame.retained.push_back(state);
}

void Stream::State::record(const Packet& packet) {
    if (packet.grid[0] == 0 || packet.grid[1] == 0 || packet.grid[2] == 0) return;
    runtime::DeviceState& state = device();
    const auto operands = writer_.resolve(packet);
    const auto& pipeline = state.pipelines().get(packet.kernel, !options_.refuse_to_compile);
    const auto writes = [](const Operand& operand) { return operand.touch != Touch::read; };
    for (const Operand& operand : packet.operands)
        if (operand.buffer) operand.buffer.state()->uses.check(*timeline_, writes(operand));
    Frame& frame = recording();
    for (const Operand& operand : packet.operands)
        if (operand.buffer) retain(frame, operand.buffer, writes(operand));
    const auto stamp = [&](std::uint32_t query) {
        if (frame.queries)
            state.vk().CmdWriteTimestamp(frame.commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, frame.queries,
                                         query);
    };
    frame.timings.reserve(frame.timings.size() + 1);
    Timing timing{std::string(packet.label), std::string(kernels::info(packet.kernel).name), 0};
    // Results are waited for in pairs: the second timestamp is written even when the dispatch fails in
    // between.
    const auto close = [&] {
        stamp(2 * frame.packets + 1);
        if (frame.queries) frame.timings.push_back(std::move(timing));
        ++frame.packets;
    };
    stamp(2 * frame.packets);
    try {
        writer_.dispatch(frame.commands, *frame.descriptors, packet, pipeline, operands);
    } catch (...) {
        close();
        throw;
    }
    close();
    ++frame.steps;
    frame.work += packet.work;
    flush_if_full();
}

bool Stream::State::joins(const Packet& packet) {
    if (packet.grid[0] == 0 || packet.grid[1] == 0 || packet.grid[2] == 0) return false;
    runtime::DeviceState& state = device();
    if (!runtime::must_join(state, packet)) return false;
    writer_.validate(packet, false);
    (void)state.pipelines().get(packet.kernel, !options_.refuse_to_compile);
    return true;
}

void Stream::State::record(const Copy& copy) {
    if (copy.bytes == 0) return;
    device_pointer()->ensure_open();
    writer_.validate(copy, false);
    copy.source.state()->uses.check(*timeline_, false);
    copy.destination.state()->uses.check(*timeline_, true);
    Frame& frame = recording();
    retain(frame, copy.source, false);
    retain(frame, copy.destination, true);
    writer_.copy(frame.commands, copy);
    ++frame.steps;
    frame.work += copy.bytes / 4;
    flush_if_full();
}

void Stream::State::flush_if_full() {
    if (current_->steps >= steps_per_frame || current_->work >= options_.work_budget) flush();
}

Stream::State::Staging Stream::State::stage(std::uint64_t bytes) {
    if (recording().staging.size() == pieces_per_frame && current_->staging_used == staging_piece) flush();
    Frame& frame = recording();
    if (frame.staging.empty() || frame.staging_used == staging_piece) {
        if (free_staging_.empty())
            free_staging_.push_back(device().memory().allocate(staging_piece, runtime::MemoryUse::staging));
        frame.staging.push_back(free_staging_.back());
        free_staging_.pop_back();
        frame.staging_used = 0;
    }
    const std::uint64_t offset = frame.staging_used;
    const std::uint64_t length = std::min(bytes, staging_piece - offset);
    frame.staging_used = std::min(staging_piece, (offset + length + 15) / 16 * 16);
    return {frame.staging.back(), offset, length};
}

namespace {

const runtime::BufferState& checked_range(const char* what, const runtime::DeviceState& device,
                                          const Buffer& buffer, std::uint64_t offset, std::uint64_t bytes) {
    if (!buffer) throw Error(ErrorKind::invalid_argument, fmt::format("{}: a null buffer", what));
    const auto& state = *buffer.state();
    if (state.device_pointer().get() != &device)
        throw Error(ErrorKind::invalid_argument, fmt::format("{}: the buffer lives on another device", what));
    if (state.kind == runtime::BufferState::Kind::placeholder)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("{}: the buffer is an unbound slot of a program", what));
    if (bytes > state.size || offset > state.size - bytes)
        throw Error(ErrorKind::invalid_argument, fmt::format("{}: {} bytes from byte {} of a buffer of {}",
                                                             what, bytes, offset, state.size));
    return state;
}

}  // namespace

void Stream::State::upload(const Buffer& destination, std::uint64_t offset,
                           std::span<const std::byte> bytes) {
    const auto& target = checked_range("upload", device(), destination, offset, bytes.size());
    destination.state()->uses.check(*timeline_, true);
    while (!bytes.empty()) {
        const Staging staging = stage(bytes.size());
        std::memcpy(static_cast<std::byte*>(staging.allocation.mapped) + staging.offset, bytes.data(),
                    staging.bytes);
        device().memory().flush(staging.allocation, staging.offset, staging.bytes);
        Frame& frame = recording();
        retain(frame, destination, true);
        const VkBufferCopy region{staging.offset, target.base + offset, staging.bytes};
        writer_.copy_raw(frame.commands, staging.allocation.buffer, target.allocation.buffer, region,
                         runtime::interval_of(target, offset, staging.bytes, true));
        ++frame.steps;
        flush_if_full();
        bytes = bytes.subspan(staging.bytes);
        offset += staging.bytes;
    }
}

void Stream::State::download(const Buffer& source, std::uint64_t offset, std::span<std::byte> bytes) {
    const auto& origin = checked_range("download", device(), source, offset, bytes.size());
    source.state()->uses.check(*timeline_, false);
    while (!bytes.empty()) {
        // A download takes whole pieces of a submission of its own, so that no upload shares them.
        if (current_ && !current_->staging.empty()) flush();
        const std::size_t limit = std::min<std::size_t>(bytes.size(), pieces_per_frame * staging_piece);
        std::vector<Staging> pieces;
        for (std::size_t done = 0; done < limit;) {
            const Staging staging = stage(limit - done);
            Frame& frame = recording();
            retain(frame, source, false);
            const VkBufferCopy region{origin.base + offset + done, staging.offset, staging.bytes};
            writer_.copy_raw(frame.commands, origin.allocation.buffer, staging.allocation.buffer, region,
                             runtime::interval_of(origin, offset + done, staging.bytes, false));
            pieces.push_back(staging);
            done += staging.bytes;
        }
        writer_.host_barrier(recording().commands);
        const std::uint64_t value = flush();
        timeline_->wait(value);
        // The frame still holds its staging memory: it is recycled only by retire_until().
        for (const Staging& piece : pieces) {
            device().memory().invalidate(piece.allocation, piece.offset, piece.bytes);
            std::memcpy(bytes.data(), static_cast<const std::byte*>(piece.allocation.mapped) + piece.offset,
                        piece.bytes);
            bytes = bytes.subspan(piece.bytes);
            offset += piece.bytes;
        }
        retire_until(value);
    }
}

std::uint64_t Stream::State::flush() {
    device_pointer()->ensure_open();
    if (!current_) return submissions_;
    try {
        submit(*current_);
    } catch (...) {
        drop(*current_);
        current_.reset();
        // What the dropped commands would have settled is open again.
        writer_.hazards().assume_dirty();
        throw;
    }
    submissions_ = current_->value;
    timeline_->set_submitted(submissions_);
    in_flight_.push_back(std::move(current_));
    while (in_flight_.size() > options_.max_in_flight) {
        wait(in_flight_.front()->value);
    }
    return submissions_;
}

void Stream::State::submit(Frame& frame) {
    runtime::DeviceState& state = device();
    check(state.vk().EndCommandBuffer(frame.commands), "ending a command buffer");
    frame.value = submissions_ + 1;

    std::vector<VkSemaphore> wait_semaphores;
    std::vector<std::uint64_t> wait_values;
    for (const auto& [timeline, value] : frame.waits) {
        wait_semaphores.push_back(timeline->handle());
        wait_values.push_back(value);
    }
    const std::vector<VkPipelineStageFlags> stages(wait_semaphores.size(),
                                                   VK_PIPELINE_STAGE_ALL_COMMANDS_BIT);
    const VkSemaphore signal = timeline_->handle();
    VkTimelineSemaphoreSubmitInfo values{};
    values.sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO;
    values.waitSemaphoreValueCount = static_cast<std::uint32_t>(wait_values.size());
    values.pWaitSemaphoreValues = wait_values.data();
    values.signalSemaphoreValueCount = 1;
    values.pSignalSemaphoreValues = &frame.value;
    VkSubmitInfo info{};
    info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
    info.pNext = &values;
    info.waitSemaphoreCount = static_cast<std::uint32_t>(wait_semaphores.size());
    info.pWaitSemaphores = wait_semaphores.data();
    info.pWaitDstStageMask = stages.data();
    info.commandBufferCount = 1;
    info.pCommandBuffers = &frame.commands;
    info.signalSemaphoreCount = 1;
    info.pSignalSemaphores = &signal;
    state.submit(info);
}

void Stream::State::retire_until(std::uint64_t reached) {
    while (!in_flight_.empty() && in_flight_.front()->value <= reached) {
        auto frame = std::move(in_flight_.front());
        in_flight_.pop_front();
        try {
            recycle(*frame);
        } catch (...) {
            destroy(*frame);
            throw;
        }
        free_frames_.push_back(std::move(frame));
    }
}

void Stream::State::recycle(Frame& frame) {
    runtime::DeviceState& state = device();
    if (frame.queries && frame.packets) {
        std::vector<std::uint64_t> ticks(2 * frame.packets);
        check(state.vk().GetQueryPoolResults(
                  state.handle(), frame.queries, 0, 2 * frame.packets, ticks.size() * sizeof(std::uint64_t),
                  ticks.data(), sizeof(std::uint64_t), VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
              "reading timestamps");
        const std::uint32_t bits = state.capabilities().timestamp_bits;
        const std::uint64_t mask = bits >= 64 ? ~0ull : (1ull << bits) - 1;
        for (std::size_t i = 0; i < frame.timings.size(); ++i)
            frame.timings[i].nanoseconds = static_cast<double>((ticks[2 * i + 1] - ticks[2 * i]) & mask) *
                                           state.capabilities().timestamp_period;
        std::move(frame.timings.begin(), frame.timings.end(), std::back_inserter(finished_timings_));
        frame.timings.clear();
    }
    check(state.vk().ResetCommandPool(state.handle(), frame.pool, 0), "resetting a command pool");
    frame.descriptors->reset();
    frame.retained.clear();
    frame.waits.clear();
    free_staging_.insert(free_staging_.end(), frame.staging.begin(), frame.staging.end());
    frame.staging.clear();
    frame.staging_used = 0;
    frame.packets = 0;
    frame.steps = 0;
    frame.work = 0;
}

void Stream::State::wait(std::uint64_t value) {
    if (value > submissions_)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("wait for value {}, but only {} submissions were made", value, submissions_));
    timeline_->wait(value);
    retire_until(value);
}

bool Stream::State::passed(std::uint64_t value) const {
    return timeline_->reached() >= value;
}

std::vector<Timing> Stream::State::take_timings() {
    if (!in_flight_.empty()) retire_until(timeline_->reached());
    return std::exchange(finished_timings_, {});
}

Stream::Stream(const Device& device, const StreamOptions& options) {
    if (!device) throw Error(ErrorKind::invalid_argument, "stream: a null device handle");
    state_ = std::make_unique<State>(device.state(), options);
}
Stream::~Stream() = default;
Stream::Stream(Stream&&) noexcept = default;
Stream& Stream::operator=(Stream&&) noexcept = default;

Stream::State& Stream::state() const {
    if (!state_) throw Error(ErrorKind::invalid_argument, "stream: it was moved from");
    return *state_;
}

Device Stream::device() const {
    return Device(state().device_pointer());
}
void Stream::record(const Packet& packet) {
    if (state().joins(packet))
        runtime::record_joined(*this, packet, state().joined_scratch());
    else
        state().record(packet);
}
void Stream::record(const Copy& copy) {
    state().record(copy);
}
Buffer Stream::allocate(std::uint64_t bytes) {
    return device().allocate(bytes);
}
void Stream::upload(const Buffer& destination, std::uint64_t offset, std::span<const std::byte> bytes) {
    state().upload(destination, offset, bytes);
}
void Stream::download(const Buffer& source, std::uint64_t offset, std::span<std::byte> bytes) {
    state().download(source, offset, bytes);
}
std::uint64_t Stream::flush() {
    return state().flush();
}
void Stream::wait(std::uint64_t value) {
    state().wait(value);
}
void Stream::finish() {
    state().wait(state().flush());
}
bool Stream::passed(std::uint64_t value) const {
    return state().passed(value);
}
std::uint64_t Stream::submissions() const {
    return state().submissions();
}
std::uint64_t Stream::barriers() const {
    return state().barriers();
}
std::vector<Timing> Stream::timings() {
    return state().take_timings();
}

}  // namespace danaus
