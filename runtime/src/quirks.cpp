#include "quirks.hpp"

#include <danaus/runtime/error.hpp>

#include <algorithm>
#include <array>
#include <limits>

#include <fmt/format.h>

namespace danaus::runtime {
namespace {

constexpr std::uint32_t any = std::numeric_limits<std::uint32_t>::max();

void withhold_matrices(Capabilities& c) {
    c.cooperative_matrix = c.matrix_workgroup_scope = c.matrix_flexible_dimensions = c.matrix_bfloat16 =
        false;
    c.cooperative_matrices.clear();
    c.workgroup_matrices.clear();
}

// MoltenVK counts major * 10000 + minor * 100 + patch.
constexpr std::array table{
    Quirk{"lavapipe-cooperative-matrix", VK_DRIVER_ID_MESA_LLVMPIPE, 0, any,
          [](const Capabilities& c) { return c.cooperative_matrix && c.subgroup_size != 8; },
          withhold_matrices, "cooperative matrices at subgroup sizes other than 8",
          "creating a pipeline with one crashes", "Mesa 26.2.6, LP_NATIVE_VECTOR_WIDTH=512"},
    Quirk{
        "swiftshader-queue-families", VK_DRIVER_ID_GOOGLE_SWIFTSHADER, 0, any, nullptr, nullptr,
        "nothing: families are counted before they are read",
        "vkGetPhysicalDeviceQueueFamilyProperties fills an array of any length with copies of its one family",
        "SwiftShader of Chromium 150 and 156"},
    Quirk{"moltenvk-address-atomics", VK_DRIVER_ID_MOLTENVK, 0, 10207, nullptr,
          [](Capabilities& c) { c.buffer_device_address = false; }, "device addresses",
          "its shader compiler refuses atomics through them, which stores of 16-bit elements are",
          "SPIRV-Cross before 1.3.280, which is in MoltenVK before 1.2.8"},
};

struct Switch {
    std::string_view word;
    void (*turn_off)(Capabilities&);
};

constexpr std::array switches{
    Switch{"fp16", [](Capabilities& c) { c.shader_float16 = false; }},
    Switch{"fp64", [](Capabilities& c) { c.shader_float64 = false; }},
    Switch{"storage16", [](Capabilities& c) { c.storage_16bit = false; }},
    Switch{"bda", [](Capabilities& c) { c.buffer_device_address = false; }},
    Switch{"subgroup", [](Capabilities& c) { c.subgroup_arithmetic = c.subgroup_shuffle = false; }},
    Switch{"subgroup_size",
           [](Capabilities& c) { c.subgroup_size_control = c.compute_full_subgroups = false; }},
    Switch{"coopmat", withhold_matrices},
    Switch{"timestamps", [](Capabilities& c) { c.timestamp_bits = 0; }},
};

}  // namespace

std::span<const Quirk> quirks() {
    return table;
}

void apply_quirks(Capabilities& c) {
    for (const Quirk& quirk : table) {
        if (static_cast<std::uint32_t>(quirk.driver) != c.driver_id) continue;
        if (c.driver_version < quirk.first_version || c.driver_version > quirk.last_version) continue;
        if (quirk.concerns && !quirk.concerns(c)) continue;
        if (quirk.turn_off) quirk.turn_off(c);
        c.quirks.push_back(fmt::format("{} ({}: {})", quirk.id, quirk.what, quirk.reason));
    }
}

void disable(Capabilities& c, std::string_view list, std::string_view source) {
    while (!list.empty()) {
        const std::size_t comma = std::min(list.find(','), list.size());
        const std::string_view word = list.substr(0, comma);
        list.remove_prefix(std::min(list.size(), comma + 1));
        if (word.empty()) continue;
        const auto found = std::find_if(switches.begin(), switches.end(),
                                        [&](const Switch& candidate) { return candidate.word == word; });
        if (found == switches.end()) {
            std::string words;
            for (const Switch& known : switches)
                words += fmt::format("{}{}", words.empty() ? "" : ", ", known.word);
            throw Error(ErrorKind::invalid_argument,
                        fmt::format("{}: '{}' is nothing that can be turned off; there are: {}", source, word,
                                    words));
        }
        found->turn_off(c);
    }
}

}  // namespace danaus::runtime
