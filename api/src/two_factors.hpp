// Products of two factors with stride permutations, however the factors are stored: checks, both multiplies
// one after the other, gradients.
#pragma once

#include "factor.hpp"

#include <danaus/monarch.hpp>

namespace danaus::detail {

/// w1 (k, q, p), then w2 (l, s, r), as in monarch.hpp.
struct TwoFactors {
    Factor first, second;
    Shape w1, w2;
    DataType type;
    const char* name;  ///< in messages: "the Monarch matrix"

    [[nodiscard]] std::uint64_t in_features() const { return w1[0] * w1[2]; }
    [[nodiscard]] std::uint64_t inner_features() const { return w1[0] * w1[1]; }
    [[nodiscard]] std::uint64_t out_features() const { return w2[0] * w2[1]; }
};

/// Throws unless l·r = k·q.
void require_chained(const Shape& w1, const Shape& w2);
/// Block b, element e of the inner features as the second factor reads them, and of its result with
/// OutputOrder::interleaved: at e·l + b.
[[nodiscard]] FeatureLayout interleaved(const Shape& w2);

/// Of x for a multiply, or transposed of dy for its gradient.
void check_features(const Recorder& recorder, const Tensor& x, const TwoFactors& w, bool transpose);
/// Of the result of the same.
void check_product(const Recorder& recorder, const Tensor& out, const Tensor& x, const TwoFactors& w,
                   bool transpose, const Epilogue& epilogue);
/// Both factors one after the other; returns what lies between them. Checked operands.
Tensor multiply_factors(Recorder& recorder, const Tensor& out, const Tensor& x, const TwoFactors& w,
                        bool transpose, const Epilogue& epilogue);
/// backward_into of monarch.hpp, checked.
void differentiate_factors(Recorder& recorder, const MonarchGradients& out, const Tensor& dy, const Tensor& x,
                           const TwoFactors& w, const Tensor& inner, const GradientOptions& options);
/// The matrix as a dense one, from the dense first factor (k, q, p); into `dense`, with scale and accumulate.
[[nodiscard]] Tensor dense_of_factors(Recorder& recorder, const TwoFactors& w, const Tensor& w1);
void dense_of_factors_into(Recorder& recorder, const Tensor& dense, const TwoFactors& w, const Tensor& w1,
                           const Epilogue& epilogue);
/// Of a Monarch matrix; throws unless both are the recorder's device's.
[[nodiscard]] TwoFactors factors_of(const Recorder& recorder, const Monarch& w);

}  // namespace danaus::detail
