#include "kernel_list.hpp"

#include "host.hpp"
#include "packets.hpp"

#include <danaus/runtime/inspect.hpp>

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace danaus::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Use {
    kernels::Kernel kernel;
    std::vector<std::pair<std::string, std::array<std::uint32_t, 3>>> cases;  // name, grid
};

std::vector<Use> uses_of(const Device& device, const std::vector<Case>& cases) {
    std::vector<Use> uses;
    Stream stream(device);
    for (const Case& one : cases) {
        try {
            const Job job = one.prepare(stream);
            ProgramRecorder recorder(device);
            PacketList list(recorder);
            job.record(list);
            for (const Packet& packet : list.packets) {
                auto use = std::find_if(uses.begin(), uses.end(),
                                        [&](const Use& other) { return other.kernel == packet.kernel; });
                if (use == uses.end()) use = uses.insert(uses.end(), Use{packet.kernel, {}});
                use->cases.emplace_back(one.name(), packet.grid);
            }
        } catch (const Error& error) {
            if (error.kind() != ErrorKind::out_of_memory) throw;
            fmt::print(stderr, "danaus-bench: {} is left out: {}\n", one.name(), error.what());
        }
    }
    return uses;
}

// A name without what file systems dislike.
std::string file_name(std::string text) {
    std::replace_if(
        text.begin(), text.end(),
        [](char c) { return !std::isalnum(static_cast<unsigned char>(c)) && c != '_' && c != '-'; }, '_');
    text.erase(text.find_last_not_of('_') + 1);
    return text;
}

Json to_json(const Executable& executable) {
    Json json{{"name", executable.name},
              {"subgroup_size", executable.subgroup_size},
              {"statistics", Json::object()},
              {"representations", Json::array()}};
    for (const ExecutableStatistic& one : executable.statistics)
        std::visit([&](auto value) { json["statistics"][one.name] = value; }, one.value);
    for (const ExecutableRepresentation& one : executable.representations)
        json["representations"].push_back({{"name", one.name}, {"bytes", one.data.size()}});
    return json;
}

void write_representations(const KernelReport& report, const std::string& stem,
                           const std::filesystem::path& folder, Json& json) {
    for (std::size_t i = 0; i < report.executables.size(); ++i)
        for (std::size_t j = 0; j < report.executables[i].representations.size(); ++j) {
            const ExecutableRepresentation& one = report.executables[i].representations[j];
            const std::string name = fmt::format("{}.{}{}.{}", stem, i ? fmt::format("{}.", i) : "",
                                                 file_name(one.name), one.is_text ? "txt" : "bin");
            write_file(folder / name, one.data);
            json["executables"][i]["representations"][j]["file"] = name;
        }
}

void print(const Json& kernel) {
    fmt::print("{}\n", kernel["module"].get<std::string>());
    std::vector<std::string> constants, uses;
    for (const auto& [name, value] : kernel["constants"].items())
        constants.push_back(fmt::format("{} {}", name, value.get<std::string>()));
    fmt::print("  {}\n", fmt::join(constants, ", "));
    constexpr std::size_t shown = 3;
    const Json& cases = kernel["cases"];
    for (std::size_t i = 0; i < std::min(shown, cases.size()); ++i)
        uses.push_back(fmt::format("{} (grid {}x{}x{})", cases[i]["name"].get<std::string>(),
                                   cases[i]["grid"][0].dump(), cases[i]["grid"][1].dump(),
                                   cases[i]["grid"][2].dump()));
    if (cases.size() > shown) uses.push_back(fmt::format("{} more", cases.size() - shown));
    fmt::print("  used by {}\n", fmt::join(uses, ", "));
    if (kernel["executables"].empty()) fmt::print("  this driver tells nothing of it\n");
    for (const Json& executable : kernel["executables"]) {
        fmt::print("  {}, subgroup size {}\n", executable["name"].get<std::string>(),
                   executable["subgroup_size"].dump());
        for (const auto& [name, value] : executable["statistics"].items())
            fmt::print("    {:<40} {:>12}\n", name, value.dump());
        std::vector<std::string> texts;
        for (const Json& one : executable["representations"])
            texts.push_back(one.contains("file") ? one["file"].get<std::string>()
                                                 : one["name"].get<std::string>());
        fmt::print("    code: {}\n",
                   texts.empty() ? "this driver gives none" : fmt::format("{}", fmt::join(texts, ", ")));
    }
    fmt::print("\n");
}

}  // namespace

Json list_kernels(const Device& device, const std::vector<Case>& cases,
                  const std::optional<std::filesystem::path>& folder) {
    Json list = Json::array();
    for (const Use& use : uses_of(device, cases)) {
        const KernelReport report = inspect(device, use.kernel);
        Json json{{"module", report.module}, {"constants", Json::object()}, {"cases", Json::array()}};
        for (const auto& [name, value] : report.constants) json["constants"][name] = value;
        for (const auto& [name, grid] : use.cases) json["cases"].push_back({{"name", name}, {"grid", grid}});
        json["executables"] = Json::array();
        for (const Executable& executable : report.executables)
            json["executables"].push_back(to_json(executable));
        if (folder)
            write_representations(report, fmt::format("{:03}-{}", list.size(), report.module), *folder, json);
        print(json);
        list.push_back(std::move(json));
    }
    return list;
}

}  // namespace danaus::bench
