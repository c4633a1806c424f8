#include "executables.hpp"

#include "device_state.hpp"

#include <danaus/runtime/host.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>

namespace danaus {
namespace runtime {

bool offers_executables(const InstanceTable& vk, VkPhysicalDevice device) {
    std::uint32_t count = 0;
    check(vk.EnumerateDeviceExtensionProperties(device, nullptr, &count, nullptr),
          "listing device extensions");
    std::vector<VkExtensionProperties> extensions(count);
    check(vk.EnumerateDeviceExtensionProperties(device, nullptr, &count, extensions.data()),
          "listing device extensions");
    if (std::none_of(extensions.begin(), extensions.end(), [](const VkExtensionProperties& extension) {
            return std::strcmp(extension.extensionName,
                               VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME) == 0;
        }))
        return false;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature{};
    feature.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
    VkPhysicalDeviceFeatures2 features{};
    features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features.pNext = &feature;
    vk.GetPhysicalDeviceFeatures2(device, &features);
    return feature.pipelineExecutableInfo == VK_TRUE;
}

namespace {

// Everything that a call of the form call(&count, array) lists; `blank` gives the elements their type.
template <typename Element, typename Call>
std::vector<Element> all(const Element& blank, const char* what, Call call) {
    std::uint32_t count = 0;
    check(call(&count, static_cast<Element*>(nullptr)), what);
    std::vector<Element> list(count, blank);
    const VkResult result = call(&count, list.data());
    if (result != VK_INCOMPLETE) check(result, what);
    list.resize(std::min<std::size_t>(count, list.size()));
    return list;
}

template <typename Element>
Element blank(VkStructureType type) {
    Element element{};
    element.sType = type;
    return element;
}

ExecutableStatistic statistic(const VkPipelineExecutableStatisticKHR& from) {
    ExecutableStatistic to{from.name, from.description, false};
    switch (from.format) {
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
            to.value = from.value.i64;
            break;
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
            to.value = from.value.u64;
            break;
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
            to.value = from.value.f64;
            break;
        default:
            to.value = from.value.b32 != 0;
    }
    return to;
}

std::string text_of(std::uint32_t word, kernels::ConstantType type) {
    if (type == kernels::ConstantType::bool_type) return word ? "true" : "false";
    if (type == kernels::ConstantType::float_type) return fmt::format("{}", std::bit_cast<float>(word));
    return fmt::format("{}", word);
}

}  // namespace
}  // namespace runtime

std::vector<Executable> executables_of(VkDevice device, VkPipeline pipeline,
                                       PFN_vkGetDeviceProcAddr get_device_proc_addr,
                                       bool with_representations) {
    using namespace runtime;
    const auto entry = [&](const char* name) {
        const PFN_vkVoidFunction function = get_device_proc_addr(device, name);
        if (!function)
            throw Error(ErrorKind::unsupported,
                        fmt::format("{}: the device was created without {}", name,
                                    VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME));
        return function;
    };
    const auto list = reinterpret_cast<PFN_vkGetPipelineExecutablePropertiesKHR>(
        entry("vkGetPipelineExecutablePropertiesKHR"));
    const auto statistics = reinterpret_cast<PFN_vkGetPipelineExecutableStatisticsKHR>(
        entry("vkGetPipelineExecutableStatisticsKHR"));
    const auto representations = reinterpret_cast<PFN_vkGetPipelineExecutableInternalRepresentationsKHR>(
        entry("vkGetPipelineExecutableInternalRepresentationsKHR"));

    const VkPipelineInfoKHR which{VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, nullptr, pipeline};
    const auto properties =
        all(blank<VkPipelineExecutablePropertiesKHR>(VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR),
            "listing a pipeline's executables",
            [&](std::uint32_t* count, auto* elements) { return list(device, &which, count, elements); });
    std::vector<Executable> result;
    for (std::uint32_t i = 0; i < properties.size(); ++i) {
        const VkPipelineExecutableInfoKHR one{VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, nullptr,
                                              pipeline, i};
        Executable& executable = result.emplace_back();
        executable.name = properties[i].name;
        executable.description = properties[i].description;
        executable.subgroup_size = properties[i].subgroupSize;
        for (const auto& from :
             all(blank<VkPipelineExecutableStatisticKHR>(VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR),
                 "reading a pipeline's statistics", [&](std::uint32_t*count, auto*elements) {
                     return statistics(device, &one, count, elements);
                 }))
            executable.statistics.push_back(statistic(from));
        if (!with_representations) continue;
        const auto ask = [&](std::uint32_t* count, auto* elements) {
            return representations(device, &one, count, elements);
        };
        constexpr const char* what = "reading a pipeline's internal representations";
        auto texts = all(blank<VkPipelineExecutableInternalRepresentationKHR>(
                             VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR),
                         what, ask);
        // The first round told the sizes, the second one fills.
        std::vector<std::string> data;
        for (const auto& text : texts) data.emplace_back(text.dataSize, '\0');
        for (std::size_t j = 0; j < texts.size(); ++j) texts[j].pData = data[j].data();
        auto count = static_cast<std::uint32_t>(texts.size());
        if (count) {
            const VkResult filled = ask(&count, texts.data());
            if (filled != VK_INCOMPLETE) check(filled, what);
        }
        for (std::size_t j = 0; j < count; ++j) {
            data[j].resize(std::min(data[j].size(), texts[j].dataSize));
            if (texts[j].isText) data[j].resize(std::min(data[j].size(), data[j].find('\0')));
            executable.representations.push_back(
                {texts[j].name, texts[j].description, texts[j].isText == VK_TRUE, std::move(data[j])});
        }
    }
    return result;
}

bool can_inspect(const Device& device) {
    return device && device.state()->inspects();
}

KernelReport inspect(const Device& device, const kernels::Kernel& kernel) {
    if (!device) throw Error(ErrorKind::invalid_argument, "inspect: device is a null handle");
    runtime::DeviceState& state = *device.state();
    state.ensure_open();
    const runtime::Pipeline& pipeline = state.pipelines().get(kernel);
    const auto& info = kernels::info(kernel);
    KernelReport report;
    report.module = info.name;
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        report.constants.emplace_back(info.constants[i].name,
                                      runtime::text_of(kernel.constants[i], info.constants[i].type));
    if (state.inspects())
        report.executables =
            executables_of(state.handle(), pipeline.handle, state.get_device_proc_addr(), true);
    return report;
}

}  // namespace danaus
