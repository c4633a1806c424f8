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
