#include "epilogue_case.hpp"

#include <cmath>
#include <sstream>

namespace danaus::test {
namespace {

using reference::Matrix;

reference::Activation oracle(Activation activation) {
    switch (activation) {
        case Activation::relu:
            return reference::Activation::relu;
        case Activation::gelu:
            return reference::Activation::gelu_tanh;
        case Activation::gelu_erf:
            return reference::Activation::gelu_erf;
        case Activation::none:
            break;
    }
    return reference::Activation::identity;
}

// Storing a value near `exact` with error `error` in `type`.
double stored(DataType type, double exact, double error) {
    if (type == DataType::f32) return error;
    const double tiny = type == DataType::f16 ? 0x1p-25 : 0x1p-126;
    return error + reference::unit_roundoff(float_type(type)) * (std::abs(exact) + error) + tiny;
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const EpilogueChoice& choice) {
    const char* bias[] = {"no bias", "bias", "f32 bias"};
    const char* residual[] = {"no residual", "residual", "turned residual", "residual in place",
                              "accumulate"};
    return out << to_string(choice.type) << (choice.widen ? " widened, " : ", ")
               << bias[static_cast<int>(choice.bias)] << ", " << to_string(choice.activation) << ", "
               << residual[static_cast<int>(choice.residual)] << (choice.aux ? ", aux" : "") << ", scale "
               << choice.scale << (choice.feature_major ? ", feature-major" : "") << ", skew " << choice.skew;
}

EpilogueCase::EpilogueCase(Stream& stream, const EpilogueChoice& choice, std::size_t tokens,
                           std::size_t features)
    : choice_(choice), result_(choice.widen ? DataType::f32 : choice.type) {
    using Residual = EpilogueChoice::Residual;
    const Shape shape{tokens, features};
    const Layout layout{.feature_major = choice.feature_major, .gap = 2, .skew = choice.skew};
    Layout other = layout, turned = layout;
    other.skew += 2;
    turned.feature_major = !layout.feature_major;
    if (choice.residual != Residual::none) residual_values_ = random_values(tokens * features, 91, result_);
    if (choice.residual == Residual::in_place || choice.residual == Residual::accumulate)
        out_.emplace(stream, result_, shape, layout, residual_values_);
    else
        out_.emplace(stream, result_, shape, layout);
    if (choice.residual == Residual::same_layout)
        residual_.emplace(stream, result_, shape, other, residual_values_);
    if (choice.residual == Residual::other_layout)
        residual_.emplace(stream, result_, shape, turned, residual_values_);
    if (choice.bias != EpilogueChoice::Bias::none) {
        const DataType type = choice.bias == EpilogueChoice::Bias::f32 ? DataType::f32 : choice.type;
        bias_values_ = random_values(features, 92, type);
        bias_.emplace(stream, type, Shape{features}, Layout{.skew = 1}, bias_values_);
    }
    if (choice.aux) aux_.emplace(stream, result_, shape, other);
}

Epilogue EpilogueCase::epilogue() const {
    Epilogue epilogue;
    if (bias_) epilogue.bias = *bias_;
    if (residual_) epilogue.residual = *residual_;
    if (choice_.residual == EpilogueChoice::Residual::in_place) epilogue.residual = *out_;
    if (aux_) epilogue.aux = *aux_;
    epilogue.activation = choice_.activation;
    epilogue.scale = choice_.scale;
    epilogue.accumulate = choice_.residual == EpilogueChoice::Residual::accumulate;
    return epilogue;
}

std::string EpilogueCase::mismatch(Stream& stream, const Matrix& sum, const Matrix& bound) const {
    reference::Epilogue exact;
    exact.scale = choice_.scale;
    exact.bias = reference::to_double(bias_values_);
    exact.activation = oracle(choice_.activation);
    if (!residual_values_.empty()) exact.residual = Matrix(sum.rows, sum.cols, residual_values_);
    const reference::EpilogueResult expected = reference::epilogue_forward(sum, exact);
    Matrix z_bound(sum.rows, sum.cols), y_bound(sum.rows, sum.cols);
    constexpr double step = 0x1p-22;  // a few fp32 operations
    for (std::size_t i = 0; i < sum.data.size(); ++i) {
        const double z = std::abs(expected.z.data[i]), scaled = std::abs(choice_.scale * sum.data[i]),
                     z_error = std::abs(choice_.scale) * bound.data[i] + step * (z + scaled) + 0x1p-126;
        // GELU's slope stays below 1.13; its exp and erfc are approximations (epilogue.glsl).
        const bool smooth =
            choice_.activation == Activation::gelu || choice_.activation == Activation::gelu_erf;
        const double y_error =
            (smooth ? 1.13 * z_error + 4e-6 * (1 + z) : z_error) +
            (residual_values_.empty() ? 0 : step * (2 * std::abs(residual_values_[i]) + z));
        z_bound.data[i] = stored(result_, expected.z.data[i], z_error);
        y_bound.data[i] = stored(result_, expected.y.data[i], y_error);
    }
    const Placed::Contents y = out_->read(stream);
    std::string text = reference::first_mismatch(y.values, expected.y, y_bound);
    if (text.empty()) text = y.damage;
    if (text.empty() && aux_) {
        const Placed::Contents z = aux_->read(stream);
        text = reference::first_mismatch(z.values, expected.z, z_bound) + z.damage;
        if (!text.empty()) text = "aux " + text;
    }
    if (text.empty()) return text;
    std::ostringstream out;
    out << choice_ << ": " << text;
    return out.str();
}

}  // namespace danaus::test
