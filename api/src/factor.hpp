// Multiplying by one factor: blocks along the features of activations, by strides.
#pragma once

#include "multiply.hpp"
#include "stored24.hpp"

#include <danaus/packed.hpp>

#include <optional>

namespace danaus::detail {

/// Where block b, element e of a factor lies among the features: b·block + e·element.
struct FeatureLayout {
    std::uint64_t block, element;
};

/// y_b = W_b·x_b for every token and block, W (blocks, out_block, in_block), plain, packed or 2:4: one of
/// `weight`, `packed` and `stored`.
struct Factor {
    Tensor weight;
    PackedWeight packed;
    FeatureLayout in, out;
    const char* label;
    /// Elements of W between the members of a batch of activations, each of which has one of its own; 0: one
    /// for all. No bias then: it would have to differ from member to member.
    std::uint64_t member_stride = 0;
    std::optional<Stored24> stored{};
};

/// Checks x (…, tokens, features) against `features` and the factor's type. `name` is x's in messages.
void check_activations(const Recorder& recorder, const char* name, const Tensor& x, std::uint64_t features,
                       const char* weight_name, DataType type);
/// x's shape with other features.
[[nodiscard]] Shape with_features(const Tensor& x, std::uint64_t features);

/// A new tensor in the memory order of `like`, without gaps: of the two last dimensions the one with the
/// smaller stride is contiguous.
[[nodiscard]] Tensor empty_like(Recorder& recorder, const Tensor& like, DataType type, const Shape& shape);

/// A new tensor between two factors, features by tokens in memory: the second factor's stride is then one
/// between rows, each of them contiguous.
[[nodiscard]] Tensor new_inner(Recorder& recorder, const Tensor& x, std::uint64_t features);

/// out = x·Fᵀ and, transposed, out = x·F. Operands are checked.
void multiply_factor(Recorder& recorder, const Tensor& out, const Tensor& x, const Factor& factor,
                     bool transpose, const Epilogue& epilogue);
/// out (blocks, out_block, in_block) = Σ_tokens dy_b ⊗ x_b. A batch of tokens in one piece is one long list
/// of tokens; otherwise its members are accumulated one after the other in f32, or copied into one piece.
/// With `out` (members, blocks, out_block, in_block) every member of the batch has a gradient of its own.
void factor_gradient(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                     FeatureLayout dy_layout, FeatureLayout x_layout, const GradientOptions& options,
                     const char* label);

}  // namespace danaus::detail
