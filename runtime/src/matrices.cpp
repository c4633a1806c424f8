// Cooperative matrices as devices list them.
#include "physical_device.hpp"

#include <danaus/runtime/error.hpp>

#include <algorithm>

#include <fmt/format.h>

namespace danaus {

std::string to_string(const CooperativeMatrix& shape) {
    const auto name = [](MatrixElement element) -> std::string {
        switch (element) {
#define X(type)               \
    case MatrixElement::type: \
        return #type;
            X(f16)
            X(f32) X(f64) X(s8) X(s16) X(s32) X(s64) X(u8) X(u16) X(u32) X(u64) X(bf16) X(f8_e4m3) X(f8_e5m2)
#undef X
        }
        return fmt::format("type {}", static_cast<std::uint32_t>(element));
    };
    return fmt::format("{}x{}x{} {}*{}+{}->{}", shape.m, shape.n, shape.k, name(shape.a), name(shape.b),
                       name(shape.c), name(shape.result));
}

bool CooperativeMatrix::multiplies(MatrixElement element) const noexcept {
    return a == element && b == element && c == MatrixElement::f32 && result == MatrixElement::f32;
}

namespace runtime {
namespace {

template <typename Properties>
std::vector<Properties> list(VkResult(VKAPI_PTR* get)(VkPhysicalDevice, std::uint32_t*, Properties*),
                             VkPhysicalDevice device) {
    if (!get) return {};
    std::uint32_t count = 0;
    check(get(device, &count, nullptr), "listing cooperative matrices");
    std::vector<Properties> properties(count);
    for (auto& item : properties) item.sType = Properties::type;
    check(get(device, &count, properties.data()), "listing cooperative matrices");
    properties.resize(count);
    return properties;
}

template <typename Properties>
CooperativeMatrix shape_of(const Properties& p) {
    return {p.m,
            p.n,
            p.k,
            static_cast<MatrixElement>(p.a),
            static_cast<MatrixElement>(p.b),
            static_cast<MatrixElement>(p.c),
            static_cast<MatrixElement>(p.result)};
}

// Those that saturate are listed apart, and are the same to us.
template <typename T>
void add_once(std::vector<T>& all, const T& one) {
    if (std::find(all.begin(), all.end(), one) == all.end()) all.push_back(one);
}

}  // namespace

std::vector<CooperativeMatrix> query_cooperative_matrices(const InstanceTable& vk, VkPhysicalDevice device) {
    std::vector<CooperativeMatrix> shapes;
    for (const auto& p : list(vk.GetPhysicalDeviceCooperativeMatrixPropertiesKHR, device))
        if (p.scope == VK_SCOPE_SUBGROUP_NV) add_once(shapes, shape_of(p));
    return shapes;
}

std::vector<WorkgroupMatrix> query_workgroup_matrices(const InstanceTable& vk, VkPhysicalDevice device) {
    std::vector<WorkgroupMatrix> shapes;
    for (const auto& p : list(vk.GetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV, device))
        if (p.scope == VK_SCOPE_WORKGROUP_NV) add_once(shapes, {shape_of(p), p.workgroupInvocations});
    return shapes;
}

}  // namespace runtime
}  // namespace danaus
