// Kronecker-sparse factors and chains of them: the form that block-diagonal, butterfly, Monarch of any order
// and MM* matrices share (Gonon et al., "Fast inference with Kronecker-sparse matrices", arXiv 2405.15013).
#pragma once

#include <danaus/monarch.hpp>

#include <span>
#include <vector>

namespace danaus {

/// The support I_a ⊗ 1_{b×c} ⊗ I_d of a matrix (a·b·d) × (a·c·d): a·d dense blocks b × c, of which block
/// (i, j) takes the features i·c·d + C·d + j and makes the features i·b·d + B·d + j. So it is the block
/// diagonal for d = 1, and blocks woven into each other for a = 1.
struct FactorPattern {
    std::uint64_t a = 1, b = 1, c = 1, d = 1;

    [[nodiscard]] std::uint64_t in_features() const noexcept { return a * c * d; }
    [[nodiscard]] std::uint64_t out_features() const noexcept { return a * b * d; }
    [[nodiscard]] std::uint64_t parameters() const noexcept { return a * b * c * d; }
    [[nodiscard]] bool operator==(const FactorPattern&) const noexcept = default;
};
/// "(2, 4, 4, 1)".
[[nodiscard]] DANAUS_EXPORT std::string to_string(const FactorPattern& pattern);

/// The patterns, in the order in which they are applied, of a product of matrices with p factors between
/// out_1·…·out_p features and in_1·…·in_p ones: factor i is (in_p·…·in_{i+1}, out_i, in_i,
/// out_{i−1}·…·out_1). With every entry of the weights the same within a factor this is A_p ⊗ … ⊗ A_1. Equal
/// lists give the order-p Monarch matrices of n = n_1·…·n_p, p = 2 the Monarch matrices, n_i = 2 the
/// butterfly matrices; p·n^(1 + 1/p) parameters where all n_i agree. Throws Error(invalid_argument) when the
/// lists are empty, of different lengths or hold a 0.
[[nodiscard]] DANAUS_EXPORT std::vector<FactorPattern> radix_patterns(std::span<const std::uint64_t> out,
                                                                      std::span<const std::uint64_t> in);
[[nodiscard]] DANAUS_EXPORT std::vector<FactorPattern> radix_patterns(std::span<const std::uint64_t> radices);
/// m factors (n/2^(i+1), 2, 2, 2^i), i = 0 … m − 1. Throws Error(invalid_argument) unless n = 2^m, m ≥ 1.
[[nodiscard]] DANAUS_EXPORT std::vector<FactorPattern> butterfly_patterns(std::uint64_t n);
/// The patterns of an order-p Monarch matrix of n features with blocks of n^(1/p). Throws
/// Error(invalid_argument) unless n is a p-th power; the message names the orders that n allows.
[[nodiscard]] DANAUS_EXPORT std::vector<FactorPattern> monarch_patterns(std::uint64_t n, std::uint64_t order);

/// A matrix of one pattern: weight[i, j, B, C] couples input feature (i·c + C)·d + j to output feature
/// (i·b + B)·d + j. Any strides, 0 among them (one block for all, as of a Kronecker product). The weights of
/// a block-diagonal matrix (k, q, p) are those of (k, q, p, 1), and the second ones of a Monarch matrix
/// (l, s, r) those of (1, s, r, l): views, in either direction.
struct DANAUS_EXPORT KroneckerFactor {
    Tensor weight;  ///< (a, d, b, c)

    KroneckerFactor() = default;
    /// Throws Error(invalid_argument) unless `weight` has rank 4 and a floating type or complex64.
    explicit KroneckerFactor(Tensor weight);
    /// (blocks, out_block, in_block, 1), of the same memory.
    explicit KroneckerFactor(const BlockDiagonal& w);

    [[nodiscard]] FactorPattern pattern() const {
        return {weight.size(0), weight.size(2), weight.size(3), weight.size(1)};
    }
    [[nodiscard]] std::uint64_t in_features() const { return pattern().in_features(); }
    [[nodiscard]] std::uint64_t out_features() const { return pattern().out_features(); }
    [[nodiscard]] std::uint64_t parameters() const { return pattern().parameters(); }
};

/// A product of factors: x goes through factors[0], what comes out through factors[1], and so on, so that the
/// matrix is the product with factors[0] on the right.
struct DANAUS_EXPORT Chain {
    std::vector<KroneckerFactor> factors;

    Chain() = default;
    /// Throws Error(invalid_argument) when there is none, when one is null, when their types differ, or when
    /// one takes another number of features than the one before it makes.
    explicit Chain(std::vector<KroneckerFactor> factors);
    /// The same matrix in the same memory. Throws Error(invalid_argument) for OutputOrder::blocked, whose
    /// second factor has no pattern.
    explicit Chain(const BlockDiagonal& w);
    explicit Chain(const Monarch& w);

