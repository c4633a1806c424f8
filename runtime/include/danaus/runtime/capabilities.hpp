// What a device is and can do: one plain struct, read by plans and tests alike.
#pragma once

#include <danaus/runtime/export.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace danaus {

enum class DeviceType : std::uint32_t { other, integrated, discrete, virtual_gpu, cpu };

/// Element types of cooperative matrices, by the values of VkComponentTypeKHR.
enum class MatrixElement : std::uint32_t {
    f16 = 0,
    f32 = 1,
    f64 = 2,
    s8 = 3,
    s16 = 4,
    s32 = 5,
    s64 = 6,
    u8 = 7,
    u16 = 8,
    u32 = 9,
    u64 = 10,
    bf16 = 1000141000,
    f8_e4m3 = 1000491002,
    f8_e5m2 = 1000491003
};

/// One shape of cooperative matrices of a subgroup: C (m × n) += A (m × k) · B (k × n).
struct CooperativeMatrix {
    std::uint32_t m = 0, n = 0, k = 0;
    MatrixElement a = MatrixElement::f16, b = MatrixElement::f16;       ///< of A and B
    MatrixElement c = MatrixElement::f32, result = MatrixElement::f32;  ///< added, and what comes out
    /// Whether it multiplies matrices of `element` and adds in f32.
    [[nodiscard]] DANAUS_EXPORT bool multiplies(MatrixElement element) const noexcept;
    [[nodiscard]] bool operator==(const CooperativeMatrix&) const noexcept = default;
};
/// "16x16x16 f16*f16+f32->f32"
[[nodiscard]] DANAUS_EXPORT std::string to_string(const CooperativeMatrix& shape);

/// Cooperative matrices of a whole workgroup (VK_NV_cooperative_matrix2): m, n and k are multiples of these.
struct WorkgroupMatrix {
    CooperativeMatrix steps;
    std::uint32_t invocations = 0;  ///< of the workgroup
    [[nodiscard]] bool operator==(const WorkgroupMatrix&) const noexcept = default;
};

/// Identity, limits and features of one Vulkan device, as far as the library uses them.
/// A test may lower any field before the device is created (DeviceOptions::cap): features are then withheld
/// at device creation, limits are honoured by every plan, so that a weaker device is simulated.
struct Capabilities {
    // Identity.
    std::string name;             ///< VkPhysicalDeviceProperties::deviceName
    std::string driver_name;      ///< VkPhysicalDeviceDriverProperties::driverName, "" below Vulkan 1.2
    std::string driver_info;      ///< likewise, the driver's own version text
    std::uint32_t driver_id = 0;  ///< VkDriverId, 0 below Vulkan 1.2
    std::uint32_t vendor_id = 0;
    std::uint32_t device_id = 0;
    std::uint32_t driver_version = 0;  ///< vendor-specific encoding
    std::uint32_t api_version = 0;     ///< VK_MAKE_API_VERSION encoding
    std::array<std::uint8_t, 16> device_uuid{};
    std::array<std::uint8_t, 16> driver_uuid{};
    std::array<std::uint8_t, 16> pipeline_cache_uuid{};
    DeviceType type = DeviceType::other;

    // Limits.
    std::uint32_t max_workgroup_invocations = 128;
    std::array<std::uint32_t, 3> max_workgroup_size{128, 128, 64};
    std::array<std::uint32_t, 3> max_workgroup_count{65535, 65535, 65535};
    std::uint32_t max_shared_memory = 16384;       ///< bytes per workgroup
    std::uint32_t max_push_constants = 128;        ///< bytes
    std::uint32_t max_storage_buffers = 4;         ///< storage buffers one shader stage may bind
    std::uint64_t max_storage_range = 1ull << 27;  ///< bytes one storage descriptor may span
    std::uint64_t storage_offset_alignment = 256;  ///< bytes
    std::uint64_t max_allocation = 1ull << 30;     ///< bytes in one allocation
    std::uint64_t device_memory = 0;               ///< bytes of the largest device-local heap
    std::uint32_t subgroup_size = 1;               ///< the size kernels run at by default
    std::uint32_t min_subgroup_size = 1;           ///< the least that the driver may compile one for
    std::uint32_t max_subgroup_size = 1;           ///< the largest
    std::uint32_t matrix_subgroup_size = 1;        ///< what kernels with cooperative matrices ask for
    std::uint32_t matrix_reserved_shared = 0;      ///< bytes that workgroup matrices take from the workgroup
    double timestamp_period = 0.0;                 ///< nanoseconds per timestamp tick
    std::uint32_t timestamp_bits = 0;              ///< 0: the queue has no timestamps

    // Features.
    bool compute_queue = false;          ///< required
    bool timeline_semaphore = false;     ///< required
    bool buffer_device_address = false;  ///< else operands are reached through descriptors
    bool shader_float16 = false;
    bool shader_float64 = false;  ///< f64 arithmetic, which the decompositions of svd.hpp can use
    bool storage_16bit = false;
    bool subgroup_arithmetic = false;
    bool subgroup_shuffle = false;
    bool subgroup_size_control = false;       ///< a compute kernel may ask for a subgroup size
    bool compute_full_subgroups = false;      ///< and for subgroups without missing lanes
    bool vulkan_memory_model = false;         ///< which cooperative matrices are written for
    bool memory_model_device_scope = false;   ///< its atomics, which stores of 16-bit elements are
    bool shader_bfloat16 = false;             ///< VK_KHR_shader_bfloat16
    bool matrix_bfloat16 = false;             ///< in cooperative matrices
    bool matrix_workgroup_scope = false;      ///< VK_NV_cooperative_matrix2: of whole workgroups
    bool matrix_flexible_dimensions = false;  ///< likewise: multiples of a step
    bool cooperative_matrix = false;          ///< VK_KHR_cooperative_matrix
    std::vector<CooperativeMatrix> cooperative_matrices;  ///< of subgroups
    std::vector<WorkgroupMatrix> workgroup_matrices;
    bool portability_subset = false;  ///< the driver is a layered one (MoltenVK)

    /// What is known of the driver and was turned off or is avoided for it: "id (what: reason)" each.
    std::vector<std::string> quirks;

    /// Whether a requirement named in kernels.json ("subgroup_shuffle", …) is met.
    [[nodiscard]] DANAUS_EXPORT bool has(const std::string& requirement) const;
};

/// "Mesa 26.2.6 …" style one-line identity: name, driver and API version.
[[nodiscard]] DANAUS_EXPORT std::string describe(const Capabilities& capabilities);

/// Lower-case name of a device type, as danaus-info prints it.
[[nodiscard]] DANAUS_EXPORT const char* to_string(DeviceType type);

/// Why the library cannot use a device of these capabilities at all; "" when it can.
[[nodiscard]] DANAUS_EXPORT std::string unusable_reason(const Capabilities& capabilities);

/// A UUID as 32 lower-case hexadecimal digits with the usual dashes.
[[nodiscard]] DANAUS_EXPORT std::string uuid_to_string(const std::array<std::uint8_t, 16>& uuid);

}  // namespace danaus
