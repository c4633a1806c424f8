// What a driver tells of compiled kernels: registers, spills, machine code. For people who write shaders.
#pragma once

#include <danaus/kernels.hpp>
#include <danaus/runtime/device.hpp>

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace danaus {

/// One figure, in the driver's own words ("VGPRs", "Spilled SGPRs").
struct ExecutableStatistic {
    std::string name, description;
    std::variant<bool, std::int64_t, std::uint64_t, double> value;
};

/// One form that the compiler gave the shader, in the driver's own words ("Assembly", "NIR Shader(s)").
struct ExecutableRepresentation {
    std::string name, description;
    bool is_text = false;
    std::string data;  ///< without the zero that ends texts
};

/// One of the programs that a pipeline became; a compute pipeline has one on most drivers.
struct Executable {
    std::string name, description;
    std::uint32_t subgroup_size = 0;
    std::vector<ExecutableStatistic> statistics;
    std::vector<ExecutableRepresentation> representations;
};

struct KernelReport {
    std::string module;                                          ///< "matmul_direct_dense"
    std::vector<std::pair<std::string, std::string>> constants;  ///< name and value, in the module's order
    std::vector<Executable> executables;                         ///< none where the driver tells nothing
};

/// Compiles `kernel`, unless the device has it already, and asks the driver. The device must have been opened
/// with DeviceOptions::inspect; drivers without VK_KHR_pipeline_executable_properties tell nothing. Errors
/// are those of recording the kernel.
[[nodiscard]] DANAUS_EXPORT KernelReport inspect(const Device& device, const kernels::Kernel& kernel);

/// Whether the device was opened with DeviceOptions::inspect and its driver tells of its kernels.
[[nodiscard]] DANAUS_EXPORT bool can_inspect(const Device& device);

}  // namespace danaus
