// danaus-info: which Vulkan devices there are, which one the library takes and why, and what it can run on
// each.
#include <danaus/danaus.hpp>
#include <danaus/runtime/kernel_support.hpp>

#include <exception>
#include <iostream>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace {

using danaus::Access;
using danaus::Capabilities;
using danaus::KernelSupport;
using Json = nlohmann::ordered_json;

// What the library would use if nobody said more than this program was told.
struct Choice {
    std::size_t index = 0;
    std::string why;
    Access access = Access::descriptor;
    Capabilities capabilities;
};

const char* name_of(Access access) {
    return access == Access::address ? "address" : "descriptor";
}

std::string version_text(std::uint32_t version) {
    return fmt::format("{}.{}.{}", version >> 22 & 0x7f, version >> 12 & 0x3ff, version & 0xfff);
}

// The one list of limits and of features that both forms of output print.
std::vector<std::pair<std::string, Json>> limits_of(const Capabilities& c) {
    return {{"max_workgroup_invocations", c.max_workgroup_invocations},
            {"max_workgroup_size", c.max_workgroup_size},
            {"max_workgroup_count", c.max_workgroup_count},
            {"max_shared_memory", c.max_shared_memory},
            {"max_push_constants", c.max_push_constants},
            {"max_storage_buffers", c.max_storage_buffers},
            {"max_storage_range", c.max_storage_range},
            {"storage_offset_alignment", c.storage_offset_alignment},
            {"max_allocation", c.max_allocation},
            {"device_memory", c.device_memory},
            {"subgroup_size", c.subgroup_size},
            {"min_subgroup_size", c.min_subgroup_size},
            {"max_subgroup_size", c.max_subgroup_size},
            {"matrix_subgroup_size", c.matrix_subgroup_size},
            {"timestamp_period", c.timestamp_period},
            {"timestamp_bits", c.timestamp_bits}};
}

std::vector<std::pair<std::string, bool>> features_of(const Capabilities& c) {
    return {{"compute_queue", c.compute_queue},
            {"timeline_semaphore", c.timeline_semaphore},
            {"buffer_device_address", c.buffer_device_address},
            {"shader_float16", c.shader_float16},
            {"shader_float64", c.shader_float64},
            {"storage_16bit", c.storage_16bit},
            {"subgroup_arithmetic", c.subgroup_arithmetic},
            {"subgroup_shuffle", c.subgroup_shuffle},
            {"subgroup_size_control", c.subgroup_size_control},
            {"compute_full_subgroups", c.compute_full_subgroups},
            {"vulkan_memory_model", c.vulkan_memory_model},
            {"memory_model_device_scope", c.memory_model_device_scope},
            {"cooperative_matrix", c.cooperative_matrix},
            {"shader_bfloat16", c.shader_bfloat16},
            {"matrix_bfloat16", c.matrix_bfloat16},
            {"matrix_workgroup_scope", c.matrix_workgroup_scope},
            {"matrix_flexible_dimensions", c.matrix_flexible_dimensions},
            {"portability_subset", c.portability_subset}};
}

struct Family {
    std::size_t usable = 0, all = 0;
};

std::map<std::string, Family> families_of(const std::vector<KernelSupport>& kernels) {
    std::map<std::string, Family> families;
    for (const KernelSupport& kernel : kernels) {
        Family& family = families[kernel.family];
        ++family.all;
        if (kernel.usable()) ++family.usable;
    }
    return families;
}

Json to_json(const Capabilities& c, std::size_t index) {
    Json json;
    json["index"] = index;
    json["name"] = c.name;
    json["type"] = danaus::to_string(c.type);
    json["uuid"] = danaus::uuid_to_string(c.device_uuid);
    json["vendor_id"] = c.vendor_id;
    json["device_id"] = c.device_id;
    json["vulkan"] = version_text(c.api_version);
    json["driver"] = {{"name", c.driver_name},
                      {"info", c.driver_info},
                      {"version", c.driver_version},
                      {"uuid", danaus::uuid_to_string(c.driver_uuid)}};
    const std::string reason = danaus::unusable_reason(c);
    json["usable"] = reason.empty();
    json["reason"] = reason;
    for (const auto& [name, value] : limits_of(c)) json["limits"][name] = value;
    for (const auto& [name, value] : features_of(c)) json["features"][name] = value;
    json["cooperative_matrices"] = Json::array();
    for (const auto& shape : c.cooperative_matrices)
        json["cooperative_matrices"].push_back(danaus::to_string(shape));
    json["workgroup_matrices"] = Json::array();
    for (const auto& shape : c.workgroup_matrices)
        json["workgroup_matrices"].push_back(
            {{"steps", danaus::to_string(shape.steps)}, {"invocations", shape.invocations}});
    json["quirks"] = c.quirks;
    for (const Access access : {Access::address, Access::descriptor}) {
        const auto kernels = danaus::kernel_support(c, access);
        Json list = Json::array(), families = Json::object();
        for (const KernelSupport& kernel : kernels)
            list.push_back({{"name", kernel.name},
                            {"family", kernel.family},
                            {"summary", kernel.summary},
                            {"usable", kernel.usable()},
                            {"reason", kernel.reason}});
        for (const auto& [name, family] : families_of(kernels))
            families[name] = {{"usable", family.usable}, {"kernels", family.all}};
        json["access"][name_of(access)] = {{"families", families}, {"kernels", list}};
    }
    return json;
}

