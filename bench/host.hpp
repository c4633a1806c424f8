// What the machine around the device is, and whether it is quiet.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace danaus::bench {

/// Makes the folder too. Throws Error(file) naming the file.
void write_file(const std::filesystem::path& path, std::string_view data);

/// The processor as the system names it; "" where it does not say.
[[nodiscard]] std::string cpu_name();
/// Threads that this process may run at once.
[[nodiscard]] unsigned cpu_threads();
/// The system's load average over a minute, negative where it has none.
[[nodiscard]] double load_average();
/// "2026-01-31T12:00:00Z".
[[nodiscard]] std::string utc_date();

/// Returns once the process has stopped using the processor: threads of OpenBLAS spin for a while after a
/// call, and would slow down what is measured next.
void settle();

}  // namespace danaus::bench