    [[nodiscard]] std::uint64_t in_features() const { return factors.front().in_features(); }
    [[nodiscard]] std::uint64_t out_features() const { return factors.back().out_features(); }
    [[nodiscard]] DataType type() const { return factors.front().weight.type(); }
    /// Of all factors; every entry counts, shared memory or not.
    [[nodiscard]] std::uint64_t parameters() const;
    [[nodiscard]] std::uint64_t bytes() const { return parameters() * size_of(type()); }
};

/// A new chain of these patterns from the recorder's memory, uninitialised.
[[nodiscard]] DANAUS_EXPORT Chain empty(Recorder& recorder, DataType type,
                                        std::span<const FactorPattern> patterns);

/// Aᵀ: the factors transposed (a, c, b, d) in reverse order, of the same memory. Nothing is conjugated.
[[nodiscard]] DANAUS_EXPORT KroneckerFactor transposed(const KroneckerFactor& w);
[[nodiscard]] DANAUS_EXPORT Chain transposed(const Chain& w);

/// L·R (R is applied first), which has a pattern again: with A the greatest common divisor of both a, and D
/// that of both d, it is (A, out/(A·D), in/(A·D), D). So factors of equal a and d keep them, and those of a
/// radix list merge into one of the product of their radices: (n/4, 2, 2, 2)·(n/2, 2, 2, 1) is
/// (n/4, 4, 4, 1). With nothing in common the product is stored as a dense matrix. Sums in f32, rounded to
/// the type. Throws Error(invalid_argument) when types differ or L takes other features than R makes.
[[nodiscard]] DANAUS_EXPORT KroneckerFactor product(Recorder& recorder, const KroneckerFactor& left,
                                                    const KroneckerFactor& right);

/// M1·M2ᵀ in three factors instead of four: the block-diagonal factors in the middle, w1 of both, are one
/// product of w1_K·w1′_Kᵀ. The outer factors share memory with M1 and M2; nothing is conjugated. Throws
/// Error(invalid_argument) unless both have as many blocks in w1 and as many input features, and for
/// OutputOrder::blocked.
[[nodiscard]] DANAUS_EXPORT Chain monarch_monarch_transposed(Recorder& recorder, const Monarch& m1,
                                                             const Monarch& m2);
/// M1·M2*, M2* = conj(M2)ᵀ: the product above, of complex64 with a conjugated copy of M2. With M2 = M1 the
/// MM* matrices of the Monarch paper.
[[nodiscard]] DANAUS_EXPORT Chain monarch_monarch_adjoint(Recorder& recorder, const Monarch& m1,
                                                          const Monarch& m2);

/// y = A·x for every token.  x (…, tokens, a·c·d) → y (…, tokens, a·b·d), ranks 2 and 3. Types, strides,
/// sizes and errors as for the dense matmul (matmul.hpp), and so conjugates of complex64 in gradients. No
/// permutation is computed: blocks are strides.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const KroneckerFactor& w,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                               const KroneckerFactor& w, const Epilogue& epilogue = {});
/// dx = Aᵀ·dy.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const KroneckerFactor& w, const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const KroneckerFactor& w, const Epilogue& epilogue = {});
/// dw[i, j, B, C] = Σ_tokens dy[(i·b + B)·d + j] · x[(i·c + C)·d + j], summed over the batch of rank 3.
[[nodiscard]] DANAUS_EXPORT KroneckerFactor weight_gradient(Recorder& recorder, const Tensor& dy,
                                                            const Tensor& x, const FactorPattern& pattern,
                                                            const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const KroneckerFactor& out, const Tensor& dy,
                                        const Tensor& x, const GradientOptions& options = {});
/// The matrix as a dense (a·b·d, a·c·d) tensor of its type, zero outside its blocks.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const KroneckerFactor& w);

/// y = A·x, factor after factor, what lies between them rounded to the type of x; the epilogue is the last
/// one's. Two factors that are a Monarch matrix, (k, q, p, 1) and (1, s, r, l), are multiplied as one. When
/// `inner` is given it receives the factors.size() − 1 activations between them, which backward_into() can
/// use again.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Chain& w,
                                          const Epilogue& epilogue = {},
                                          std::vector<Tensor>* inner = nullptr);
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Chain& w,
                               const Epilogue& epilogue = {}, std::vector<Tensor>* inner = nullptr);
/// dx = Aᵀ·dy.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Chain& w,
                                                     const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Chain& w, const Epilogue& epilogue = {});

/// Where backward_into() writes: null tensors are not computed, and an empty dw is all null.
struct ChainGradients {
    Tensor dx;               ///< (…, tokens, in features)
    std::vector<Tensor> dw;  ///< of every factor, with its weight's shape, of its type or f32
};
/// Input and weight gradients in one pass. `inner` is that of the forward pass, or empty to compute again
/// what is needed. options.scale is of all gradients, options.accumulate of dw alone: dx is overwritten.
DANAUS_EXPORT void backward_into(Recorder& recorder, const ChainGradients& out, const Tensor& dy,
                                 const Tensor& x, const Chain& w, const std::vector<Tensor>& inner = {},
                                 const GradientOptions& options = {});
/// The gradients of all weights, of the factors' shapes.
[[nodiscard]] DANAUS_EXPORT Chain weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                  const Chain& w, const GradientOptions& options = {});

/// The matrix as a dense (out features, in features) tensor of the factors' type: what the factors make of
/// the unit vectors, sums in f32, rounded to the type after each factor but the first.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const Chain& w);

}  // namespace danaus
