#include <danaus/runtime/error.hpp>

namespace danaus {

Error::Error(ErrorKind kind, const std::string& message, std::int32_t vulkan_result)
    : std::runtime_error(message), kind_(kind), vulkan_result_(vulkan_result) {}

Error::~Error() = default;

}  // namespace danaus
