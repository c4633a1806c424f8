// Program: packets recorded once, with named slots, to be emitted many times.
#pragma once

#include <danaus/runtime/recorder.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace danaus {

/// What a slot is bound to when a program is emitted: `buffer` from byte `offset` on.
struct Binding {
    std::string name;
    Buffer buffer;
    std::uint64_t offset = 0;  ///< a multiple of 16: plans rely on the alignment of what they were made for
};

/// Records packets without submitting them. Operations see placeholders for the named slots; results and
/// scratch that they allocate belong to the program.
class DANAUS_EXPORT ProgramRecorder final : public Recorder {
public:
    explicit ProgramRecorder(const Device& device);
    ~ProgramRecorder() override;

    [[nodiscard]] Device device() const override;
    void record(const Packet& packet) override;
    void record(const Copy& copy) override;
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override;

    /// Declares a slot of `bytes` bytes, to be bound at every emit. Error(invalid_argument) if the name is
    /// taken.
    [[nodiscard]] Buffer slot(std::string_view name, std::uint64_t bytes);

    struct Slot {
        std::string name;
        Buffer placeholder;
    };

private:
    friend class Program;
    Device device_;
    std::vector<std::variant<Packet, Copy>> steps_;
    std::vector<Slot> slots_;
    std::vector<Buffer> owned_;
};

/// Checked, planned and compiled packets. emit() patches addresses and records them again without planning or
/// compiling (or allocating, but for scratch of the recorder's own on devices that bind fewer storage buffers
/// than a kernel has operands). A program may be emitted any number of times; emissions share the program's
/// own results and scratch and are ordered by hazards like any other work.
class DANAUS_EXPORT Program {
public:
    Program() = default;
    /// Takes what was recorded and creates every kernel it needs.
    explicit Program(ProgramRecorder recorder);

    /// Records every packet into `recorder`. Throws Error(invalid_argument) naming the slot when one is
    /// unbound, unknown, bound twice, or bound to fewer bytes than it was declared with; nothing is recorded
    /// then.
    void emit(Recorder& recorder, const std::vector<Binding>& bindings = {}) const;

    [[nodiscard]] std::size_t packet_count() const noexcept { return steps_.size(); }
    /// Bytes of device memory the program itself holds.
    [[nodiscard]] std::uint64_t owned_bytes() const;

private:
    Device device_;
    std::vector<std::variant<Packet, Copy>> steps_;
    std::vector<ProgramRecorder::Slot> slots_;
    std::vector<Buffer> owned_;
};

}  // namespace danaus
