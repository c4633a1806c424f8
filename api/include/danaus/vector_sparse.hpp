// Vector-wise N:M sparse matrices: of every M neighbouring columns the same N are kept for V rows at a time.
//
// One list of columns serves V outputs, so that a multiply reads no column of x that none of them needs: N of
// M multiply-adds are computed, on any device, where Sparse24 saves bytes alone. The larger V, the faster the
// multiply, and the coarser the choice of what is kept. Few tokens (fewer than a device's lanes) gain nothing
// yet: the lanes run along the tokens.
#pragma once

#include <danaus/matmul.hpp>
#include <danaus/sparse24.hpp>
#include <danaus/tensor.hpp>

namespace danaus {

/// "Keep 2 of 4 columns, for 64 rows at a time."
struct VectorPattern {
    std::uint32_t keep = 2;   ///< N: 1 … of
    std::uint32_t of = 4;     ///< M: at most 32
    std::uint32_t rows = 64;  ///< V: a power of two, 4 … 128
    [[nodiscard]] bool operator==(const VectorPattern&) const noexcept = default;
};

/// A vector-wise N:M matrix (out, in), or a batch of them (blocks, out, in), in one piece of memory:
///   values   (…, panels, kept, V): element (p, i, r) is row p·V + r of the panel's i-th kept column; zero
///   behind
///            the last row. panels = ceil(out / V), kept = floor(in / M)·N + min(N, in mod M)
///   indices  (…, panels, kept) u32, behind the values: the columns that panel p keeps, ascending; N of each
///   group
///            of M, or all of a last group of fewer than N
/// Copies share the memory, like those of a Tensor. Against dense, 2:4 with V = 64: f32 takes 0.51 of the
/// bytes. The indices are what compress() writes; whoever writes them otherwise keeps them below `in`.
class DANAUS_EXPORT VectorSparse {
public:
    /// A null matrix.
    VectorSparse() = default;
    /// Uninitialised. Throws Error(invalid_argument) unless `type` is floating, `shape` has rank 2 or 3 and
    /// the pattern's numbers are in their ranges.
    VectorSparse(const Device& device, DataType type, const Shape& shape, const VectorPattern& pattern);
    /// In `buffer` from `byte_offset` on, a multiple of 8. Throws Error(invalid_argument) when the buffer is
    /// too short.
    VectorSparse(const Buffer& buffer, DataType type, const Shape& shape, const VectorPattern& pattern,
                 std::uint64_t byte_offset = 0);

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(values_); }
    [[nodiscard]] DataType type() const noexcept { return values_.type(); }
    /// The shape of the dense matrix: (out, in) or (blocks, out, in).
    [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
    [[nodiscard]] const VectorPattern& pattern() const noexcept { return pattern_; }
    [[nodiscard]] const Tensor& values() const noexcept { return values_; }
    [[nodiscard]] const Tensor& indices() const noexcept { return indices_; }
    [[nodiscard]] Device device() const { return values_.device(); }
    /// Columns that each row keeps.
    [[nodiscard]] std::uint64_t kept() const;
    /// Bytes of values and indices.
    [[nodiscard]] std::uint64_t bytes() const;
    [[nodiscard]] static std::uint64_t bytes(DataType type, const Shape& shape, const VectorPattern& pattern);

private:
    Shape shape_;
    VectorPattern pattern_;
    Tensor values_;
    Tensor indices_;
};

/// A new, uninitialised VectorSparse from the recorder's memory.
[[nodiscard]] DANAUS_EXPORT VectorSparse empty_vector_sparse(Recorder& recorder, DataType type,
                                                             const Shape& shape,
                                                             const VectorPattern& pattern);

/// The mask (shape mask_shape(w), one for apply_mask too) that keeps the most magnitude: in each panel of V
/// rows the N columns of every group of M whose score is largest; the rows of a panel have the same bits. A
/// column's score is Σ |w| over the panel's rows, each term counted in units of 2⁻²³ of the power of two at
/// or below the largest of them and rounded down, so that no order of summation shows in the mask. Equal
/// scores keep the lower column (+0 and −0 are equal). A column with NaN ranks above one with infinity, and
/// that above all others. A last group of fewer than M columns keeps N of them, or all. w (out, in) or
/// (blocks, out, in), floating, any strides.
[[nodiscard]] DANAUS_EXPORT Tensor select_vector_mask(Recorder& recorder, const Tensor& w,
                                                      const VectorPattern& pattern);
DANAUS_EXPORT void select_vector_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w,
                                           const VectorPattern& pattern);

/// mask ∘ w, compressed. Of each panel the mask of its first row counts; it should keep N of every M columns
/// and be that of the panel's other rows: to make sure, ask verify_vector_mask. Otherwise a group that keeps
/// more loses all but its first N columns, and one that keeps fewer is completed with zeros at its first free
/// ones.
[[nodiscard]] DANAUS_EXPORT VectorSparse compress(Recorder& recorder, const Tensor& w, const Tensor& mask,
                                                  const VectorPattern& pattern);
DANAUS_EXPORT void compress_into(Recorder& recorder, const VectorSparse& out, const Tensor& w,
                                 const Tensor& mask);

/// compress(w, select_vector_mask(w, pattern), pattern) in one pass over w. `mask`, if given, is written too.
[[nodiscard]] DANAUS_EXPORT VectorSparse compress_by_magnitude(Recorder& recorder, const Tensor& w,
                                                               const VectorPattern& pattern);
DANAUS_EXPORT void compress_by_magnitude_into(Recorder& recorder, const VectorSparse& out, const Tensor& w,
                                              const Tensor& mask = {});

/// Waits for `stream`, reads the mask back and throws Error(invalid_argument) naming the first group that
/// does not keep exactly N columns (or all of fewer), the first bit behind column `in` − 1, or the first row
/// whose mask is not that of its panel's first row.
DANAUS_EXPORT void verify_vector_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features,
                                      const VectorPattern& pattern);

/// The dense matrix, with zeros where nothing is kept.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const VectorSparse& a);
DANAUS_EXPORT void to_dense_into(Recorder& recorder, const Tensor& out, const VectorSparse& a);

/// y = x·Wᵀ with W = to_dense(a), then the epilogue; shapes, batches and types as in matmul with a dense W.
/// Features of x whose column is not kept are not read: NaN and infinity there do not show.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const VectorSparse& a,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const VectorSparse& a,
                               const Epilogue& epilogue = {});

/// dx = dy·W with W = to_dense(a), the input gradient of matmul. W is expanded into scratch memory first: it
/// takes dense time.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const VectorSparse& a, const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const VectorSparse& a, const Epilogue& epilogue = {});

/// dW = dyᵀ·x, dense and of a's shape: the straight-through gradient, which reaches the entries that the mask
/// hides too. Summed over tokens, and over x's batch where `a` has none. Only a's shape is looked at.
[[nodiscard]] DANAUS_EXPORT Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                   const VectorSparse& a,
                                                   const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                        const Tensor& x, const VectorSparse& a,
                                        const GradientOptions& options = {});

}  // namespace danaus
