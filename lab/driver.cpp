#include "driver.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace danaus::lab {
namespace {

constexpr std::uint32_t api_version = VK_API_VERSION_1_2;

void check(VkResult result, const char* what) {
    if (result != VK_SUCCESS) throw Refusal{result, what};
}

template <typename Function>
Function entry(VkDevice device, const char* name) {
    return reinterpret_cast<Function>(vkGetDeviceProcAddr(device, name));
}

/// Handles of one pipeline, gone with it.
struct Parts {
    explicit Parts(VkDevice on) : device(on) {}
    Parts(const Parts&) = delete;
    Parts& operator=(const Parts&) = delete;
    ~Parts() {
        vkDestroyPipeline(device, pipeline, nullptr);
        vkDestroyShaderModule(device, module, nullptr);
        vkDestroyPipelineLayout(device, layout, nullptr);
        vkDestroyDescriptorSetLayout(device, set, nullptr);
    }
    VkDevice device;
    VkDescriptorSetLayout set = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkShaderModule module = VK_NULL_HANDLE;
    VkPipeline pipeline = VK_NULL_HANDLE;
};

void create_layout(Parts& parts, const kernels::ModuleInfo& info, Build build) {
    const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, info.push_bytes};
    VkPipelineLayoutCreateInfo layout{};
    layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    layout.pushConstantRangeCount = 1;
    layout.pPushConstantRanges = &range;
    if (access_of(build) == Access::descriptor) {
        const std::uint32_t count = build == Build::joined ? 1 : info.slots;
        std::vector<VkDescriptorSetLayoutBinding> bindings(count);
        for (std::uint32_t i = 0; i < count; ++i)
            bindings[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
        VkDescriptorSetLayoutCreateInfo set{};
        set.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
        set.bindingCount = count;
        set.pBindings = bindings.data();
        check(vkCreateDescriptorSetLayout(parts.device, &set, nullptr, &parts.set),
              "vkCreateDescriptorSetLayout");
        layout.setLayoutCount = 1;
        layout.pSetLayouts = &parts.set;
    }
    check(vkCreatePipelineLayout(parts.device, &layout, nullptr, &parts.layout), "vkCreatePipelineLayout");
}

}  // namespace

Driver::Driver(const std::array<std::uint8_t, 16>& uuid) {
    VkApplicationInfo application{};
    application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
    application.apiVersion = api_version;
    VkInstanceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
    info.pApplicationInfo = &application;
    check(vkCreateInstance(&info, nullptr, &instance_), "vkCreateInstance");
    try {
        find(uuid);
        create();
    } catch (...) {
        vkDestroyInstance(instance_, nullptr);
        throw;
    }
}

Driver::~Driver() {
    vkDestroyDevice(device_, nullptr);
    vkDestroyInstance(instance_, nullptr);
}

void Driver::find(const std::array<std::uint8_t, 16>& uuid) {
    std::uint32_t count = 0;
    check(vkEnumeratePhysicalDevices(instance_, &count, nullptr), "vkEnumeratePhysicalDevices");
    std::vector<VkPhysicalDevice> devices(count);
    check(vkEnumeratePhysicalDevices(instance_, &count, devices.data()), "vkEnumeratePhysicalDevices");
    for (const VkPhysicalDevice candidate : devices) {
        VkPhysicalDeviceIDProperties id{};
        id.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_ID_PROPERTIES;
        VkPhysicalDeviceProperties2 properties{};
        properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
        properties.pNext = &id;
        vkGetPhysicalDeviceProperties2(candidate, &properties);
        if (std::equal(uuid.begin(), uuid.end(), id.deviceUUID)) physical_ = candidate;
    }
    if (!physical_) throw std::runtime_error("the loader no longer has the device that the library opened");
}

void Driver::create() {
    std::uint32_t count = 0;
    vkGetPhysicalDeviceQueueFamilyProperties(physical_, &count, nullptr);
    std::vector<VkQueueFamilyProperties> families(count);
    vkGetPhysicalDeviceQueueFamilyProperties(physical_, &count, families.data());
    while (family_ < count && !(families[family_].queueFlags & VK_QUEUE_COMPUTE_BIT)) ++family_;
    if (family_ == count) throw std::runtime_error("the device has no compute queue");

    count = 0;
    check(vkEnumerateDeviceExtensionProperties(physical_, nullptr, &count, nullptr), "listing extensions");
    std::vector<VkExtensionProperties> offered(count);
    check(vkEnumerateDeviceExtensionProperties(physical_, nullptr, &count, offered.data()),
          "listing extensions");
    constexpr const char* wanted = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    has_statistics_ = std::any_of(offered.begin(), offered.end(), [&](const VkExtensionProperties& e) {
        return std::strcmp(e.extensionName, wanted) == 0;
    });

    auto extensions = required_extensions(instance_, physical_, vkGetInstanceProcAddr, api_version);
    statistics_feature_.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
    statistics_feature_.pipelineExecutableInfo = VK_TRUE;
    if (has_statistics_) extensions.push_back(wanted);
    features_.emplace(required_features(instance_, physical_, vkGetInstanceProcAddr, api_version));
    chain_ = features_->chain(has_statistics_ ? &statistics_feature_ : nullptr);

    const float priority = 1.0f;
    VkDeviceQueueCreateInfo queue{};
    queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
    queue.queueFamilyIndex = family_;
    queue.queueCount = 1;
    queue.pQueuePriorities = &priority;
    VkDeviceCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
    info.pNext = chain_;
    info.queueCreateInfoCount = 1;
    info.pQueueCreateInfos = &queue;
    info.enabledExtensionCount = static_cast<std::uint32_t>(extensions.size());
    info.ppEnabledExtensionNames = extensions.data();
    check(vkCreateDevice(physical_, &info, nullptr, &device_), "vkCreateDevice");
}

