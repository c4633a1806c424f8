// danaus-compile: the kernels that the library's plans choose on a device.
#include "corpus.hpp"

#include <danaus/danaus.hpp>

#include <bit>
#include <exception>
#include <iostream>
#include <map>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

using namespace danaus;
using Json = nlohmann::ordered_json;

struct Arguments {
    Access access = Access::address;
    unsigned strength = 2;
    bool list = false;
};

const char* name_of(Access access) {
    return access == Access::address ? "address" : "descriptor";
}

Json constant(const kernels::ConstantInfo& info, std::uint32_t word) {
    Json value = word;
    if (info.type == kernels::ConstantType::bool_type) value = word != 0;
    if (info.type == kernels::ConstantType::float_type) value = std::bit_cast<float>(word);
    const char* const type = info.type == kernels::ConstantType::bool_type    ? "bool"
                             : info.type == kernels::ConstantType::float_type ? "float"
                                                                              : "uint";
    return {{"name", info.name}, {"id", info.id}, {"type", type}, {"value", value}};
}

Json listing(const kernels::Kernel& kernel, Access access) {
    const auto& info = kernels::info(kernel.module);
    Json constants = Json::array();
    for (std::size_t i = 0; i < info.constants.size(); ++i)
        constants.push_back(constant(info.constants[i], kernel.constants[i]));
    return {{"name", lab::short_name(kernel)},
            {"module", info.name},
            {"access", name_of(access)},
            {"spv", fmt::format("{}.{}", info.name, name_of(access))},
            {"slots", info.slots},
            {"push_bytes", info.push_bytes},
            {"constants", constants}};
}

// One kernel a line, so that the list can be read by eye and by line.
void print_list(const Device& device, const lab::Corpus& corpus) {
    std::cout << "{\"device\": " << Json(device.capabilities().name)
              << ", \"driver\": " << Json(device.capabilities().driver_info) << ", \"access\": \""
              << name_of(device.access()) << "\", \"chosen\": " << corpus.chosen
              << ", \"unusable\": " << Json(corpus.unusable) << ", \"kernels\": [\n";
    for (std::size_t i = 0; i < corpus.kernels.size(); ++i)
        std::cout << (i ? ",\n" : "") << listing(corpus.kernels[i], device.access());
    std::cout << "\n]}\n";
}

int run(const Arguments& arguments) {
    DeviceOptions options;
    options.access = arguments.access;
    const Device device = Device::open(options);
    print_list(device, lab::corpus(device, arguments.strength));
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App app("danaus-compile: the kernels that Danaus chooses on a Vulkan device");
    app.add_option("--access", arguments.access, "how kernels reach memory: address or descriptor")
        ->transform(CLI::CheckedTransformer(
            std::map<std::string, Access>{{"address", Access::address}, {"descriptor", Access::descriptor}}));
    app.add_option("--strength", arguments.strength,
                   "how many constants are combined in all ways that occur (default 2)")
        ->check(CLI::Range(1, 4));
    app.add_flag("--list", arguments.list, "print the kernels as JSON and compile none");
    CLI11_PARSE(app, argc, argv);
    try {
        return run(arguments);
    } catch (const std::exception& error) {
        std::cerr << "danaus-compile: " << error.what() << "\n";
        return 1;
    }
}
