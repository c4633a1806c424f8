// danaus-bench: times every multiply of the library on a Vulkan device, beside OpenBLAS on the processor.
#include "host.hpp"
#include "revision.hpp"
#include "session.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
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
    bool csv = false, list = false;
    SessionOptions session;
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
             {{"suite", arguments.suite},
              {"filter", arguments.filter},
              {"timing", to_string(arguments.session.measure.timing)},
              {"min_time", arguments.session.measure.min_time},
              {"repetitions", arguments.session.measure.repetitions}}},
            {"rates", nlohmann::ordered_json::object()},
            {"skipped", nlohmann::ordered_json::array()},
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

void run(const Arguments& arguments) {
    const std::vector<Case> cases = all_cases();
    const std::vector<Case> chosen = selected(arguments, cases);
    if (arguments.list) {
        for (const Case& one : chosen) fmt::print("{}  ({})\n", one.name(), fmt::join(one.tags, ", "));
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
    app.add_option(
           "--suite", arguments.suite,
           "quick (a few minutes on a CPU; what runs when neither this nor --filter is given), full (quick "
           "and large shapes), sweep, or any other word that --list shows")
        ->type_name("WORD");
    app.add_option("--json", arguments.json, "write the results to this file")->type_name("FILE");
    app.add_flag("--csv", arguments.csv, "print comma-separated values instead of the table");
    app.add_flag("--list", arguments.list, "print the names of the cases");
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
