// What multiplies by compressed matrices have in common, whatever the compression: shapes and gradients.
#pragma once

#include "check.hpp"
#include "multiply.hpp"

namespace danaus::detail {

/// A compressed matrix (out, in) or (blocks, out, in), called "a" in messages.
struct CompressedShape {
    const Shape& shape;
    DataType type;

    [[nodiscard]] std::size_t rank() const { return shape.rank(); }
    [[nodiscard]] std::uint64_t rows() const { return shape[rank() - 2]; }
    [[nodiscard]] std::uint64_t columns() const { return shape[rank() - 1]; }
};

template <typename Matrix>
CompressedShape shape_of(const Matrix& a) {
    return {a.shape(), a.type()};
}
/// Of a matrix called "a" that is present and of the recorder's device; else throws.
template <typename Matrix>
CompressedShape checked(const Recorder& recorder, const Matrix& a) {
    require(static_cast<bool>(a), "a: a null matrix");
    require_tensor(recorder, "a", a.values());
    return shape_of(a);
}

/// Throws unless x (…, tokens, features), called `name`, fits x·Aᵀ, or transposed x·A.
void check_operand(const Recorder& recorder, const char* name, const Tensor& x, const CompressedShape& a,
                   bool transpose);
/// Of the product.
[[nodiscard]] Shape product_shape(const Tensor& x, const CompressedShape& a, bool transpose);
/// Sizes of the product but for k, batches, and views of x as A and of the result: blocks are the inner
/// batch; a batch of activations under one matrix is the outer one, or a longer list of tokens.
[[nodiscard]] MultiplyProblem product_of(const Tensor& out, const Tensor& x, const CompressedShape& a,
                                         bool transpose);

/// out = dyᵀ·x of a's shape, checked.
void straight_through_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                           const CompressedShape& a, const GradientOptions& options, const char* label);
[[nodiscard]] Tensor straight_through(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                      const CompressedShape& a, const GradientOptions& options,
                                      const char* label);

}  // namespace danaus::detail
