// Recording into a host's command buffer from memory set aside beforehand.
#include "buffer_state.hpp"
#include "command_writer.hpp"
#include "device_state.hpp"
#include "joined.hpp"

#include <danaus/runtime/host.hpp>

#include <algorithm>
#include <iterator>
#include <map>
#include <unordered_set>

#include <fmt/format.h>

namespace danaus {
namespace {

using Retained = std::unordered_set<std::shared_ptr<runtime::BufferState>>;

runtime::DeviceState& open_state(const char* what, const Device& device) {
    if (!device) throw Error(ErrorKind::invalid_argument, fmt::format("{}: a null device handle", what));
    device.state()->ensure_open();
    return *device.state();
}

/// What an allocation takes from a workspace: descriptors of whole allocations then need no padding.
std::uint64_t padded(const Capabilities& capabilities, std::uint64_t bytes) {
    const std::uint64_t alignment = std::max<std::uint64_t>(64, capabilities.storage_offset_alignment);
    constexpr std::uint64_t most = 1ull << 62;
    if (bytes > most)
        throw Error(
            ErrorKind::out_of_memory,
            fmt::format("workspace: {} bytes in one allocation, at most {} are possible", bytes, most));
    return std::max(alignment, (bytes + alignment - 1) / alignment * alignment);
}

bool is_empty(const Packet& packet) {
    return packet.grid[0] == 0 || packet.grid[1] == 0 || packet.grid[2] == 0;
}

/// Counts what a recording would take.
class DryRecorder final : public Recorder {
public:
    explicit DryRecorder(const Device& device) : device_(device) {}

    [[nodiscard]] Device device() const override { return device_; }
    void record(const Packet& packet) override {
        if (is_empty(packet)) return;
        device_.state()->pipelines().check_kernel(packet.kernel);
        if (runtime::must_join(*device_.state(), packet))
            return runtime::record_joined(*this, packet, joined_scratch_);
        ++size.packets;
        if (std::find(kernels.begin(), kernels.end(), packet.kernel) == kernels.end())
            kernels.push_back(packet.kernel);
    }
    void record(const Copy&) override {}
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override {
        size.bytes += padded(device_.capabilities(), bytes);
        return Buffer(std::make_shared<runtime::BufferState>(
            device_.state(),
            runtime::BufferState::Placeholder{std::max<std::uint64_t>(4, (bytes + 3) / 4 * 4)}));
    }

    WorkspaceSize size;
    std::vector<kernels::Kernel> kernels;

private:
    Device device_;
    Buffer joined_scratch_;
};

}  // namespace

class Workspace::State final : public runtime::Resource {
public:
    State(const std::shared_ptr<runtime::DeviceState>& state, std::uint64_t bytes, std::uint32_t max_packets)
        : Resource(state),
          size(bytes),
          descriptors(*state, state->access() == Access::descriptor ? max_packets : 0, true) {
        try {
            if (bytes > 0) memory = std::make_shared<runtime::BufferState>(state, bytes);
        } catch (...) {
            descriptors.destroy();
            throw;
        }
    }
    ~State() override { retire(); }

    Buffer allocate(std::uint64_t bytes) {
        const std::uint64_t taken = padded(device().capabilities(), bytes);
        if (taken > size - used)
            throw Error(ErrorKind::out_of_memory,
                        fmt::format("workspace: {} bytes are needed, {} of {} are left; see workspace_size()",
                                    taken, size - used, size));
        auto part = std::make_shared<runtime::BufferState>(memory, used,
                                                           std::max<std::uint64_t>(4, (bytes + 3) / 4 * 4));
        used += taken;
        return Buffer(std::move(part));
    }
    void reset() {
        descriptors.reset();
        retained.clear();
        used = 0;
    }

    std::shared_ptr<runtime::BufferState> memory;  // null: no bytes
    std::uint64_t size = 0, used = 0;
    runtime::DescriptorArena descriptors;
    Retained retained;

private:
    void release() noexcept override {
        descriptors.destroy();
        retained.clear();
    }
};

Workspace::Workspace(const Device& device, std::uint64_t bytes, std::uint32_t max_packets) {
    open_state("workspace", device);
    state_ = std::make_shared<State>(device.state(), bytes, max_packets);
}
Workspace::~Workspace() = default;
Workspace::Workspace(Workspace&&) noexcept = default;
Workspace& Workspace::operator=(Workspace&&) noexcept = default;

void Workspace::reset() {
    state_->device_pointer()->ensure_open();
    state_->reset();
}
std::uint64_t Workspace::size() const {
    return state_->size;
}
std::uint64_t Workspace::used() const {
    return state_->used;
}

WorkspaceSize workspace_size(const Device& device, const std::function<void(Recorder&)>& record) {
    open_state("workspace_size", device);
    DryRecorder recorder(device);
    record(recorder);
    return recorder.size;
}

void prewarm(const Device& device, const std::function<void(Recorder&)>& record) {
    runtime::DeviceState& state = open_state("prewarm", device);
    DryRecorder recorder(device);
    record(recorder);
    state.pipelines().prewarm(recorder.kernels);
}

struct HostRecorder::State {
    State(const Device& on, VkCommandBuffer into, std::shared_ptr<Workspace::State> from,
          const HostRecorderOptions& chosen)
        : device(on),
          commands(into),
          workspace(std::move(from)),
          options(chosen),
          writer(*on.state()),
          no_descriptors(*on.state(), 0, true) {}

    // Disjoint ranges by begin.
    using Ranges = std::map<std::uint64_t, std::uint64_t>;
    struct Touched {
        VkBuffer buffer;
        Ranges read, written;
    };

