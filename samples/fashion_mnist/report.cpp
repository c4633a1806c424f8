#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace sample {

Progress::Progress(std::string name, std::uint64_t total)
    : name_(std::move(name)), total_(total), terminal_(isatty(STDOUT_FILENO) == 1) {}

void Progress::update(std::uint64_t done, const std::string& text) {
    const auto now = std::chrono::steady_clock::now();
    const auto pause = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(5000);
    if (now - last_ < pause) return;
    last_ = now;
    if (!terminal_) {
        fmt::print("  {:<20} {:>5} / {} steps  {}\n", name_, done, total_, text);
        std::fflush(stdout);
        return;
    }
    constexpr std::uint64_t width = 30;
    const std::uint64_t filled = total_ ? width * done / total_ : width;
    fmt::print("\r  {:<20} [{}{}] {:>3} %  {}\033[K", name_, std::string(filled, '#'),
               std::string(width - filled, '.'), total_ ? 100 * done / total_ : 100, text);
    std::fflush(stdout);
}

void Progress::finish(const std::string& text) {
    fmt::print("{}  {:<20} {}{}\n", terminal_ ? "\r" : "", name_, text, terminal_ ? "\033[K" : "");
    std::fflush(stdout);
}

std::string describe(const WarmUp& warm_up) {
    return fmt::format(
        "λ = {:g}, μ = {:.2f} ({:.2f} % of the mask flip per refresh, {:.2f} % in a dense run){}",
        warm_up.chosen.decay, warm_up.ratio(warm_up.chosen), 100.0 * warm_up.chosen.flip_rate,
        100.0 * warm_up.dense_flip_rate,
        warm_up.settled ? ""
                        : fmt::format("; no λ tried brings μ into {:.2f} to {:.2f}, this one nearest",
                                      least_ratio, most_ratio));
}

void print_table(const Summary& summary) {
    const auto thousands = [](std::uint64_t value) {
        const std::string digits = std::to_string(value);
        std::string text;
        for (std::size_t i = 0; i < digits.size(); ++i) {
            if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
            text += digits[i];
        }
        return text;
    };
    std::size_t width = 10;
    for (const Result& arm : summary.arms) width = std::max(width, arm.name.size());
    fmt::print("\n  {:<{}} {:>12} {:>9} {:>14} {:>13} {:>9} {:>8} {:>15}\n", "hidden", width, "parameters",
               "of dense", "multiply-adds", "weight bytes", "accuracy", "ms/step", "multiply vs");
    fmt::print("  {:<{}} {:>12} {:>9} {:>14} {:>13} {:>9} {:>8} {:>15}\n", "layers", width, "kept",
               "(hidden)", "per image", "", "on test", "(median)", "dense, speed");
    for (const Result& arm : summary.arms)
        fmt::print("  {:<{}} {:>12} {:>8.1f}% {:>14} {:>13} {:>8.2f}% {:>8.2f} {:>14.2f}x\n", arm.name, width,
                   thousands(arm.size.parameters),
                   100.0 * static_cast<double>(arm.hidden_parameters) /
                       static_cast<double>(dense_hidden_parameters(512)),
                   thousands(arm.size.multiply_adds), thousands(arm.size.bytes), 100.0 * arm.test_accuracy,
                   arm.ms_per_step, arm.multiply_ratio);
    for (const Result& arm : summary.arms)
        if (const auto& projection = arm.projection)
            fmt::print(
                "\n  {}: {:.2f} % as a dense network, {:.2f} % right after its projection, {:.2f} % after {} "
                "more steps",
                arm.name, 100.0 * projection->before, 100.0 * projection->after, 100.0 * arm.test_accuracy,
                projection->steps);
    fmt::print("\n  multiply vs dense: forward at {}, medians of interleaved runs on {}\n",
               summary.multiply_shape, summary.device);
    if (summary.warm_up) fmt::print("  decay of pruned weights: {}\n", describe(*summary.warm_up));
    if (summary.shortened)
        fmt::print("  {} steps instead of a full run: the accuracies above are no claim.\n", summary.steps);
}

namespace {

// 0.001f as 0.001: the shortest number that reads back as the same float.
double decimal(float value) {
    return std::stod(fmt::format("{}", value));
}

}  // namespace

void write_summary(const Summary& summary, const std::filesystem::path& folder) {
    nlohmann::ordered_json json;
    json["device"] = summary.device;
    json["driver"] = summary.driver;
    json["choice"] = summary.choice;
    json["seed"] = summary.seed;
    json["steps"] = summary.steps;
    json["shortened"] = summary.shortened;
    json["multiply_shape"] = summary.multiply_shape;
    json["arms"] = nlohmann::ordered_json::array();
    for (const Result& arm : summary.arms) {
        nlohmann::ordered_json item;
        item["name"] = arm.name;
        item["parameters"] = arm.size.parameters;
        item["hidden_parameters"] = arm.hidden_parameters;
        item["multiply_adds"] = arm.size.multiply_adds;
        item["weight_bytes"] = arm.size.bytes;
        item["test_accuracy"] = arm.test_accuracy;
        if (const auto& projection = arm.projection)
            item["projection"] = {{"accuracy_before", projection->before},
                                  {"accuracy_after", projection->after},
                                  {"steps_behind_it", projection->steps}};
        item["ms_per_step"] = arm.ms_per_step;
        item["multiply_vs_dense"] = arm.multiply_ratio;
        item["decay"] = decimal(arm.decay);
        for (const auto& [key, curve] : {std::pair{"loss", &arm.loss}, std::pair{"accuracy", &arm.accuracy},
                                         std::pair{"flip_rate", &arm.flips}})
            for (const Point& point : *curve) item[key].push_back({point.epoch, point.value});
        json["arms"].push_back(item);
    }
    if (const auto& warm_up = summary.warm_up) {
        auto& item = json["warm_up"];
        item["steps"] = warm_up->steps;
        item["dense_flip_rate"] = warm_up->dense_flip_rate;
        for (const danaus::DecayTrial& trial : warm_up->trials)
            item["trials"].push_back({{"decay", decimal(trial.decay)},
                                      {"flip_rate", trial.flip_rate},
                                      {"mu", warm_up->ratio(trial)}});
        item["decay"] = decimal(warm_up->chosen.decay);
        item["mu"] = warm_up->ratio(warm_up->chosen);
        item["settled"] = warm_up->settled;
    }
    const auto path = folder / "summary.json", temporary = folder / "summary.json.tmp";
    std::ofstream file(temporary);
    file << json.dump(2) << '\n';
    file.close();
    std::error_code error;
    if (file) std::filesystem::rename(temporary, path, error);
    if (!file || error) throw std::runtime_error(path.string() + ": cannot be written");
}

}  // namespace sample
