// VkFFT as a peer: its header alone is included by vkfft.cpp, with the compiler's warnings off.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include <vulkan/vulkan.h>

namespace danaus::bench {

/// A host's Vulkan, which VkFFT uses while it makes a plan.
struct VkfftHost {
    VkPhysicalDevice physical = VK_NULL_HANDLE;
    VkDevice device = VK_NULL_HANDLE;
    VkQueue queue = VK_NULL_HANDLE;
    VkCommandPool pool = VK_NULL_HANDLE;
    VkFence fence = VK_NULL_HANDLE;
};

/// Bytes of a VkBuffer.
struct VkfftRange {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceSize offset = 0, bytes = 0;
};

/// A plan for `tokens` forward transforms of n points of complex64, unnormalised, from one range to another.
class Vkfft {
public:
    /// `tables`: sines and cosines from a table rather than by the shader. Throws std::runtime_error with
    /// VkFFT's own code of the error.
    Vkfft(const VkfftHost& host, const VkfftRange& from, const VkfftRange& to, std::uint64_t tokens,
          std::uint64_t n, bool tables);
    ~Vkfft();
    Vkfft(const Vkfft&) = delete;
    Vkfft& operator=(const Vkfft&) = delete;

    /// Appends the transforms to a command buffer, with barriers between their own dispatches.
    void append(VkCommandBuffer commands);
    /// Passes over memory that one transform takes.
    [[nodiscard]] std::uint64_t passes() const;
    /// "1.2.26"
    [[nodiscard]] static std::string version();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace danaus::bench
