// What an optimizer asks of its parameters and options.
#pragma once

#include "check.hpp"

#include <danaus/optimizer.hpp>

#include <cmath>

namespace danaus::detail {

inline void require_range(const char* name, double value, double low, double high) {
    require(std::isfinite(value) && value >= low && value <= high, "{}: {}, a number from {} to {} is needed",
            name, value, low, high);
}
inline void require_nonnegative(const char* name, float value) {
    require(std::isfinite(value) && value >= 0.0f, "{}: {}, a finite number >= 0 is needed", name, value);
}

/// Whether both have one master: they are the same parameter.
[[nodiscard]] bool same_master(const Parameter& a, const Parameter& b);
/// Whether a parameter's working copy is other memory than its master.
bool has_copy(const Parameter& parameter);

/// One parameter, called `name` in messages.
void check_parameter(const Recorder& recorder, const std::string& name, const Parameter& parameter);
/// Each of them, and that none of them is written where another one is.
void check_parameters(const Recorder& recorder, const std::vector<Parameter>& parameters);
void check_step_options(const StepOptions& step);

}  // namespace danaus::detail
