#include "session.hpp"

#include "verify.hpp"

#include <fmt/format.h>

namespace danaus::bench {

Device open_device(const SessionOptions& session, std::optional<Access> access, bool inspect) {
    DeviceOptions options;
    if (!session.device.empty()) options.select = session.device;
    options.access = access;
    options.inspect = inspect;
    options.on_message = [](Severity, std::string_view text) {
        fmt::print(stderr, "danaus-bench: {}\n", text);
    };
    Device device = Device::open(options);
    if (!session.tuning.empty()) use_tuning(device, read_tuning(session.tuning, device));
    return device;
}

const char* access_name(const Device& device) {
    return device.access() == Access::address ? "address" : "descriptor";
}

Session::Session(const SessionOptions& options, std::optional<Access> access, const Blas* blas)
    : options_(options.measure),
      blas_(blas),
      device_(open_device(options, access)),
      stream_(stream_for(device_, options_.timing)),
      rates_(measure_rates(stream_, options_)) {}

Result Session::run(const Case& one) {
    const Job job = one.prepare(stream_);
    try {
        verify(stream_, job);
    } catch (const Error& error) {
        throw Error(error.kind(), fmt::format("{} ({}): {}", one.name(), access(), error.what()));
    }
    Result result{one.name(),         one.operation,
                  one.dtype,          access(),
                  one.shape,          one.tags,
                  job.multiply_adds,  job.bytes,
                  job.yardstick.what, job.yardstick.multiply_adds,
                  job.rival.what,     job.copy_bytes,
                  job.master_bytes,   {}};
    result.measured = measure(stream_, job, blas_, options_);
    return result;
}

}  // namespace danaus::bench
