// One way of reaching memory: a device, its measured rates, and the cases run on it.
#pragma once

#include "report.hpp"

#include <optional>
#include <string>

namespace danaus::bench {

struct SessionOptions {
    std::string device;  ///< "": the library's own rules
    std::string tuning;  ///< file of a table to use; "": none
    MeasureOptions measure;
};

/// Opens the device as the options say; warnings go to stderr. Throws Error(file) for a table that is not its
/// own: who names one wants it.
[[nodiscard]] Device open_device(const SessionOptions& options, std::optional<Access> access,
                                 bool inspect = false);
/// "address" or "descriptor".
[[nodiscard]] const char* access_name(const Device& device);

class Session {
public:
    /// Opens the device and measures its rates. `blas` may be null.
    Session(const SessionOptions& options, std::optional<Access> access, const Blas* blas);

    [[nodiscard]] const Device& device() const { return device_; }
    [[nodiscard]] const Rates& rates() const { return rates_; }
    [[nodiscard]] std::string access() const { return access_name(device_); }

    /// Verifies and times one case. Throws Error(out_of_memory) where the device is too small for it.
    [[nodiscard]] Result run(const Case& one);

private:
    MeasureOptions options_;
    const Blas* blas_;
    Device device_;
    Stream stream_;
    Rates rates_;
};

}  // namespace danaus::bench
