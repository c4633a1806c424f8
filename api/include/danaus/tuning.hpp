// Tuning: which kernel computes a multiply fastest is measured on the device and remembered.
//
// Without a table, rules choose each multiply's kernel; they are good where they were made. A table replaces
// rules for the problems that it knows:
//
//   TuneResult result = tune(device, [&](Recorder& r) { static_cast<void>(matmul(r, x, w)); });
//   save_tuning("device.json", result.table);
//   …  another day
//   use_tuning(device, load_tuning("device.json", device));
//
// Opening a device reads no table: a program names the one it wants. Tables of some devices are installed in
// share/danaus/tuning. Recording never measures: it looks into the table that is in use at that moment. What
// was recorded before, and Programs until they are built anew, stay as they are; so do the size of a
// Workspace and prewarmed kernels, which are to be asked for anew after a change of tables.
//
// A problem is known by types, layout and size classes (sizes rounded up to powers of two, but for sums of at
// most 64 terms), and by how kernels reach memory; epilogues do not count. Of a Monarch product each factor
// is a problem, and the whole is another: one dispatch or two. A tile that is none for a problem of the same
// class leaves the kernel to rules; whether to pack stays the table's.
#pragma once

#include <danaus/runtime/device.hpp>
#include <danaus/runtime/recorder.hpp>

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace danaus {

namespace detail {
struct TuningData;
}

/// What was measured and chosen for problems on one device with one driver. A value that never changes;
/// copies share it.
class DANAUS_EXPORT TuningTable {
public:
    /// Knows no problem.
    TuningTable() = default;
    /// Problems that it knows.
    [[nodiscard]] std::size_t size() const noexcept;
    /// Each of them, and what was chosen, as text for people, in order.
    [[nodiscard]] std::vector<std::pair<std::string, std::string>> choices() const;
    /// Same device, problems, measurements and choices.
    [[nodiscard]] bool operator==(const TuningTable& other) const noexcept;

    /// For the library's own layers.
    [[nodiscard]] const std::shared_ptr<const detail::TuningData>& data() const noexcept { return data_; }
    explicit TuningTable(std::shared_ptr<const detail::TuningData> data) : data_(std::move(data)) {}

private:
    std::shared_ptr<const detail::TuningData> data_;
};

/// From now on, multiplies recorded for `device` are chosen by `table`; an empty one means by rules alone.
/// Any thread may call it at any time, while others record too. Throws Error(invalid_argument) for a table of
/// another device or driver.
DANAUS_EXPORT void use_tuning(const Device& device, const TuningTable& table);
/// The table in use.
[[nodiscard]] DANAUS_EXPORT TuningTable tuning_in_use(const Device& device);

/// Reads a table that save_tuning() wrote on this device with this driver. Throws Error(file) saying why it
/// cannot be used: missing, damaged, of another format, device or driver (any other version).
[[nodiscard]] DANAUS_EXPORT TuningTable read_tuning(const std::filesystem::path& file, const Device& device);
/// The same for programs that run without it too: an empty table and a warning (DeviceOptions::on_message).
[[nodiscard]] DANAUS_EXPORT TuningTable load_tuning(const std::filesystem::path& file, const Device& device);
/// Writes the table, all measurements in it, as JSON. Readers see the file before or the new one, never a
/// part. Throws Error(file) when it cannot be written.
DANAUS_EXPORT void save_tuning(const std::filesystem::path& file, const TuningTable& table);

/// What came of one problem.
struct TunedProblem {
    std::string problem;  ///< types, layout and size classes
    std::string skipped;  ///< why nothing was measured; the rest is empty then
    std::string rules,
        best;  ///< what rules choose, and what was chosen; equal where nothing is faster by 2 %
    double rules_nanoseconds = 0.0, best_nanoseconds = 0.0;  ///< medians
    std::size_t candidates = 0;                              ///< ways to compute it
    std::size_t dropped = 0;                                 ///< soon known to be 1.3 times too slow
    std::size_t refused = 0;  ///< that gave another result than rules' choice, or could not be recorded
};

struct TuneOptions {
    unsigned rounds = 7;   ///< samples of each way that is not dropped, at least 5
    double seconds = 3.0;  ///< of one problem; past them no round is begun but the first 5
    bool again = false;    ///< also what the table in use knows already
    std::function<void(const TunedProblem&)> on_problem;  ///< called after each
};

struct TuneResult {
    TuningTable table;
    std::vector<TunedProblem> problems;
};

/// Measures the multiplies that `record` records, each in every way that the device has, and puts the table
/// in use with what was found added to it. `record` is called once with a recorder that keeps nothing: its
/// own tensors are not touched. Buffers, as large as the operands, random contents and the stream are
/// tune()'s own. Ways take turns, so that a busy neighbour meets all; each one's result is compared with that
/// of rules' choice first, and the fastest must beat rules' choice once more, in samples of the two alone.
/// Takes seconds for each problem, and wants a device that does little else. A problem that the device cannot
/// compute, or has no memory for, is skipped. Throws Error(invalid_argument) for fewer than 5 rounds.
DANAUS_EXPORT TuneResult tune(const Device& device, const std::function<void(Recorder&)>& record,
                              const TuneOptions& options = {});

}  // namespace danaus
