#include "pipelines.hpp"

#include "device_state.hpp"
#include "joined.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <array>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include <fmt/format.h>

namespace danaus::runtime {
namespace {

std::string kernel_name(const kernels::Kernel& kernel) {
    const auto& info = kernels::info(kernel);
    std::string name(info.name);
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        name += fmt::format("{}{}={}", i ? "," : " ", info.constants[i].name, kernel.constants[i]);
    return name;
}

}  // namespace

Pipelines::Pipelines(DeviceState& device, VkPipelineCache cache, std::span<const std::byte> initial_data)
    : device_(device), cache_(cache), owns_cache_(cache == VK_NULL_HANDLE) {
    if (!owns_cache_) return;
    VkPipelineCacheCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
    info.initialDataSize = initial_data.size();
    info.pInitialData = initial_data.data();
    check(device_.vk().CreatePipelineCache(device_.handle(), &info, nullptr, &cache_),
          "creating the pipeline cache");
}

Pipelines::~Pipelines() {
    const DeviceTable& vk = device_.vk();
    for (auto& [kernel, entry] : entries_)
        vk.DestroyPipeline(device_.handle(), entry->pipeline.handle, nullptr);
    for (auto& [key, handle] : layouts_) vk.DestroyPipelineLayout(device_.handle(), handle, nullptr);
    for (auto& [slots, handle] : set_layouts_)
        vk.DestroyDescriptorSetLayout(device_.handle(), handle, nullptr);
    if (owns_cache_) vk.DestroyPipelineCache(device_.handle(), cache_, nullptr);
}

void Pipelines::check_kernel(const kernels::Kernel& kernel) const {
    const auto& info = kernels::info(kernel);
    const Capabilities& caps = device_.capabilities();
    const auto refuse = [&](const std::string& why) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("kernel {} cannot run on {}: {}", info.name, caps.name, why));
    };
    if (const std::string reason = unusable_reason(kernel, caps, device_.access()); !reason.empty())
        refuse(reason);
    if (const std::string reason = unfit_reason(kernel, caps); !reason.empty()) refuse(reason);
}

const Pipeline& Pipelines::get(const kernels::Kernel& kernel, bool may_compile) {
    std::shared_ptr<Entry> entry;
    {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(kernel);
        if (found != entries_.end()) entry = found->second;
        if (entry && entry->ready) return entry->pipeline;
    }
    check_kernel(kernel);
    if (!may_compile)
        throw Error(ErrorKind::unsupported,
                    fmt::format("kernel {} is not compiled yet and this recorder refuses to "
                                "compile; prewarm it first",
                                kernel_name(kernel)));
    if (!entry) {
        const std::lock_guard lock(mutex_);
        auto& slot = entries_[kernel];
        if (!slot) slot = std::make_shared<Entry>();
        entry = slot;
    }
    // The compiler runs outside the lock, so that different kernels compile in parallel.
    std::call_once(entry->once, [&] {
        Pipeline pipeline = create(kernel);
        const std::lock_guard lock(mutex_);
        entry->pipeline = pipeline;
        entry->ready = true;
    });
    return entry->pipeline;
}

