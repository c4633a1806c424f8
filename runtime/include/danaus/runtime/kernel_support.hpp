// Which kernels a device can run, for reports and plans.
#pragma once

#include <danaus/kernels.hpp>
#include <danaus/runtime/access.hpp>
#include <danaus/runtime/capabilities.hpp>

#include <string>
#include <vector>

namespace danaus {

/// Why no kernel of `module` can run on a device of these capabilities with this way of reaching memory; ""
/// when some can. The reason names the limit or feature and what the kernel needs of it.
[[nodiscard]] DANAUS_EXPORT std::string unusable_reason(kernels::Module module,
                                                        const Capabilities& capabilities, Access access);

/// The same of the module of `kernel`, whose constants do not matter.
[[nodiscard]] DANAUS_EXPORT std::string unusable_reason(const kernels::Kernel& kernel,
                                                        const Capabilities& capabilities, Access access);

/// Why `kernel`, which is one of a usable module, does not fit a device of these capabilities: a constant or
/// a condition among several that does not hold, its workgroup or its shared memory; "" when it fits. Plans
/// of multiplies ask it; of any other kernel recorders do, before they record its packet.
[[nodiscard]] DANAUS_EXPORT std::string unfit_reason(const kernels::Kernel& kernel,
                                                     const Capabilities& capabilities);

/// How many operands share one storage descriptor on the device at most, since some kernel has more of them
/// than it binds; 1 where every kernel's operands have descriptors of their own.
[[nodiscard]] DANAUS_EXPORT std::uint32_t joined_operands(const Capabilities& capabilities, Access access);

/// One module of the kernel table and whether a device can run it.
struct KernelSupport {
    std::string name;     ///< "copy"
    std::string family;   ///< the shader's folder, "basic"
    std::string summary;  ///< one line
    std::string reason;   ///< "" when usable
    [[nodiscard]] bool usable() const noexcept { return reason.empty(); }
};

/// Every module of the table, in the table's order.
[[nodiscard]] DANAUS_EXPORT std::vector<KernelSupport> kernel_support(const Capabilities& capabilities,
                                                                      Access access);

}  // namespace danaus
