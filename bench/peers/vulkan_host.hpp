// A Vulkan program's own instance, device and queue, lent to Danaus and to a peer that takes Vulkan handles.
#pragma once

#include <danaus/embedding.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <optional>

#include <vulkan/vulkan.h>

namespace danaus::bench {

/// Throws std::runtime_error unless `result` is VK_SUCCESS.
void check(VkResult result, const char* what);

class Host {
public:
    /// The physical device of this UUID.
    explicit Host(const std::array<std::uint8_t, VK_UUID_SIZE>& uuid);
    ~Host();
    Host(const Host&) = delete;
    Host& operator=(const Host&) = delete;

    /// Lends everything to Danaus. The device that comes back is closed before the host goes.
    [[nodiscard]] Device adopt() const;
    /// Records a command buffer that is submitted any number of times, between two timestamps and behind a
    /// barrier that waits for all before.
    [[nodiscard]] VkCommandBuffer record(const std::function<void(VkCommandBuffer)>& commands) const;
    /// Nanoseconds of one run, submitted and waited for.
    struct Times {
        double device = 0.0;  ///< between the timestamps
        double host = 0.0;    ///< from the submission to the end of waiting
    };
    [[nodiscard]] Times run(VkCommandBuffer commands) const;

    VkInstance instance = VK_NULL_HANDLE;
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    VkCommandPool pool = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;  ///< not signalled between runs

private:
    void choose(const std::array<std::uint8_t, VK_UUID_SIZE>& uuid);
    void create_device();

    std::uint32_t family_ = 0;
    double period_ = 0.0;  ///< nanoseconds a tick
    std::optional<RequiredFeatures> features_;
    const void* enabled_ = nullptr;
    VkQueryPool stamps_ = VK_NULL_HANDLE;
};

}  // namespace danaus::bench
