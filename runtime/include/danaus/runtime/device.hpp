// Opening a Vulkan device by stated rules, and the buffers that live on it.
#pragma once

#include <danaus/runtime/access.hpp>
#include <danaus/runtime/capabilities.hpp>
#include <danaus/runtime/error.hpp>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace danaus {

class Buffer;
struct HostDevice;  // danaus/runtime/host.hpp

namespace runtime {
class DeviceState;
struct BufferState;
}  // namespace runtime

enum class Severity : std::uint32_t { information, warning, error };

/// How Device::open chooses and creates a device. A default-constructed one means "the default rules".
struct DeviceOptions {
    /// Index in list_devices(), UUID, or part of a name (case-insensitive). When unset, the environment
    /// variable DANAUS_DEVICE is used the same way; when that is unset too, the first usable device of the
    /// best type is taken: discrete, integrated, virtual, other, CPU. When set (even to ""), the environment
    /// is not read. A number that is no index is looked for in the names.
    std::optional<std::string> select;
    /// Features to do without, separated by commas: fp16, storage16, bda (device addresses), subgroup
    /// (arithmetic and shuffles), subgroup_size (its control), coopmat, timestamps. When this and `select`
    /// are unset, the environment variable DANAUS_DISABLE is used the same way.
    std::optional<std::string> disable;
    /// How kernels reach operands. Unset: device addresses where the device has them, else descriptors.
    std::optional<Access> access;
    /// File of the persistent pipeline cache. Unset: no file. Damaged or foreign files are ignored with a
    /// warning and rewritten when the device is closed.
    std::optional<std::filesystem::path> pipeline_cache;
    /// Where Vulkan is: the address of a vkGetInstanceProcAddr. Null: the system's loader. For programs that
    /// link with a driver itself (MoltenVK as a static library) or that wrap the loader.
    void* get_instance_proc_addr = nullptr;
    /// Lowers capabilities before the device is created, to simulate a weaker device.
    std::function<void(Capabilities&)> cap;
    /// Turns on VK_LAYER_KHRONOS_validation with synchronization validation; Error(unsupported) without the
    /// layer.
    bool validation = false;
    /// Object names and command labels for debuggers, where VK_EXT_debug_utils is present.
    bool debug_names = false;
    /// Keeps what the driver tells of compiled kernels, where it does: see inspect() in inspect.hpp. Costs
    /// compile time and memory.
    bool inspect = false;
    /// Receives warnings of the library and messages of the validation layers. May be called from any thread.
    std::function<void(Severity, std::string_view)> on_message;
};

/// Every device of the default loader, in the loader's order: index i is what "select" accepts as a number.
/// Throws Error(no_device) when there is no Vulkan loader or no driver.
[[nodiscard]] DANAUS_EXPORT std::vector<Capabilities> list_devices();

/// A shared handle to an open device. Copies refer to the same device; all members are thread-safe.
class DANAUS_EXPORT Device {
public:
    /// A null handle.
    Device() = default;

    /// Opens a device by the rules of DeviceOptions.
    /// Throws Error(no_device) naming what was asked for and what there is.
    [[nodiscard]] static Device open(const DeviceOptions& options = {});

    /// Takes up a device that a host owns; see HostDevice. Close it before the host destroys its VkDevice.
    /// Throws Error(invalid_argument) naming the member that is null, does not fit, or lacks a declaration.
    [[nodiscard]] static Device adopt(const HostDevice& host);

    [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
    [[nodiscard]] bool operator==(const Device&) const noexcept = default;

    [[nodiscard]] const Capabilities& capabilities() const;
    [[nodiscard]] Access access() const;
    /// One line saying why this device was taken ("DANAUS_DEVICE=nvidia", "only CPU devices present", …).
    [[nodiscard]] const std::string& choice() const;

    /// Uninitialised device memory of at least `bytes` bytes (0 is rounded up to 4), usable by kernels and
    /// copies. Throws Error(out_of_memory) naming the size and what the device has.
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) const;

    /// Bytes of device memory now held by live buffers of this device.
    [[nodiscard]] std::uint64_t allocated_bytes() const;
    /// Pipelines created so far.
    [[nodiscard]] std::size_t pipeline_count() const;

    /// Writes the pipeline cache to its file now (also done by close()). No-op without a file.
    void save_pipeline_cache() const;

    /// Waits until the device is idle (a host's device: until the work of all streams has finished), frees
    /// everything it owns and makes surviving handles inert: using one throws Error(closed), destroying one
    /// is safe. Called by the last handle if not before. No other thread may be using the device or its
    /// objects meanwhile.
    void close();
    [[nodiscard]] bool is_open() const noexcept;

    /// For the library's own layers.
    [[nodiscard]] const std::shared_ptr<runtime::DeviceState>& state() const { return state_; }
    explicit Device(std::shared_ptr<runtime::DeviceState> state) : state_(std::move(state)) {}

private:
    std::shared_ptr<runtime::DeviceState> state_;
};

/// Where a buffer's bytes lie: two buffers share bytes only where `memory` is equal and [begin, end) overlap.
struct MemoryRange {
    std::uint64_t memory = 0;
    std::uint64_t begin = 0, end = 0;
};

/// A shared handle to a range of device memory. The memory returns to the device when the last handle is
/// gone; recorders keep a handle until the work they recorded has finished.
class DANAUS_EXPORT Buffer {
public:
    Buffer() = default;

    [[nodiscard]] explicit operator bool() const noexcept { return state_ != nullptr; }
    [[nodiscard]] bool operator==(const Buffer&) const noexcept = default;
    [[nodiscard]] std::uint64_t size() const;
    [[nodiscard]] Device device() const;
    /// Whether its first byte lies at a multiple of 16 bytes, so that kernels may move several elements at
    /// once. True of everything but imports from other offsets, which are read and written element by
    /// element.
    [[nodiscard]] bool starts_aligned() const;
    /// True for a named slot of a Program under construction, which has no memory of its own.
    [[nodiscard]] bool is_placeholder() const;
    /// Not every byte of the range need be the buffer's own: aliased imports all report the same one.
    [[nodiscard]] MemoryRange range() const;

    /// For the library's own layers.
    [[nodiscard]] const std::shared_ptr<runtime::BufferState>& state() const { return state_; }
    explicit Buffer(std::shared_ptr<runtime::BufferState> state) : state_(std::move(state)) {}

private:
    std::shared_ptr<runtime::BufferState> state_;
};

}  // namespace danaus
