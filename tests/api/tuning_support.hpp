// Tables made by hand, for the tests of tuning.
#pragma once

#include "plain_problem.hpp"
#include "support/device.hpp"
#include "tuning.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace danaus::test {

/// A device of its own: tables do not reach the other tests.
inline Device tuned_device() {
    return Device::open(device_options());
}

/// An entry whose choice is `choice`, as if rules' `rules` had been slower.
inline detail::Entry entry_of(const detail::Choice& rules, const detail::Choice& choice) {
    detail::Entry entry;
    entry.measured.push_back({rules, detail::Measured::Outcome::kept, {9, 9, 8, 9, 9}});
    entry.measured.push_back({choice, detail::Measured::Outcome::kept, {5, 4, 5, 6, 5}});
    entry.measured.push_back({choice, detail::Measured::Outcome::dropped, {50, 51}});
    entry.chosen = 1;
    return entry;
}

inline TuningTable table_of(const Device& device, std::map<detail::ProblemKey, detail::Entry> entries) {
    auto data = std::make_shared<detail::TuningData>();
    data->device = detail::identity_of(device.capabilities());
    data->entries = std::move(entries);
    return TuningTable(std::move(data));
}

/// A table of one problem, whose choice is `choice`.
inline TuningTable table_of(const Device& device, const detail::MultiplyProblem& problem,
                            const detail::Choice& choice) {
    return table_of(device, {{detail::key_of(problem, device.access()), entry_of({}, choice)}});
}

/// Kernels that are recorded, and nothing done.
class KernelList final : public Recorder {
public:
    explicit KernelList(const Device& device) : memory_(device) {}
    [[nodiscard]] Device device() const override { return memory_.device(); }
    void record(const Packet& packet) override { kernels.push_back(packet.kernel); }
    void record(const Copy&) override {}
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return memory_.allocate(bytes); }
    std::vector<kernels::Kernel> kernels;

private:
    ProgramRecorder memory_;
};

}  // namespace danaus::test
