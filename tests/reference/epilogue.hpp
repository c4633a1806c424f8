// Activations and the epilogue that every multiply shares: z = scale * (x W^T) + bias; y = act(z) + residual.
#pragma once

#include "reference/matrix.hpp"

#include <vector>

namespace danaus::reference {

enum class Activation { identity, relu, gelu_erf, gelu_tanh };

/// identity z; ReLU max(z, 0), NaN passes; GELU z Phi(z), Phi the normal distribution function;
/// tanh form z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3))).
double activate(Activation activation, double z);

/// d act / d z: 1; [z > 0]; Phi(z) + z phi(z); the tanh form's own derivative, not the erf form's.
double activation_derivative(Activation activation, double z);

Matrix activate(Activation activation, const Matrix& z);

struct Epilogue {
    double scale = 1.0;
    /// One value per output feature, or empty for none.
    std::vector<double> bias = {};
    Activation activation = Activation::identity;
    /// Same shape as the output, or 0 x 0 for none.
    Matrix residual = {};
};

struct EpilogueResult {
    /// The pre-activation, what a stored `aux` holds.
    Matrix z;
    Matrix y;
};

/// z = scale * product + bias; y = act(z) + residual.
EpilogueResult epilogue_forward(const Matrix& product, const Epilogue& epilogue);

struct EpilogueGradients {
    /// dz[t,o] = dy[t,o] act'(z[t,o]). The gradient of the product is scale * dz, that of the residual is dy.
    Matrix dz;
    /// sum_t dz[t,o].
    std::vector<double> bias;
};

/// dz and the bias gradient from dy and the stored pre-activation.
EpilogueGradients epilogue_backward(const Matrix& dy, const Matrix& z, Activation activation);

/// sum over rows.
std::vector<double> column_sums(const Matrix& a);

}  // namespace danaus::reference
