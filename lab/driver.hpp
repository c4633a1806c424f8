// A Vulkan driver as the laboratory looks at it: a device of its own, with what the driver says of a
// pipeline.
#pragma once

#include <danaus/kernels.hpp>
#include <danaus/runtime/host.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace danaus::lab {

/// VkResult and what was being done.
struct Refusal {
    VkResult result;
    std::string what;
};

/// The builds that a module can have: one per way of reaching memory, and the descriptor build with all
/// operands in one binding, which devices with few storage buffers run.
enum class Build : std::uint32_t { address, descriptor, joined };
[[nodiscard]] constexpr Access access_of(Build build) {
    return build == Build::address ? Access::address : Access::descriptor;
}

struct Executable {
    std::string name;
    std::uint32_t subgroup_size = 0;
    std::vector<std::pair<std::string, std::variant<bool, std::int64_t, std::uint64_t, double>>> statistics;
};

class Driver {
public:
    /// A device of the default loader with the features that the library asks for. Throws Refusal, or
    /// std::runtime_error when no device has `uuid`.
    explicit Driver(const std::array<std::uint8_t, 16>& uuid);
    ~Driver();
    Driver(const Driver&) = delete;
    Driver& operator=(const Driver&) = delete;

    /// Whether the driver tells statistics; executables have none otherwise.
    [[nodiscard]] bool has_statistics() const { return has_statistics_; }
    /// Creates the pipeline of the kernel's build, which exists, and destroys it. Throws Refusal.
    [[nodiscard]] std::vector<Executable> compile(const kernels::Kernel& kernel, Build build);
    [[nodiscard]] VkPhysicalDeviceMemoryProperties memory() const;
    /// The device for Device::adopt, without a queue lock.
    [[nodiscard]] HostDevice lend(Access access) const;

private:
    void find(const std::array<std::uint8_t, 16>& uuid);
    void create();
    [[nodiscard]] std::vector<Executable> executables(VkPipeline pipeline) const;

    VkInstance instance_ = VK_NULL_HANDLE;
    VkPhysicalDevice physical_ = VK_NULL_HANDLE;
    VkDevice device_ = VK_NULL_HANDLE;
    std::uint32_t family_ = 0;
    bool has_statistics_ = false;
    std::optional<RequiredFeatures> features_;  // once there is an instance to ask
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics_feature_{};
    const void* chain_ = nullptr;
};

}  // namespace danaus::lab
