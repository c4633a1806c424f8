// What stands behind danaus/tuning.hpp: keys of problems, what was measured of them, and the collecting
// recorder.
#pragma once

#include "monarch_fused.hpp"
#include "multiply.hpp"

#include <danaus/runtime/program.hpp>
#include <danaus/tuning.hpp>

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace danaus::detail {

/// What a choice depends on: multiplies of equal keys are computed in the same way.
struct ProblemKey {
    /// Which elements of a matrix are neighbours in memory.
    enum class Order : std::uint32_t { rows, columns, scattered, packed };
    /// The weight as it is stored: B 2:4 along the contraction, or across it, by rows or by tiles; A
    /// vector-wise sparse. Of a whole Monarch product, forward or transposed, the order of y's features too.
    enum class Weight : std::uint32_t {
        dense,
        sparse24,
        sparse24_across,
        tile24,
        tile24_across,
        vector,
        monarch,
        monarch_blocked,
        monarch_transposed,
        monarch_transposed_blocked
    };

    Access access = Access::address;
    DataType operands = DataType::f32, result = DataType::f32;
    Weight weight = Weight::dense;
    Order a = Order::rows, b = Order::rows, c = Order::rows;
    std::uint32_t panel = 0, depth = 0;  ///< of a packed A
    /// Rounded up to powers of two, but for a k of at most 64, which is exact: of so few steps a remainder is
    /// a large part.
    std::uint64_t m = 1, n = 1, k = 1, batch = 1;
    std::uint64_t n2 = 0, k2 = 0, batch2 = 0;  ///< of a Monarch product's second factor; 0: no such product

    [[nodiscard]] auto operator<=>(const ProblemKey&) const noexcept = default;
};

[[nodiscard]] ProblemKey key_of(const MultiplyProblem& problem, Access access);
/// a is x, b the first factor, c y; m counts the tokens of all batches.
[[nodiscard]] ProblemKey key_of(const MonarchProblem& problem, Access access);
/// "address f32>f32 dense a:rows b:columns c:rows m256 n1024 k1024 batch1"; of a Monarch product n, k and
/// batch of the second factor stand behind those of the first.
[[nodiscard]] std::string to_string(const ProblemKey& key);
/// The key whose text this is; nothing for any other text.
[[nodiscard]] std::optional<ProblemKey> key_from(std::string_view text);

/// A way to compute a problem.
struct Choice {
    Tile tile;
    bool packed = false;  ///< its weight is packed into scratch first; the tile is the packed problem's
    [[nodiscard]] bool operator==(const Choice&) const noexcept = default;
};
/// "direct 64x2 by 12, 8 lanes, packed"
[[nodiscard]] std::string to_string(const Choice& choice);

/// Samples that a chosen way must have.
inline constexpr std::size_t least_samples = 5;

struct Measured {
    /// Whether it stayed to the end, was dropped as hopeless, gave another result than rules' choice, or
    /// could not be recorded.
    enum class Outcome : std::uint32_t { kept, dropped, wrong, failed };
    Choice choice;
    Outcome outcome = Outcome::kept;
    std::vector<std::uint64_t> nanoseconds;
    [[nodiscard]] bool operator==(const Measured&) const noexcept = default;
    [[nodiscard]] double median() const;
};

struct Entry {
    std::vector<Measured> measured;
    std::size_t chosen = 0, rules = 0;  ///< among them
    [[nodiscard]] bool operator==(const Entry&) const noexcept = default;
};

/// Whose measurements these are.
struct DeviceIdentity {
    std::string name, driver;
    std::array<std::uint8_t, 16> device_uuid{}, driver_uuid{};
    std::uint32_t driver_version = 0, subgroup_size = 0;
    [[nodiscard]] bool operator==(const DeviceIdentity&) const noexcept = default;
};
[[nodiscard]] DeviceIdentity identity_of(const Capabilities& capabilities);

struct TuningData {
    DeviceIdentity device;
    std::map<ProblemKey, Entry> entries;
};

/// What the device's table says; nothing without a table, or where it does not know the problem.
[[nodiscard]] std::optional<Choice> tuned_choice(const Device& device, const ProblemKey& key);
[[nodiscard]] std::optional<Choice> tuned_choice(const Device& device, const MultiplyProblem& problem);
/// Publishes the device's table with `entries` in it, and returns it.
TuningTable add_to_tuning(const Device& device, std::map<ProblemKey, Entry> entries);

/// Measures the ways to compute `problem` on a stream of its own.
[[nodiscard]] Entry measure_problem(const Device& device, const MultiplyProblem& problem,
                                    const TuneOptions& options);
[[nodiscard]] Entry measure_problem(const Device& device, const MonarchProblem& problem,
                                    const TuneOptions& options);

/// Gathers the problems of the multiplies that are recorded into it, and records nothing. Memory is never
/// allocated.
class ProblemCollector final : public Recorder {
public:
    explicit ProblemCollector(const Device& device) : placeholders_(device) {}
    [[nodiscard]] Device device() const override { return placeholders_.device(); }
    void record(const Packet&) override {}
    void record(const Copy&) override {}
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override {
        return placeholders_.slot(std::to_string(allocations_++), bytes);
    }
    /// Keeps it unless one of the same key is here already.
    void add(const MultiplyProblem& problem);
    void add(const MonarchProblem& problem);

    struct Found {
        ProblemKey key;
        std::variant<MultiplyProblem, MonarchProblem> problem;
    };
    std::vector<Found> found;

private:
    void add(const ProblemKey& key, const std::variant<MultiplyProblem, MonarchProblem>& problem);
    ProgramRecorder placeholders_;
    std::uint64_t allocations_ = 0;
};

}  // namespace danaus::detail
