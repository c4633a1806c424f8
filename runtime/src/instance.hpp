// A VkInstance of our own, with validation and messages when asked for.
#pragma once

#include "vk.hpp"

#include <danaus/runtime/device.hpp>

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace danaus::runtime {

using MessageSink = std::function<void(Severity, std::string_view)>;

class Instance {
public:
    struct Options {
        bool validation = false;
        bool debug_utils = false;
        MessageSink on_message;
        /// File names under which the loader is looked for, the first one found is taken.
        std::span<const char* const> loader_names = system_loader_names();
        /// Instead of a loader to be found.
        PFN_vkGetInstanceProcAddr get_instance_proc_addr = nullptr;
    };

    /// Throws Error(no_device) without a loader, Error(unsupported) when validation was asked for and its
    /// layer is not installed.
    explicit Instance(const Options& options);
    ~Instance();
    Instance(const Instance&) = delete;
    Instance& operator=(const Instance&) = delete;

    [[nodiscard]] VkInstance handle() const { return handle_; }
    [[nodiscard]] const InstanceTable& vk() const { return vk_; }
    [[nodiscard]] bool has_debug_utils() const { return debug_utils_; }
    [[nodiscard]] std::vector<VkPhysicalDevice> physical_devices() const;

private:
    VkInstance handle_ = VK_NULL_HANDLE;
    InstanceTable vk_;
    VkDebugUtilsMessengerEXT messenger_ = VK_NULL_HANDLE;
    MessageSink on_message_;
    bool debug_utils_ = false;
};

}  // namespace danaus::runtime
