#include "reference/epilogue.hpp"

#include <cmath>
#include <numbers>

namespace danaus::reference {
namespace {

constexpr double gelu_cubic = 0.044715;
double sqrt_two_over_pi() {
    return std::sqrt(2.0 / std::numbers::pi);
}

/// Phi(z); erfc keeps its relative accuracy for large negative z, where 1 + erf would cancel.
double normal_distribution(double z) {
    return 0.5 * std::erfc(-z / std::numbers::sqrt2);
}

double normal_density(double z) {
    return std::exp(-0.5 * z * z) / std::sqrt(2.0 * std::numbers::pi);
}

double logistic(double v) {
    return 1.0 / (1.0 + std::exp(-v));
}

/// The tanh form's argument, doubled: (1 + tanh(u)) / 2 = logistic(2u), which does not cancel for negative u.
double gelu_tanh_argument(double z) {
    return 2.0 * sqrt_two_over_pi() * (z + gelu_cubic * z * z * z);
}

}  // namespace

double activate(Activation activation, double z) {
    switch (activation) {
        case Activation::relu:
            return z < 0.0 ? 0.0 : z;
        case Activation::gelu_erf:
            return z * normal_distribution(z);
        case Activation::gelu_tanh:
            return z * logistic(gelu_tanh_argument(z));
        case Activation::identity:
            break;
    }
    return z;
}

double activation_derivative(Activation activation, double z) {
    switch (activation) {
        case Activation::relu:
            return z > 0.0 ? 1.0 : 0.0;
        case Activation::gelu_erf:
            return normal_distribution(z) + z * normal_density(z);
        case Activation::gelu_tanh: {
            const double v = gelu_tanh_argument(z);
            const double slope = 2.0 * sqrt_two_over_pi() * (1.0 + 3.0 * gelu_cubic * z * z);
            return logistic(v) + z * logistic(v) * logistic(-v) * slope;
        }
        case Activation::identity:
            break;
    }
    return 1.0;
}

Matrix activate(Activation activation, const Matrix& z) {
    Matrix y = z;
    for (double& value : y.data) value = activate(activation, value);
    return y;
}

EpilogueResult epilogue_forward(const Matrix& product, const Epilogue& epilogue) {
    require(epilogue.bias.empty() || epilogue.bias.size() == product.cols,
            "epilogue: bias must have one value per output feature");
    const bool has_residual = !epilogue.residual.data.empty();
    require(
        !has_residual || (epilogue.residual.rows == product.rows && epilogue.residual.cols == product.cols),
        "epilogue: the residual must have the output's shape");
    EpilogueResult result{product, product};
    for (std::size_t t = 0; t < product.rows; ++t) {
        for (std::size_t o = 0; o < product.cols; ++o) {
            const double z =
                epilogue.scale * product(t, o) + (epilogue.bias.empty() ? 0.0 : epilogue.bias[o]);
            result.z(t, o) = z;
            result.y(t, o) =
                activate(epilogue.activation, z) + (has_residual ? epilogue.residual(t, o) : 0.0);
        }
    }
    return result;
}

EpilogueGradients epilogue_backward(const Matrix& dy, const Matrix& z, Activation activation) {
    require(dy.rows == z.rows && dy.cols == z.cols, "epilogue_backward: dy and z must have one shape");
    Matrix dz = dy;
    for (std::size_t i = 0; i < dz.data.size(); ++i)
        dz.data[i] *= activation_derivative(activation, z.data[i]);
    std::vector<double> bias = column_sums(dz);
    return {std::move(dz), std::move(bias)};
}

std::vector<double> column_sums(const Matrix& a) {
    std::vector<double> sums(a.cols);
    for (std::size_t r = 0; r < a.rows; ++r) {
        for (std::size_t c = 0; c < a.cols; ++c) sums[c] += a(r, c);
    }
    return sums;
}

}  // namespace danaus::reference
