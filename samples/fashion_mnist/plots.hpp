// The pictures of a run, drawn by gnuplot.
#pragma once

#include "report.hpp"

namespace sample {

/// Draws `folder`/curves (loss and accuracy) and, when an arm has transposable masks, flips (how often masks
/// change, and how λ was chosen): .png, .svg and the .gp with the numbers. Adds the pictures' paths to
/// `drawn`. Returns why one is missing, or "".
std::string draw(const Summary& summary, const std::filesystem::path& folder,
                 std::vector<std::filesystem::path>& drawn);

}  // namespace sample
