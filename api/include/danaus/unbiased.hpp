// Gradients pruned to 2:4 at random without bias, so that their weight gradient is a 2:4 multiply.
//
// Hu et al., "Accelerating Transformer Pre-Training with 2:4 Sparsity", ICML 2024, arXiv 2404.01847: of
// Z = X·Wᵀ the weight gradient is dW = MVUE(dZᵀ)·X, with groups of four along the tokens. Chmiel et al.,
// "Minimum Variance Unbiased N:M Sparsity for the Neural Gradients", ICLR 2023, arXiv 2203.10991.
//
// compress_unbiased(recorder, dz.transpose(), options) reads dZ once; its weight_gradient is below.
#pragma once

#include <danaus/matmul.hpp>
#include <danaus/sparse24.hpp>

namespace danaus {

/// How two of the four entries x of a group are kept. With a = |x|, s = Σ a, m the largest, r = s − m:
enum class UnbiasedPruning : std::uint32_t {
    /// m ≤ r: entry i with probability 2 a_i / s, its value ± s / 2. m > r: the largest as it is, and one
    /// other
    /// with probability a_i / r, its value ± r. The variance Σ E(kept − x)² is the least that any unbiased
    /// choice of two has: s² / 2 − Σ a² and r² − Σ_{others} a². One uniform number a group, taken through the
    /// cumulative probabilities in the order in which the largest has changed places with entry 0; the
    /// entries
    /// kept are the same on every device.
    least_variance,
    /// 1:2: one of entries 0 and 1, and one of 2 and 3, each with probability a_i over the sum of its pair,
    /// its value ± that sum.
    one_of_two,
    /// Entry i with probability t_i = a_i / s, then j ≠ i with a_j / (s − a_i); values x_i / p_i with
    /// p_i = t_i + a_i Σ_{j≠i} t_j / (s − a_j), the chance to be kept. The common approximation, of
    /// about 1.06
    /// times the least variance on Gaussian groups.
    two_draws
};

struct UnbiasedOptions {
    UnbiasedPruning pruning = UnbiasedPruning::least_variance;
    /// Philox 4x32-10, as in random.hpp. Group g of line l (rows of all blocks, W = ⌈groups / 8⌉) draws from
    /// block offset + B·(l·W + ⌊g / 8⌋) + ⌊(g mod 8)·B / 8⌋ of the stream: B = 2 and word g mod 4 for
    /// least_variance, else B = 4 and words 2·(g mod 2) and 2·(g mod 2) + 1; u = (word >> 9)·2⁻²³.
    std::uint64_t seed = 0;
    std::uint64_t offset = 0;
    /// u32 (1), on the device, or null: word 2 of Philox's counter, else 0. With a step count that the device
    /// advances, a Program that is emitted for every step draws new numbers every time.
    Tensor step{};
};

/// Blocks of the stream that one compression of a matrix of `shape` uses.
[[nodiscard]] DANAUS_EXPORT std::uint64_t unbiased_blocks(const Shape& shape, UnbiasedPruning pruning);

/// g, (rows, cols) or (blocks, rows, cols), floating, any strides, with two of every four columns kept at
/// random, compressed. The expectation of to_dense is g, up to the rounding of sums and of the kept values to
/// the type of g; a kept value may be twice the largest of its group, which 16-bit types and the end of f32
/// may round to infinity. A group with NaN or infinity keeps its two largest as they are; one of zeros two
/// zeros. Missing columns of a last group count as zero.
[[nodiscard]] DANAUS_EXPORT Sparse24 compress_unbiased(Recorder& recorder, const Tensor& g,
                                                       const UnbiasedOptions& options);
DANAUS_EXPORT void compress_unbiased_into(Recorder& recorder, const Sparse24& out, const Tensor& g,
                                          const UnbiasedOptions& options);

/// dW = S·x, the weight gradient of matmul from a compressed dZᵀ:
///   S (…, out, tokens), x (…, tokens, in) → dW (…, out, in)
/// S and x have the same batch, or none. Types as in matmul.
[[nodiscard]] DANAUS_EXPORT Tensor weight_gradient(Recorder& recorder, const Sparse24& dy_transposed,
                                                   const Tensor& x, const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const Tensor& out, const Sparse24& dy_transposed,
                                        const Tensor& x, const GradientOptions& options = {});

}  // namespace danaus
