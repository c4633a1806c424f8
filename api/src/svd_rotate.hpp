// What the rotations of svd_rotate.cpp and svd_panels.cpp share.
#pragma once

#include "svd.hpp"

#include <danaus/kernels.hpp>

namespace danaus::detail {

[[nodiscard]] std::uint64_t round_up(std::uint64_t value, std::uint64_t unit);
[[nodiscard]] bool is_cpu(const Recorder& recorder);
/// Matrices, or pairs of panels, that lie side by side.
[[nodiscard]] std::uint64_t rotation_lanes(const Recorder& recorder);
/// Cosines that rounding leaves, and those that a decomposition may end with.
[[nodiscard]] float rounding_of(const Decomposition& d, const SvdOptions& options);
[[nodiscard]] float tolerance_of(const Decomposition& d, const SvdOptions& options);

struct JacobiFields {
    std::uint32_t vectors, rows, dot_rows, first, last, sweeps;
    float tolerance, negligible;
    std::uint32_t first_group, pairs, fresh, other;
};
/// The rotations of `groups` groups of matrices, in dispatches of bounded length.
void record_rotations(Recorder& recorder, const kernels::SvdJacobi& kernel, JacobiFields fields,
                      std::uint64_t groups, std::uint64_t lanes, const std::array<Operand, 4>& operands,
                      std::string_view label);

/// All rotations of a decomposition with d.panels > 0.
void rotate_panels(Recorder& recorder, const Decomposition& d, const SvdOptions& options);

}  // namespace danaus::detail
