// Transposable 2:4 matrices: two of every four neighbours are kept along rows and along columns, so that one
// stored copy serves multiplies by W and by its transpose. Masks come from select_transposable_mask
// (masks.hpp), or are found in the same pass.
//
// Where training holds W and its transpose as two Sparse24 (compress_both), these are 36 bytes for 16 weights
// of f16, and one TileSparse24 is 17: 56 and 27 % of an f32 master (the mask, one bit a weight, takes 3 %
// more). Both are compressed from the master itself. Its multiplies read fewer bytes than those of a
// Sparse24, and decode more.
#pragma once

#include <danaus/sparse24.hpp>

namespace danaus {

/// A 2:4 matrix (out, in), or a batch of them (blocks, out, in), in one piece of memory:
///   values  (…, out, 2·G), G = ceil(in / 4): the kept entries of each group of four columns, ascending, as
///           in Sparse24
///   codes   (…, ceil(out / 4), ceil(G / 4)) u32, behind the values: byte g % 4 of word g / 4 (lowest byte
///           first) of band b is the code of the 4×4 tile of rows 4b … and columns 4g …; bytes behind the
///           last tile are 0
/// A tile is one of the 90 patterns that keep two entries of each row and column. Its code is 36·p0 + 6·p1 +
/// p2, where p is the pair of columns that a row keeps, counted 01, 02, 12, 03, 13, 23. The four pairs of a
/// tile add up to 10, which gives that of row 3: p + 1 is what the row keeps of columns 1 to 3, read as a
/// number, and every column is kept twice. 90 of the codes 0 … 215 are tiles.
/// Other codes, which nothing here writes and no file may hold, multiply as undefined numbers, but touch no
/// other memory. A tile at the edge is completed to a whole one. Values at places behind the last column are
/// zero, rows behind the last one are not stored. Copies share the memory, like those of a Tensor. Against
/// dense: f32 takes 0.516 of the bytes, f16 and bf16 0.531.
class DANAUS_EXPORT TileSparse24 {
public:
    /// A null matrix.
    TileSparse24() = default;
    /// Uninitialised. Throws Error(invalid_argument) unless `type` is floating and `shape` has rank 2 or 3.
    TileSparse24(const Device& device, DataType type, const Shape& shape);
    /// In `buffer` from `byte_offset` on, a multiple of 8. Throws Error(invalid_argument) when the buffer is
    /// too short.
    TileSparse24(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t byte_offset = 0);

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(values_); }
    [[nodiscard]] DataType type() const noexcept { return values_.type(); }
    /// The shape of the dense matrix: (out, in) or (blocks, out, in).
    [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
    [[nodiscard]] const Tensor& values() const noexcept { return values_; }
    [[nodiscard]] const Tensor& codes() const noexcept { return codes_; }
    [[nodiscard]] Device device() const { return values_.device(); }
    /// Bytes of values and codes.
    [[nodiscard]] std::uint64_t bytes() const;
    [[nodiscard]] static std::uint64_t bytes(DataType type, const Shape& shape);

private:
    Shape shape_;
    Tensor values_;
    Tensor codes_;
};

/// A new, uninitialised TileSparse24 from the recorder's memory.
[[nodiscard]] DANAUS_EXPORT TileSparse24 empty_tile_sparse24(Recorder& recorder, DataType type,
                                                             const Shape& shape);

/// mask ∘ w, compressed. The mask should be transposable; to make sure, ask verify_transposable_mask. A tile
/// becomes the lowest of the 90 patterns, read as a number with bit 4 · row + column, that agrees with the
/// mask on all entries that the matrix has. Where none does, it becomes the lowest of all (0x33cc): entries
/// that the mask does not keep are still zero, but some that it keeps may be lost; nothing worse happens.
/// `out` has w's type, or f16 or bf16 where w is f32: values are rounded to nearest even then.
[[nodiscard]] DANAUS_EXPORT TileSparse24 compress_tiles(Recorder& recorder, const Tensor& w,
                                                        const Tensor& mask);
DANAUS_EXPORT void compress_tiles_into(Recorder& recorder, const TileSparse24& out, const Tensor& w,
                                       const Tensor& mask);

/// compress_tiles(w, select_transposable_mask(w)) in one pass over w, by the exact search. `mask`, if given,
/// is written too.
[[nodiscard]] DANAUS_EXPORT TileSparse24 compress_transposable(Recorder& recorder, const Tensor& w);
DANAUS_EXPORT void compress_transposable_into(Recorder& recorder, const TileSparse24& out, const Tensor& w,
                                              const Tensor& mask = {});

/// The dense matrix, with zeros where nothing is kept.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const TileSparse24& a);
DANAUS_EXPORT void to_dense_into(Recorder& recorder, const Tensor& out, const TileSparse24& a);

/// y = x·Wᵀ with W = to_dense(a), then the epilogue; shapes, batches and types as in matmul with a dense W.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const TileSparse24& a,
                                          const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const TileSparse24& a,
                               const Epilogue& epilogue = {});

/// dx = dy·W with W = to_dense(a), the input gradient of matmul, from the same copy.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const TileSparse24& a, const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const TileSparse24& a, const Epilogue& epilogue = {});

/// dW = dyᵀ·x, dense and of a's shape: the straight-through gradient, as with a Sparse24. From an unbiased
/// pruning of dyᵀ (unbiased.hpp) it needs nothing of the weight.
[[nodiscard]] DANAUS_EXPORT Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x,
                                                   const TileSparse24& a,
                                                   const GradientOptions& options = {});
DANAUS_EXPORT void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                        const Tensor& x, const TileSparse24& a,
                                        const GradientOptions& options = {});

}  // namespace danaus
