#include "buffer_state.hpp"
#include "command_writer.hpp"
#include "joined.hpp"

#include <danaus/runtime/program.hpp>

#include <algorithm>
#include <array>
#include <unordered_map>

#include <fmt/format.h>

namespace danaus {
namespace {

runtime::DeviceState& open_state(const Device& device) {
    device.state()->ensure_open();
    return *device.state();
}

}  // namespace

ProgramRecorder::ProgramRecorder(const Device& device) : device_(device) {
    if (!device) throw Error(ErrorKind::invalid_argument, "program: a null device handle");
    device.state()->ensure_open();
}
ProgramRecorder::~ProgramRecorder() = default;

Device ProgramRecorder::device() const {
    return device_;
}

void ProgramRecorder::record(const Packet& packet) {
    if (packet.grid[0] == 0 || packet.grid[1] == 0 || packet.grid[2] == 0) return;
    runtime::DeviceState& device = open_state(device_);
    runtime::CommandWriter(device).validate(packet, true);
    device.pipelines().check_kernel(packet.kernel);
    if (runtime::must_join(device, packet)) runtime::check_joined(device, packet);
    steps_.emplace_back(packet);
}

void ProgramRecorder::record(const Copy& copy) {
    if (copy.bytes == 0) return;
    runtime::CommandWriter(open_state(device_)).validate(copy, true);
    steps_.emplace_back(copy);
}

Buffer ProgramRecorder::allocate(std::uint64_t bytes) {
    owned_.push_back(device_.allocate(bytes));
    return owned_.back();
}

Buffer ProgramRecorder::slot(std::string_view name, std::uint64_t bytes) {
    for (const Slot& slot : slots_)
        if (slot.name == name)
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("program: slot '{}' is declared twice", name));
    const Buffer placeholder(std::make_shared<runtime::BufferState>(
        device_.state(), runtime::BufferState::Placeholder{std::max<std::uint64_t>(4, (bytes + 3) / 4 * 4)}));
    slots_.push_back({std::string(name), placeholder});
    return placeholder;
}

Program::Program(ProgramRecorder recorder)
    : device_(recorder.device_),
      steps_(std::move(recorder.steps_)),
      slots_(std::move(recorder.slots_)),
      owned_(std::move(recorder.owned_)) {
    std::vector<kernels::Kernel> needed;
    for (const auto& step : steps_)
        if (const Packet* packet = std::get_if<Packet>(&step))
            if (std::find(needed.begin(), needed.end(), packet->kernel) == needed.end())
                needed.push_back(packet->kernel);
    device_.state()->ensure_open();
    device_.state()->pipelines().prewarm(needed);
}

void Program::emit(Recorder& recorder, const std::vector<Binding>& bindings) const {
    if (!device_) throw Error(ErrorKind::invalid_argument, "program: an empty program cannot be emitted");
    if (recorder.device() != device_)
        throw Error(ErrorKind::invalid_argument, "program: the recorder belongs to another device");
    std::unordered_map<const runtime::BufferState*, const Binding*> bound;
    for (const Binding& binding : bindings) {
        const auto slot = std::find_if(slots_.begin(), slots_.end(),
                                       [&](const auto& candidate) { return candidate.name == binding.name; });
        if (slot == slots_.end())
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("program: no slot is called '{}'", binding.name));
        const std::uint64_t need = slot->placeholder.size();
        if (!binding.buffer || binding.offset % 16 != 0 || binding.buffer.size() < need ||
            binding.offset > binding.buffer.size() - need)
            throw Error(
                ErrorKind::invalid_argument,
                fmt::format("program: slot '{}' needs {} bytes from an offset that is a multiple of 16; "
                            "bound to offset "
                            "{} of a buffer of {}",
                            binding.name, need, binding.offset, binding.buffer ? binding.buffer.size() : 0));
        if (!binding.buffer.starts_aligned())
            throw Error(
                ErrorKind::invalid_argument,
                fmt::format("program: slot '{}' is bound to an import that does not start at a multiple of "
                            "16 bytes; bind a copy",
                            binding.name));
        if (binding.buffer.is_placeholder() && !dynamic_cast<ProgramRecorder*>(&recorder))
            throw Error(
                ErrorKind::invalid_argument,
                fmt::format("program: slot '{}' is bound to a slot of a program, which has no memory yet",
                            binding.name));
        if (binding.buffer.device() != device_)
            throw Error(
                ErrorKind::invalid_argument,
                fmt::format("program: slot '{}' is bound to a buffer of another device", binding.name));
        if (!bound.emplace(slot->placeholder.state().get(), &binding).second)
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("program: slot '{}' is bound twice", binding.name));
    }
    for (const auto& slot : slots_)
        if (!bound.contains(slot.placeholder.state().get()))
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("program: slot '{}' is not bound", slot.name));

    const auto patch = [&](Buffer& buffer, std::uint64_t& offset) {
        if (!buffer || !buffer.is_placeholder()) return;
        const auto found = bound.find(buffer.state().get());
        if (found == bound.end()) return;  // a slot of an enclosing program under construction
        buffer = found->second->buffer;
        offset += found->second->offset;
    };
    // Operations were checked against distinct buffers: what one step writes must not become what it also
    // reads under another name. Sharing between steps is ordered like any other work.
    for (const auto& step : steps_) {
        const Packet* packet = std::get_if<Packet>(&step);
        if (!packet) continue;
        std::array<std::pair<Buffer, std::uint64_t>, max_operands> at;
        for (std::size_t i = 0; i < max_operands; ++i) {
            at[i] = {packet->operands[i].buffer, packet->operands[i].offset};
            patch(at[i].first, at[i].second);
            for (std::size_t j = 0; j < i && at[i].first; ++j) {
                const Operand &one = packet->operands[i], &other = packet->operands[j];
                const bool writes = one.touch != Touch::read || other.touch != Touch::read;
                if (writes && !(one.buffer == other.buffer) && at[i].first == at[j].first &&
                    at[i].second < at[j].second + other.bytes && at[j].second < at[i].second + one.bytes)
                    throw Error(
                        ErrorKind::invalid_argument,
                        fmt::format(
                            "program: in {}, operands {} and {} are bound to overlapping bytes of one "
                            "buffer, and one of them is written",
                            kernels::info(packet->kernel).name, j, i));
            }
        }
    }
    for (const auto& step : steps_) {
        if (const Packet* recorded = std::get_if<Packet>(&step)) {
            Packet packet = *recorded;
            for (Operand& operand : packet.operands) patch(operand.buffer, operand.offset);
            recorder.record(packet);
        } else {
            Copy copy = std::get<Copy>(step);
            patch(copy.source, copy.source_offset);
            patch(copy.destination, copy.destination_offset);
            recorder.record(copy);
        }
    }
}

std::uint64_t Program::owned_bytes() const {
    std::uint64_t bytes = 0;
    for (const Buffer& buffer : owned_) bytes += buffer.size();
    return bytes;
}

}  // namespace danaus