    void use(const Buffer& buffer);
    void note(const runtime::Reach& reach);

    Device device;
    VkCommandBuffer commands;
    std::shared_ptr<Workspace::State> workspace;  // may be null
    HostRecorderOptions options;
    runtime::CommandWriter writer;
    runtime::DescriptorArena no_descriptors;
    Retained retained;  // without a workspace
    std::vector<Touched> touched;
    Buffer joined_scratch;
    bool anything = false;
};

void HostRecorder::State::use(const Buffer& buffer) {
    const auto& state = buffer.state();
    state->uses.check_host();
    state->used_by_host = true;
    (workspace ? workspace->retained : retained).insert(state);
}

void HostRecorder::State::note(const runtime::Reach& reach) {
    if (reach.buffer->kind == runtime::BufferState::Kind::part || reach.begin == reach.end) return;
    const VkBuffer handle = reach.buffer->allocation.buffer;
    auto entry = std::find_if(touched.begin(), touched.end(),
                              [&](const Touched& candidate) { return candidate.buffer == handle; });
    if (entry == touched.end()) entry = touched.insert(touched.end(), Touched{handle, {}, {}});
    Ranges& ranges = reach.write ? entry->written : entry->read;
    std::uint64_t begin = reach.begin, end = reach.end;
    auto next = ranges.upper_bound(begin);
    if (next != ranges.begin() && std::prev(next)->second >= begin) --next;
    while (next != ranges.end() && next->first <= end) {
        begin = std::min(begin, next->first);
        end = std::max(end, next->second);
        next = ranges.erase(next);
    }
    ranges.emplace(begin, end);
}

HostRecorder::HostRecorder(const Device& device, VkCommandBuffer commands, Workspace* workspace,
                           const HostRecorderOptions& options) {
    open_state("recorder", device);
    if (!commands) throw Error(ErrorKind::invalid_argument, "recorder: commands is a null VkCommandBuffer");
    if (workspace && workspace->state_->device_pointer() != device.state())
        throw Error(ErrorKind::invalid_argument, "recorder: the workspace belongs to another device");
    state_ = std::make_unique<State>(device, commands, workspace ? workspace->state_ : nullptr, options);
    if (!options.assume_clean) state_->writer.hazards().assume_dirty();
}
HostRecorder::~HostRecorder() = default;

Device HostRecorder::device() const {
    return state_->device;
}

void HostRecorder::record(const Packet& packet) {
    if (is_empty(packet)) return;
    runtime::DeviceState& device = open_state("recorder", state_->device);
    if (runtime::must_join(device, packet)) {
        state_->writer.validate(packet, false);
        (void)device.pipelines().get(packet.kernel, !state_->options.refuse_to_compile);
        return runtime::record_joined(*this, packet, state_->joined_scratch);
    }
    const auto operands = state_->writer.resolve(packet);
    if (!state_->workspace && device.access() == Access::descriptor)
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("packet {}: {} is used through descriptors and the recorder has no workspace "
                                "to take them from",
                                kernels::info(packet.kernel).name, device.capabilities().name));
    const auto& pipeline = device.pipelines().get(packet.kernel, !state_->options.refuse_to_compile);
    for (const Operand& operand : packet.operands)
        if (operand.buffer) state_->use(operand.buffer);
    auto& descriptors = state_->workspace ? state_->workspace->descriptors : state_->no_descriptors;
    state_->writer.dispatch(state_->commands, descriptors, packet, pipeline, operands);
    for (std::size_t i = 0; i < operands.interval_count; ++i) state_->note(operands.reaches[i]);
    state_->anything = true;
}

void HostRecorder::record(const Copy& copy) {
    if (copy.bytes == 0) return;
    open_state("recorder", state_->device);
    state_->writer.validate(copy, false);
    state_->use(copy.source);
    state_->use(copy.destination);
    state_->writer.copy(state_->commands, copy);
    const auto reach = [&](const Buffer& buffer, std::uint64_t offset, bool write) {
        const runtime::BufferState& side = *buffer.state();
        state_->note({&side, side.base + offset, side.base + offset + copy.bytes, write});
    };
    reach(copy.source, copy.source_offset, false);
    reach(copy.destination, copy.destination_offset, true);
    state_->anything = true;
}

Buffer HostRecorder::allocate(std::uint64_t bytes) {
    open_state("recorder", state_->device);
    if (!state_->workspace)
        throw Error(ErrorKind::out_of_memory,
                    fmt::format("workspace: {} bytes are needed, the recorder has no workspace", bytes));
    return state_->workspace->allocate(bytes);
}

void HostRecorder::assume_dirty() {
    state_->writer.hazards().assume_dirty();
}

void HostRecorder::finish(VkPipelineStageFlags stages, VkAccessFlags access) {
    open_state("recorder", state_->device);
    if (!state_->anything) return;
    state_->writer.barrier_to(state_->commands, stages, access);
    // What follows is the host's work.
    state_->writer.hazards().assume_dirty();
}

std::vector<HostAccess> HostRecorder::accesses() const {
    std::vector<HostAccess> list;
    for (const State::Touched& touched : state_->touched) {
        for (const auto& [begin, end] : touched.read) list.push_back({touched.buffer, begin, end, false});
        for (const auto& [begin, end] : touched.written) list.push_back({touched.buffer, begin, end, true});
    }
    return list;
}

std::uint64_t HostRecorder::barriers() const {
    return state_->writer.barrier_count();
}

}  // namespace danaus
