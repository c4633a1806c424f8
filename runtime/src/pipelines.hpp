// Kernels as compute pipelines: created on first use, once, through a cache that survives the process.
#pragma once

#include "vk.hpp"

#include <danaus/kernels.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>

namespace danaus::runtime {

class DeviceState;

struct Pipeline {
    VkPipeline handle = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;  // null when operands are reached by address
    std::uint32_t bindings = 0;                         // one when the operands are joined, else one a slot
};

class Pipelines {
public:
    /// `cache` is a host's VkPipelineCache, or null for one of our own.
    Pipelines(DeviceState& device, VkPipelineCache cache, std::span<const std::byte> initial_data);
    ~Pipelines();
    Pipelines(const Pipelines&) = delete;
    Pipelines& operator=(const Pipelines&) = delete;

    /// The pipeline of `kernel`. Throws Error(unsupported) when the kernel has no code in this build, its
    /// constants are not admissible, the device lacks a requirement or a limit, or it is not yet compiled and
    /// `may_compile` is false. Thread-safe; a kernel is compiled once however many threads ask.
    const Pipeline& get(const kernels::Kernel& kernel, bool may_compile = true);

    /// Throws what get() would throw without compiling anything.
    void check_kernel(const kernels::Kernel& kernel) const;

    /// Creates the pipelines of `kernels` on several threads.
    void prewarm(std::span<const kernels::Kernel> kernels);

    [[nodiscard]] std::size_t count() const;
    /// The driver's cache data, for the file. Empty for a host's cache.
    [[nodiscard]] std::vector<std::byte> cache_data() const;
    /// Descriptor set layout with `bindings` storage buffers.
    VkDescriptorSetLayout set_layout(std::uint32_t bindings);

private:
    struct Entry {
        std::once_flag once;
        bool ready = false;
        Pipeline pipeline;
    };

    Pipeline create(const kernels::Kernel& kernel);
    VkPipelineLayout layout(std::uint32_t bindings, std::uint32_t push_bytes);

    DeviceState& device_;
    VkPipelineCache cache_ = VK_NULL_HANDLE;
    bool owns_cache_ = false;
    mutable std::mutex mutex_;
    std::unordered_map<kernels::Kernel, std::shared_ptr<Entry>> entries_;
    std::map<std::uint32_t, VkDescriptorSetLayout> set_layouts_;
    std::map<std::pair<std::uint32_t, std::uint32_t>, VkPipelineLayout> layouts_;
};

}  // namespace danaus::runtime
