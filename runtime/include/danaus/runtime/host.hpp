// A host that owns its Vulkan device: adopting the device, importing buffers, recording into the host's
// command buffer. The only header of the runtime with Vulkan types. It calls no Vulkan function and includes
// <vulkan/vulkan.h> as the host's own macros have it (VK_NO_PROTOTYPES with volk, prototypes without).
#pragma once

#include <danaus/runtime/device.hpp>
#include <danaus/runtime/inspect.hpp>
#include <danaus/runtime/recorder.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include <vulkan/vulkan.h>

// As vk_mem_alloc.h declares them; a host that includes it sees the same types.
VK_DEFINE_HANDLE(VmaAllocator)
VK_DEFINE_HANDLE(VmaAllocation)
struct VmaAllocationCreateInfo;
struct VmaAllocationInfo;

namespace danaus {

/// Device extensions that a host should enable for the library on `physical_device`. `api_version` is the
/// instance's own (VkApplicationInfo::apiVersion): what is core by then needs no extension. The names are
/// static. Throws Error(no_device) when the library cannot use the device, naming what it lacks.
[[nodiscard]] DANAUS_EXPORT std::vector<const char*> required_extensions(
    VkInstance instance, VkPhysicalDevice physical_device, PFN_vkGetInstanceProcAddr get_instance_proc_addr,
    std::uint32_t api_version = VK_API_VERSION_1_1);

/// The features a host should enable: timeline semaphores, and where the device has them buffer device
/// addresses, 16-bit storage, float16 arithmetic, subgroup size control and cooperative matrices, which the
/// library uses when they are enabled and does without when not.
class DANAUS_EXPORT RequiredFeatures {
public:
    RequiredFeatures(RequiredFeatures&&) noexcept;
    RequiredFeatures& operator=(RequiredFeatures&&) noexcept;
    ~RequiredFeatures();

    /// What goes into VkDeviceCreateInfo::pNext. `host_chain` is the host's own chain: a feature whose
    /// structure it holds already (VkPhysicalDeviceVulkan12Features, …) is turned on there, the structures of
    /// the others are put in front of it; shaderFloat64 only where the host has VkPhysicalDeviceFeatures2
    /// itself, which excludes VkDeviceCreateInfo::pEnabledFeatures. Valid while this object and `host_chain`
    /// are; a second call replaces the first. Needed until vkCreateDevice and Device::adopt have returned.
    [[nodiscard]] const void* chain(void* host_chain = nullptr);

