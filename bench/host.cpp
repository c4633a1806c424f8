#include "host.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

#include "platform.hpp"

#include <danaus/runtime/error.hpp>

#include <fmt/format.h>

namespace danaus::bench {

std::string cpu_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with("model name")) continue;
        const std::size_t begin = line.find_first_not_of(" \t", line.find(':') + 1);
        return begin == std::string::npos ? "" : line.substr(begin);
    }
    return "";
}

unsigned cpu_threads() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) return static_cast<unsigned>(CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

double load_average() {
    double load = -1.0;
    std::ifstream("/proc/loadavg") >> load;
    return load;
}

void write_file(const std::filesystem::path& path, std::string_view data) {
    std::error_code ignored;  // what cannot be made cannot be written to either
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path(), ignored);
    std::ofstream file(path, std::ios::binary);
    file << data;
    file.close();
    if (!file) throw Error(ErrorKind::file, fmt::format("{} cannot be written", path.string()));
}

std::string utc_date() {
    const std::time_t now = std::time(nullptr);
    char text[32];
    std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
    return text;
}

void settle() {
    for (int i = 0; i < 100; ++i) {
        const double before = platform::processor_seconds();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (platform::processor_seconds() - before < 1e-4) return;
    }
}

}  // namespace danaus::bench
