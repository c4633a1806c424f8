// Monarch matrices (Dao et al., ICML 2022, arXiv 2204.00595), in their general rectangular form.
#pragma once

#include <danaus/block_diagonal.hpp>

namespace danaus {

/// The product of two block-diagonal matrices with stride permutations, held as
///   w1 (k, q, p) and w2 (l, s, r) with l·r = k·q, mapping k·p features to s·l:
///   t[K·q + Q] = Σ_c w1[K, Q, c] · x[K·p + c]
///   y[S·l + L] = Σ_R w2[L, S, R] · t[R·l + L]
/// Exact also when l does not divide q. The layout of existing checkpoints. No permutation is ever carried
/// out: the second multiply reads and writes with stride l.
struct DANAUS_EXPORT Monarch {
    Tensor w1, w2;

    Monarch() = default;
    /// Throws Error(invalid_argument) unless both have rank 3, one floating type, and l·r = k·q.
    Monarch(Tensor w1, Tensor w2);

    [[nodiscard]] std::uint64_t in_features() const { return w1.size(0) * w1.size(2); }
    [[nodiscard]] std::uint64_t inner_features() const { return w1.size(0) * w1.size(1); }
    [[nodiscard]] std::uint64_t out_features() const { return w2.size(0) * w2.size(1); }
    [[nodiscard]] std::uint64_t parameters() const { return w1.elements() + w2.elements(); }
};

/// y = M·x for every token.  x (…, tokens, k·p) → y (…, tokens, s·l), ranks 2 and 3. When `inner` is given it
/// receives t (…, tokens, k·q), which backward() can use again. Types, strides, sizes and errors as for the
/// dense matmul (matmul.hpp).
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
/// the shapes of `w`. t and dt are computed again; backward() shares them with the input gradient.
[[nodiscard]] DANAUS_EXPORT Monarch weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                    const Monarch& w, const GradientOptions& options = {});

/// Where backward() writes: null tensors are not computed.
struct MonarchGradients {
    Tensor dx;   ///< (…, tokens, k·p)
    Monarch dw;  ///< both of w's shapes, of its type or f32; or null
};
/// Input and weight gradients in one pass. `inner` is t of the forward pass, or null to compute it again.
DANAUS_EXPORT void backward_into(Recorder& recorder, const MonarchGradients& out, const Tensor& dy,
                                 const Tensor& x, const Monarch& w, const Tensor& inner = {},
                                 const GradientOptions& options = {});

/// The matrix as a dense (s·l, k·p) tensor of the factors' type; sums in f32.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const Monarch& w);

}  // namespace danaus
