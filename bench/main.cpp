// danaus-bench: times every multiply of the library on a Vulkan device, beside OpenBLAS on the processor.
#include "host.hpp"
#include "report.hpp"
#include "revision.hpp"
#include "verify.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace danaus::bench {
namespace {

struct Arguments {
    std::string filter, json, device, access;
    bool csv = false, list = false;
    MeasureOptions measure;
};

// One way of reaching memory: a device, its measured rates, and the results of its cases.
class Session {
public:
    Session(const Arguments& arguments, std::optional<Access> access, const Blas* blas)
        : arguments_(arguments),
          blas_(blas),
          device_(open(arguments, access)),
          stream_(stream_for(device_, arguments.measure.timing)),
          rates_(measure_rates(stream_, arguments.measure)) {}

    [[nodiscard]] const Device& device() const { return device_; }
    [[nodiscard]] const Rates& rates() const { return rates_; }
    [[nodiscard]] std::string access() const {
        return device_.access() == Access::address ? "address" : "descriptor";
    }

    /// Verifies and times one case.
    [[nodiscard]] Result run(const Case& one) {
        const Job job = one.prepare(stream_);
        try {
            verify(stream_, job);
        } catch (const Error& error) {
            throw Error(error.kind(), fmt::format("{} ({}): {}", one.name(), access(), error.what()));
        }
        Result result{one.name(), one.operation,      one.dtype,
                      access(),   one.shape,          job.multiply_adds,
                      job.bytes,  job.yardstick.what, job.yardstick.multiply_adds,
                      {}};
        result.measured = measure(stream_, job, blas_, arguments_.measure);
        return result;
    }

private:
    static Device open(const Arguments& arguments, std::optional<Access> access) {
        DeviceOptions options;
        if (!arguments.device.empty()) options.select = arguments.device;
        options.access = access;
        options.on_message = [](Severity, std::string_view text) {
            fmt::print(stderr, "danaus-bench: {}\n", text);
        };
        return Device::open(options);
    }

    const Arguments& arguments_;
    const Blas* blas_;
    Device device_;
    Stream stream_;
    Rates rates_;
};

nlohmann::ordered_json header(const Session& session, const std::string& access, const Blas* blas,
                              const Arguments& arguments, double load) {
    const Capabilities& caps = session.device().capabilities();
    return {{"schema", 2},
            {"date", utc_date()},
            {"git", revision},
            {"device", caps.name},
            {"device_type", to_string(caps.type)},
            {"driver", fmt::format("{} {}", caps.driver_name, caps.driver_info)},
            {"api_version", fmt::format("{}.{}.{}", caps.api_version >> 22 & 0x7f,
                                        caps.api_version >> 12 & 0x3ff, caps.api_version & 0xfff)},
            {"access", access},
            {"subgroup_size", caps.subgroup_size},
            {"cpu", {{"name", cpu_name()}, {"threads", cpu_threads()}, {"load_average", load}}},
            {"openblas", blas ? nlohmann::ordered_json(blas->description()) : nlohmann::ordered_json()},
            {"options",
             {{"timing", to_string(arguments.measure.timing)},
              {"min_time", arguments.measure.min_time},
              {"repetitions", arguments.measure.repetitions}}},
            {"rates", nlohmann::ordered_json::object()},
            {"cases", nlohmann::ordered_json::array()}};
}

void write_json(const std::string& path, const nlohmann::ordered_json& json) {
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    std::error_code ignored;  // what cannot be made cannot be written to either
    if (!parent.empty()) std::filesystem::create_directories(parent, ignored);
    std::ofstream file(path);
    file << json.dump(2) << '\n';
    file.close();
    if (!file) throw Error(ErrorKind::file, fmt::format("--json: {} cannot be written", path));
}

std::vector<Case> selected(const Arguments& arguments, const std::vector<Case>& cases) {
    const std::regex filter(arguments.filter);
    std::vector<Case> chosen;
    std::copy_if(cases.begin(), cases.end(), std::back_inserter(chosen),
                 [&](const Case& one) { return std::regex_search(one.name(), filter); });
    if (chosen.empty())
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("--filter: no case matches '{}'; --list names them", arguments.filter));
    return chosen;
}

