// danaus-bench-vkfft: Fourier transforms by Monarch products beside VkFFT and FFTW.
//
// Danaus and VkFFT compute from the same memory into the same memory, on one queue of a device of this
// program's own: each is recorded once into a command buffer of its own, and the two are submitted in turns.
// FFTW runs on one thread of the processor.
#include "../fftw.hpp"
#include "../host.hpp"
#include "../noise.hpp"
#include "revision.hpp"
#include "vkfft.hpp"
#include "vulkan_host.hpp"

#include <danaus/danaus.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <sstream>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace danaus::bench {
namespace {

constexpr double largest_error = 1e-4;

struct Arguments {
    std::vector<std::string> shapes{"1x256",  "1x1024",  "1x3000",  "1x4096",  "1x65536",
                                    "64x256", "64x1024", "64x3000", "64x4096", "64x65536"};
    std::string device, json;
    double min_time = 0.3;
    unsigned turns = 15;
};

double median(std::vector<double> samples) {
    std::sort(samples.begin(), samples.end());
    return (samples[(samples.size() - 1) / 2] + samples[samples.size() / 2]) / 2;
}

nlohmann::ordered_json to_json(const std::vector<double>& samples) {
    const auto [low, high] = std::minmax_element(samples.begin(), samples.end());
    return {{"median", median(samples)}, {"min", *low}, {"max", *high}, {"samples", samples.size()}};
}

// The largest distance of sampled frequencies from sums in double, over the largest frequency.
double error_of(const std::vector<float>& actual, const std::vector<float>& expected) {
    double error = 0.0, largest = 0.0;
    for (std::size_t i = 0; i < actual.size(); ++i) {
        if (std::isnan(actual[i])) return std::numeric_limits<double>::infinity();
        if (std::isnan(expected[i])) continue;
        error = std::max(error, std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
        largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
    }
    return error / largest;
}

VkfftRange range_of(const Tensor& tensor) {
    const HostRange range = host_range(tensor);
    return {range.buffer, range.offset, range.bytes};
}

// One of the two on the device.
struct Side {
    VkCommandBuffer commands = VK_NULL_HANDLE;
    double error = 0.0;
    std::vector<double> device, host;

    void run(const Host& on) {
        const Host::Times times = on.run(commands);
        device.push_back(times.device);
        host.push_back(times.host);
    }
    [[nodiscard]] nlohmann::ordered_json json() const {
        return {{"ns", to_json(device)}, {"submit_ns", to_json(host)}, {"error", error}};
    }
};

class Comparison {
public:
    Comparison(const Host& host, const Device& device, bool tables, std::uint64_t tokens, std::uint64_t n)
        : host_(host),
          tokens_(tokens),
          n_(n),
          stream_(device),
          x_(device, DataType::f32, {2 * tokens * n}),
          y_(device, DataType::f32, {2 * tokens * n}),
          peer_({host.physical, host.device, host.queue, host.pool, host.fence}, range_of(x_), range_of(y_),
                tokens, n, tables),
          fftw_(tokens, n) {
        const Shape shape{tokens, n};
        const auto layer = [x = Tensor(x_.buffer(), DataType::complex64, shape),
                            y = Tensor(y_.buffer(), DataType::complex64, shape), transform = dft(stream_, n)](
                               Recorder& recorder) { matmul_into(recorder, y, x, transform); };
        stream_.finish();
        const WorkspaceSize size = workspace_size(device, layer);
        workspace_.emplace(device, size.bytes, size.packets);
        own_.commands = host.record([&](VkCommandBuffer commands) {
            HostRecorderOptions options;
            options.assume_clean = true;  // the host's own barrier stands in front
            HostRecorder recorder(device, commands, &*workspace_, options);
            layer(recorder);
        });
        other_.commands = host.record([&](VkCommandBuffer commands) { peer_.append(commands); });
        verify();
    }

    nlohmann::ordered_json measure(const Arguments& arguments) {
        std::vector<double> ratios, submit_ratios, fftw;
        double total = 0.0;
        using Clock = std::chrono::steady_clock;
        const Clock::time_point begin = Clock::now();
        for (unsigned turn = 0; turn < arguments.turns || total < 1e9 * arguments.min_time; ++turn) {
            // A slow device does not get all of its turns.
            if (turn >= 3 &&
                Clock::now() - begin > std::chrono::duration<double>(1.0 + 20.0 * arguments.min_time))
                break;
            // Who comes second finds the caches as the other left them: they take turns at that, too.
            (turn % 2 ? other_ : own_).run(host_);
            (turn % 2 ? own_ : other_).run(host_);
            total += own_.device.back();
            ratios.push_back(other_.device.back() / own_.device.back());
            submit_ratios.push_back(other_.host.back() / own_.host.back());
            if (!fftw_) continue;
            const Clock::time_point start = Clock::now();
            fftw_.run();
            fftw.push_back(std::chrono::duration<double, std::nano>(Clock::now() - start).count());
        }
        nlohmann::ordered_json json{{"name", fmt::format("dft/complex64/{}x{}", tokens_, n_)},
                                    {"shape", {{"tokens", tokens_}, {"n", n_}}},
                                    {"danaus", own_.json()},
                                    {"vkfft", other_.json()}};
        json["vkfft"]["passes"] = peer_.passes();
        json["ratio"] = median(ratios);
        json["submit_ratio"] = median(submit_ratios);
        json["fftw"] = nullptr;
        if (fftw_) json["fftw"] = {{"ns", to_json(fftw)}, {"ratio", median(fftw) / median(own_.device)}};
        return json;
    }

private:
    void verify() {
        std::vector<float> x(x_.elements()), expected(x.size(), std::numeric_limits<float>::quiet_NaN());
        const std::vector<float> unknown = expected;
        Noise noise(1, std::uniform_real_distribution<float>(-1.0f, 1.0f));
        noise.fill(x);
        sampled_dft(x, expected, tokens_, n_);
        upload_into(stream_, x_, x);
        for (auto [side, name] : {std::pair{&own_, "Danaus"}, std::pair{&other_, "VkFFT"}}) {
            upload_into(stream_, y_, unknown);
            stream_.finish();
            side->run(host_);  // may still compile
            side->error = error_of(download(stream_, y_), expected);
            if (!(side->error <= largest_error))
                throw std::runtime_error(
                    fmt::format("{}: {} transforms of {} points have an error of {}, at "
                                "most {} is right",
                                name, tokens_, n_, side->error, largest_error));
            side->device.clear();
            side->host.clear();
        }
    }

    const Host& host_;
    std::uint64_t tokens_, n_;
    Stream stream_;
    Tensor x_, y_;
    Vkfft peer_;
    Fftw fftw_;
    std::optional<Workspace> workspace_;
    Side own_, other_;
};

std::pair<std::uint64_t, std::uint64_t> parse(const std::string& shape) {
    std::uint64_t tokens = 0, n = 0;
    char by = 0;
    std::istringstream text(shape);
    if (!(text >> tokens >> by >> n) || by != 'x' || !text.eof() || tokens == 0 || n < 2)
        throw std::runtime_error(fmt::format("'{}' is no shape, which is TOKENSxPOINTS", shape));
    // What VkFFT 1.2 makes of longer ones (Rader's algorithm) ends the process on lavapipe.
    std::uint64_t rest = n;
    for (std::uint64_t factor = 2; factor <= 13; ++factor)
        while (rest % factor == 0) rest /= factor;
    if (rest > 1)
        throw std::runtime_error(
            fmt::format("'{}': {} has a prime factor above 13, which VkFFT is not asked for here", shape, n));
    return {tokens, n};
}

void run(const Arguments& arguments) {
    DeviceOptions options;
    if (!arguments.device.empty()) options.select = arguments.device;
    const Capabilities chosen = Device::open(options).capabilities();
    const Host host(chosen.device_uuid);
    Device device = host.adopt();
    // Tables are twice as fast on llvmpipe and more; VkFFT knows what is good for GPUs.
    const bool tables = chosen.type == DeviceType::cpu;
    const std::string sines = tables ? "from tables" : "as VkFFT chooses";
    nlohmann::ordered_json json{
        {"schema", 1},
        {"peer", "VkFFT"},
        {"version", Vkfft::version()},
        {"device", chosen.name},
        {"driver", fmt::format("{} {}", chosen.driver_name, chosen.driver_info)},
        {"access", device.access() == Access::address ? "address" : "descriptor"},
        {"date", utc_date()},
        {"git", revision},
        {"cpu", {{"name", cpu_name()}, {"threads", cpu_threads()}, {"load_average", load_average()}}},
        {"sines", sines},
        {"cases", nlohmann::ordered_json::array()}};
    fmt::print("{}; VkFFT {}, sines {}\n\n{:<26} {:>12} {:>12} {:>12} {:>8} {:>8} {:>9} {:>9}\n",
               describe(chosen), Vkfft::version(), sines, "us", "Danaus", "VkFFT", "FFTW", "x VkFFT",
               "x FFTW", "error", "its error");
    for (const std::string& shape : arguments.shapes) {
        const auto [tokens, n] = parse(shape);
        Comparison comparison(host, device, tables, tokens, n);
        const nlohmann::ordered_json one = comparison.measure(arguments);
        const auto time = [&](const char* who) {
            return one[who].is_null() ? "-"
                                      : fmt::format("{:.1f}", one[who]["ns"]["median"].get<double>() / 1e3);
        };
        fmt::print("{:<26} {:>12} {:>12} {:>12} {:>8.2f} {:>8} {:>9.1e} {:>9.1e}\n",
                   one["name"].get<std::string>(), time("danaus"), time("vkfft"), time("fftw"),
                   one["ratio"].get<double>(),
                   one["fftw"].is_null() ? "-" : fmt::format("{:.2f}", one["fftw"]["ratio"].get<double>()),
                   one["danaus"]["error"].get<double>(), one["vkfft"]["error"].get<double>());
        std::fflush(stdout);
        json["cases"].push_back(one);
    }
    device.close();
    if (!arguments.json.empty()) write_file(arguments.json, json.dump(2) + '\n');
}

}  // namespace
}  // namespace danaus::bench

int main(int argc, char** argv) {
    danaus::bench::Arguments arguments;
    CLI::App app{"Times Fourier transforms by Monarch products beside VkFFT on the same device, and FFTW."};
    app.add_option("SHAPES", arguments.shapes, "TOKENSxPOINTS")->capture_default_str();
    app.add_option("--json", arguments.json, "write the results to this file")->type_name("FILE");
    app.add_option("--device", arguments.device,
                   "index, UUID or part of a name; else DANAUS_DEVICE, else the best device");
    app.add_option("--min-time", arguments.min_time, "device seconds of Danaus per shape")
        ->capture_default_str()
        ->check(CLI::Range(0.0, 1e6));
    app.add_option("--repetitions", arguments.turns, "turns of the three, at least")
        ->capture_default_str()
        ->check(CLI::Range(1, 1000000));
    CLI11_PARSE(app, argc, argv);
    try {
        danaus::bench::run(arguments);
    } catch (const std::exception& error) {
        fmt::print(stderr, "danaus-bench-vkfft: {}\n", error.what());
        return 1;
    }
    return 0;
}
