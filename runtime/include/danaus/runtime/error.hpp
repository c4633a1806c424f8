// danaus::Error: the one exception type of the library.
#pragma once

#include <danaus/runtime/export.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>

namespace danaus {

/// What went wrong, for callers that react rather than print.
enum class ErrorKind : std::uint32_t {
    invalid_argument,  ///< a shape, type, stride, index or option that the operation does not accept
    unsupported,       ///< valid, but beyond this device or this build; the message names the limit
    no_device,         ///< no Vulkan loader, no driver, or no device that fits the request
    out_of_memory,     ///< host or device memory exhausted, or an allocation larger than its heap
    device_lost,       ///< VK_ERROR_DEVICE_LOST; every object stays destructible
    closed,            ///< the object's device was closed
    file,              ///< a file that is missing, cut or damaged
    vulkan,            ///< any other Vulkan failure; see vulkan_result()
};

/// Thrown by every function of the library. The message is one line naming the argument, the value it had
/// and the value allowed. Argument errors are thrown before anything is recorded: the recorder, the operands
/// and the device are as they were.
class DANAUS_EXPORT Error : public std::runtime_error {
public:
    Error(ErrorKind kind, const std::string& message, std::int32_t vulkan_result = 0);
    ~Error() override;
    Error(const Error&) = default;
    Error& operator=(const Error&) = default;

    [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }
    /// The VkResult behind the error as an integer, or 0 when Vulkan was not involved.
    [[nodiscard]] std::int32_t vulkan_result() const noexcept { return vulkan_result_; }

private:
    ErrorKind kind_;
    std::int32_t vulkan_result_;
};

}  // namespace danaus
