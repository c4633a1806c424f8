// danaus-bench: times every multiply of the library on a Vulkan device, beside OpenBLAS on the processor.
#include "host.hpp"
#include "kernel_list.hpp"
#include "revision.hpp"
#include "session.hpp"
#include "tune.hpp"

#include <danaus/runtime/inspect.hpp>

#include <cstdio>
#include <filesystem>
#include <map>
#include <regex>
#include <set>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace danaus::bench {
namespace {

struct Arguments {
    std::string filter, suite, json, access;
    std::string isa, table;
    bool csv = false, list = false, kernels = false, tune = false, again = false;
    SessionOptions session;
};

nlohmann::ordered_json identity(const Device& device, const std::string& access) {
    const Capabilities& caps = device.capabilities();
    return {{"schema", 2},
            {"date", utc_date()},
            {"git", revision},
            {"device", caps.name},
            {"device_type", to_string(caps.type)},
            {"driver", fmt::format("{} {}", caps.driver_name, caps.driver_info)},
            {"api_version", fmt::format("{}.{}.{}", caps.api_version >> 22 & 0x7f,
                                        caps.api_version >> 12 & 0x3ff, caps.api_version & 0xfff)},
            {"access", access},
            {"subgroup_size", caps.subgroup_size}};
}

nlohmann::ordered_json header(const Session& session, const std::string& access, const Blas* blas,
                              const Arguments& arguments, double load) {
    nlohmann::ordered_json json = identity(session.device(), access);
    json["cpu"] = {{"name", cpu_name()}, {"threads", cpu_threads()}, {"load_average", load}};
    json["openblas"] = nullptr;
    if (blas) json["openblas"] = blas->description();
    json["options"] = {{"suite", arguments.suite},
                       {"filter", arguments.filter},
                       {"timing", to_string(arguments.session.measure.timing)},
                       {"min_time", arguments.session.measure.min_time},
                       {"repetitions", arguments.session.measure.repetitions}};
    if (!arguments.session.tuning.empty()) json["options"]["tuning"] = arguments.session.tuning;
    json["rates"] = nlohmann::ordered_json::object();
    json["skipped"] = json["cases"] = nlohmann::ordered_json::array();
    return json;
}

std::vector<Case> selected(const Arguments& arguments, const std::vector<Case>& cases) {
    const std::regex filter(arguments.filter);
    // Who names a case means it, whichever suite it is in.
    const std::string suite =
        arguments.suite.empty() ? arguments.filter.empty() ? "quick" : "" : arguments.suite;
    std::vector<Case> chosen;
    std::copy_if(cases.begin(), cases.end(), std::back_inserter(chosen), [&](const Case& one) {
        return (suite.empty() || one.has(suite)) && std::regex_search(one.name(), filter);
    });
    if (!chosen.empty()) return chosen;
    std::set<std::string> tags;
    for (const Case& one : cases) tags.insert(one.tags.begin(), one.tags.end());
    if (!suite.empty() && !tags.contains(suite))
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("--suite: no case has '{}'; there are {}", suite, fmt::join(tags, ", ")));
    throw Error(ErrorKind::invalid_argument,
                fmt::format("--filter: no case{} matches '{}'; --list names them",
                            suite.empty() ? "" : " of suite " + suite, arguments.filter));
}

// The ways of reaching memory that were asked for; nothing stands for the device's own.
std::vector<std::optional<Access>> accesses(const Arguments& arguments) {
    if (arguments.access == "address") return {Access::address};
    if (arguments.access == "descriptor") return {Access::descriptor};
    if (arguments.access == "both") return {Access::address, Access::descriptor};
    return {std::nullopt};
}

nlohmann::ordered_json describe_kernels(const Arguments& arguments, const std::vector<Case>& chosen) {
    nlohmann::ordered_json json;
    for (const auto& access : accesses(arguments)) {
        const Device device = open_device(arguments.session, access, true);
        if (json.is_null())
            json = identity(device, arguments.access == "both" ? "both" : access_name(device));
        fmt::print("{}, access by {}{}\n\n", describe(device.capabilities()), access_name(device),
                   can_inspect(device) ? "" : "\nThis driver tells nothing of its kernels");
        std::optional<std::filesystem::path> folder;
        if (!arguments.isa.empty()) folder = std::filesystem::path(arguments.isa) / access_name(device);
        json["kernels"][access_name(device)] = list_kernels(device, chosen, folder);
    }
    return json;
}

