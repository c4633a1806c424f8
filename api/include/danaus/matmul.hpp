// Multiplication by a dense matrix, the epilogue that every multiply shares, and both gradients.
#pragma once

#include <danaus/tensor.hpp>

namespace danaus {

/// relu(z) = max(z, 0). gelu(z) = ½ z (1 + tanh(√(2/π)(z + 0.044715 z³))). gelu_erf(z) = ½ z (1 + erf(z/√2)).
enum class Activation : std::uint32_t { none = 0, relu = 1, gelu = 2, gelu_erf = 3 };
[[nodiscard]] DANAUS_EXPORT const char* to_string(Activation activation) noexcept;

/// Which dimension of a new result is contiguous in memory; its logical shape is (tokens, features) either
/// way.
enum class Order : std::uint32_t { token_major, feature_major };

/// What happens to a product before it is stored:
///   z = scale · x·Wᵀ + bias        aux ← z, when given
///   y = activation(z) + residual
/// computed in f32 from the f32 accumulators. Null tensors are absent. Of complex64 operands bias and
/// residual are complex64, scale is real, and activation, aux and widen are refused.
struct Epilogue {
    Tensor bias{};  ///< (out features); operand type or f32
    Activation activation = Activation::none;
    Tensor residual{};  ///< shape and type of the result
    Tensor aux{};       ///< written: z, with shape, type and strides of the result; apart from all operands
    float scale = 1.0f;
    bool accumulate = false;           ///< y += …: the result is its own residual (`_into` forms only)
    Order order = Order::token_major;  ///< of a result that the operation allocates
    bool widen = false;                ///< an allocated result is f32 even if the operands are not
};

/// y = x·Wᵀ, the forward multiply of a linear layer.
///   x (tokens, in) or (batch, tokens, in); W (out, in) or (batch, out, in)      → y (…, tokens, out)
/// A W without batch dimension serves every batch. x and W have one floating type; y has that type or f32. Or
/// all of them are complex64: no conjugates here, conj(W) and conj(x) in the two gradients.
/// Any strides, any size including 0 (an empty sum is 0, so the epilogue of 0 is stored). fp32 accumulation.
/// Throws Error(invalid_argument) naming the argument, its shape or type, and what was expected; nothing is
/// recorded then.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Tensor& w,
                                          const Epilogue& epilogue = {});
/// The same into `out`, which must not overlap an operand other than as its own residual.
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Tensor& w,
                               const Epilogue& epilogue = {});

/// dx = dy·W, of complex64 dy·conj(W), the input gradient of matmul.  dy (…, tokens, out), W (…, out, in) →
/// dx (…, tokens, in).
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Tensor& w,
                                                     const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Tensor& w, const Epilogue& epilogue = {});

/// How a gradient is written.
struct GradientOptions {
    float scale = 1.0f;
    bool accumulate = false;  ///< dW += … (`_into` forms only)
    bool widen = false;       ///< an allocated result is f32 even if the operands are not
};

/// dW = dyᵀ·x, of complex64 dyᵀ·conj(x), the weight gradient of matmul, summed over tokens. Of a batch every
/// member has its own dW (as for weights of rank 3); for one weight under a batch, give dy and x reshaped to
/// rank 2.
///   dy (…, tokens, out), x (…, tokens, in) → dW (…, out, in)
[[nodiscard]] DANAUS_EXPORT Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                   const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                        const Tensor& x, const GradientOptions& options = {});

/// The backward of an epilogue without residual: dz = dy ∘ activation'(aux) (aux = the stored z), written to
/// `dz`, and, when `bias_gradient` is given (f32, (features)), bias_gradient ← Σ_tokens dz (+= with
/// accumulate). The residual's gradient is dy itself. dy, aux, dz: (tokens, features), one type. `dz` may be
/// dy. With Activation::none aux may be null.
DANAUS_EXPORT void epilogue_backward_into(Recorder& recorder, const Tensor& dz, const Tensor& dy,
                                          const Tensor& aux, Activation activation,
                                          const Tensor& bias_gradient = {}, bool accumulate = false);
[[nodiscard]] DANAUS_EXPORT Tensor epilogue_backward(Recorder& recorder, const Tensor& dy, const Tensor& aux,
                                                     Activation activation, const Tensor& bias_gradient = {},
                                                     bool accumulate = false);

}  // namespace danaus