    /// The physical device, as far as the library looks.
    [[nodiscard]] const Capabilities& capabilities() const noexcept;

private:
    friend DANAUS_EXPORT RequiredFeatures required_features(VkInstance, VkPhysicalDevice,
                                                            PFN_vkGetInstanceProcAddr, std::uint32_t);
    struct State;
    explicit RequiredFeatures(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// Arguments and errors as required_extensions().
[[nodiscard]] DANAUS_EXPORT RequiredFeatures required_features(
    VkInstance instance, VkPhysicalDevice physical_device, PFN_vkGetInstanceProcAddr get_instance_proc_addr,
    std::uint32_t api_version = VK_API_VERSION_1_1);

/// A host's VulkanMemoryAllocator with the functions of the host's own copy of VMA, so that two versions of
/// it in one process do not meet: {allocator, vmaCreateBuffer, vmaDestroyBuffer, vmaFlushAllocation,
/// vmaInvalidateAllocation}. VMA 3.0 or later, internally synchronized, and created with
/// VMA_ALLOCATOR_CREATE_BUFFER_DEVICE_ADDRESS_BIT where device addresses are used.
struct HostAllocator {
    VmaAllocator allocator = nullptr;  ///< null: the library makes its own
    VkResult (*create_buffer)(VmaAllocator, const VkBufferCreateInfo*, const VmaAllocationCreateInfo*,
                              VkBuffer*, VmaAllocation*, VmaAllocationInfo*) = nullptr;
    void (*destroy_buffer)(VmaAllocator, VkBuffer, VmaAllocation) = nullptr;
    VkResult (*flush_allocation)(VmaAllocator, VmaAllocation, VkDeviceSize, VkDeviceSize) = nullptr;
    VkResult (*invalidate_allocation)(VmaAllocator, VmaAllocation, VkDeviceSize, VkDeviceSize) = nullptr;
};

/// What a host lends to Device::adopt. Everything here stays the host's: the library destroys only what it
/// created, in Device::close(), which the host calls before it destroys its VkDevice.
struct HostDevice {
    VkInstance instance = VK_NULL_HANDLE;  ///< Vulkan 1.1 or later
    VkPhysicalDevice physical_device = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    /// Null: the library records only, through HostRecorder; a Stream throws when it would submit.
    VkQueue queue = VK_NULL_HANDLE;
    std::uint32_t queue_family = 0;  ///< of the queue, or of the command buffers; with compute
    PFN_vkGetInstanceProcAddr get_instance_proc_addr = nullptr;
    /// The chain that was VkDeviceCreateInfo::pNext. Vulkan cannot be asked what was enabled: a feature that
    /// is not in the chain is not used. Read during adopt() only. Features are found in their own structures
    /// and in VkPhysicalDeviceVulkan11Features, 12 and 13; shaderFloat64 in VkPhysicalDeviceFeatures2 alone.
    const void* enabled_features = nullptr;
    /// Called around each vkQueueSubmit of the library when other threads of the host use the queue. Both or
    /// neither.
    std::function<void()> lock_queue, unlock_queue;
    HostAllocator allocator;
    /// Null: the library makes its own. Not with VK_PIPELINE_CACHE_CREATE_EXTERNALLY_SYNCHRONIZED_BIT.
    VkPipelineCache pipeline_cache = VK_NULL_HANDLE;
    /// As DeviceOptions::access.
    std::optional<Access> access;
    /// VK_EXT_debug_utils is enabled in the instance: objects are named, dispatches labelled.
    bool debug_utils = false;
    /// As DeviceOptions::on_message. The messages of the host's validation layers go to the host.
    std::function<void(Severity, std::string_view)> on_message;
};

/// A handle to bytes [offset, offset + bytes) of a host's VkBuffer. The host keeps the VkBuffer alive while
/// work that uses it may run, and never imports across devices. `offset` and `bytes` are multiples of 4, and
/// the range lies inside the VkBuffer, whose usage has STORAGE_BUFFER, SHADER_DEVICE_ADDRESS where
/// Device::access() is address, and TRANSFER_SRC and TRANSFER_DST for copies, uploads and downloads
/// (for all work on a device that binds fewer than 8 storage buffers in a stage and is used by descriptors).
/// Imports of one VkBuffer may overlap. Different VkBuffers that share memory are declared by one
/// `alias_group` other than 0 (below 2^63); accesses within a group are ordered as if they overlapped.
/// A VkBuffer that two streams use at the same time is imported once: order between streams is kept per
/// handle.
[[nodiscard]] DANAUS_EXPORT Buffer import_buffer(const Device& device, VkBuffer buffer, std::uint64_t offset,
                                                 std::uint64_t bytes, std::uint64_t alias_group = 0);

/// Where a buffer lies, for a host that binds it itself. Valid while a handle to the buffer exists.
struct HostRange {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceSize offset = 0, bytes = 0;
    [[nodiscard]] bool operator==(const HostRange&) const noexcept = default;
};
[[nodiscard]] DANAUS_EXPORT HostRange host_range(const Buffer& buffer);

/// Device memory and descriptor sets for the recordings of one command buffer at a time. Recorders take from
/// it and give nothing back; reset() takes all of it back. It also keeps a handle to every buffer that its
/// recorders used, so that work in flight does not lose its memory.
class DANAUS_EXPORT Workspace {
public:
    /// `bytes` of scratch and results, and descriptor sets for `max_packets` packets (which a device used
    /// through addresses does not need). See workspace_size().
    Workspace(const Device& device, std::uint64_t bytes, std::uint32_t max_packets);
    ~Workspace();
    Workspace(Workspace&&) noexcept;
    Workspace& operator=(Workspace&&) noexcept;

    /// For the next recording, once the host knows that the command buffer recorded before has finished (or
    /// will not run). Tensors allocated from the workspace before are overwritten from now on.
    void reset();
    [[nodiscard]] std::uint64_t size() const;
    [[nodiscard]] std::uint64_t used() const;  ///< bytes taken since the last reset

    class State;

private:
    friend class HostRecorder;
    std::shared_ptr<State> state_;
};

/// What the driver tells of a host's own pipeline, which was created to capture statistics and, where they
/// are asked for, internal representations, on a device with VK_KHR_pipeline_executable_properties enabled.
/// Throws Error(unsupported) without the extension.
[[nodiscard]] DANAUS_EXPORT std::vector<Executable> executables_of(
    VkDevice device, VkPipeline pipeline, PFN_vkGetDeviceProcAddr get_device_proc_addr,
    bool with_representations = true);

/// What a recording takes from a workspace.
struct WorkspaceSize {
    std::uint64_t bytes = 0;
    std::uint32_t packets = 0;
    [[nodiscard]] bool operator==(const WorkspaceSize&) const noexcept = default;
};

/// Calls `record` with a recorder that counts and records nothing.
[[nodiscard]] DANAUS_EXPORT WorkspaceSize workspace_size(const Device& device,
                                                         const std::function<void(Recorder&)>& record);
/// Compiles, on several threads, every kernel that `record` uses, for recorders that refuse to compile.
DANAUS_EXPORT void prewarm(const Device& device, const std::function<void(Recorder&)>& record);

struct HostRecorderOptions {
    /// The host has made everything before visible to COMPUTE_SHADER and TRANSFER: no first barrier.
    bool assume_clean = false;
    /// Throws Error(unsupported) instead of compiling a kernel on first use; see prewarm().
    bool refuse_to_compile = false;
};

/// Bytes [begin, end) of a VkBuffer that a recording reads or writes.
struct HostAccess {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceSize begin = 0, end = 0;
    bool write = false;
    [[nodiscard]] bool operator==(const HostAccess&) const noexcept = default;
};

/// Writes packets into a command buffer that the host began and will end, outside of a render pass; primary
/// or secondary, of the adopted queue family. Never submits, never waits, allocates no device memory and
/// creates no Vulkan object (but pipelines on first use, unless it refuses to compile).
///
/// Clobbered state of the command buffer: the compute pipeline, compute descriptor set 0, and the push
/// constants. Nothing is restored; graphics state is untouched.
///
/// Order: the first packet gets a barrier from COMPUTE_SHADER and TRANSFER writes to its own stages, unless
/// assume_clean; work of other stages before is the host's to synchronize, and so is everything after, by
/// finish() or with the help of accesses(). Where the host records its own work between two calls, it calls
/// assume_dirty(). A second recorder is work of the host in this sense.
///
/// Lifetime: handles to all buffers used are kept by the workspace until its reset(), without a workspace by
/// the recorder, which then has to live until the command buffer has finished. A recorder with a workspace
/// may go as soon as nothing more is recorded. Recorders that share a workspace are used by one thread at a
/// time.
///
/// An Error of one packet leaves the packets before it recorded; a command buffer in which an operation threw
/// should be reset, not submitted.
class DANAUS_EXPORT HostRecorder final : public Recorder {
public:
    /// `workspace` may be null for work without scratch on a device used through addresses.
    HostRecorder(const Device& device, VkCommandBuffer commands, Workspace* workspace,
                 const HostRecorderOptions& options = {});
    ~HostRecorder() override;

    [[nodiscard]] Device device() const override;
    void record(const Packet& packet) override;
    void record(const Copy& copy) override;
    /// From the workspace; Error(out_of_memory) naming the bytes needed and left.
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override;

    /// Other work was recorded since: the next packet gets a barrier.
    void assume_dirty();
    /// Records a barrier from everything recorded here to the host's `stages` and `access`.
    void finish(VkPipelineStageFlags stages, VkAccessFlags access);

    /// What was recorded so far touches, but for the workspace: ordered by first use of the buffer, then
    /// reads before writes, then by begin; touching ranges joined. Through descriptors a range begins where
    /// its descriptor does, which is aligned down to minStorageBufferOffsetAlignment.
    [[nodiscard]] std::vector<HostAccess> accesses() const;
    /// Barriers recorded so far, without finish().
    [[nodiscard]] std::uint64_t barriers() const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace danaus
