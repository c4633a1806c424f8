#include "instance.hpp"

#include <algorithm>
#include <iterator>
#include <span>
#include <string>

namespace danaus::runtime {
namespace {

constexpr const char* validation_layer = "VK_LAYER_KHRONOS_validation";

// VK_EXT_layer_settings is younger than the headers we build with; its structures are part of its contract.
constexpr const char* layer_settings_extension = "VK_EXT_layer_settings";
struct LayerSetting {
    const char* layer;
    const char* name;
    std::uint32_t type;  // 0: VkBool32
    std::uint32_t count;
    const void* values;
};
struct LayerSettings {
    VkStructureType sType;
    const void* pNext;
    std::uint32_t count;
    const LayerSetting* settings;
};
constexpr auto layer_settings_type = static_cast<VkStructureType>(1000496000);

VKAPI_ATTR VkBool32 VKAPI_CALL forward_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                               VkDebugUtilsMessageTypeFlagsEXT /*types*/,
                                               const VkDebugUtilsMessengerCallbackDataEXT* data, void* user) {
    const auto& sink = *static_cast<const MessageSink*>(user);
    const Severity level = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT ? Severity::error
                           : severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT
                               ? Severity::warning
                               : Severity::information;
    if (!sink) return VK_FALSE;
    // Older layers put the identifier into the text themselves.
    const std::string_view text = data->pMessage ? data->pMessage : "";
    const std::string_view id = data->pMessageIdName ? data->pMessageIdName : "";
    sink(level, id.empty() || text.find(id) != text.npos ? std::string(text)
                                                         : std::string(id).append(": ").append(text));
    return VK_FALSE;
}

template <typename Properties, typename Enumerate>
std::vector<Properties> enumerate(Enumerate&& function, const char* what) {
    std::uint32_t count = 0;
    check(function(&count, nullptr), what);
    std::vector<Properties> items(count);
    check(function(&count, items.data()), what);
    items.resize(count);
    return items;
}

bool contains(const std::vector<VkExtensionProperties>& list, const char* name) {
    return std::any_of(list.begin(), list.end(), [&](const VkExtensionProperties& e) {
        return std::string_view(e.extensionName) == name;
    });
}

}  // namespace

