// Takes images of Fashion-MNIST, side by side as one, through two-dimensional Fourier and cosine transforms
// and circulant convolutions as Monarch products on the Vulkan device, holds every output against FFTW in
// double precision, and draws what came out.
#include "dataset.hpp"
#include "measure.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using namespace sample;

struct Options {
    std::filesystem::path out = "transforms_run";
    std::filesystem::path data = "/usr/share/datasets/fashion-mnist";
    std::uint64_t tiles = 16;
    std::uint64_t first = 0;
    double bound = 1e-5;
};

constexpr std::size_t side = 28;
constexpr int most_tiles = 32;  // the convolution of 896 × 896 pixels has weights of 0.6 GB

void check(const Options& options, std::size_t images) {
    const auto [out, data, tiles, first, bound] = options;
    const std::uint64_t there = images - first;
    if (tiles * tiles > there)
        throw std::runtime_error(
            fmt::format("--tiles: {0} × {0} need {1} images; from --first {2} on there are {3} of {4}", tiles,
                        tiles * tiles, first, there, images));
    if (!(bound > 0.0)) throw std::runtime_error(fmt::format("--bound: {}, more than 0 is needed", bound));
}

// tiles × tiles images as one, brightness 0 to 1.
std::vector<float> mosaic(const Images& images, std::uint64_t first, std::uint64_t tiles) {
    const std::size_t n = side * tiles;
    std::vector<float> picture(n * n);
    for (std::size_t row = 0; row < n; ++row)
        for (std::size_t column = 0; column < n; ++column) {
            const std::size_t image = first + row / side * tiles + column / side;
            picture[row * n + column] =
                static_cast<float>(images.pixels[image * image_size + row % side * side + column % side]) /
                255.0f;
        }
    return picture;
}

std::string in_bytes(double bytes) {
    static constexpr const char* units[] = {"B", "kB", "MB", "GB", "TB"};
    std::size_t unit = 0;
    for (; bytes >= 1000.0 && unit + 1 < std::size(units); ++unit) bytes /= 1000.0;
    return fmt::format("{:.3g} {}", bytes, units[unit]);
}

void print_table(const std::vector<Row>& rows) {
    fmt::print("\n{:<20} {:>10} {:>10} {:>10} {:>14} {:>10}\n", "transform", "weights", "dense", "error",
               "of the largest", "ms");
    for (const Row& row : rows)
        fmt::print("{:<20} {:>10} {:>10} {:>10.2e} {:>14.2e} {:>10.2f}\n", row.name,
                   in_bytes(static_cast<double>(row.weight_bytes)), in_bytes(row.dense_bytes), row.error,
                   row.relative(), 1e3 * row.seconds);
    fmt::print("\nfactors (a, b, c, d), in the order in which they are applied:\n");
    for (const Row& row : rows) fmt::print("{:<20} {}\n", row.name, row.factors);
    fmt::print(
        "\nerror: the largest of all outputs against FFTW in double precision; ms: on the device, "
        "median of five\n");
}

int run(const Options& options) {
    const Images images = load_test_images(options.data);
    check(options, images.count());
    std::filesystem::create_directories(options.out);
    danaus::DeviceOptions open;
    open.pipeline_cache = options.out / "pipelines.cache";
    open.on_message = [](danaus::Severity, std::string_view text) {
        fmt::print(stderr, "transforms: {}\n", text);
    };
    const danaus::Device device = danaus::Device::open(open);
    fmt::print("device: {}\n        {}\n", danaus::describe(device.capabilities()), device.choice());

    const std::size_t n = side * options.tiles;
    const danaus::Split split = danaus::splits_of(n).back();
    fmt::print("{0} × {0} images from number {1} on: {2} × {2} pixels, {2} = {3}·{4}\n", options.tiles,
               options.first, n, split.i, split.j);
    const Measurement result = measure(device, mosaic(images, options.first, options.tiles), n);
    print_table(result.rows);
    const auto file = options.out / "transforms.png";
    write_sheet(file, result.pictures, n);
    fmt::print(
        "written: {} (the image, its DFT and DCT as logarithms; what 1/16 of the DCT keeps, blurred, "
        "edges)\n",
        file.string());

    const bool good = std::all_of(result.rows.begin(), result.rows.end(),
                                  [&](const Row& row) { return row.relative() <= options.bound; });
    if (!good)
        fmt::print(stderr, "transforms: an error is above {:g} of the largest output\n", options.bound);
    return good ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app(
        "Takes images through 2-D Fourier and cosine transforms and circulant convolutions as Monarch "
        "products "
        "on a Vulkan device, and compares with FFTW.");
    app.add_option("--out", options.out, "folder for transforms.png");
    app.add_option("--data", options.data, "folder of the gzipped IDX files");
    app.add_option("--tiles", options.tiles, "images along each side of the one that is transformed; 16")
        ->check(CLI::Range(1, most_tiles));
    app.add_option("--first", options.first, "number of the first test image; 0")->check(CLI::Range(0, 9999));
    app.add_option("--bound", options.bound,
                   "largest error allowed, relative to a transform's largest output; 1e-5");
    app.failure_message([](const CLI::App*, const CLI::Error& error) {
        return fmt::format("transforms: {} (--help lists the options)\n", error.what());
    });
    CLI11_PARSE(app, argc, argv);
    try {
        return run(options);
    } catch (const std::exception& error) {
        fmt::print(stderr, "transforms: {}\n", error.what());
        return 1;
    }
}
