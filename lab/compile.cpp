// danaus-compile: creates, on any Vulkan driver, the pipelines of the kernels that the library's plans choose
// there, and prints what the driver says of each. One line of JSON per step and flushed, so that the reader
// of a run that a driver aborted knows the kernel; the reader goes on with --from. The exit status is 3 when
// the driver refused a pipeline, 1 when something else failed.
#include "corpus.hpp"
#include "driver.hpp"
#include "host_side.hpp"

#include <danaus/runtime/error.hpp>

#include <algorithm>
#include <bit>
#include <chrono>
#include <exception>
#include <iostream>
#include <limits>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>

namespace {

using namespace danaus;
using Json = nlohmann::ordered_json;

struct Arguments {
    lab::Build build = lab::Build::address;
    unsigned strength = 2;
    std::size_t from = 0, count = std::numeric_limits<std::size_t>::max();
    std::vector<std::string> only;
    bool list = false, host_side = false;
};

constexpr int refused_status = 3;
constexpr std::uint32_t few_storage_buffers = 4;  // the least that Vulkan promises

const char* name_of(lab::Build build) {
    constexpr const char* names[] = {"address", "descriptor", "joined"};
    return names[static_cast<std::size_t>(build)];
}

void print(const Json& line) {
    std::cout << line << std::endl;
}

Json constant(const kernels::ConstantInfo& info, std::uint32_t word) {
    if (info.type == kernels::ConstantType::bool_type) return word != 0;
    if (info.type == kernels::ConstantType::float_type) return std::bit_cast<float>(word);
    return word;
}

// What another program needs to specialize the kernel's SPIR-V itself.
Json listing(const kernels::Kernel& kernel, lab::Build build) {
    constexpr const char* types[] = {"uint", "bool", "float"};
    const auto& info = kernels::info(kernel.module);
    Json constants = Json::array();
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        constants.push_back({{"name", info.constants[i].name},
                             {"id", info.constants[i].id},
                             {"type", types[static_cast<std::size_t>(info.constants[i].type)]},
                             {"value", constant(info.constants[i], kernel.constants[i])}});
    return {{"name", lab::short_name(kernel)},
            {"module", info.name},
            {"access", name_of(build)},
            {"spv", fmt::format("{}.{}", info.name, name_of(build))},
            {"slots", info.slots},
            {"push_bytes", info.push_bytes},
            {"constants", constants}};
}

// Whether `kernel` is of the module or has the constant's value that `condition` names: "copy",
// "tile_rows=8".
bool meets(const kernels::Kernel& kernel, const std::string& condition) {
    const auto& info = kernels::info(kernel.module);
    if (condition == info.name) return true;
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        if (condition == fmt::format("{}={}", info.constants[i].name, kernel.constants[i])) return true;
    return false;
}

Json identity(const Device& device, lab::Build build) {
    const Capabilities& caps = device.capabilities();
    return {{"device", caps.name},
            {"driver", caps.driver_name},
            {"driver_info", caps.driver_info},
            {"access", name_of(build)}};
}

// One kernel a line, so that the list can be read by eye and by line.
void print_list(Json head, const lab::Corpus& corpus, lab::Build build) {
    head["chosen"] = corpus.chosen;
    head["unusable"] = corpus.unusable;
    const std::string text = head.dump();
    std::cout << text.substr(0, text.size() - 1) << ",\"kernels\":[\n";
    for (std::size_t i = 0; i < corpus.kernels.size(); ++i)
        std::cout << (i ? ",\n" : "") << listing(corpus.kernels[i], build);
    std::cout << "\n]}\n";
}

Json statistics(const std::vector<lab::Executable>& executables) {
    Json list = Json::array();
    for (const lab::Executable& executable : executables) {
        Json values = Json::object();
        for (const auto& [name, value] : executable.statistics)
            std::visit([&, &key = name](const auto& number) { values[key] = number; }, value);
        list.push_back(
            {{"name", executable.name}, {"subgroup_size", executable.subgroup_size}, {"statistics", values}});
    }
    return list;
}

// Whether the driver refused none.
bool compile(lab::Driver& driver, const lab::Corpus& corpus, const Arguments& arguments) {
    bool all = true;
    const std::size_t size = corpus.kernels.size(), begin = std::min(arguments.from, size);
    const std::size_t end = begin + std::min(arguments.count, size - begin);
    for (std::size_t i = begin; i < end; ++i) {
        const kernels::Kernel& kernel = corpus.kernels[i];
        const auto& info = kernels::info(kernel.module);
        print({{"begin", i}, {"kernel", lab::short_name(kernel)}});
        Json line{{"end", i}, {"kernel", lab::short_name(kernel)}, {"module", info.name}};
        for (std::size_t c = 0; c < info.constants.size(); ++c)
            line["constants"][std::string(info.constants[c].name)] =
                constant(info.constants[c], kernel.constants[c]);
        const auto start = std::chrono::steady_clock::now();
        try {
            line["executables"] = statistics(driver.compile(kernel, arguments.build));
        } catch (const lab::Refusal& refusal) {
            line["error"] = fmt::format("{}: VkResult {}", refusal.what, static_cast<int>(refusal.result));
            all = false;
        }
        line["ms"] =
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
        print(line);
    }
    return all;
}

// The kernels of the device that are meant; never none, so that nobody takes nothing for success.
lab::Corpus corpus_of(const Device& device, const Arguments& arguments) {
    lab::Corpus corpus = lab::corpus(device, arguments.strength);
    std::erase_if(corpus.kernels, [&](const kernels::Kernel& kernel) {
        return (arguments.build == lab::Build::joined && kernels::info(kernel.module).joined.empty()) ||
               !std::all_of(arguments.only.begin(), arguments.only.end(),
                            [&](const std::string& condition) { return meets(kernel, condition); });
    });
    if (corpus.kernels.empty()) throw std::runtime_error("no kernel that the plans choose here is meant");
    return corpus;
}

int run(const Arguments& arguments) {
    DeviceOptions options;
    options.access = lab::access_of(arguments.build);
    // As on the devices that run joined builds.
    if (arguments.build == lab::Build::joined)
        options.cap = [](Capabilities& caps) {
            caps.max_storage_buffers = std::min(caps.max_storage_buffers, few_storage_buffers);
        };
    Device device = Device::open(options);
    const auto uuid = device.capabilities().device_uuid;
    Json head = identity(device, arguments.build);
    if (arguments.host_side) {
        device.close();
        const lab::Driver driver(uuid);
        head["host_side"] = lab::host_side(options, driver);
        print(head);
        return 0;
    }
    const lab::Corpus corpus = corpus_of(device, arguments);
    if (arguments.list) {
        print_list(head, corpus, arguments.build);
        return 0;
    }
    device.close();
    lab::Driver driver(uuid);
    head["kernels"] = corpus.kernels.size();
    head["unusable"] = corpus.unusable;
    head["statistics"] = driver.has_statistics();
    print(head);
    const bool all = compile(driver, corpus, arguments);
    print({{"done", true}});
    return all ? 0 : refused_status;
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    std::map<std::string, lab::Build> builds;
    for (const auto build : {lab::Build::address, lab::Build::descriptor, lab::Build::joined})
        builds.emplace(name_of(build), build);
    CLI::App app("danaus-compile: compiles the kernels that Danaus chooses on a Vulkan device");
    app.add_option(
           "--access", arguments.build,
           "how kernels reach memory: address, descriptor, or joined, one descriptor for all operands, "
           "where kernels have that")
        ->transform(CLI::CheckedTransformer(builds));
    app.add_option("--strength", arguments.strength,
                   "how many constants are combined in all ways that occur (default 2; all kernels: 24)")
        ->check(CLI::Range(1, static_cast<int>(kernels::max_constants)));
    app.add_option("--from", arguments.from, "number of the first kernel to compile");
    app.add_option("--count", arguments.count, "how many kernels to compile at most");
    app.add_option(
        "--only", arguments.only,
        "kernels of this module, or with this constant=value, alone; several: that meet all of them");
    app.add_flag("--list", arguments.list, "print the kernels as JSON and compile none");
    app.add_flag("--host-side", arguments.host_side,
                 "allocate, record, submit and wait on the device, and print its memory; compile no list");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(arguments);
    } catch (const lab::Refusal& refusal) {
        std::cerr << "danaus-compile: " << refusal.what << ": VkResult " << static_cast<int>(refusal.result)
                  << "\n";
    } catch (const std::exception& error) {
        std::cerr << "danaus-compile: " << error.what() << "\n";
    }
    return 1;
}
