#include "report.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace danaus::bench {
namespace {

nlohmann::ordered_json to_json(const Statistics& s) {
    return {{"median", s.median}, {"min", s.minimum}, {"max", s.maximum}, {"samples", s.samples}};
}

std::string readable_time(double nanoseconds) {
    if (nanoseconds >= 1e6) return fmt::format("{:.3f} ms", nanoseconds / 1e6);
    return fmt::format("{:.1f} us", nanoseconds / 1e3);
}

}  // namespace

double Result::gflops() const {
    return 2.0 * static_cast<double>(multiply_adds) / measured.device.median;
}

double Result::gigabytes_per_second() const {
    return static_cast<double>(bytes) / measured.device.median;
}

double Result::copies_of_master() const {
    return static_cast<double>(copy_bytes) / static_cast<double>(master_bytes);
}

const char* regime(const Result& result, const Rates& rates) {
    const double memory = static_cast<double>(result.bytes) / rates.memory();
    const double arithmetic = 2.0 * static_cast<double>(result.multiply_adds) / rates.flops_per_ns;
    const double launch =
        rates.launch_ns * static_cast<double>(std::max<std::size_t>(1, result.measured.dispatches));
    if (launch >= std::max(memory, arithmetic)) return "launch";
    return memory >= arithmetic ? "memory" : "arithmetic";
}

nlohmann::ordered_json to_json(const Rates& rates) {
    return {{"copy_gb_per_s", rates.copy_bytes_per_ns},
            {"copy_kernel", rates.copy_kernel},
            {"driver_copy_gb_per_s", rates.driver_bytes_per_ns},
            {"peak_gflops", rates.flops_per_ns},
            {"peak_kernel", rates.peak_kernel},
            {"launch_ns", rates.launch_ns}};
}

nlohmann::ordered_json to_json(const Result& r, const Rates& rates) {
    nlohmann::ordered_json json{{"name", r.name}, {"operation", r.operation}};
    for (const auto& [name, size] : r.shape) json["shape"][name] = size;
    json["tags"] = r.tags;
    json["dtype"] = r.dtype;
    json["access"] = r.access;
    json["regime"] = regime(r, rates);
    json["timing"] = to_string(r.measured.timing);
    json["dispatches"] = r.measured.dispatches;
    json["multiply_adds"] = r.multiply_adds;
    json["bytes"] = r.bytes;
    json["ns"] = to_json(r.measured.device);
    json["gflops"] = r.gflops();
    json["gb_per_s"] = r.gigabytes_per_second();
    json["of_copy"] = r.gigabytes_per_second() / rates.memory();
    json["of_peak"] = r.gflops() / rates.flops_per_ns;
    json["openblas"] = nullptr;
    if (r.measured.yardstick)
        json["openblas"] = {
            {"what", r.yardstick},
            {"ns", to_json(*r.measured.yardstick)},
            {"gflops", 2.0 * static_cast<double>(r.yardstick_multiply_adds) / r.measured.yardstick->median},
            {"ratio", *r.measured.speedup}};
    if (r.measured.rival)
        json["rival"] = {
            {"what", r.rival}, {"ns", to_json(*r.measured.rival)}, {"ratio", *r.measured.rival_ratio}};
    if (r.master_bytes)
        json["weight_copies"] = {{"bytes", r.copy_bytes}, {"of_master", r.copies_of_master()}};
    return json;
}

std::string table_header(bool yardstick) {
    return fmt::format("{:<50} {:>10} {:>12} {:>8} {:>8} {:>8} {:>8}  {:<10}{}", "case", "access", "median",
                       "GFLOP/s", "of peak", "GB/s", "of copy", "regime", yardstick ? "  x OpenBLAS" : "");
}

std::string table_row(const Result& r, const Rates& rates, bool yardstick) {
    const bool multiplies = r.multiply_adds != 0;
    std::string line = fmt::format(
        "{:<50} {:>10} {:>12} {:>8} {:>8} {:>8.2f} {:>8.2f}  {:<10}", r.name, r.access,
        readable_time(r.measured.device.median), multiplies ? fmt::format("{:.1f}", r.gflops()) : "-",
        multiplies ? fmt::format("{:.2f}", r.gflops() / rates.flops_per_ns) : "-", r.gigabytes_per_second(),
        r.gigabytes_per_second() / rates.memory(), regime(r, rates));
    if (yardstick && r.measured.speedup)
        line += fmt::format("  {:>6.2f} ({})", *r.measured.speedup, r.yardstick);
    if (r.measured.rival_ratio) line += fmt::format("  {:.2f} ({})", *r.measured.rival_ratio, r.rival);
    if (r.master_bytes) line += fmt::format("  copies {:.3f} of masters", r.copies_of_master());
    return line;
}

std::string csv_header() {
    return "name,access,dtype,regime,timing,median_ns,min_ns,max_ns,samples,gflops,of_peak,gb_per_s,of_copy,"
           "openblas_median_ns,openblas_ratio";
}

std::string csv_row(const Result& r, const Rates& rates) {
    const Statistics& s = r.measured.device;
    std::string line = fmt::format(
        "{},{},{},{},{},{:.0f},{:.0f},{:.0f},{},{:.3f},{:.4f},{:.3f},{:.4f}", r.name, r.access, r.dtype,
        regime(r, rates), to_string(r.measured.timing), s.median, s.minimum, s.maximum, s.samples, r.gflops(),
        r.gflops() / rates.flops_per_ns, r.gigabytes_per_second(), r.gigabytes_per_second() / rates.memory());
    line += r.measured.speedup
                ? fmt::format(",{:.0f},{:.4f}", r.measured.yardstick->median, *r.measured.speedup)
                : ",,";
    return line;
}

}  // namespace danaus::bench
