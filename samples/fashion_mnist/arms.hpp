// The arms of the experiment: what each trains, and how. A new one is a row of the table in arms.cpp.
#pragma once

#include "model.hpp"

#include <span>
#include <string_view>

namespace sample {

struct Arm {
    std::string_view name;
    std::string_view about;  // a line for --help
    Hidden hidden;
    bool everyday = false;        // part of a run that asks for nothing else
    bool decay = false;           // masked decay, λ from a warm-up
    double dense_fraction = 0.0;  // of the steps, at the end: dense, without masks and decay
    double fine_tuning = 0.0;     // further steps as a Monarch network, as a share of the dense one's steps

    [[nodiscard]] Structure final_structure() const {
        if (fine_tuning > 0.0) return Structure::monarch;
        return dense_fraction > 0.0 ? Structure::dense : hidden.structure;
    }
};

std::span<const Arm> all_arms();
/// Throws std::runtime_error naming those that there are.
const Arm& find_arm(std::string_view name);

}  // namespace sample
