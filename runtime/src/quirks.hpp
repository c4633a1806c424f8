// What drivers report and do not keep: one table, applied where a device is looked at, so that no other file
// asks which driver it has.
#pragma once

#include "vk.hpp"

#include <danaus/runtime/capabilities.hpp>

#include <cstdint>
#include <span>
#include <string_view>

namespace danaus::runtime {

struct Quirk {
    std::string_view id;
    VkDriverId driver;
    std::uint32_t first_version, last_version;  ///< driverVersion, both included
    bool (*concerns)(const Capabilities&);      ///< null: every device of the driver
    void (*turn_off)(Capabilities&);            ///< null: nothing is turned off, the library avoids it
    std::string_view what, reason, seen;
};

[[nodiscard]] std::span<const Quirk> quirks();

/// Turns off what the quirks of the device's driver say, and notes their ids in `capabilities`.
void apply_quirks(Capabilities& capabilities);

/// Turns off the features that `list` names, separated by commas: fp16, storage16, bda, subgroup,
/// subgroup_size, coopmat, timestamps. Throws Error(invalid_argument) naming `source`, the word and the words
/// there are.
void disable(Capabilities& capabilities, std::string_view list, std::string_view source);

}  // namespace danaus::runtime
