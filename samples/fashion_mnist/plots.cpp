#include "plots.hpp"

#include "arms.hpp"

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
        curves_ += fmt::format("{}$data{} using 1:2 with {} {}", curves_.empty() ? "plot " : ", \\\n     ",
                               count_++, style, title.empty() ? "notitle" : fmt::format("title '{}'", title));
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
        std::error_code error;
        std::filesystem::remove(png, error);
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

// An arm looks the same in every picture and every run. Until its end a dense finish is the arm before it:
// dashes let both be seen.
std::string look(std::string_view arm, const char* with, int point = 7) {
    static constexpr std::array colours{"#4477aa", "#ee6677", "#228833", "#aa3377",
                                        "#ccbb44", "#44bbee", "#999999"};
    std::size_t i = 0;
    while (i < all_arms().size() && all_arms()[i].name != arm) ++i;
    const bool dashed = i < all_arms().size() && all_arms()[i].dense_fraction > 0.0;
    return fmt::format("{} lw 2 pt {} lc rgb '{}'{}", with, dashed ? 6 : point, colours[i % colours.size()],
                       dashed ? " dt (8,8)" : "");
}

std::string draw_curves(const Summary& summary, const std::filesystem::path& folder,
                        std::vector<std::filesystem::path>& drawn) {
    Picture picture("curves", fmt::format("Fashion-MNIST, 784-512-512-10, {}", summary.device), 2);
    picture.set(
        "set key top right\nset xlabel 'epoch'\nset title 'training loss (mean of the steps before)'");
    for (const Result& arm : summary.arms) picture.curve(arm.loss, 1.0, look(arm.name, "lines"), arm.name);
    picture.end_panel();
    picture.set("set key bottom right\nset title 'test accuracy, %'");
    for (const Result& arm : summary.arms)
        picture.curve(arm.accuracy, 100.0, look(arm.name, "linespoints"), arm.name);
    picture.end_panel();
    return picture.draw(folder, drawn);
}

void add_warm_up(Picture& picture, const WarmUp& warm_up) {
    Curve ratios;
    for (const danaus::DecayTrial& trial : warm_up.trials)
        ratios.push_back({static_cast<double>(trial.decay), warm_up.ratio(trial)});
    picture.set(
        fmt::format("unset arrow\nunset label\nunset logscale y\nset format y '%g'\nset yrange [0:*]\n"
                    "set logscale x\nset format x '10^{{%T}}'\nset xlabel 'decay factor λ'\n"
                    "set title 'μ: flips in a warm-up of {0} steps ÷ those of a dense one'\n"
                    "set object rectangle from graph 0, first {1} to graph 1, first {2} behind "
                    "fc rgb '#e3eed8' fs solid noborder\n"
                    "set label 'masks should settle like this' at graph 0.03, first {1} "
                    "offset 0,0.8 tc rgb '#5a7d3a'\nset key bottom left",
                    warm_up.steps, least_ratio, most_ratio));
    picture.curve(ratios, 1.0, look("transposable", "linespoints"), "tried");
    picture.curve({{static_cast<double>(warm_up.chosen.decay), warm_up.ratio(warm_up.chosen)}}, 1.0,
                  "points pt 6 ps 2.5 lw 2 lc rgb '#222222'",
                  fmt::format("chosen: λ = {:g}", warm_up.chosen.decay));
    picture.end_panel();
}

std::string draw_flips(const Summary& summary, const std::filesystem::path& folder,
                       std::vector<std::filesystem::path>& drawn) {
    Picture picture("flips", fmt::format("Transposable 2:4 masks on Fashion-MNIST, {}", summary.device),
                    summary.warm_up ? 2 : 1);
    picture.set(
        "set key bottom left\nset xlabel 'epoch'\nset logscale y\nset format y '%g'\n"
        "set title 'flip rate: mask entries that change at a refresh, %'");
    for (const Result& arm : summary.arms) {
        const Hidden& hidden = find_arm(arm.name).hidden;
        const bool observed = hidden.structure == Structure::dense && hidden.width == Hidden().width;
        if (!hidden.transposable && !observed) continue;
        if (arm.dense_from > 0.0)
            picture.set(
                fmt::format("set arrow from {0}, graph 0 to {0}, graph 1 nohead back dt 3 lw 2 lc rgb "
                            "'#999999'\nset label '{1} turns dense ' at {0}, graph 0.97 right "
                            "tc rgb '#666666'",
                            arm.dense_from, arm.name));
        picture.curve(arm.flips, 100.0, look(arm.name, "lines"),
                      observed ? "dense, mask only observed" : arm.name);
    }
    picture.end_panel();
    if (summary.warm_up) add_warm_up(picture, *summary.warm_up);
    return picture.draw(folder, drawn);
}

}  // namespace

std::string draw(const Summary& summary, const std::filesystem::path& folder,
                 std::vector<std::filesystem::path>& drawn) {
    std::string problem = draw_curves(summary, folder, drawn);
    bool transposable = false;
    for (const Result& arm : summary.arms) transposable |= find_arm(arm.name).hidden.transposable;
    if (problem.empty() && transposable) problem = draw_flips(summary, folder, drawn);
    return problem;
}

}  // namespace sample
