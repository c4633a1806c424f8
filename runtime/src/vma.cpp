// The one translation unit that holds VulkanMemoryAllocator; compiled without our warnings.
#define VMA_IMPLEMENTATION
#define VMA_STATIC_VULKAN_FUNCTIONS 0
#define VMA_DYNAMIC_VULKAN_FUNCTIONS 1
#define VK_NO_PROTOTYPES
#include <vk_mem_alloc.h>