std::vector<Executable> Driver::compile(const kernels::Kernel& kernel, Build build) {
    const auto& info = kernels::info(kernel.module);
    const auto code =
        build == Build::joined ? info.joined : info.code[static_cast<std::size_t>(access_of(build))];
    Parts parts(device_);
    create_layout(parts, info, build);

    VkShaderModuleCreateInfo module{};
    module.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module.codeSize = code.size_bytes();
    module.pCode = code.data();
    check(vkCreateShaderModule(device_, &module, nullptr, &parts.module), "vkCreateShaderModule");

    std::vector<VkSpecializationMapEntry> map;
    for (const auto& constant : info.constants)
        map.push_back({constant.id, static_cast<std::uint32_t>(map.size() * 4), 4});
    const VkSpecializationInfo specialization{static_cast<std::uint32_t>(map.size()), map.data(),
                                              map.size() * 4, kernel.constants.data()};
    VkComputePipelineCreateInfo create{};
    create.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    create.flags = has_statistics_ ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0;
    create.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    create.stage.module = parts.module;
    create.stage.pName = "main";
    create.stage.pSpecializationInfo = &specialization;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
    if (const std::uint32_t* const size = kernels::find_constant(kernel, "subgroup")) {
        subgroup.requiredSubgroupSize = *size;
        if (features_->capabilities().subgroup_size_control) create.stage.pNext = &subgroup;
        create.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    }
    create.layout = parts.layout;
    check(vkCreateComputePipelines(device_, VK_NULL_HANDLE, 1, &create, nullptr, &parts.pipeline),
          "vkCreateComputePipelines");
    return has_statistics_ ? executables(parts.pipeline) : std::vector<Executable>{};
}

std::vector<Executable> Driver::executables(VkPipeline pipeline) const {
    const auto list =
        entry<PFN_vkGetPipelineExecutablePropertiesKHR>(device_, "vkGetPipelineExecutablePropertiesKHR");
    const auto statistics =
        entry<PFN_vkGetPipelineExecutableStatisticsKHR>(device_, "vkGetPipelineExecutableStatisticsKHR");
    const VkPipelineInfoKHR which{VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, nullptr, pipeline};
    std::uint32_t count = 0;
    check(list(device_, &which, &count, nullptr), "listing executables");
    VkPipelineExecutablePropertiesKHR empty{};
    empty.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    std::vector<VkPipelineExecutablePropertiesKHR> properties(count, empty);
    check(list(device_, &which, &count, properties.data()), "listing executables");

    std::vector<Executable> result;
    for (std::uint32_t i = 0; i < count; ++i) {
        Executable& one = result.emplace_back();
        one.name = properties[i].name;
        one.subgroup_size = properties[i].subgroupSize;
        const VkPipelineExecutableInfoKHR executable{VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, nullptr,
                                                     pipeline, i};
        std::uint32_t values = 0;
        check(statistics(device_, &executable, &values, nullptr), "reading statistics");
        VkPipelineExecutableStatisticKHR blank{};
        blank.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
        std::vector<VkPipelineExecutableStatisticKHR> all(values, blank);
        check(statistics(device_, &executable, &values, all.data()), "reading statistics");
        for (const auto& s : all) {
            auto& [name, value] = one.statistics.emplace_back(s.name, false);
            if (s.format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR) value = s.value.b32 != 0;
            if (s.format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR) value = s.value.i64;
            if (s.format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR) value = s.value.u64;
            if (s.format == VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR) value = s.value.f64;
        }
    }
    return result;
}

VkPhysicalDeviceMemoryProperties Driver::memory() const {
    VkPhysicalDeviceMemoryProperties properties{};
    vkGetPhysicalDeviceMemoryProperties(physical_, &properties);
    return properties;
}

HostDevice Driver::lend(Access access) const {
    HostDevice host;
    host.instance = instance_;
    host.physical_device = physical_;
    host.device = device_;
    vkGetDeviceQueue(device_, family_, 0, &host.queue);
    host.queue_family = family_;
    host.get_instance_proc_addr = vkGetInstanceProcAddr;
    host.enabled_features = chain_;
    host.access = access;
    return host;
}

}  // namespace danaus::lab
