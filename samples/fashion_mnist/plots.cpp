#include "plots.hpp"

#include "arms.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>

namespace sample {
namespace {

using Curve = std::vector<Point>;

// A gnuplot script: blocks of numbers, then panels side by side.
class Picture {
public:
    Picture(std::string name, std::string title, int panels)
        : name_(std::move(name)), title_(std::move(title)), panels_(panels) {}

    // Settings of the next panel.
    void set(const std::string& settings) { body_ += settings + "\n"; }
    void curve(const Curve& points, double scale, const std::string& style, std::string_view title) {
        blocks_ += fmt::format("$data{} << EOD\n", count_);
        for (const Point& point : points) blocks_ += fmt::format("{} {}\n", point.epoch, scale * point.value);
        blocks_ += "EOD\n";
        curves_ += fmt::format("{}$data{} using 1:2 with {} title '{}'",
                               curves_.empty() ? "plot " : ", \\\n     ", count_++, style, title);
    }
    void end_panel() {
        body_ += curves_ + "\n";
        curves_.clear();
    }

    // Draws NAME.png and NAME.svg, and leaves NAME.gp. Returns why not, or "".
    [[nodiscard]] std::string draw(const std::filesystem::path& folder,
                                   std::vector<std::filesystem::path>& drawn) const {
        const auto script = folder / (name_ + ".gp");
        std::ofstream out(script);
        out << blocks_;
        const int width = 600 * panels_;
        for (const auto& [ending, terminal] :
             {std::pair{"png", fmt::format("pngcairo size {},520 font 'sans,11'", width)},
              std::pair{"svg", fmt::format("svg size {},520 font 'sans,13' background '#ffffff'", width)}})
            out << fmt::format(
                "reset\nset terminal {}\nset output '{}.{}'\nset grid lt 1 lw 1 lc rgb '#dddddd'\n"
                "set border 3\nset tics nomirror\nset multiplot layout 1,{} title \"{}\" noenhanced\n{}"
                "unset multiplot\n",
                terminal, name_, ending, panels_, title_, body_);
        out.close();
        if (!out) return script.string() + " cannot be written";
        const auto png = folder / (name_ + ".png");
        std::string quoted = "'";
        for (const char c : folder.string()) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
        const std::string command = fmt::format("cd {0}' && gnuplot {1}.gp >{1}.log 2>&1", quoted, name_);
        if (std::system(command.c_str()) != 0 || !std::filesystem::exists(png))
            return fmt::format("gnuplot is missing or failed (see {})", (folder / (name_ + ".log")).string());
        drawn.push_back(png);
        return {};
    }

private:
    std::string name_, title_, blocks_, body_, curves_;
    int panels_, count_ = 0;
};

// An arm looks the same in every picture and every run. Until it changes its structure an arm is the one
// before it: dashes let both be seen.
std::string look(std::string_view arm, bool points) {
    static constexpr std::array colours{"#4477aa", "#ee6677", "#228833", "#aa3377", "#ccbb44", "#44bbee",
                                        "#999999", "#ee8833", "#332288", "#222222", "#bb9977"};
    std::size_t i = 0;
    while (i < all_arms().size() && all_arms()[i].name != arm) ++i;
    const bool dashed =
        i < all_arms().size() && (all_arms()[i].dense_fraction > 0.0 || all_arms()[i].fine_tuning > 0.0);
    return fmt::format("{} lw 2 lc rgb '{}'{}",
                       points ? dashed ? "linespoints pt 6" : "linespoints pt 7" : "lines",
                       colours[i % colours.size()], dashed ? " dt (8,8)" : "");
}

std::string draw_curves(const Summary& summary, const std::filesystem::path& folder,
                        std::vector<std::filesystem::path>& drawn) {
    Picture picture("curves", fmt::format("Fashion-MNIST, {}, {}", summary.networks, summary.device), 2);
    picture.set(
        "set key top right\nset xlabel 'epoch'\nset title 'training loss (mean of the steps before)'\n"
        "set logscale y\nset autoscale yfix\n"
        "set ytics (0.1,0.15,0.2,0.25,0.3,0.4,0.5,0.6,0.8,1,1.5,2)");
    for (const Result& arm : summary.arms) picture.curve(arm.loss, 1.0, look(arm.name, false), arm.name);
    picture.end_panel();
    picture.set(
        "set key bottom right\nset title 'test accuracy, %'\n"
        "unset logscale y\nset autoscale y\nset ytics auto");
    for (const Result& arm : summary.arms) picture.curve(arm.accuracy, 100.0, look(arm.name, true), arm.name);
    picture.end_panel();
    return picture.draw(folder, drawn);
}

void add_warm_up(Picture& picture, const WarmUp& warm_up) {
    Curve ratios;
    std::string tics;
    double highest = 1.1;
    for (const danaus::DecayTrial& trial : warm_up.trials) {
        ratios.push_back({static_cast<double>(trial.decay), warm_up.ratio(trial)});
        tics += fmt::format("{}{:g}", tics.empty() ? "" : ", ", trial.decay);
        highest = std::max(highest, ratios.back().value);
    }
    picture.set(fmt::format(
        "unset label\nunset arrow\nunset logscale\nset logscale x\nset format '%g'\n"
        "set xrange [{:g}:{:g}]\nset xtics ({})\nset yrange [0:{:g}]\n"
        "set xlabel 'decay factor λ'\nset ylabel 'μ'\nset key bottom left\n"
        "set title 'flips in a warm-up of {} steps ÷ those of a dense one'",
        ratios.front().epoch / 1.4, ratios.back().epoch * 1.4, tics, highest + 0.1, warm_up.steps));
    picture.set(
        fmt::format("set object rectangle from graph 0, first {0} to graph 1, first {1} behind "
                    "fc rgb '#e3eed8' fs solid noborder\n"
                    "set label 'masks should settle like this' at graph 0.03, first {0} "
                    "offset 0,0.8 tc rgb '#5a7d3a'\n"
                    "set arrow from graph 0, first 1 to graph 1, first 1 nohead back dt 3 lw 2 "
                    "lc rgb '#999999'\n"
                    "set label 'as in the dense run ' at graph 1, first 1 right offset 0,0.7 "
                    "tc rgb '#666666'",
                    least_ratio, most_ratio));
    picture.curve(ratios, 1.0, look("transposable", true), "tried");
    picture.curve({{static_cast<double>(warm_up.chosen.decay), warm_up.ratio(warm_up.chosen)}}, 1.0,
                  "points pt 6 ps 2.5 lw 2 lc rgb '#222222'",
                  fmt::format("chosen: λ = {:g}", warm_up.chosen.decay));
    picture.end_panel();
}

std::string draw_flips(const Summary& summary, const std::filesystem::path& folder,
                       std::vector<std::filesystem::path>& drawn) {
    Picture picture("flips", fmt::format("Transposable 2:4 masks on Fashion-MNIST, {}", summary.device),
                    summary.warm_up ? 2 : 1);
    double lowest = 1.0, highest = 10.0;  // per cent: at least one decade
    for (const Result& arm : summary.arms) {
        const Hidden& hidden = find_arm(arm.name).hidden;
        if (!hidden.transposable && !hidden.observed) continue;
        for (const Point& point : arm.flips) {
            if (point.value > 0.0) lowest = std::min(lowest, 100.0 * point.value);
            highest = std::max(highest, 100.0 * point.value);
        }
        if (arm.dense_from > 0.0)
            picture.set(
                fmt::format("set arrow from {0}, graph 0 to {0}, graph 1 nohead back dt 3 lw 2 lc rgb "
                            "'#999999'\nset label '{1} turns dense ' at {0}, graph 0.97 right "
                            "tc rgb '#666666'",
                            arm.dense_from, arm.name));
        picture.curve(arm.flips, 100.0, look(arm.name, true) + " ps 0.4",
                      hidden.observed ? "dense, mask only observed" : arm.name);
    }
    picture.set(
        fmt::format("set key bottom left\nset xlabel 'epoch'\nset xrange [0:*]\nset logscale y\n"
                    "set format y '%g'\nset yrange [{:g}:{:g}]\n"
                    "set title 'flip rate: mask entries that change at a refresh, %'",
                    lowest / 1.3, highest * 1.3));
    picture.end_panel();
    if (summary.warm_up) add_warm_up(picture, *summary.warm_up);
    return picture.draw(folder, drawn);
}

}  // namespace

std::string draw(const Summary& summary, const std::filesystem::path& folder,
                 std::vector<std::filesystem::path>& drawn) {
    // What an earlier run left here would be taken for this one's.
    std::error_code error;
    for (const char* name : {"curves", "flips"})
        for (const char* ending : {".png", ".svg", ".gp", ".log"})
            std::filesystem::remove(folder / (std::string(name) + ending), error);
    const std::string problem = draw_curves(summary, folder, drawn);
    const bool masks = std::any_of(summary.arms.begin(), summary.arms.end(), [](const Result& arm) {
        return find_arm(arm.name).hidden.transposable && !arm.flips.empty();
    });
    return problem.empty() && masks ? draw_flips(summary, folder, drawn) : problem;
}

}  // namespace sample
