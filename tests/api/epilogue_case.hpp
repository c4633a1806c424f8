// One choice of epilogue around any multiply, held against the oracle.
#pragma once

#include "reference/epilogue.hpp"
#include "reference/error_bound.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <optional>
#include <ostream>
#include <string>

namespace danaus::test {

struct EpilogueChoice {
    enum class Bias { none, operand_type, f32 };
    enum class Residual { none, same_layout, other_layout, in_place, accumulate };

    DataType type = DataType::f32;  ///< of the operands
    bool widen = false;
    Bias bias = Bias::none;
    Activation activation = Activation::none;
    Residual residual = Residual::none;
    bool aux = false;
    float scale = 1.0f;
    bool feature_major = false;
    unsigned skew = 0;  ///< of the result
};
std::ostream& operator<<(std::ostream& out, const EpilogueChoice& choice);

/// Result, bias, residual and aux for a multiply that makes (tokens, features).
class EpilogueCase {
public:
    EpilogueCase(Stream& stream, const EpilogueChoice& choice, std::size_t tokens, std::size_t features);

    [[nodiscard]] const Tensor& out() const { return out_->tensor(); }
    [[nodiscard]] Epilogue epilogue() const;
    /// Empty, or what is wrong with the result or aux, when the multiply's exact sums are `sum` and the
    /// device's may be `bound` off.
    [[nodiscard]] std::string mismatch(Stream& stream, const reference::Matrix& sum,
                                       const reference::Matrix& bound) const;

private:
    EpilogueChoice choice_;
    DataType result_;
    std::vector<float> bias_values_, residual_values_;
    std::optional<Placed> out_, bias_, residual_, aux_;
};

}  // namespace danaus::test