nlohmann::ordered_json time_cases(const Arguments& arguments, const std::vector<Case>& chosen) {
    const double load = load_average();
    const std::optional<Blas> loaded = Blas::load(cpu_threads());
    const Blas* blas = loaded ? &*loaded : nullptr;
    nlohmann::ordered_json json;
    for (const auto& access : accesses(arguments)) {
        Session session(arguments.session, access, blas);
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
            Result result;
            try {
                result = session.run(one);
            } catch (const Error& error) {
                if (error.kind() != ErrorKind::out_of_memory) throw;
                fmt::print(stderr, "danaus-bench: {} is left out: {}\n", one.name(), error.what());
                json["skipped"].push_back(
                    {{"name", one.name()}, {"access", session.access()}, {"reason", error.what()}});
                continue;
            }
            fmt::print("{}\n",
                       arguments.csv ? csv_row(result, rates) : table_row(result, rates, blas != nullptr));
            std::fflush(stdout);
            json["cases"].push_back(to_json(result, rates));
        }
    }
    return json;
}

void run(const Arguments& arguments) {
    const std::vector<Case> chosen = selected(arguments, all_cases());
    if (arguments.list) {
        for (const Case& one : chosen) fmt::print("{}  ({})\n", one.name(), fmt::join(one.tags, ", "));
        return;
    }
    if (arguments.tune) {
        for (const auto& access : accesses(arguments)) {
            const Device device = open_device(arguments.session, access);
            fmt::print("{}, access by {}\n", describe(device.capabilities()), access_name(device));
            tune_cases(device, chosen, arguments.table, arguments.again);
        }
        return;
    }
    const nlohmann::ordered_json json =
        arguments.kernels ? describe_kernels(arguments, chosen) : time_cases(arguments, chosen);
    if (!arguments.json.empty()) write_file(arguments.json, json.dump(2) + '\n');
}

}  // namespace
}  // namespace danaus::bench

int main(int argc, char** argv) {
    using danaus::bench::TimingMode;
    danaus::bench::Arguments arguments;
    CLI::App app{"Times every multiply of the library on a Vulkan device, beside OpenBLAS on the processor."};
    app.add_option("--filter", arguments.filter, "only cases whose name matches this regular expression")
        ->type_name("REGEX");
    app.add_option(
           "--suite", arguments.suite,
           "quick (a few minutes on a CPU; what runs when neither this nor --filter is given), full (quick "
           "and large shapes), sweep, or any other word that --list shows")
        ->type_name("WORD");
    app.add_option("--json", arguments.json, "write the results to this file")->type_name("FILE");
    app.add_flag("--csv", arguments.csv, "print comma-separated values instead of the table");
    app.add_flag("--list", arguments.list, "print the names of the cases");
    const auto kernels = app.add_flag(
        "--kernels", arguments.kernels,
        "time nothing, but print what the driver tells of the kernels that the cases use: registers, spills");
    app.add_option("--isa", arguments.isa,
                   "write intermediate and machine code of the kernels into this folder, where the driver "
                   "gives it")
        ->type_name("FOLDER")
        ->needs(kernels);
    app.add_option("--min-time", arguments.session.measure.min_time, "device seconds per case")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1e6));
    app.add_option("--repetitions", arguments.session.measure.repetitions,
                   "turns that device and OpenBLAS take, at least")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000000));
    const std::map<std::string, TimingMode> modes{{"submit", TimingMode::submit},
                                                  {"dispatch", TimingMode::dispatch},
                                                  {"timestamp", TimingMode::timestamp}};
    app.add_option(
           "--timing", arguments.session.measure.timing,
           "submit (host time of one operation, submitted alone and waited for), dispatch (host time of "
           "a batch submitted at once, per operation) or timestamp (device time of the dispatches); "
           "else timestamp where it can be had, dispatch elsewhere")
        ->transform(CLI::CheckedTransformer(modes));
    app.add_option("--device", arguments.session.device,
                   "index, UUID or part of a name; else DANAUS_DEVICE, else the best device");
    app.add_option("--access", arguments.access, "how kernels reach memory; else the device's default")
        ->check(CLI::IsMember({"address", "descriptor", "both"}));
    app.add_option("--tuning", arguments.session.tuning,
                   "choose kernels by this tuning table, which must be the device's own")
        ->type_name("FILE");
    CLI::App* const tune = app.add_subcommand(
        "tune", "measure every way to compute what the cases multiply, and which is the fastest");
    tune->fallthrough();
    tune->add_option("--table", arguments.table,
                     "go on with this tuning table, if it is there and the device's own, and write it")
        ->type_name("FILE");
    tune->add_flag("--again", arguments.again, "measure anew what the table knows already");
    CLI11_PARSE(app, argc, argv);
    arguments.tune = tune->parsed();
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
