// Tables as JSON. Everything that is read is checked before it is believed.
#include "check.hpp"
#include "platform.hpp"
#include "tuning.hpp"

#include <danaus/runtime/layers.hpp>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <limits>
#include <span>

#include <nlohmann/json.hpp>

namespace danaus {
namespace {

using namespace detail;
using Json = nlohmann::ordered_json;
using Outcome = Measured::Outcome;

constexpr std::uint32_t schema = 1;
constexpr std::uint64_t most_bytes = 64ull << 20;
constexpr const char* outcomes[] = {"kept", "dropped", "wrong", "failed"};

/// Why a file cannot be used.
struct Unusable {
    std::string why;
};

std::string damaged(const std::string& what) {
    return fmt::format("it is damaged ({})", what);
}

// --- writing

Json to_json(const Measured& one) {
    const Tile& tile = one.choice.tile;
    return {{"family", to_string(tile.family)},
            {"lanes", tile.lanes},
            {"rows", tile.rows},
            {"columns", tile.columns},
            {"depth", tile.depth},
            {"exchanged", tile.exchanged},
            {"packed", one.choice.packed},
            {"outcome", outcomes[static_cast<std::size_t>(one.outcome)]},
            {"ns", one.nanoseconds}};
}

Json to_json(const ProblemKey& key, const Entry& entry) {
    Json json{{"problem", to_string(key)}, {"chosen", entry.chosen}, {"rules", entry.rules}};
    json["measured"] = Json::array();
    for (const Measured& one : entry.measured) json["measured"].push_back(to_json(one));
    return json;
}

Json to_json(const DeviceIdentity& device) {
    return {{"name", device.name},
            {"driver", device.driver},
            {"device_uuid", uuid_to_string(device.device_uuid)},
            {"driver_uuid", uuid_to_string(device.driver_uuid)},
            {"driver_version", device.driver_version},
            {"subgroup_size", device.subgroup_size}};
}

// The problems one to a line, which is also what the hash is taken of.
std::string problems_text(const TuningData& data) {
    std::string text;
    for (const auto& [key, entry] : data.entries)
        text += (text.empty() ? "\n" : ",\n") + to_json(key, entry).dump();
    return text + '\n';
}

std::string hash_text(const std::string& problems) {
    return fmt::format("{:016x}", runtime::hash(std::as_bytes(std::span(problems))));
}

// --- reading

const Json& member(const Json& json, const char* name, Json::value_t type) {
    if (!json.is_object() || !json.contains(name)) throw Unusable{damaged(fmt::format("no {}", name))};
    const Json& found = json[name];
    if (found.type() != type) throw Unusable{damaged(fmt::format("{} has a wrong type", name))};
    return found;
}

template <typename Number>
Number number(const Json& json, const char* name) {
    const auto value = member(json, name, Json::value_t::number_unsigned).get<std::uint64_t>();
    if (value > std::numeric_limits<Number>::max())
        throw Unusable{damaged(fmt::format("{} is {}", name, value))};
    return static_cast<Number>(value);
}

std::string string(const Json& json, const char* name) {
    return member(json, name, Json::value_t::string).get<std::string>();
}

bool boolean(const Json& json, const char* name) {
    return member(json, name, Json::value_t::boolean).get<bool>();
}

Measured measured_from(const Json& json) {
    Measured one;
    Tile& tile = one.choice.tile;
    const std::string family = string(json, "family"), outcome = string(json, "outcome");
    std::uint32_t index = 0;
    const auto name = [&] { return to_string(static_cast<Family>(index)); };
    while (name() && family != name()) ++index;
    if (!name()) throw Unusable{damaged(fmt::format("family '{}'", family))};
    tile = {static_cast<Family>(index),           number<std::uint32_t>(json, "lanes"),
            number<std::uint32_t>(json, "rows"),  number<std::uint32_t>(json, "columns"),
            number<std::uint32_t>(json, "depth"), boolean(json, "exchanged")};
    one.choice.packed = boolean(json, "packed");
    const auto found = std::find(std::begin(outcomes), std::end(outcomes), outcome);
    if (found == std::end(outcomes)) throw Unusable{damaged(fmt::format("outcome '{}'", outcome))};
    one.outcome = static_cast<Outcome>(found - std::begin(outcomes));
    for (const Json& sample : member(json, "ns", Json::value_t::array)) {
        if (!sample.is_number_unsigned()) throw Unusable{damaged("ns has a wrong type")};
        one.nanoseconds.push_back(sample.get<std::uint64_t>());
    }
    return one;
}

Entry entry_from(const Json& json) {
    Entry entry;
    for (const Json& one : member(json, "measured", Json::value_t::array))
        entry.measured.push_back(measured_from(one));
    entry.chosen = number<std::size_t>(json, "chosen");
    entry.rules = number<std::size_t>(json, "rules");
    if (entry.chosen >= entry.measured.size() || entry.rules >= entry.measured.size())
        throw Unusable{damaged("a choice that was not measured")};
    const Measured& chosen = entry.measured[entry.chosen];
    if (chosen.outcome != Outcome::kept || chosen.nanoseconds.size() < least_samples)
        throw Unusable{damaged("a choice of too few samples")};
    return entry;
}

std::string read_whole(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::exists(path, error)) throw Unusable{"there is no such file"};
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (error) throw Unusable{"it cannot be read"};
    if (size > most_bytes) throw Unusable{damaged(fmt::format("{} bytes", size))};
    std::ifstream file(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file || text.size() != size) throw Unusable{"it cannot be read"};
    return text;
}

std::shared_ptr<const TuningData> data_from(const std::string& text, const Capabilities& capabilities) {
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_discarded()) throw Unusable{damaged("no JSON")};
    if (const auto version = number<std::uint32_t>(json, "schema"); version != schema)
        throw Unusable{fmt::format("schema {}, expected {}", version, schema)};
    auto data = std::make_shared<TuningData>();
    data->device = identity_of(capabilities);
    const Json& device = member(json, "device", Json::value_t::object);
    if (device != to_json(data->device)) {
        const std::string name = string(device, "name"), driver = string(device, "driver");
        throw Unusable{fmt::format("written on {}, {}, driver version {}", name, driver,
                                   number<std::uint32_t>(device, "driver_version"))};
    }
    for (const Json& one : member(json, "problems", Json::value_t::array)) {
        const std::string problem = string(one, "problem");
        const auto key = key_from(problem);
        if (!key) throw Unusable{damaged(fmt::format("problem '{}'", problem))};
        if (!data->entries.emplace(*key, entry_from(one)).second)
            throw Unusable{damaged(fmt::format("'{}' twice", problem))};
    }
    // Of what was understood, so that spaces do not matter and whatever is nested in a file does not either.
    if (string(json, "hash") != hash_text(problems_text(*data))) throw Unusable{damaged("hash mismatch")};
    return data;
}

