// Trains the same classifier on Fashion-MNIST with dense, Monarch and 2:4 hidden layers, every multiply,
// mask, gradient and update on the Vulkan device, and shows what each structure costs and gives.
#include "train.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

struct Options {
    std::filesystem::path out = "fashion_mnist_run";
    std::filesystem::path data = "/usr/share/datasets/fashion-mnist";
    std::uint64_t epochs = 6;
    double seconds = 100.0;
    std::uint64_t seed = 1;
    bool short_run = false;
};

constexpr std::uint64_t short_steps = 60;
constexpr std::uint64_t fewest_steps = 10;

int run(const Options& options) {
    using namespace sample;
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

    TrainOptions train_options;
    train_options.seed = options.seed;
    const std::uint64_t per_epoch = data.train.count() / train_options.batch,
                        full = per_epoch * options.epochs;
    train_options.steps = full;
    Summary summary;
    summary.device = caps.name;
    summary.driver = caps.driver_name + " " + caps.driver_info;
    summary.choice = device.choice();
    summary.steps_per_epoch = per_epoch;
    if (options.short_run) {
        train_options.steps = std::min(full, short_steps);
    } else {
        // A slow driver gets as many steps as fit into the time for three arms.
        const double step = seconds_per_step(device, data, train_options);
        const double affordable = options.seconds / 3.0 / step;
        if (affordable < static_cast<double>(full)) {
            train_options.steps = std::max(fewest_steps, static_cast<std::uint64_t>(affordable));
            // Testing on every image would take longer than the steps.
            if (train_options.steps < per_epoch) train_options.test_images = 500;
            fmt::print(
                "slow device: a dense step takes {:.0f} ms, so {} steps instead of {} fit into {:.0f} s\n",
                1e3 * step, train_options.steps, full, options.seconds);
        }
    }
    summary.steps = train_options.steps;
    summary.shortened = train_options.steps < full;
    fmt::print("training 784-512-512-10 on {} images, batch {}, {} steps ({:.1f} epochs), seed {}\n",
               data.train.count(), train_options.batch, train_options.steps,
               static_cast<double>(train_options.steps) / static_cast<double>(per_epoch), options.seed);
    for (const Structure structure : {Structure::dense, Structure::monarch, Structure::sparse24})
        summary.arms.push_back(train(device, data, structure, train_options));
    summary.multiply_shape =
        fmt::format("{} tokens, {} to {} features, f32", timed_tokens, timed_features, timed_features);
    summary.arms[1].multiply_ratio = multiply_ratio(device, Structure::monarch);
    summary.arms[2].multiply_ratio = multiply_ratio(device, Structure::sparse24);
    summary.arms[0].multiply_ratio = 1.0;

    print_table(summary);
    write_summary(summary, options.out);
    const std::string no_picture = draw_curves(summary, options.out);
    fmt::print("\n  written: {}", (options.out / "summary.json").string());
    if (no_picture.empty())
        fmt::print(", {}\n", (options.out / "curves.png").string());
    else
        fmt::print("\n  no curves.png: {}\n", no_picture);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app(
        "Trains a Fashion-MNIST classifier with dense, Monarch and 2:4 hidden layers on a Vulkan device.");
    app.add_option("--out", options.out, "folder for summary.json and curves.png");
    app.add_option("--data", options.data, "folder of the four gzipped IDX files");
    app.add_option("--epochs", options.epochs, "passes over the training images, 1 to 6")
        ->check(CLI::Range(1, 6));
    app.add_option("--seconds", options.seconds, "time for training on a slow device")
        ->check(CLI::PositiveNumber);
    app.add_option("--seed", options.seed, "of weights and order");
    app.add_flag("--short", options.short_run, "a few steps of each arm: checks that everything runs");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "fashion_mnist: {}\n", error.what());
        return 1;
    }
}
