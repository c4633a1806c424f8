// The cases of danaus-bench: what is recorded, what it must give, and what OpenBLAS does for the same
// product.
#pragma once

#include "blas.hpp"

#include <danaus/danaus.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace danaus::bench {

enum class Role : std::uint32_t {
    input,
    output,
    host,  ///< an operand of the oracle or the yardstick alone
};

struct Operand {
    Role role = Role::input;
    std::uint64_t elements = 0;
    Tensor tensor;         ///< null for Role::host
    bool derived = false;  ///< an input that the oracle computes from the others (a stored intermediate)
};

/// What OpenBLAS is timed on beside a case.
struct Yardstick {
    std::string what;  ///< empty: none
    std::uint64_t multiply_adds = 0;
    std::function<void(const Blas&, std::vector<std::vector<float>>& operands)> run;
    bool needs_lapack = false;
};

/// Another operation on the same operands that the device takes turns with, so that a ratio of the two is
/// that of one run.
struct Rival {
    std::string what;
    std::function<void(Recorder&)> record;  ///< empty: none
};

/// A case made ready on a device.
struct Job {
    std::vector<Operand> operands;
    /// Records what turns uploaded inputs into the operation's own (compression); may be empty.
    std::function<void(Recorder&)> prepare;
    /// Records the operation into its outputs, always the same ones: the hazard between two of them is the
    /// barrier between repetitions.
    std::function<void(Recorder&)> record;
    /// Records what turns the operation's own results (a bit mask) into the outputs that the oracle knows;
    /// may be empty.
    std::function<void(Recorder&)> reveal;
    /// Fills outputs and derived inputs from the other operands, with sums in double precision, rounded where
    /// the device stores; of large products only a sample. It may change inputs (prune them) before they are
    /// uploaded. Inputs are integers so small that the sums are exact in f32.
    std::function<void(std::vector<std::vector<float>>& operands)> oracle;
    Yardstick yardstick;
    Rival rival;
    std::uint64_t multiply_adds = 0;
    std::uint64_t bytes = 0;  ///< that have to move at the least: every operand of the device once
    /// Of 2:4 training: what it holds of weights beside their f32 masters and gradients, and the masters.
    std::uint64_t copy_bytes = 0, master_bytes = 0;
    double tolerance = 0.0;  ///< of outputs that are not exact, times 1 + |expected|
    int magnitude = 2;       ///< inputs of the verification lie in [-magnitude, magnitude]
};

struct Case {
    std::string operation;  ///< "matmul"
    std::string dtype;      ///< "f32"
    std::string size;       ///< "1024x1024x1024": rows × columns × contraction of the product
    std::vector<std::pair<std::string, std::uint64_t>> shape;
    /// Suites ("quick", "full": all of quick and larger shapes, "sweep") and what the case stands for
    /// ("gpt2").
    std::vector<std::string> tags;
    std::function<Job(Stream&)> prepare;

    [[nodiscard]] bool has(const std::string& tag) const;
    [[nodiscard]] std::string name() const { return operation + '/' + dtype + '/' + size; }
};

/// Every case, in the order in which they run.
[[nodiscard]] std::vector<Case> all_cases();

}  // namespace danaus::bench
