// What stands behind a Device handle: the Vulkan device, its queue, memory and pipelines, and the register of
// everything that must be freed when the device is closed.
#pragma once

#include "instance.hpp"
#include "memory.hpp"
#include "pipelines.hpp"
#include "vk.hpp"

#include <danaus/runtime/device.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_set>

namespace danaus::runtime {

/// An object with Vulkan children. Registered from construction to retire(); a device that closes releases
/// all of its resources, after which their owners' destructors have nothing left to do.
class Resource {
public:
    Resource(const Resource&) = delete;
    Resource& operator=(const Resource&) = delete;

    /// The device; throws Error(closed) when it was closed.
    [[nodiscard]] DeviceState& device() const;
    [[nodiscard]] const std::shared_ptr<DeviceState>& device_pointer() const { return device_; }

protected:
    explicit Resource(std::shared_ptr<DeviceState> device);
    virtual ~Resource();
    /// Called by the final class's destructor: releases now unless a closing device already did.
    void retire() noexcept;
    /// Waits for the device to be done with the Vulkan children, as far as the library submitted the work.
    virtual void settle() const noexcept {}
    /// Destroys the Vulkan children. Called once, with the device still alive.
    virtual void release() noexcept = 0;

private:
    friend class DeviceState;
    std::shared_ptr<DeviceState> device_;
    bool registered_ = true;
};

class DeviceState : public std::enable_shared_from_this<DeviceState> {
public:
    /// What differs between a device of our own and one that a host lends.
    struct Setup {
        std::shared_ptr<Instance> instance;  // null for a host's device
        InstanceTable vk_instance;
        VkInstance instance_handle = VK_NULL_HANDLE;
        VkPhysicalDevice physical = VK_NULL_HANDLE;
        VkDevice device = VK_NULL_HANDLE;
        bool owns_device = false;
        VkQueue queue = VK_NULL_HANDLE;  // may be null for a host that only records
        std::uint32_t queue_family = 0;
        std::function<void()> lock_queue, unlock_queue;   // both or neither; empty: our own mutex
        AllocatorCalls allocator;                         // null: our own
        VkPipelineCache pipeline_cache = VK_NULL_HANDLE;  // null: our own
        Capabilities capabilities;
        Access access = Access::descriptor;
        std::string choice;
        std::optional<std::filesystem::path> pipeline_cache_file;
        bool debug_utils = false;
        bool inspect = false;  // VK_KHR_pipeline_executable_properties is enabled
        MessageSink on_message;
    };

    explicit DeviceState(Setup setup);
    ~DeviceState();

    void close();
    void ensure_open() const;
    [[nodiscard]] bool is_open() const noexcept { return open_; }

    [[nodiscard]] const DeviceTable& vk() const { return vk_; }
    [[nodiscard]] VkDevice handle() const { return setup_.device; }
    [[nodiscard]] VkPhysicalDevice physical() const { return setup_.physical; }
    [[nodiscard]] const Capabilities& capabilities() const { return setup_.capabilities; }
    [[nodiscard]] Access access() const { return setup_.access; }
    [[nodiscard]] const std::string& choice() const { return setup_.choice; }
    [[nodiscard]] bool debug_utils() const { return setup_.debug_utils; }
    [[nodiscard]] bool inspects() const { return setup_.inspect; }
    [[nodiscard]] PFN_vkGetDeviceProcAddr get_device_proc_addr() const {
        return setup_.vk_instance.GetDeviceProcAddr;
    }
    [[nodiscard]] std::uint32_t queue_family() const { return setup_.queue_family; }
    [[nodiscard]] Memory& memory() { return *memory_; }
    [[nodiscard]] Pipelines& pipelines() { return *pipelines_; }

    /// vkQueueSubmit under the queue's lock.
    void submit(const VkSubmitInfo& info);
    /// Writes the pipeline cache's file, if there is one; a failure is a warning.
    void save_cache();
    void warn(const std::string& message) const;
    void name_object(VkObjectType type, std::uint64_t handle, const std::string& name) const;

    /// See danaus/runtime/layers.hpp.
    [[nodiscard]] std::shared_ptr<const void> attachment() const {
        const std::lock_guard lock(attachment_mutex_);
        return attachment_;
    }
    [[nodiscard]] bool attach(const std::shared_ptr<const void>& expected, std::shared_ptr<const void> next) {
        const std::lock_guard lock(attachment_mutex_);
        if (attachment_ != expected) return false;
        attachment_.swap(next);  // what was there goes when the lock is gone
        return true;
    }

    void enroll(Resource& resource);
    /// Releases `resource` unless close() already did.
    void discharge(Resource& resource) noexcept;

private:
    class QueueGuard;

    Setup setup_;
    DeviceTable vk_;
    std::unique_ptr<Memory> memory_;
    std::unique_ptr<Pipelines> pipelines_;
    std::mutex queue_mutex_;
    std::recursive_mutex resources_mutex_;  // releasing a resource may discharge others
    std::unordered_set<Resource*> resources_;
    mutable std::mutex attachment_mutex_;
    std::shared_ptr<const void> attachment_;
    std::atomic<bool> open_{true};
};

}  // namespace danaus::runtime