Instance::Instance(const Options& options) : on_message_(options.on_message) {
    const PFN_vkGetInstanceProcAddr loader =
        options.get_instance_proc_addr ? options.get_instance_proc_addr : load_vulkan(options.loader_names);
    if (!loader)
        throw Error(ErrorKind::no_device,
                    std::string("no Vulkan loader: ") + options.loader_names.front() +
                        " was not found; install the system's Vulkan loader and a driver");
    const auto create = reinterpret_cast<PFN_vkCreateInstance>(loader(VK_NULL_HANDLE, "vkCreateInstance"));
    const auto list_layers = reinterpret_cast<PFN_vkEnumerateInstanceLayerProperties>(
        loader(VK_NULL_HANDLE, "vkEnumerateInstanceLayerProperties"));
    const auto list_extensions = reinterpret_cast<PFN_vkEnumerateInstanceExtensionProperties>(
        loader(VK_NULL_HANDLE, "vkEnumerateInstanceExtensionProperties"));
    const auto version_function = reinterpret_cast<PFN_vkEnumerateInstanceVersion>(
        loader(VK_NULL_HANDLE, "vkEnumerateInstanceVersion"));
    std::uint32_t version = VK_API_VERSION_1_0;
    if (version_function) version_function(&version);
    if (!create || !list_layers || !list_extensions || version < VK_API_VERSION_1_1)
        throw Error(ErrorKind::no_device,
                    "the Vulkan loader is older than Vulkan 1.1, which the library needs");

    const auto offered = enumerate<VkExtensionProperties>(
        [&](std::uint32_t* n, VkExtensionProperties* p) { return list_extensions(nullptr, n, p); },
        "listing instance extensions");
    std::vector<const char*> layers;
    std::vector<const char*> extensions;
    VkInstanceCreateFlags flags = 0;
    bool layer_settings = false;
    if (contains(offered, "VK_KHR_portability_enumeration")) {
        extensions.push_back("VK_KHR_portability_enumeration");
        flags |= 0x00000001;  // VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR
    }
    if (options.validation) {
        const auto available = enumerate<VkLayerProperties>(
            [&](std::uint32_t* n, VkLayerProperties* p) { return list_layers(n, p); }, "listing layers");
        if (std::none_of(available.begin(), available.end(), [](const VkLayerProperties& l) {
                return std::string_view(l.layerName) == validation_layer;
            }))
            throw Error(ErrorKind::unsupported,
                        "validation was asked for, but VK_LAYER_KHRONOS_validation is not installed");
        layers.push_back(validation_layer);
        const auto of_layer = enumerate<VkExtensionProperties>(
            [&](std::uint32_t* n, VkExtensionProperties* p) {
                return list_extensions(validation_layer, n, p);
            },
            "listing the validation layer's extensions");
        layer_settings = contains(of_layer, layer_settings_extension);
        extensions.push_back(layer_settings ? layer_settings_extension
                                            : VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME);
    }
    debug_utils_ = (options.debug_utils || options.validation) &&
                   (options.validation || contains(offered, VK_EXT_DEBUG_UTILS_EXTENSION_NAME));
    if (debug_utils_) extensions.push_back(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);

    VkApplicationInfo application{};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.pEngineName = "danaus";
    application.apiVersion = std::min<std::uint32_t>(version, VK_API_VERSION_1_3);

    VkDebugUtilsMessengerCreateInfoEXT messenger{};
    messenger.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT;
    messenger.messageSeverity =
        VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                            VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT |
                            VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
    if (!options.validation) messenger.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT;
    messenger.pfnUserCallback = forward_message;
    messenger.pUserData = &on_message_;

    const VkValidationFeatureEnableEXT enabled[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkValidationFeaturesEXT features{};
    features.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT;
    features.enabledValidationFeatureCount = 1;
    features.pEnabledValidationFeatures = enabled;
    // Newer layers look at what shaders access only when told so: without it they see no hazard between
    // dispatches at all. Every message counts, so none may be swallowed as a repetition.
    const VkBool32 yes = VK_TRUE, no = VK_FALSE;
    const LayerSetting settings[] = {
        {validation_layer, "validate_sync", 0, 1, &yes},
        {validation_layer, "syncval_shader_accesses_heuristic", 0, 1, &yes},
        {validation_layer, "syncval_full_validation", 0, 1, &yes},
        {validation_layer, "enable_message_limit", 0, 1, &no},
    };
    const LayerSettings settings_info{layer_settings_type, &messenger,
                                      static_cast<std::uint32_t>(std::size(settings)), settings};

    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.flags = flags;
    info.pApplicationInfo = &application;
    info.enabledLayerCount = static_cast<std::uint32_t>(layers.size());
    info.ppEnabledLayerNames = layers.data();
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    if (options.validation) {
        features.pNext = &messenger;
        info.pNext =
            layer_settings ? static_cast<const void*>(&settings_info) : static_cast<const void*>(&features);
    }
    const VkResult result = create(&info, nullptr, &handle_);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        throw Error(ErrorKind::no_device, "no Vulkan driver is installed (VK_ERROR_INCOMPATIBLE_DRIVER)",
                    result);
    check(result, "creating a Vulkan instance");
    vk_ = InstanceTable(loader, handle_);
    if (debug_utils_ && vk_.CreateDebugUtilsMessengerEXT)
        vk_.CreateDebugUtilsMessengerEXT(handle_, &messenger, nullptr, &messenger_);
}

Instance::~Instance() {
    if (messenger_) vk_.DestroyDebugUtilsMessengerEXT(handle_, messenger_, nullptr);
    if (handle_) vk_.DestroyInstance(handle_, nullptr);
}

std::vector<VkPhysicalDevice> Instance::physical_devices() const {
    return enumerate<VkPhysicalDevice>(
        [&](std::uint32_t* n, VkPhysicalDevice* p) { return vk_.EnumeratePhysicalDevices(handle_, n, p); },
        "listing physical devices");
}

}  // namespace danaus::runtime
