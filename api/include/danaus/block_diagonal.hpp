// Block-diagonal matrices.
#pragma once

#include <danaus/matmul.hpp>

namespace danaus {

/// diag(B₀ … B_{k−1}) of k equal blocks B_K (q × p), stored as one tensor (k, q, p) = (blocks, out_block,
/// in_block): the layout of existing Monarch checkpoints. Maps k·p features to k·q.
struct DANAUS_EXPORT BlockDiagonal {
    Tensor weight;

    BlockDiagonal() = default;
    /// Throws Error(invalid_argument) unless `weight` has rank 3 and a floating type or complex64.
    explicit BlockDiagonal(Tensor weight);

    [[nodiscard]] std::uint64_t blocks() const { return weight.size(0); }
    [[nodiscard]] std::uint64_t out_block() const { return weight.size(1); }
    [[nodiscard]] std::uint64_t in_block() const { return weight.size(2); }
    [[nodiscard]] std::uint64_t in_features() const { return blocks() * in_block(); }
    [[nodiscard]] std::uint64_t out_features() const { return blocks() * out_block(); }
};

/// y[K·q + Q] = Σ_c B_K[Q, c] · x[K·p + c].  x (…, tokens, k·p) → y (…, tokens, k·q), ranks 2 and 3.
/// Types, strides, sizes and errors as for the dense matmul (matmul.hpp), and so conjugates of complex64 in
/// both gradients.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const BlockDiagonal& w,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const BlockDiagonal& w,
                               const Epilogue& epilogue = {});

/// dx[K·p + c] = Σ_Q B_K[Q, c] · dy[K·q + Q].  dy (…, tokens, k·q) → dx (…, tokens, k·p).
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const BlockDiagonal& w, const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const BlockDiagonal& w, const Epilogue& epilogue = {});

/// dB_K[Q, c] = Σ_tokens dy[K·q + Q] · x[K·p + c], for `blocks` blocks. Throws Error(invalid_argument) when
/// `blocks` does not divide the features of dy or of x. dy and x of rank 2 (rank 3 is summed over its batch).
[[nodiscard]] DANAUS_EXPORT BlockDiagonal weight_gradient(Recorder& recorder, const Tensor& dy,
                                                          const Tensor& x, std::uint64_t blocks,
                                                          const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const BlockDiagonal& out, const Tensor& dy,
                                        const Tensor& x, const GradientOptions& options = {});

/// The matrix as a dense (k·q, k·p) tensor, zero outside its blocks.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const BlockDiagonal& w);
/// The blocks on the diagonal of a dense (out, in) matrix. Throws Error(invalid_argument) when `blocks` does
/// not divide out and in.
[[nodiscard]] DANAUS_EXPORT BlockDiagonal extract(Recorder& recorder, const Tensor& dense,
                                                  std::uint64_t blocks);

}  // namespace danaus
