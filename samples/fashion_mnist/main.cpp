// Trains the same classifier on Fashion-MNIST with dense, Monarch and 2:4 hidden layers, every multiply,
// mask, gradient and update on the Vulkan device, and shows what each structure costs and gives.
#include "plots.hpp"
#include "train.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using namespace sample;

struct Options {
    std::filesystem::path out = "fashion_mnist_run";
    std::filesystem::path data = "/usr/share/datasets/fashion-mnist";
    std::uint64_t epochs = 6;
    double seconds = 100.0;
    std::uint64_t seed = 1;
    bool short_run = false;
    bool all = false;
    std::vector<std::string> names;
    std::optional<float> decay;
};

constexpr std::uint64_t short_steps = 60;
constexpr std::uint64_t fewest_steps = 10;

// In the order of the table: the arm that others are compared with comes first.
std::vector<Arm> chosen_arms(const Options& options) {
    for (const std::string& name : options.names) (void)find_arm(name);
    std::vector<Arm> arms;
    for (const Arm& arm : all_arms())
        if (options.names.empty() ? options.all || arm.everyday
                                  : std::count(options.names.begin(), options.names.end(), arm.name) > 0)
            arms.push_back(arm);
    return arms;
}

// Shapes of the arms' networks, each once.
std::string networks(const std::vector<Arm>& arms) {
    std::string text;
    for (const Arm& arm : arms) {
        const std::string shape = fmt::format("784-{0}-{0}-10", arm.hidden.width);
        if (text.find(shape) == std::string::npos)
            text += fmt::format("{}{}", text.empty() ? "" : " and ", shape);
    }
    return text;
}

// Training steps of each arm. A slow driver gets as many as fit into the time for three arms, however many
// are trained: runs with other arms then train as long.
TrainOptions plan(const danaus::Device& device, const Dataset& data, const Options& options) {
    TrainOptions train;
    train.seed = options.seed;
    const std::uint64_t per_epoch = data.train.count() / train.batch, full = per_epoch * options.epochs;
    train.steps = options.short_run ? std::min(full, short_steps) : full;
    if (options.short_run) return train;
    const double step = seconds_per_step(device, data, train);
    const double affordable = options.seconds / 3.0 / step;
    if (affordable >= static_cast<double>(full)) return train;
    train.steps = std::max(fewest_steps, static_cast<std::uint64_t>(affordable));
    // Testing on every image would take longer than the steps.
    if (train.steps < per_epoch) train.test_images = 500;
    fmt::print(
        "slow device: a dense step takes {:.0f} ms, so {} steps instead of {}; "
        "three arms take about {:.0f} s\n",
        1e3 * step, train.steps, full, 3.0 * step * static_cast<double>(train.steps));
    return train;
}

int run(const Options& options) {
    const std::vector<Arm> arms = chosen_arms(options);
    const bool decays = std::any_of(arms.begin(), arms.end(), [](const Arm& arm) { return arm.decay; });
    if (options.decay && !(std::isfinite(*options.decay) && *options.decay >= 0.0f))
        throw std::runtime_error(fmt::format("--decay: {}, a number of 0 or more is needed", *options.decay));
    if (options.decay && !decays)
        throw std::runtime_error("--decay: none of the arms decays; --arm transposable does");
    const Dataset data = load_dataset(options.data);
    std::filesystem::create_directories(options.out);
    danaus::DeviceOptions open;
    open.pipeline_cache = options.out / "pipelines.cache";
    open.on_message = [](danaus::Severity, std::string_view text) {
        fmt::print(stderr, "fashion_mnist: {}\n", text);
    };
    const danaus::Device device = danaus::Device::open(open);
    const danaus::Capabilities& caps = device.capabilities();
    fmt::print("device: {}\n        {}\n", danaus::describe(caps), device.choice());

    const TrainOptions train_options = plan(device, data, options);
    const std::uint64_t per_epoch = data.train.count() / train_options.batch;
    Summary summary;
    summary.device = caps.name;
    summary.driver = caps.driver_name + " " + caps.driver_info;
    summary.choice = device.choice();
    summary.multiply_shape =
        fmt::format("{} tokens, {} to {} features, f32", timed_tokens, timed_features, timed_features);
    summary.networks = networks(arms);
    summary.seed = options.seed;
    summary.steps = train_options.steps;
    summary.steps_per_epoch = per_epoch;
    summary.shortened = train_options.steps < per_epoch * options.epochs;
    fmt::print("training {} on {} images, batch {}, {} steps ({:.1f} epochs), seed {}\n", summary.networks,
               data.train.count(), train_options.batch, train_options.steps,
               static_cast<double>(train_options.steps) / static_cast<double>(per_epoch), options.seed);

    std::optional<float> decay = options.decay;
    std::map<Structure, double> ratios;
    for (const Arm& arm : arms) {
        if (arm.decay && !decay) {
            summary.warm_up = warm_up(device, data, arm, train_options);
            if (!summary.warm_up) fmt::print("  too few steps for a warm-up: pruned weights do not decay\n");
            decay = summary.warm_up ? summary.warm_up->chosen.decay : 0.0f;
        }
        summary.arms.push_back(train(device, data, arm, train_options, decay.value_or(0.0f)));
    }
    for (std::size_t i = 0; i < arms.size(); ++i) {
        const auto [place, first] = ratios.emplace(arms[i].final_structure(), 1.0);
        if (first) place->second = multiply_ratio(device, place->first);
        summary.arms[i].multiply_ratio = place->second;
    }

    print_table(summary);
    write_summary(summary, options.out);
    std::vector<std::filesystem::path> drawn;
    const std::string problem = draw(summary, options.out, drawn);
    fmt::print("\n  written: {}", (options.out / "summary.json").string());
    for (const auto& picture : drawn) fmt::print(", {}", picture.string());
    fmt::print("{}\n", problem.empty() ? "" : "\n  no pictures: " + problem);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app(
        "Trains a Fashion-MNIST classifier with dense, Monarch and 2:4 hidden layers on a Vulkan device.");
    app.add_option("--out", options.out, "folder for summary.json and the pictures");
    app.add_option("--data", options.data, "folder of the four gzipped IDX files");
    app.add_option("--epochs", options.epochs, "passes over the training images, 1 to 6")
        ->check(CLI::Range(1, 6));
    app.add_option("--seconds", options.seconds,
                   "time for training three arms on a slow device; more arms take longer")
        ->check(CLI::PositiveNumber);
    app.add_option("--seed", options.seed, "of weights and order");
    app.add_flag("--short", options.short_run, "a few steps of each arm: checks that everything runs");
    auto* const all = app.add_flag("--all", options.all, "every arm of the table below");
    app.add_option("--arm", options.names, "this arm alone; may be repeated")->excludes(all);
    app.add_option("--decay", options.decay, "λ of pruned weights, instead of a warm-up that chooses it");
    std::string table = "arms (* without --all or --arm):\n";
    for (const Arm& arm : all_arms())
        table += fmt::format("  {} {:<20} {}\n", arm.everyday ? '*' : ' ', arm.name, arm.about);
    app.footer(table);
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("fashion_mnist: {} (--help lists the options)\n", error.what());
    });
    CLI11_PARSE(app, argc, argv);
    try {
        return run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "fashion_mnist: {}\n", error.what());
        return 1;
    }
}
