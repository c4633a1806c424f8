// One dense multiply of any verb, shape, type and layout, run on the device and held against the oracle.
#pragma once

#include "reference/error_bound.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <functional>
#include <ostream>
#include <string>

namespace danaus::test {

enum class Verb { forward, transposed, gradient };

/// C (m × n) = A·B of depth k, A and B being the operands of the verb in their own shapes:
///   forward     x (m, k), w (n, k)       transposed  dy (m, k), w (k, n)       gradient  dy (k, m), x (k, n)
struct MatmulCase {
    Verb verb = Verb::forward;
    std::size_t m = 1, n = 1, k = 1;
    std::size_t batch = 0;  ///< 0: everything has rank 2
    bool batched_a = true, batched_b = false;
    DataType type = DataType::f32;
    bool widen = false;
    Layout a = {}, b = {}, c = {};
    bool whole = false;  ///< whole numbers, which must come out bit for bit
    unsigned seed = 1;
};
std::ostream& operator<<(std::ostream& out, const MatmulCase& one);

/// Multiplies the operands of a verb into `out`.
using Multiply = std::function<void(const Tensor& out, const Tensor& a, const Tensor& b)>;

/// Empty, or a sentence with the case and the first wrong element or damaged byte. The library's multiply, or
/// `multiply` in its place.
[[nodiscard]] std::string mismatch(Stream& stream, const MatmulCase& one, const Multiply& multiply = {});

}  // namespace danaus::test
