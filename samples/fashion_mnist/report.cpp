#include "report.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
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
        fmt::print("  {:<9} {:>5} / {} steps  {}\n", name_, done, total_, text);
        std::fflush(stdout);
        return;
    }
    constexpr std::uint64_t width = 30;
    const std::uint64_t filled = total_ ? width * done / total_ : width;
    fmt::print("\r  {:<9} [{}{}] {:>3} %  {}\033[K", name_, std::string(filled, '#'),
               std::string(width - filled, '.'), total_ ? 100 * done / total_ : 100, text);
    std::fflush(stdout);
}

void Progress::finish(const std::string& text) {
    fmt::print("{}  {:<9} {}{}\n", terminal_ ? "\r" : "", name_, text, terminal_ ? "\033[K" : "");
    std::fflush(stdout);
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
    fmt::print("\n  {:<10} {:>12} {:>9} {:>14} {:>13} {:>9} {:>8} {:>15}\n", "hidden", "parameters",
               "of dense", "multiply-adds", "weight bytes", "accuracy", "ms/step", "multiply vs");
    fmt::print("  {:<10} {:>12} {:>9} {:>14} {:>13} {:>9} {:>8} {:>15}\n", "layers", "kept", "(hidden)",
               "per image", "", "on test", "(median)", "dense, speed");
    for (const Arm& arm : summary.arms) {
        const double share =
            static_cast<double>(arm.hidden_parameters) /
            static_cast<double>(std::max<std::uint64_t>(1, summary.arms.front().hidden_parameters));
        fmt::print("  {:<10} {:>12} {:>8.1f}% {:>14} {:>13} {:>8.2f}% {:>8.2f} {:>14.2f}x\n", arm.name,
                   thousands(arm.parameters), 100.0 * share, thousands(arm.multiply_adds),
                   thousands(arm.weight_bytes), 100.0 * arm.test_accuracy, arm.ms_per_step,
                   arm.multiply_ratio);
    }
    fmt::print("\n  multiply vs dense: forward at {}, medians of interleaved runs on {}\n",
               summary.multiply_shape, summary.device);
    if (summary.shortened)
        fmt::print("  {} steps instead of a full run: the accuracies above are no claim.\n", summary.steps);
}

void write_summary(const Summary& summary, const std::filesystem::path& folder) {
    nlohmann::ordered_json json;
    json["device"] = summary.device;
    json["driver"] = summary.driver;
    json["choice"] = summary.choice;
    json["steps"] = summary.steps;
    json["shortened"] = summary.shortened;
    json["multiply_shape"] = summary.multiply_shape;
    json["arms"] = nlohmann::ordered_json::array();
    for (const Arm& arm : summary.arms) {
        nlohmann::ordered_json item;
        item["name"] = arm.name;
        item["parameters"] = arm.parameters;
        item["hidden_parameters"] = arm.hidden_parameters;
        item["multiply_adds"] = arm.multiply_adds;
        item["weight_bytes"] = arm.weight_bytes;
        item["test_accuracy"] = arm.test_accuracy;
        item["ms_per_step"] = arm.ms_per_step;
        item["multiply_vs_dense"] = arm.multiply_ratio;
        for (const auto& [key, curve] : {std::pair{"loss", &arm.loss}, std::pair{"accuracy", &arm.accuracy}})
            for (const Point& point : *curve) item[key].push_back({point.epoch, point.value});
        json["arms"].push_back(item);
    }
    const auto path = folder / "summary.json", temporary = folder / "summary.json.tmp";
    std::ofstream file(temporary);
    file << json.dump(2) << '\n';
    file.close();
    std::error_code error;
    if (file) std::filesystem::rename(temporary, path, error);
    if (!file || error) throw std::runtime_error(path.string() + ": cannot be written");
}

namespace {

// Rows of one curve as gnuplot's inline data.
void write_block(std::ofstream& out, const std::string& name, const std::vector<Point>& curve) {
    out << "$" << name << " << EOD\n";
    for (const Point& point : curve) out << fmt::format("{} {}\n", point.epoch, point.value);
    out << "EOD\n";
}

}  // namespace

std::string draw_curves(const Summary& summary, const std::filesystem::path& folder) {
    const auto script = folder / "curves.gp";
    std::ofstream out(script);
    for (std::size_t i = 0; i < summary.arms.size(); ++i) {
        write_block(out, fmt::format("loss{}", i), summary.arms[i].loss);
        std::vector<Point> percent = summary.arms[i].accuracy;
        for (Point& point : percent) point.value *= 100.0;
        write_block(out, fmt::format("accuracy{}", i), percent);
    }
    const auto plots = [&](const char* curve, const char* style) {
        std::string text;
        for (std::size_t i = 0; i < summary.arms.size(); ++i)
            text += fmt::format("{} ${}{} using 1:2 with {} lw 2 lc rgb '{}' title '{}'", i ? "," : "plot",
                                curve, i, style, std::array{"#4477aa", "#ee6677", "#228833"}[i % 3],
                                summary.arms[i].name);
        return text;
    };
    out << "set terminal pngcairo size 1200,520 font 'sans,11'\n"
        << "set output 'curves.png'\n"
        << "set grid lc rgb '#dddddd'\nset key top right\nset xlabel 'epoch'\n"
        << fmt::format("set multiplot layout 1,2 title \"Fashion-MNIST, 784-512-512-10, {}\" noenhanced\n",
                       summary.device)
        << "set title 'training loss (mean of the steps before)'\n"
        << plots("loss", "lines") << "\n"
        << "set title 'test accuracy, %'\nset key bottom right\n"
        << plots("accuracy", "linespoints pt 7") << "\nunset multiplot\n";
    out.close();
    if (!out) return script.string() + " cannot be written";
    std::error_code error;
    std::filesystem::remove(folder / "curves.png", error);
    std::string quoted = "'";
    for (const char c : folder.string()) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
    const std::string command = fmt::format("cd {}' && gnuplot curves.gp >curves.log 2>&1", quoted);
    if (std::system(command.c_str()) != 0 || !std::filesystem::exists(folder / "curves.png"))
        return fmt::format("gnuplot is missing or failed (see {})", (folder / "curves.log").string());
    return {};
}

}  // namespace sample
