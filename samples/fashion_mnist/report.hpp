// What the run shows and writes: progress, table, summary.json, curves.png.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace sample {

/// A point of a curve: after `step` steps.
struct Point {
    double epoch = 0.0;
    double value = 0.0;
};

/// One arm of the experiment: a layer type and what came of it.
struct Arm {
    std::string name;              // "dense", "monarch", "sparse24"
    std::uint64_t parameters = 0;  // kept in the whole network
    std::uint64_t hidden_parameters = 0;
    std::uint64_t multiply_adds = 0;  // per image, forward
    std::uint64_t weight_bytes = 0;   // as the multiplies read them
    double test_accuracy = 0.0;       // 0 … 1
    double ms_per_step = 0.0;         // median, wall clock
    double multiply_ratio = 0.0;      // time of dense ÷ time of this structure at the stated shape
    std::vector<Point> loss, accuracy;
};

struct Summary {
    std::string device, driver, choice;
    std::string multiply_shape;  // where multiply_ratio was measured
    std::uint64_t steps = 0, steps_per_epoch = 0;
    bool shortened = false;  // fewer steps than a full run: accuracies are not claims
    std::vector<Arm> arms;
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
/// Draws `folder`/curves.png with gnuplot, and leaves the numbers beside it. Returns why not, or "".
std::string draw_curves(const Summary& summary, const std::filesystem::path& folder);

}  // namespace sample
