#include "arms.hpp"

#include <stdexcept>

#include <fmt/format.h>

namespace sample {
namespace {

constexpr Hidden dense{}, observed{.observed = true}, monarch{.structure = Structure::monarch},
    sparse24{.structure = Structure::sparse24},
    transposable{.structure = Structure::sparse24, .transposable = true},
    monarch_sparse24{.structure = Structure::monarch_sparse24};

constexpr Arm arms[] = {
    {"dense", "784-512-512-10; its masks are only observed", observed, true},
    {"monarch", "Monarch hidden layers of 4 blocks", monarch, true},
    {"sparse24", "2:4 by rows, straight-through gradients", sparse24, true},
    {"transposable", "2:4 both ways, pruned gradients, masked decay", transposable, false, true},
    {"no-decay", "the same without decay", transposable},
    {"dense-finish", "as transposable, the last sixth of the steps dense", transposable, false, true,
     1.0 / 6},
    {"half-width", "784-256-256-10, dense", {.width = 256}},
    {"monarch-dense-finish", "as monarch, the last tenth of the steps dense", monarch, false, false, 0.1},
    {"projected", "dense, projected onto Monarch at the end and trained for a third as long again", dense,
     false, false, 0.0, 1.0 / 3},
    {"monarch-sparse24", "Monarch with both factors as sparse24", monarch_sparse24},
    {"narrow", "784-160-160-10, dense", {.width = 160}},
};

}  // namespace

std::span<const Arm> all_arms() {
    return arms;
}

const Arm& find_arm(std::string_view name) {
    std::string names;
    for (const Arm& arm : arms) {
        if (arm.name == name) return arm;
        names += fmt::format("{}{}", names.empty() ? "" : ", ", arm.name);
    }
    throw std::runtime_error(fmt::format("--arm: there is no '{}'; there are {}", name, names));
}

}  // namespace sample
