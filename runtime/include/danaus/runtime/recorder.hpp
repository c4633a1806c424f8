// Packets, and the interface of everything that consumes them.
#pragma once

#include <danaus/kernels.hpp>
#include <danaus/runtime/device.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace danaus {

/// How a packet touches an operand.
enum class Touch : std::uint32_t { read, write, read_write };

/// One buffer operand of a packet: a byte range of a buffer and how it is touched. An operand with no buffer
/// is an unused slot (its kernel constants say that the shader does not touch it).
struct Operand {
    Buffer buffer;
    std::uint64_t offset = 0;  ///< bytes from the start of the buffer; a multiple of 2
    std::uint64_t bytes = 0;   ///< bytes the kernel may touch from there
    Touch touch = Touch::read;
};

inline constexpr std::size_t max_operands = 8;

/// One dispatch: kernel, constants, grid, push fields and accesses. Addresses are filled in by the consumer,
/// so that a packet can be recorded again with other buffers.
struct Packet {
    kernels::Kernel kernel;
    std::array<std::uint32_t, 3> grid{1, 1, 1};  ///< workgroups; a zero makes the packet a no-op
    std::array<Operand, max_operands> operands;  ///< in slot order
    std::array<std::byte, 128> fields{};         ///< the push block behind ref[slots]
    std::uint32_t field_bytes = 0;
    std::uint64_t work = 1;  ///< estimate (multiply-adds or words) for the submission budget
    std::string_view label;  ///< static text for debuggers and profiles

    template <typename Fields>
    void set_fields(const Fields& value) {
        static_assert(std::is_trivially_copyable_v<Fields> && sizeof(Fields) <= 128);
        std::memcpy(fields.data(), &value, sizeof(Fields));
        field_bytes = sizeof(Fields);
    }
};

/// A device-to-device copy of bytes.
struct Copy {
    Buffer source, destination;
    std::uint64_t source_offset = 0, destination_offset = 0, bytes = 0;
};

/// Consumes packets in order, as if each saw the results of those before it. Operations take a Recorder;
/// which one decides when and where the work runs. A recorder is used by one thread at a time.
class DANAUS_EXPORT Recorder {
public:
    virtual ~Recorder();

    [[nodiscard]] virtual Device device() const = 0;
    /// Throws before anything is recorded when the packet is not valid on the device.
    virtual void record(const Packet& packet) = 0;
    virtual void record(const Copy& copy) = 0;
    /// Memory for results and scratch of the work being recorded.
    [[nodiscard]] virtual Buffer allocate(std::uint64_t bytes) = 0;

protected:
    Recorder() = default;
    Recorder(const Recorder&) = default;
    Recorder& operator=(const Recorder&) = default;
};

}  // namespace danaus