void run(const Arguments& arguments) {
    const std::vector<Case> cases = all_cases();
    const std::vector<Case> chosen = selected(arguments, cases);
    if (arguments.list) {
        for (const Case& one : chosen) fmt::print("{}\n", one.name());
        return;
    }
    const double load = load_average();
    const std::optional<Blas> loaded = Blas::load(cpu_threads());
    const Blas* blas = loaded ? &*loaded : nullptr;
    std::vector<std::optional<Access>> accesses{std::nullopt};
    if (arguments.access == "address") accesses = {Access::address};
    if (arguments.access == "descriptor") accesses = {Access::descriptor};
    if (arguments.access == "both") accesses = {Access::address, Access::descriptor};

    nlohmann::ordered_json json;
    for (const auto& access : accesses) {
        Session session(arguments, access, blas);
        if (json.is_null()) {
            json = header(session, arguments.access == "both" ? "both" : session.access(), blas, arguments,
                          load);
            fmt::print(arguments.csv ? stderr : stdout, "{}\n{}\n{}, load {:.2f}; {}\n\n",
                       describe(session.device().capabilities()), session.device().choice(), cpu_name(), load,
                       blas ? "OpenBLAS " + blas->description()
                            : "OpenBLAS was not found (libopenblas.so.0), so nothing is compared with it");
            fmt::print("{}\n", arguments.csv ? csv_header() : table_header(blas != nullptr));
        }
        const Rates& rates = session.rates();
        json["rates"][session.access()] = to_json(rates);
        for (const Case& one : chosen) {
            const Result result = session.run(one);
            fmt::print("{}\n",
                       arguments.csv ? csv_row(result, rates) : table_row(result, rates, blas != nullptr));
            std::fflush(stdout);
            json["cases"].push_back(to_json(result, rates));
        }
    }
    if (!arguments.json.empty()) write_json(arguments.json, json);
}

}  // namespace
}  // namespace danaus::bench

int main(int argc, char** argv) {
    using danaus::bench::TimingMode;
    danaus::bench::Arguments arguments;
    CLI::App app{"Times every multiply of the library on a Vulkan device, beside OpenBLAS on the processor."};
    app.add_option("--filter", arguments.filter, "only cases whose name matches this regular expression")
        ->type_name("REGEX");
    app.add_option("--json", arguments.json, "write the results to this file")->type_name("FILE");
    app.add_flag("--csv", arguments.csv, "print comma-separated values instead of the table");
    app.add_flag("--list", arguments.list, "print the names of the cases");
    app.add_option("--min-time", arguments.measure.min_time, "device seconds per case")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1e6));
    app.add_option("--repetitions", arguments.measure.repetitions,
                   "turns that device and OpenBLAS take, at least")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000000));
    const std::map<std::string, TimingMode> modes{{"submit", TimingMode::submit},
                                                  {"dispatch", TimingMode::dispatch},
                                                  {"timestamp", TimingMode::timestamp}};
    app.add_option(
           "--timing", arguments.measure.timing,
           "submit (host time of one operation, submitted alone and waited for), dispatch (host time of "
           "a batch submitted at once, per operation) or timestamp (device time of the dispatches); "
           "else timestamp where it can be had, dispatch elsewhere")
        ->transform(CLI::CheckedTransformer(modes));
    app.add_option("--device", arguments.device,
                   "index, UUID or part of a name; else DANAUS_DEVICE, else the best device");
    app.add_option("--access", arguments.access, "how kernels reach memory; else the device's default")
        ->check(CLI::IsMember({"address", "descriptor", "both"}));
    CLI11_PARSE(app, argc, argv);
    try {
        danaus::bench::run(arguments);
    } catch (const std::regex_error& error) {
        fmt::print(stderr, "danaus-bench: --filter: '{}' is no regular expression: {}\n", arguments.filter,
                   error.what());
        return 2;
    } catch (const std::exception& error) {
        fmt::print(stderr, "danaus-bench: {}\n", error.what());
        return 1;
    }
    return 0;
}
