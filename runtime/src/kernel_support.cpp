#include "joined.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

#include <fmt/format.h>

namespace danaus {

std::string unusable_reason(const kernels::Kernel& any, const Capabilities& caps, Access access) {
    const auto& info = kernels::info(any);
    const auto way = static_cast<std::size_t>(access);
    if (info.code[way].empty()) return std::string(info.absent[way]);
    if (access == Access::address && !caps.buffer_device_address)
        return "the device lacks buffer_device_address";
    for (const auto& requirement : info.requirements)
        if (!caps.has(std::string(requirement))) return fmt::format("the device lacks {}", requirement);
    if (info.push_bytes > caps.max_push_constants)
        return fmt::format("it needs {} bytes of push constants, the device has {} (max_push_constants)",
                           info.push_bytes, caps.max_push_constants);
    const std::uint32_t bindings = info.joined.empty() ? info.slots : 1;
    if (access == Access::descriptor && bindings > caps.max_storage_buffers)
        return fmt::format(
            "it binds {} storage buffers, the device allows {} in one stage (max_storage_buffers)", bindings,
            caps.max_storage_buffers);
    kernels::Kernel least{any.module, static_cast<std::uint32_t>(info.constants.size()), {}, any.guest};
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        if (!info.constants[i].values.empty())
            least.constants[i] =
                *std::min_element(info.constants[i].values.begin(), info.constants[i].values.end());
    const auto size = kernels::workgroup_size(least);
    if (size[0] * size[1] * size[2] > caps.max_workgroup_invocations || size[0] > caps.max_workgroup_size[0])
        return fmt::format(
            "its workgroups have at least {} invocations, the device allows {} (max_workgroup_invocations)",
            size[0] * size[1] * size[2],
            std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0]));
    return {};
}

std::string unusable_reason(kernels::Module module, const Capabilities& caps, Access access) {
    return unusable_reason(kernels::Kernel{module, 0, {}}, caps, access);
}

namespace {

MatrixElement element_of(const kernels::ModuleInfo& info) {
    const bool bf16 = std::any_of(info.requirements.begin(), info.requirements.end(),
                                  [](std::string_view name) { return name.ends_with("_matrix_bf16"); });
    return bf16 ? MatrixElement::bf16 : MatrixElement::f16;
}

// What kernels with cooperative matrices of subgroups ask for by their constants.
std::string unfit_subgroup_matrices(const kernels::Kernel& kernel, const Capabilities& caps) {
    const std::uint32_t* const subgroup = kernels::find_constant(kernel, "subgroup");
    if (!subgroup) return {};
    if (*subgroup != caps.matrix_subgroup_size ||
        (*subgroup != caps.subgroup_size && !caps.subgroup_size_control))
        return fmt::format("subgroup = {}, the device multiplies matrices at {} (matrix_subgroup_size){}",
                           *subgroup, caps.matrix_subgroup_size,
                           caps.subgroup_size_control ? "" : " and lacks subgroup_size_control");
    CooperativeMatrix wanted{*kernels::find_constant(kernel, "matrix_m"),
                             *kernels::find_constant(kernel, "matrix_n"),
                             *kernels::find_constant(kernel, "matrix_k")};
    wanted.a = wanted.b = element_of(kernels::info(kernel));
    const auto& listed = caps.cooperative_matrices;
    if (std::find(listed.begin(), listed.end(), wanted) == listed.end())
        return fmt::format("cooperative matrices {}, which the device does not list", to_string(wanted));
    return {};
}

// Likewise of workgroups.
std::string unfit_workgroup_matrices(const kernels::Kernel& kernel, const Capabilities& caps) {
    const auto& info = kernels::info(kernel);
    const bool concerned =
        std::any_of(info.requirements.begin(), info.requirements.end(),
                    [](std::string_view name) { return name.starts_with("workgroup_matrix"); });
    if (!concerned) return {};
    const std::uint64_t bytes = std::uint64_t{kernels::shared_bytes(kernel)} + caps.matrix_reserved_shared;
    if (bytes > caps.max_shared_memory)
        return fmt::format(
            "a workgroup with {} bytes of shared memory, {} of them for its matrices, the device "
            "allows {} (max_shared_memory)",
            bytes, caps.matrix_reserved_shared, caps.max_shared_memory);
    const std::uint32_t m = *kernels::find_constant(kernel, "block_m"),
                        n = *kernels::find_constant(kernel, "block_n"),
                        k = *kernels::find_constant(kernel, "block_k"),
                        lanes = kernels::workgroup_size(kernel)[0];
    for (const WorkgroupMatrix& one : caps.workgroup_matrices)
        if (one.steps.multiplies(element_of(info)) && one.invocations == lanes && m % one.steps.m == 0 &&
            n % one.steps.n == 0 && k % one.steps.k == 0)
            return {};
    return fmt::format("matrices {}x{}x{} of {} invocations, which the device does not list", m, n, k, lanes);
}

}  // namespace

std::string unfit_reason(const kernels::Kernel& kernel, const Capabilities& caps) {
    if (std::string wrong = kernels::check(kernel, caps.subgroup_size); !wrong.empty()) return wrong;
    const auto size = kernels::workgroup_size(kernel);
    const std::uint64_t invocations = std::uint64_t{size[0]} * size[1] * size[2];
    constexpr std::array names{"local_size", "local_size_y", "local_size_z"};
    for (std::size_t i = 0; i < 3; ++i)
        if (size[i] > caps.max_workgroup_size[i])
            return fmt::format("{} = {}, the device allows {} (max_workgroup_size)", names[i], size[i],
                               caps.max_workgroup_size[i]);
    if (invocations > caps.max_workgroup_invocations)
        return fmt::format("a workgroup of {} invocations, the device allows {} (max_workgroup_invocations)",
                           invocations, caps.max_workgroup_invocations);
    if (const std::uint32_t bytes = kernels::shared_bytes(kernel); bytes > caps.max_shared_memory)
        return fmt::format(
            "a workgroup with {} bytes of shared memory, the device allows {} (max_shared_memory)", bytes,
            caps.max_shared_memory);
    if (std::string why = unfit_subgroup_matrices(kernel, caps); !why.empty()) return why;
    return unfit_workgroup_matrices(kernel, caps);
}

std::uint32_t joined_operands(const Capabilities& caps, Access access) {
    std::uint32_t most = 1;
    for (std::size_t i = 0; i < kernels::module_count; ++i) {
        const auto& info = kernels::info(static_cast<kernels::Module>(i));
        if (runtime::uses_joined(info, caps, access)) most = std::max(most, info.slots);
    }
    return most;
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
