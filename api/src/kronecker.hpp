// Multiplying by one Kronecker-sparse factor: its two batches of blocks by strides.
#pragma once

#include "factor.hpp"

#include <danaus/chain.hpp>

namespace danaus::detail {

/// out = A·x and, transposed, out = Aᵀ·x, for every token. Operands are checked.
void multiply_kronecker(Recorder& recorder, const Tensor& out, const Tensor& x, const KroneckerFactor& w,
                        bool transpose, const Epilogue& epilogue);

/// out (a, d, b, c) = Σ_tokens dy_ij ⊗ x_ij. Operands are checked.
void kronecker_gradient(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                        const GradientOptions& options);

/// The matrix `w` with the rows of its blocks laid out for coarser blocks: (out features, c′), where row
/// (i·b + B)·d + j holds what features of the pattern (a, ·, c′, d) with `a` and `d`, which divide w's own,
/// the output takes from. With a = d = 1 the dense matrix.
[[nodiscard]] Tensor block_rows(Recorder& recorder, const KroneckerFactor& w, std::uint64_t a,
                                std::uint64_t d);

}  // namespace danaus::detail