TuningTable table_from(const std::filesystem::path& file, const Device& device) {
    return TuningTable(data_from(read_whole(file), device.capabilities()));
}

}  // namespace

TuningTable read_tuning(const std::filesystem::path& file, const Device& device) {
    try {
        return table_from(file, device);
    } catch (const Unusable& unusable) {
        throw Error(ErrorKind::file,
                    fmt::format("tuning table {} cannot be used: {}", platform::utf8(file), unusable.why));
    }
}

TuningTable load_tuning(const std::filesystem::path& file, const Device& device) {
    try {
        return table_from(file, device);
    } catch (const Unusable& unusable) {
        runtime::warn(device, fmt::format("tuning table {} ignored: {}", platform::utf8(file), unusable.why));
    }
    return {};
}

void save_tuning(const std::filesystem::path& file, const TuningTable& table) {
    const TuningData empty;
    const TuningData& data = table.data() ? *table.data() : empty;
    const std::string problems = problems_text(data);
    const std::string text =
        fmt::format("{{\"schema\": {},\n\"device\": {},\n\"hash\": \"{}\",\n\"problems\": [{}]}}\n", schema,
                    to_json(data.device).dump(-1, ' ', false, Json::error_handler_t::replace),
                    hash_text(problems), problems);
    const std::string failure = runtime::replace_file(file, std::as_bytes(std::span(text)));
    if (!failure.empty())
        throw Error(ErrorKind::file, fmt::format("tuning table {} {}", platform::utf8(file), failure));
}

}  // namespace danaus
