// Tables of measured choices, and the one that a device uses.
#include "tuning.hpp"

#include "check.hpp"
#include "pack.hpp"

#include <danaus/runtime/layers.hpp>

#include <algorithm>

namespace danaus {
namespace detail {
namespace {

std::shared_ptr<const TuningData> data_in_use(const Device& device) {
    return std::static_pointer_cast<const TuningData>(runtime::attachment(device));
}

std::string layout_text(const Tile& tile) {
    return tile.exchanged ? ", exchanged" : "";
}

}  // namespace

std::string to_string(const Choice& choice) {
    const Tile& tile = choice.tile;
    if (tile.family == Family::factors) return "one factor after the other";
    return fmt::format("{} {}x{} by {}, {} lanes{}{}", to_string(tile.family), tile.rows, tile.columns,
                       tile.depth, tile.lanes, layout_text(tile), choice.packed ? ", packed" : "");
}

double Measured::median() const {
    if (nanoseconds.empty()) return 0.0;
    std::vector<std::uint64_t> sorted = nanoseconds;
    std::sort(sorted.begin(), sorted.end());
    const std::size_t middle = sorted.size() / 2;
    const auto at = [&](std::size_t i) { return static_cast<double>(sorted[i]); };
    return sorted.size() % 2 ? at(middle) : (at(middle - 1) + at(middle)) / 2.0;
}

DeviceIdentity identity_of(const Capabilities& c) {
    return {c.name,           c.driver_name + ' ' + c.driver_info,
            c.device_uuid,    c.driver_uuid,
            c.driver_version, c.subgroup_size};
}

std::optional<Choice> tuned_choice(const Device& device, const ProblemKey& key) {
    const auto table = data_in_use(device);
    if (!table) return std::nullopt;
    const auto found = table->entries.find(key);
    if (found == table->entries.end()) return std::nullopt;
    return found->second.measured[found->second.chosen].choice;
}

std::optional<Choice> tuned_choice(const Device& device, const MultiplyProblem& problem) {
    const auto choice = tuned_choice(device, key_of(problem, device.access()));
    // A problem of the same key may have strides that cannot be packed.
    if (choice && choice->packed && !may_pack(problem, device.capabilities(), device.access()))
        return std::nullopt;
    return choice;
}

TuningTable add_to_tuning(const Device& device, std::map<ProblemKey, Entry> entries) {
    for (;;) {
        const auto before = data_in_use(device);
        auto after = before ? std::make_shared<TuningData>(*before) : std::make_shared<TuningData>();
        after->device = identity_of(device.capabilities());
        for (const auto& [key, entry] : entries) after->entries.insert_or_assign(key, entry);
        // Another thread may have published in between.
        if (runtime::attach(device, before, after)) return TuningTable(std::move(after));
    }
}

}  // namespace detail

using namespace detail;

std::size_t TuningTable::size() const noexcept {
    return data_ ? data_->entries.size() : 0;
}

std::vector<std::pair<std::string, std::string>> TuningTable::choices() const {
    std::vector<std::pair<std::string, std::string>> list;
    if (data_)
        for (const auto& [key, entry] : data_->entries)
            list.emplace_back(to_string(key), to_string(entry.measured[entry.chosen].choice));
    return list;
}

bool TuningTable::operator==(const TuningTable& other) const noexcept {
    if (size() == 0 || other.size() == 0) return size() == other.size();
    return data_ == other.data_ ||
           (data_->device == other.data_->device && data_->entries == other.data_->entries);
}

void use_tuning(const Device& device, const TuningTable& table) {
    require(static_cast<bool>(device), "use_tuning: a null device handle");
    const std::shared_ptr<const TuningData> next = table.size() ? table.data() : nullptr;
    require(!next || next->device == identity_of(device.capabilities()),
            "use_tuning: a table of {} ({}), the device is {}", next ? next->device.name : "",
            next ? next->device.driver : "", describe(device.capabilities()));
    while (!runtime::attach(device, runtime::attachment(device), next)) {
    }
}

TuningTable tuning_in_use(const Device& device) {
    require(static_cast<bool>(device), "tuning_in_use: a null device handle");
    return TuningTable(data_in_use(device));
}

}  // namespace danaus