void print_device(const Capabilities& c, std::size_t index) {
    fmt::print("{}: {}\n", index, c.name);
    const auto line = [](const std::string& name, const std::string& value) {
        fmt::print("   {:<28}{}\n", name, value);
    };
    line("type", danaus::to_string(c.type));
    line("uuid", danaus::uuid_to_string(c.device_uuid));
    line("vulkan", version_text(c.api_version));
    line("driver", fmt::format("{}{}{} (version {:#x})", c.driver_name, c.driver_info.empty() ? "" : " ",
                               c.driver_info, c.driver_version));
    if (const std::string reason = danaus::unusable_reason(c); !reason.empty())
        line("cannot be used", reason);
    for (const auto& [name, value] : limits_of(c)) line(name, value.dump());
    for (const auto& [name, value] : features_of(c)) line(name, value ? "yes" : "no");
    for (const auto& shape : c.cooperative_matrices) line("  of a subgroup", danaus::to_string(shape));
    for (const auto& shape : c.workgroup_matrices)
        line("  of a workgroup", fmt::format("multiples of {}, {} invocations",
                                             danaus::to_string(shape.steps), shape.invocations));
    for (const std::string& quirk : c.quirks) line("quirk", quirk);
    for (const Access access : {Access::address, Access::descriptor}) {
        const auto kernels = danaus::kernel_support(c, access);
        std::string text;
        for (const auto& [name, family] : families_of(kernels))
            text += fmt::format("{}{} {}/{}", text.empty() ? "" : ", ", name, family.usable, family.all);
        line(fmt::format("kernels by {}", name_of(access)), text);
        // One reason often holds for all: it is said once.
        std::map<std::string, std::string> reasons;
        for (const KernelSupport& kernel : kernels)
            if (!kernel.usable()) {
                std::string& names = reasons[kernel.reason];
                names += (names.empty() ? "" : ", ") + kernel.name;
            }
        for (const auto& [reason, names] : reasons)
            line("  not usable", fmt::format("{}: {}", names, reason));
    }
}

Choice choose(const std::vector<Capabilities>& devices, const std::optional<std::string>& select) {
    danaus::DeviceOptions options;
    options.select = select;
    danaus::Device device = danaus::Device::open(options);
    const Capabilities& chosen = device.capabilities();
    Choice choice{0, device.choice(), device.access(), chosen};
    while (choice.index + 1 < devices.size() && (devices[choice.index].device_uuid != chosen.device_uuid ||
                                                 devices[choice.index].driver_uuid != chosen.driver_uuid ||
                                                 devices[choice.index].name != chosen.name))
        ++choice.index;
    device.close();
    return choice;
}

void report(const std::optional<std::string>& select, bool json) {
    const std::vector<Capabilities> devices = danaus::list_devices();
    const Choice choice = choose(devices, select);
    Json list = Json::array();
    for (std::size_t i = 0; i < devices.size(); ++i) {
        if (select && i != choice.index) continue;
        // The chosen one as it was opened: without what DANAUS_DISABLE names.
        const Capabilities& device = i == choice.index ? choice.capabilities : devices[i];
        if (json)
            list.push_back(to_json(device, i));
        else
            print_device(device, i);
    }
    if (json) {
        const Json all = {{"version", DANAUS_VERSION},
                          {"chosen", choice.index},
                          {"choice", choice.why},
                          {"access", name_of(choice.access)},
                          {"devices", list}};
        // Names come from drivers: bytes that are no UTF-8 are replaced.
        fmt::print("{}\n", all.dump(2, ' ', false, Json::error_handler_t::replace));
    } else {
        fmt::print("chosen: {} ({}), {}; kernels reach memory by {}\n", choice.index,
                   devices[choice.index].name, choice.why, name_of(choice.access));
    }
    if (std::fflush(stdout) != 0) throw std::runtime_error("the output cannot be written");
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Lists the Vulkan devices, what the library can run on each, and the one it takes."};
    std::optional<std::string> select;
    bool json = false;
    app.add_option(
        "--device", select,
        "Only this device: its index, UUID or a part of its name. Without it DANAUS_DEVICE decides, "
        "then the best type: discrete, integrated, virtual, other, cpu");
    app.add_flag("--json", json, "Print JSON instead of text");
    app.set_version_flag("--version", DANAUS_VERSION);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        if (error.get_exit_code() == 0) return app.exit(error);
        fmt::print(stderr, "danaus-info: {} (see --help)\n", error.what());
        return 2;
    }
    try {
        report(select, json);
    } catch (const std::exception& error) {
        fmt::print(stderr, "danaus-info: {}\n", error.what());
        return 1;
    }
    return 0;
}
