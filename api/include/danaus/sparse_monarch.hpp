// Monarch matrices whose two factors are 2:4: two of every four neighbours along the columns of every block
// are kept, row by row, or by 4×4 tiles.
//
//   Monarch m = project(stream, w, shape).matrix;                   // or one in training
//   SparseMonarch24 pruned = compress_by_magnitude(stream, m);      // half of its values, and their places
//   Tensor y = matmul(stream, x, pruned);
//
// Of n features in b blocks a Monarch matrix has 2 n² / b weights and this n² / b, and beside every two of
// them 4 bits that say where they belong (by tiles 2). Each factor is multiplied as a Sparse24 or
// TileSparse24 whose blocks are strides; large ones are expanded or moved through scratch where that is
// faster, as other weights are.
#pragma once

#include <danaus/monarch.hpp>
#include <danaus/tile_sparse24.hpp>

#include <utility>

namespace danaus {

/// w1 (k, q, p) and w2 (l, s, r) with l·r = k·q, as in monarch.hpp, both 2:4 and of one form and type.
class DANAUS_EXPORT SparseMonarch24 {
public:
    /// A null matrix.
    SparseMonarch24() = default;
    /// Throws Error(invalid_argument) unless both have rank 3, one type, and l·r = k·q.
    SparseMonarch24(Sparse24 w1, Sparse24 w2);
    SparseMonarch24(TileSparse24 w1, TileSparse24 w2);

    [[nodiscard]] explicit operator bool() const noexcept { return rows_.first || tiles_.first; }
    /// Whether it is held by tiles.
    [[nodiscard]] bool tile_codes() const noexcept { return static_cast<bool>(tiles_.first); }
    /// w1 and w2; of the two forms the one that it does not have is null.
    [[nodiscard]] const std::pair<Sparse24, Sparse24>& rows() const noexcept { return rows_; }
    [[nodiscard]] const std::pair<TileSparse24, TileSparse24>& tiles() const noexcept { return tiles_; }
    [[nodiscard]] const Shape& first_shape() const noexcept;   ///< (k, q, p)
    [[nodiscard]] const Shape& second_shape() const noexcept;  ///< (l, s, r)
    [[nodiscard]] DataType type() const noexcept;
    [[nodiscard]] std::uint64_t in_features() const { return first_shape()[0] * first_shape()[2]; }
    [[nodiscard]] std::uint64_t inner_features() const { return first_shape()[0] * first_shape()[1]; }
    [[nodiscard]] std::uint64_t out_features() const { return second_shape()[0] * second_shape()[1]; }
    /// Of both factors: values, and where they belong.
    [[nodiscard]] std::uint64_t bytes() const;

private:
    std::pair<Sparse24, Sparse24> rows_;
    std::pair<TileSparse24, TileSparse24> tiles_;
};

/// Both factors compressed: what their masks keep. The two largest magnitudes of every four columns, or by
/// tiles the best transposable pattern (masks.hpp); w has OutputOrder::interleaved. `out` has the shapes of w
/// and its type, or of an f32 w also f16 or bf16. To project a dense weight and then prune it, compress the
/// matrix of its Projection (projection.hpp): what was nearest to the weight need not be so afterwards.
[[nodiscard]] DANAUS_EXPORT SparseMonarch24 compress_by_magnitude(Recorder& recorder, const Monarch& w,
                                                                  bool tile_codes = false);
DANAUS_EXPORT void compress_by_magnitude_into(Recorder& recorder, const SparseMonarch24& out,
                                              const Monarch& w);
/// The same under masks of w.w1 and w.w2, in training: as compress_into, or by tiles as compress_tiles_into.
DANAUS_EXPORT void compress_into(Recorder& recorder, const SparseMonarch24& out, const Monarch& w,
                                 const Tensor& first_mask, const Tensor& second_mask);

/// The Monarch matrix with zeros where nothing is kept, and as a dense matrix.
[[nodiscard]] DANAUS_EXPORT Monarch to_monarch(Recorder& recorder, const SparseMonarch24& a);
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const SparseMonarch24& a);

/// y = M·x and dx = Mᵀ·dy with M = to_monarch(a): shapes, `inner`, epilogues, types and errors as those of a
/// Monarch matrix.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const SparseMonarch24& a,
                                          const Epilogue& epilogue = {}, Tensor* inner = nullptr);
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x,
                               const SparseMonarch24& a, const Epilogue& epilogue = {},
                               Tensor* inner = nullptr);
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const SparseMonarch24& a, const Epilogue& epilogue = {});
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const SparseMonarch24& a, const Epilogue& epilogue = {});

/// Gradients as of a Monarch matrix: dx, and straight through the masks dw of both whole factors, in which t
/// and dt are those of the pruned ones. out.dw's order is not looked at.
DANAUS_EXPORT void backward_into(Recorder& recorder, const MonarchGradients& out, const Tensor& dy,
                                 const Tensor& x, const SparseMonarch24& a, const Tensor& inner = {},
                                 const GradientOptions& options = {});

}  // namespace danaus
