// The faster one of a structured matrix and the dense matrix that it stands for.
//
// A structured matrix is multiplied by its structure, always. Where that does not pay (many small blocks, a
// device without the bandwidth that it saves) a program may ask for the best instead:
//
//   const auto w = best(stream, monarch, 384);      // measures both, once
//   y = matmul(recorder, x, w, epilogue);           // either of the two
//
// Nothing else in the library falls back to dense on its own.
#pragma once

#include <danaus/block_diagonal.hpp>
#include <danaus/monarch.hpp>
#include <danaus/packed.hpp>
#include <danaus/tile_sparse24.hpp>
#include <danaus/tuning.hpp>
#include <danaus/vector_sparse.hpp>

#include <cstdint>

namespace danaus {

/// A weight for many multiplies of about `tokens` tokens. The dense form stays as it was when the weight
/// changes: ask again then.
template <typename Structure>
struct Best {
    Structure structured;      ///< as it was given
    PackedWeight dense;        ///< to_dense(structured), packed; null unless that is faster
    std::uint64_t tokens = 0;  ///< that were measured, of every block where the weight has a batch of them
    /// Medians of one forward multiply; 0 for a dense form that the device cannot hold or multiply by.
    double structured_nanoseconds = 0.0, dense_nanoseconds = 0.0;
};

/// Measures `tokens` tokens of `a`'s type, contiguous and random, times `a` and times its dense form in turn,
/// as tune() does, on a stream of its own and after what `stream` has recorded; the structure is kept unless
/// dense is faster by 2 %. Kernels are those of the tuning table in use. Takes as much memory as the dense
/// form twice. Throws Error(invalid_argument) for a null matrix, no tokens and fewer than 5 rounds.
[[nodiscard]] DANAUS_EXPORT Best<Sparse24> best(Stream& stream, const Sparse24& a, std::uint64_t tokens,
                                                const TuneOptions& options = {});
[[nodiscard]] DANAUS_EXPORT Best<TileSparse24> best(Stream& stream, const TileSparse24& a,
                                                    std::uint64_t tokens, const TuneOptions& options = {});
[[nodiscard]] DANAUS_EXPORT Best<VectorSparse> best(Stream& stream, const VectorSparse& a,
                                                    std::uint64_t tokens, const TuneOptions& options = {});
[[nodiscard]] DANAUS_EXPORT Best<BlockDiagonal> best(Stream& stream, const BlockDiagonal& a,
                                                     std::uint64_t tokens, const TuneOptions& options = {});
[[nodiscard]] DANAUS_EXPORT Best<Monarch> best(Stream& stream, const Monarch& a, std::uint64_t tokens,
                                               const TuneOptions& options = {});

/// As matmul with the structured matrix: shapes, types, epilogue and errors are the same. Sums are added in
/// another order where the dense form is used, and a Monarch product's intermediate is not rounded then.
template <typename Structure>
[[nodiscard]] Tensor matmul(Recorder& recorder, const Tensor& x, const Best<Structure>& w,
                            const Epilogue& epilogue = {}) {
    return w.dense ? matmul(recorder, x, w.dense, epilogue) : matmul(recorder, x, w.structured, epilogue);
}
template <typename Structure>
void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Best<Structure>& w,
                 const Epilogue& epilogue = {}) {
    if (w.dense)
        matmul_into(recorder, out, x, w.dense, epilogue);
    else
        matmul_into(recorder, out, x, w.structured, epilogue);
}

}  // namespace danaus
