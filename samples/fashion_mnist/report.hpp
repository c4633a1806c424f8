// What the run shows and writes: progress, table, summary.json. The pictures are in plots.hpp.
#pragma once

#include "model.hpp"

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace sample {

/// A point of a curve: after `epoch` passes over the training images.
struct Point {
    double epoch = 0.0;
    double value = 0.0;
};

/// Test accuracies of a network that was trained dense and then projected, 0 … 1.
struct Projected {
    std::uint64_t steps = 0;  // behind the projection
    double before = 0.0, after = 0.0;
};

/// What came of one arm.
struct Result {
    std::string name;
    Size size;  // of the trained network
    std::uint64_t hidden_parameters = 0;
    double test_accuracy = 0.0;   // 0 … 1
    double ms_per_step = 0.0;     // median, wall clock
    double multiply_ratio = 0.0;  // time of dense ÷ time of this structure at the stated shape
    float decay = 0.0f;           // λ
    double dense_from = 0.0;      // epoch at which a dense finish begins; 0: none
    std::optional<Projected> projection;
    std::vector<Point> loss, accuracy, flips;
};

/// μ = flip rate ÷ that of the observed masks of a dense run should be in here.
inline constexpr double least_ratio = 0.60, most_ratio = 0.95;

/// How λ was chosen.
struct WarmUp {
    std::uint64_t steps = 0;       // of every trial
    double dense_flip_rate = 0.0;  // mean over its refreshes, as in the trials
    std::vector<danaus::DecayTrial> trials;
    danaus::DecayTrial chosen;
    bool settled = false;  // whether the chosen one's μ is where it should be, or only nearest to it

    [[nodiscard]] double ratio(const danaus::DecayTrial& trial) const {
        return trial.flip_rate / dense_flip_rate;
    }
};

/// One line: λ, μ, and the flip rates they come from.
std::string describe(const WarmUp& warm_up);

struct Summary {
    std::string device, driver, choice;
    std::string networks;        // shapes of the arms
    std::string multiply_shape;  // where multiply_ratio was measured
    std::uint64_t seed = 0, steps = 0, steps_per_epoch = 0;
    bool shortened = false;  // fewer steps than a full run: accuracies are not claims
    std::vector<Result> arms;
    std::optional<WarmUp> warm_up;
};

/// One line of progress: redrawn with a bar on a terminal, a plain line every few seconds otherwise.
class Progress {
public:
    Progress(std::string name, std::uint64_t total);
    void update(std::uint64_t done, const std::string& text);
    void finish(const std::string& text);

private:
    std::string name_;
    std::uint64_t total_;
    bool terminal_;
    std::chrono::steady_clock::time_point last_{};
};

void print_table(const Summary& summary);
/// Writes `folder`/summary.json, atomically. Throws std::runtime_error naming the file.
void write_summary(const Summary& summary, const std::filesystem::path& folder);

}  // namespace sample
