// The header with Vulkan's types needs Vulkan's headers and nothing to link with; what is not enough to lend
// is refused before anything of Vulkan is called.
#include <danaus/embedding.hpp>

std::size_t vulkan_pointer_bytes() {
    try {
        (void)danaus::Device::adopt({});
    } catch (const danaus::Error&) {
        return sizeof(VkDevice);
    }
    return 0;
}
