// The kernels that the library's plans choose on a device: what the laboratory compiles.
#pragma once

#include <danaus/kernels.hpp>
#include <danaus/runtime/device.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace danaus::lab {

using Kernels = std::vector<kernels::Kernel>;

/// What every operation of the library chooses on `device`, found by calling it on operands of many types,
/// layouts and sizes with a recorder that keeps the kernels and nothing else.
[[nodiscard]] Kernels operation_kernels(const Device& device);

/// What the plan of a multiply chooses, over the features that a MultiplyProblem has. Looks at no device.
/// Of `one_in` combinations of sizes and layouts one is looked at, by a fixed choice.
[[nodiscard]] Kernels multiply_kernels(const Capabilities& capabilities, Access access,
                                       std::uint64_t one_in = 1);

/// Some of `kernels`, which are of one module: every `strength` values of different constants that occur
/// together in one of `kernels` occur together in one of the result. Sorted, and the same for the same set.
[[nodiscard]] Kernels covering(const Kernels& kernels, unsigned strength);

/// Modules with no more kernels than this are compiled whole.
inline constexpr std::size_t small_module = 24;
/// The most kernels for one device and access.
inline constexpr std::size_t most_kernels = 1000;

struct Corpus {
    Kernels kernels;                    ///< in the table's order of modules, sorted by constants within one
    std::size_t chosen = 0;             ///< distinct kernels found before the reduction
    std::vector<std::string> unusable;  ///< "module: why no kernel of it can run on the device"
};

/// The kernels for `device` and its way of reaching memory. Throws std::logic_error naming a module of the
/// table that the device can run and no operation reached (a new kernel needs calls in operations.cpp), a
/// choice that the table does not admit, or a corpus past most_kernels.
[[nodiscard]] Corpus corpus(const Device& device, unsigned strength = 2, std::uint64_t one_in = 1);

/// The same from kernels that were found before.
[[nodiscard]] Corpus corpus_of(Kernels chosen, const Capabilities& capabilities, Access access,
                               unsigned strength);

/// "module v,v,v" with the values of the constants in the table's order.
[[nodiscard]] std::string short_name(const kernels::Kernel& kernel);

}  // namespace danaus::lab
