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
                "reset\nset terminal {} noenhanced\nset output '{}.{}'\nset grid lc rgb '#dddddd'\n"
                "set border 3\nset tics nomirror\nset multiplot layout 1,{} title \"{}\"\n{}"
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

// An arm has the same colour in every picture and every run.
std::string colour(std::string_view arm) {
    static constexpr std::array colours{"#4477aa", "#ee6677", "#228833", "#aa3377",
                                        "#ccbb44", "#66ccee", "#999999"};
    std::size_t i = 0;
    while (i < all_arms().size() && all_arms()[i].name != arm) ++i;
    return fmt::format("lw 2 lc rgb '{}'", colours[i % colours.size()]);
}

std::string draw_curves(const Summary& summary, const std::filesystem::path& folder,
                        std::vector<std::filesystem::path>& drawn) {
    Picture picture("curves", fmt::format("Fashion-MNIST, 784-512-512-10, {}", summary.device), 2);
    picture.set(
        "set key top right\nset xlabel 'epoch'\nset title 'training loss (mean of the steps before)'");
    for (const Result& arm : summary.arms)
        picture.curve(arm.loss, 1.0, "lines " + colour(arm.name), arm.name);
    picture.end_panel();
    picture.set("set key bottom right\nset title 'test accuracy, %'");
    for (const Result& arm : summary.arms)
        picture.curve(arm.accuracy, 100.0, "linespoints pt 7 " + colour(arm.name), arm.name);
    picture.end_panel();
    return picture.draw(folder, drawn);
}

std::string draw_flips(const Summary& summary, const std::filesystem::path& folder,
                       std::vector<std::filesystem::path>& drawn) {
    const auto& warm_up = summary.warm_up;
    Picture picture("flips", fmt::format("Transposable 2:4 masks on Fashion-MNIST, {}", summary.device),
                    warm_up ? 2 : 1);
    picture.set(
        "set key top right\nset xlabel 'epoch'\nset yrange [0:*]\n"
        "set title 'mask entries that flip at a refresh, %'");
    for (const Result& arm : summary.arms) {
        const Hidden& hidden = find_arm(arm.name).hidden;
        if (hidden.width != 512 || !(hidden.transposable || hidden.structure == Structure::dense)) continue;
        if (arm.dense_from > 0.0)
            picture.set(fmt::format("set arrow from {0}, graph 0 to {0}, graph 1 nohead dt 3 {1}",
                                    arm.dense_from, colour(arm.name)));
        const bool observed = hidden.structure == Structure::dense;
        picture.curve(arm.flips, 100.0, (observed ? "lines dt 2 " : "lines ") + colour(arm.name),
                      observed ? "dense, mask only observed" : arm.name);
    }
    picture.end_panel();
    if (warm_up) {
        picture.set(
            "unset arrow\nset logscale x\nset format x '%g'\nset xlabel 'decay factor λ'\n"
            "set key bottom left");
        picture.set(
            fmt::format("set title 'warm-up of {} steps: flips against a dense run, μ'", warm_up->steps));
        picture.set(
            fmt::format("set object rectangle from graph 0, first {} to graph 1, first {} behind "
                        "fc rgb '#eef3e6' fs noborder",
                        least_ratio, most_ratio));
        Curve ratios;
        for (const danaus::DecayTrial& trial : warm_up->trials)
            ratios.push_back({static_cast<double>(trial.decay), warm_up->ratio(trial)});
        picture.curve(ratios, 1.0, "linespoints pt 7 " + colour("transposable"), "tried");
        picture.curve({{static_cast<double>(warm_up->chosen.decay), warm_up->ratio(warm_up->chosen)}}, 1.0,
                      "points pt 6 ps 2.5 lw 2 lc rgb '#222222'", "chosen");
        picture.end_panel();
    }
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
