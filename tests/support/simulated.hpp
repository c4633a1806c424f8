// Weaker devices than the one at hand: its capabilities, capped.
#pragma once

#include <danaus/danaus.hpp>

#include <functional>
#include <span>
#include <string_view>

namespace danaus::test {

struct Simulation {
    std::string_view name;
    std::string_view summary;
    void (*cap)(Capabilities&);
    bool split_heaps = false;  ///< through split_heaps.hpp
};

/// Every simulated device, each with one thing that the specification allows to be small or missing at its
/// least.
[[nodiscard]] std::span<const Simulation> simulations();
/// nullptr: there is none of that name.
[[nodiscard]] const Simulation* find_simulation(std::string_view name);

}  // namespace danaus::test
