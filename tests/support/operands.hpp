// Operands in any layout for tests of operations: values drawn from a seed, placed in device memory with
// poison or sentinels around them, and read back with a check of everything around.
#pragma once

#include "reference/float_types.hpp"

#include <danaus/danaus.hpp>

#include <cstdint>
#include <ostream>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck.h>

namespace danaus::test {

[[nodiscard]] reference::FloatType float_type(DataType type);

/// `count` values in [-1, 1], representable in `type`; the same for the same seed.
[[nodiscard]] std::vector<float> random_values(std::size_t count, unsigned seed,
                                               DataType type = DataType::f32);
/// `count` whole numbers in [-limit, limit].
[[nodiscard]] std::vector<float> whole_values(std::size_t count, unsigned seed, int limit);

/// How a tensor's rows (second to last dimension) and columns (last dimension) lie in memory.
struct Layout {
    bool feature_major = false;   ///< rows are contiguous instead of columns
    std::uint64_t gap = 0;        ///< elements left out behind each row (column if feature-major)
    std::uint64_t batch_gap = 0;  ///< elements left out behind each member of a batch
    std::uint64_t skew = 0;       ///< elements in front of the first one
    bool broadcast = false;       ///< one row stands for all: a row stride of 0

    [[nodiscard]] Shape strides(const Shape& shape) const;
};
std::ostream& operator<<(std::ostream& out, const Layout& layout);

/// Elements in a larger buffer of their own.
class Placed {
public:
    /// An operand: `values` (row-major, representable in `type`), NaN everywhere else.
    Placed(Stream& stream, DataType type, const Shape& shape, const Layout& layout,
           std::span<const float> values);
    /// A result: elements poisoned with NaN, a finite sentinel everywhere else.
    Placed(Stream& stream, DataType type, const Shape& shape, const Layout& layout = {});

    [[nodiscard]] const Tensor& tensor() const { return tensor_; }
    operator const Tensor&() const { return tensor_; }

    struct Contents {
        std::vector<float> values;  ///< row-major
        std::string damage;         ///< empty, or a sentence naming what changed outside the elements
    };
    /// Reads the whole buffer back, without any kernel.
    [[nodiscard]] Contents read(Stream& stream) const;
    /// values of read(); damage is a test failure.
    [[nodiscard]] std::vector<float> values(Stream& stream) const;

private:
    void place(Stream& stream, DataType type, const Shape& shape, const Layout& layout);
    /// Byte offset of every element, row-major.
    [[nodiscard]] std::vector<std::size_t> places() const;

    Tensor tensor_;
    std::vector<std::byte> image_;  // what the buffer held at first
};

/// Runs `body` on `count` random inputs (RapidCheck); use RC_ASSERT and *rc::gen in it.
template <typename Body>
void property(int count, const Body& body) {
    auto params = rc::detail::configuration().testParams;
    params.maxSuccess = count;
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    rc::detail::TestMetadata metadata;
    metadata.id = std::string(test->test_suite_name()) + "/" + test->name();
    metadata.description = metadata.id;
    const auto result = rc::detail::checkTestable(body, metadata, params);
    if (result.template is<rc::detail::SuccessResult>()) return;
    std::ostringstream text;
    rc::detail::printResultMessage(result, text);
    ADD_FAILURE() << text.str();
}

/// A whole number in [low, high], shrinking towards low.
[[nodiscard]] std::uint64_t draw(std::uint64_t low, std::uint64_t high);
[[nodiscard]] Layout draw_layout();

}  // namespace danaus::test
