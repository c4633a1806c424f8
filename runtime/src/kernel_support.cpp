#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <cstddef>

#include <fmt/format.h>

namespace danaus {

std::string unusable_reason(kernels::Module module, const Capabilities& caps, Access access) {
    const auto& info = kernels::info(module);
    const auto way = static_cast<std::size_t>(access);
    if (info.code[way].empty()) return std::string(info.absent[way]);
    if (access == Access::address && !caps.buffer_device_address)
        return "the device lacks buffer_device_address";
    for (const auto& requirement : info.requirements)
        if (!caps.has(std::string(requirement))) return fmt::format("the device lacks {}", requirement);
    if (info.push_bytes > caps.max_push_constants)
        return fmt::format("it needs {} bytes of push constants, the device has {} (max_push_constants)",
                           info.push_bytes, caps.max_push_constants);
    if (access == Access::descriptor && info.slots > caps.max_storage_buffers)
        return fmt::format(
            "it binds {} storage buffers, the device allows {} in one stage (max_storage_buffers)",
            info.slots, caps.max_storage_buffers);
    const std::uint32_t invocations = std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0]);
    for (const auto& constant : info.constants) {
        if (constant.name != "local_size" || constant.values.empty()) continue;
        const std::uint32_t least = *std::min_element(constant.values.begin(), constant.values.end());
        if (least > invocations)
            return fmt::format(
                "its workgroups have at least {} invocations, the device allows {} "
                "(max_workgroup_invocations)",
                least, invocations);
    }
    return {};
}

std::vector<KernelSupport> kernel_support(const Capabilities& caps, Access access) {
    std::vector<KernelSupport> list;
    for (std::size_t i = 0; i < kernels::module_count; ++i) {
        const auto module = static_cast<kernels::Module>(i);
        const auto& info = kernels::info(module);
        list.push_back({std::string(info.name), std::string(info.source.substr(0, info.source.find('/'))),
                        std::string(info.summary), unusable_reason(module, caps, access)});
    }
    return list;
}

}  // namespace danaus