Pipeline Pipelines::create(const kernels::Kernel& kernel) {
    const auto& info = kernels::info(kernel);
    const bool joined = uses_joined(info, device_.capabilities(), device_.access());
    const auto code = joined ? info.joined : info.code[static_cast<std::size_t>(device_.access())];
    const DeviceTable& vk = device_.vk();

    std::vector<VkSpecializationMapEntry> map(info.constants.size());
    for (std::size_t i = 0; i < map.size(); ++i)
        map[i] = {info.constants[i].id, static_cast<std::uint32_t>(i * sizeof(std::uint32_t)),
                  sizeof(std::uint32_t)};
    VkSpecializationInfo specialization{};
    specialization.mapEntryCount = static_cast<std::uint32_t>(map.size());
    specialization.pMapEntries = map.data();
    specialization.dataSize = map.size() * sizeof(std::uint32_t);
    specialization.pData = kernel.constants.data();

    Pipeline pipeline;
    {
        const std::lock_guard lock(mutex_);
        pipeline.bindings = device_.access() != Access::descriptor ? 0 : joined ? 1 : info.slots;
        pipeline.layout = layout(pipeline.bindings, info.push_bytes);
        if (pipeline.bindings) pipeline.set_layout = set_layouts_.at(pipeline.bindings);
    }
    VkShaderModuleCreateInfo module_info{};
    module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
    module_info.codeSize = code.size_bytes();
    module_info.pCode = code.data();
    VkShaderModule module = VK_NULL_HANDLE;
    check(vk.CreateShaderModule(device_.handle(), &module_info, nullptr, &module),
          "creating a shader module");

    VkComputePipelineCreateInfo create{};
    create.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    if (device_.inspects())
        create.flags = VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                       VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
    create.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    create.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    create.stage.module = module;
    create.stage.pName = "main";
    create.stage.pSpecializationInfo = &specialization;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup{};
    subgroup.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
    if (const std::uint32_t* const size = kernels::find_constant(kernel, "subgroup")) {
        const Capabilities& caps = device_.capabilities();
        subgroup.requiredSubgroupSize = *size;
        if (caps.subgroup_size_control) create.stage.pNext = &subgroup;
        if (caps.compute_full_subgroups)
            create.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    }
    create.layout = pipeline.layout;
    const VkResult result =
        vk.CreateComputePipelines(device_.handle(), cache_, 1, &create, nullptr, &pipeline.handle);
    vk.DestroyShaderModule(device_.handle(), module, nullptr);
    if (result != VK_SUCCESS) check(result, fmt::format("compiling kernel {}", kernel_name(kernel)).c_str());
    device_.name_object(VK_OBJECT_TYPE_PIPELINE, reinterpret_cast<std::uint64_t>(pipeline.handle),
                        kernel_name(kernel));
    return pipeline;
}

VkDescriptorSetLayout Pipelines::set_layout(std::uint32_t bindings) {
    auto& handle = set_layouts_[bindings];
    if (handle) return handle;
    std::vector<VkDescriptorSetLayoutBinding> list(bindings);
    for (std::uint32_t i = 0; i < bindings; ++i)
        list[i] = {i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
    VkDescriptorSetLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
    info.bindingCount = bindings;
    info.pBindings = list.data();
    check(device_.vk().CreateDescriptorSetLayout(device_.handle(), &info, nullptr, &handle),
          "creating a descriptor set layout");
    return handle;
}

VkPipelineLayout Pipelines::layout(std::uint32_t bindings, std::uint32_t push_bytes) {
    auto& handle = layouts_[{bindings, push_bytes}];
    if (handle) return handle;
    const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, push_bytes};
    VkPipelineLayoutCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
    VkDescriptorSetLayout set = VK_NULL_HANDLE;
    if (bindings) {
        set = set_layout(bindings);
        info.setLayoutCount = 1;
        info.pSetLayouts = &set;
    }
    info.pushConstantRangeCount = 1;
    info.pPushConstantRanges = &range;
    check(device_.vk().CreatePipelineLayout(device_.handle(), &info, nullptr, &handle),
          "creating a pipeline layout");
    return handle;
}

void Pipelines::prewarm(std::span<const kernels::Kernel> list) {
    std::atomic<std::size_t> next{0};
    std::mutex error_mutex;
    std::exception_ptr error;
    const auto work = [&] {
        for (std::size_t i = next++; i < list.size(); i = next++) {
            try {
                get(list[i]);
            } catch (...) {
                const std::lock_guard lock(error_mutex);
                if (!error) error = std::current_exception();
            }
        }
    };
    std::vector<std::thread> threads;
    const std::size_t count =
        std::min<std::size_t>(list.size(), std::max(1u, std::thread::hardware_concurrency()));
    try {
        for (std::size_t i = 1; i < count; ++i) threads.emplace_back(work);
    } catch (const std::system_error&) {
        // No more threads to be had: those that started, and this one, do the work.
    }
    work();
    for (auto& thread : threads) thread.join();
    if (error) std::rethrow_exception(error);
}

std::size_t Pipelines::count() const {
    const std::lock_guard lock(mutex_);
    return static_cast<std::size_t>(
        std::count_if(entries_.begin(), entries_.end(), [](const auto& item) { return item.second->ready; }));
}

std::vector<std::byte> Pipelines::cache_data() const {
    if (!owns_cache_) return {};
    std::size_t size = 0;
    check(device_.vk().GetPipelineCacheData(device_.handle(), cache_, &size, nullptr),
          "reading the pipeline cache");
    std::vector<std::byte> data(size);
    check(device_.vk().GetPipelineCacheData(device_.handle(), cache_, &size, data.data()),
          "reading the pipeline cache");
    data.resize(size);
    return data;
}

}  // namespace danaus::runtime
