#include "tune.hpp"

#include <algorithm>
#include <cstdio>

#include <fmt/format.h>

namespace danaus::bench {
namespace {

void print(const TunedProblem& one) {
    fmt::print("{}\n", one.problem);
    if (!one.skipped.empty()) {
        fmt::print("  not measured: {}\n", one.skipped);
    } else {
        fmt::print("  rules {:>10.3f} us  {}\n", one.rules_nanoseconds / 1e3, one.rules);
        fmt::print("  best  {:>10.3f} us  {}\n", one.best_nanoseconds / 1e3, one.best);
        fmt::print("  ratio {:>10.3f}     {} ways, {} dropped early{}\n",
                   one.rules_nanoseconds / one.best_nanoseconds, one.candidates, one.dropped,
                   one.refused ? fmt::format(", {} refused", one.refused) : "");
    }
    std::fflush(stdout);
}

}  // namespace

void tune_cases(const Device& device, const std::vector<Case>& cases, const std::filesystem::path& file,
                bool again) {
    if (!file.empty() && std::filesystem::exists(file)) use_tuning(device, load_tuning(file, device));
    TuneOptions options;
    options.again = again;
    std::vector<std::string> seen;
    options.on_problem = [&](const TunedProblem& one) {
        // Cases share problems; what the table knew before was said by nobody yet.
        const bool first = std::find(seen.begin(), seen.end(), one.problem) == seen.end();
        if (first) print(one);
        if (first) seen.push_back(one.problem);
    };
    for (const Case& one : cases) {
        try {
            Stream stream(device);
            const Job job = one.prepare(stream);
            static_cast<void>(tune(device, job.record, options));
            if (!file.empty()) save_tuning(file, tuning_in_use(device));
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::out_of_memory) throw;
            fmt::print(stderr, "danaus-bench: {} is left out: {}\n", one.name(), error.what());
        }
    }
}

}  // namespace danaus::bench
