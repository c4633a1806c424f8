// Row-wise 2:4 sparse matrices: two of every four neighbouring columns are kept, in a compressed form that
// the multiplies read. Masks (masks.hpp) are compressed on the device.
//
// Hu et al., "Accelerating Transformer Pre-Training with 2:4 Sparsity", ICML 2024, arXiv 2404.01847. A 2:4
// layer keeps a dense master W, refreshes its mask M now and then (select_mask), its values every step
// (compress_into), multiplies by M∘W, and updates W by the dense gradient as if there were no mask (the
// straight-through estimator).
#pragma once

#include <danaus/masks.hpp>
#include <danaus/matmul.hpp>
#include <danaus/tensor.hpp>

namespace danaus {

/// A 2:4 matrix (out, in), or a batch of them (blocks, out, in), in one piece of memory:
///   values    (…, out, 2·G), G = ceil(in / 4): the kept entries of each group of four columns, ascending
///   metadata  (…, out, ceil(G / 8)) u32, behind the values: nibble g % 8 of word g / 8 (lowest nibble
///             first) holds the places of group g's two values among its four columns, the first one's in
///             the low two bits
/// Values at places behind the last column are zero. Copies share the memory, like those of a Tensor.
/// Against dense: f32 takes 0.53 of the bytes, f16 and bf16 0.56.
class DANAUS_EXPORT Sparse24 {
public:
    /// A null matrix.
    Sparse24() = default;
    /// Uninitialised. Throws Error(invalid_argument) unless `type` is floating and `shape` has rank 2 or 3.
    Sparse24(const Device& device, DataType type, const Shape& shape);
    /// In `buffer` from `byte_offset` on, a multiple of 8. Throws Error(invalid_argument) when the buffer is
    /// too short.
    Sparse24(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t byte_offset = 0);

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(values_); }
    [[nodiscard]] DataType type() const noexcept { return values_.type(); }
    /// The shape of the dense matrix: (out, in) or (blocks, out, in).
    [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
    [[nodiscard]] const Tensor& values() const noexcept { return values_; }
    [[nodiscard]] const Tensor& metadata() const noexcept { return metadata_; }
    [[nodiscard]] Device device() const { return values_.device(); }
    /// Bytes of values and metadata.
    [[nodiscard]] std::uint64_t bytes() const;
    [[nodiscard]] static std::uint64_t bytes(DataType type, const Shape& shape);

private:
    Shape shape_;
    Tensor values_;
    Tensor metadata_;
};

/// A new, uninitialised Sparse24 from the recorder's memory.
[[nodiscard]] DANAUS_EXPORT Sparse24 empty_sparse24(Recorder& recorder, DataType type, const Shape& shape);

/// mask ∘ w, compressed. The mask should be 2:4; to make sure, ask verify_mask. Otherwise a group that keeps
/// more than two entries loses all but its first two, and one that keeps fewer is completed with zeros:
/// nothing worse happens. The `_into` form fits a training step: new values every step under a mask that
/// changes rarely; there `out` may be of f16 or bf16 where w is f32, values rounded to nearest even, as in
/// all other `_into` forms of compression.
[[nodiscard]] DANAUS_EXPORT Sparse24 compress(Recorder& recorder, const Tensor& w, const Tensor& mask);
DANAUS_EXPORT void compress_into(Recorder& recorder, const Sparse24& out, const Tensor& w,
                                 const Tensor& mask);

/// compress(w, mask) and the compressed transpose of mask ∘ w, whose shape is (…, in, out), in one pass over
/// w and a transposable mask: what forward and backward multiplies by rows read. A mask that is not
/// transposable does what compress() says, to the transposed mask too. (One copy for both:
/// tile_sparse24.hpp.) Throws Error(unsupported) where out_transposed is more than one dispatch reaches.
DANAUS_EXPORT void compress_both_into(Recorder& recorder, const Sparse24& out, const Sparse24& out_transposed,
                                      const Tensor& w, const Tensor& mask);

/// compress(w, select_mask(w)) in one pass over w. `mask`, if given, is written too.
[[nodiscard]] DANAUS_EXPORT Sparse24 compress_by_magnitude(Recorder& recorder, const Tensor& w);
DANAUS_EXPORT void compress_by_magnitude_into(Recorder& recorder, const Sparse24& out, const Tensor& w,
                                              const Tensor& mask = {});

/// The dense matrix, with zeros where nothing is kept.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const Sparse24& a);
DANAUS_EXPORT void to_dense_into(Recorder& recorder, const Tensor& out, const Sparse24& a);

/// y = x·Wᵀ with W = to_dense(a), then the epilogue; shapes, batches and types as in matmul with a dense W.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Sparse24& a,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Sparse24& a,
                               const Epilogue& epilogue = {});

/// dx = dy·W with W = to_dense(a), the input gradient of matmul.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Sparse24& a,
                                                     const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Sparse24& a, const Epilogue& epilogue = {});

/// dW = dyᵀ·x, dense and of a's shape: the straight-through gradient, which reaches the entries that the mask
/// hides too. Summed over tokens, and over x's batch where `a` has none. Only a's shape is looked at.
[[nodiscard]] DANAUS_EXPORT Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                   const Sparse24& a, const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                        const Tensor& x, const Sparse24& a,
                                        const GradientOptions& options = {});

}  // namespace danaus
