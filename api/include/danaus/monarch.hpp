// Monarch matrices (Dao et al., ICML 2022, arXiv 2204.00595), in their general rectangular form.
#pragma once

#include <danaus/block_diagonal.hpp>
#include <danaus/permutation.hpp>

namespace danaus {

/// Where feature S of the second factor's block L lies among the s·l features of y (and dy):
enum class OutputOrder : std::uint32_t {
    interleaved,  ///< S·l + L, as papers and checkpoints have it
    blocked,      ///< L·s + S: the last permutation is left out, and blocks store what lies together
};

/// The product of two block-diagonal matrices with stride permutations, held as
///   w1 (k, q, p) and w2 (l, s, r) with l·r = k·q, mapping k·p features to s·l:
///   t[K·q + Q] = Σ_c w1[K, Q, c] · x[K·p + c]
///   y[S·l + L] = Σ_R w2[L, S, R] · t[R·l + L]
/// Exact also when l does not divide q. The layout of existing checkpoints. The permutations are strides of
/// the second multiply, which reads and writes every l-th feature.
///
/// With OutputOrder::blocked the matrix is P·M, P that of output_permutation(): y[L·s + S] = …, of the same
/// factors. All that follows (y, dy, gradients, to_dense) obeys the order; formulas are written for the
/// other.
struct DANAUS_EXPORT Monarch {
    Tensor w1, w2;
    OutputOrder order = OutputOrder::interleaved;

    Monarch() = default;
    /// Throws Error(invalid_argument) unless both have rank 3, one floating type or complex64, and l·r = k·q.
    Monarch(Tensor w1, Tensor w2, OutputOrder order = OutputOrder::interleaved);

    [[nodiscard]] std::uint64_t in_features() const { return w1.size(0) * w1.size(2); }
    [[nodiscard]] std::uint64_t inner_features() const { return w1.size(0) * w1.size(1); }
    [[nodiscard]] std::uint64_t out_features() const { return w2.size(0) * w2.size(1); }
    [[nodiscard]] std::uint64_t parameters() const { return w1.elements() + w2.elements(); }
};

/// y = M·x for every token.  x (…, tokens, k·p) → y (…, tokens, s·l), ranks 2 and 3. When `inner` is given it
/// receives t (…, tokens, k·q), which backward() can use again. t is rounded to the type of x, also where it
/// never leaves the chip: without `inner` both factors may be one dispatch. Types, strides, sizes and errors
/// as for the dense matmul (matmul.hpp), and so conjugates: of complex64 the gradients below have conj(w1),
/// conj(w2), conj(t) and conj(x) for w1, w2, t and x.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Monarch& w,
                                          const Epilogue& epilogue = {}, Tensor* inner = nullptr);
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Monarch& w,
                               const Epilogue& epilogue = {}, Tensor* inner = nullptr);

/// dx = Mᵀ·dy:  dt[R·l + L] = Σ_S w2[L, S, R] · dy[S·l + L],  dx[K·p + c] = Σ_Q w1[K, Q, c] · dt[K·q + Q].
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Monarch& w,
                                                     const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Monarch& w, const Epilogue& epilogue = {});

/// dw2[L, S, R] = Σ_tokens dy[S·l + L] · t[R·l + L],  dw1[K, Q, c] = Σ_tokens dt[K·q + Q] · x[K·p + c], of
/// the shapes and order of `w`. t and dt are computed again; backward() shares them with the input gradient.
[[nodiscard]] DANAUS_EXPORT Monarch weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                    const Monarch& w, const GradientOptions& options = {});

/// Where backward() writes: null tensors are not computed.
struct MonarchGradients {
    Tensor dx;   ///< (…, tokens, k·p)
    Monarch dw;  ///< both of w's shapes, of its type or f32; or null. dy's order is w's, whatever this says
};
/// Input and weight gradients in one pass. `inner` is t of the forward pass, or null to compute it again.
/// options.scale is of all of them, options.accumulate of dw alone: dx is overwritten.
DANAUS_EXPORT void backward_into(Recorder& recorder, const MonarchGradients& out, const Tensor& dy,
                                 const Tensor& x, const Monarch& w, const Tensor& inner = {},
                                 const GradientOptions& options = {});

/// P with y_blocked = y_interleaved·Pᵀ, y_blocked[L·s + S] = y_interleaved[S·l + L]: Permutation::stride(s,
/// l). What follows a blocked Monarch matrix takes the permutation over once, instead of every y:
///
///   W′ = to_blocked(W)     W′[o, L·s + S] = W[o, S·l + L]: y_blocked·W′ᵀ = y_interleaved·Wᵀ, the same
///   products
///                          in another order of summation
///   v′ = to_blocked(v)     of a vector that goes with y element by element (a bias, a scale): v′[L·s + S] =
///                          v[S·l + L]; so for Epilogue::bias of the matrix itself, residuals and targets
///   dW = to_interleaved(dW′)
///
/// W with any structure along its columns (blocks, 2:4) loses it.
[[nodiscard]] DANAUS_EXPORT Permutation output_permutation(const Monarch& w);
/// A new tensor with the last dimension, of s·l elements in the interleaved order, in the blocked one: ranks
/// 1 to 4, any type, moved bit for bit. Throws Error(invalid_argument) when it has another size.
[[nodiscard]] DANAUS_EXPORT Tensor to_blocked(Recorder& recorder, const Tensor& interleaved,
                                              const Monarch& w);
/// Its inverse.
[[nodiscard]] DANAUS_EXPORT Tensor to_interleaved(Recorder& recorder, const Tensor& blocked,
                                                  const Monarch& w);

/// The matrix as a dense (s·l, k·p) tensor of the factors' type; sums in f32.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const Monarch& w);

}  // namespace danaus
