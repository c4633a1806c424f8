// The nearest Monarch matrix of a dense one.
#pragma once

#include <danaus/monarch.hpp>
#include <danaus/svd.hpp>

namespace danaus {

/// The shape of a Monarch matrix of given outer sizes: w1 (k, q, in / k), w2 (l, out / l, k·q / l).
struct MonarchShape {
    std::uint64_t k = 1;  ///< blocks of w1; divides in
    std::uint64_t l = 1;  ///< blocks of w2; divides out
    std::uint64_t q =
        1;  ///< rows of a block of w1; l divides k·q. Where l divides q, q / l is the rank of every block
};

struct ProjectionOptions {
    OutputOrder order = OutputOrder::interleaved;  ///< of the result: of the dense matrix's rows
    /// Of the factors that project() makes of a real matrix; f32 where it shall keep its precision. Those of
    /// a complex one are complex64, which is all that may stand here for it beside f32.
    DataType type = DataType::f32;
    SvdOptions svd;
};

struct Projection {
    Monarch matrix;
    /// (k, l), f32: ‖A − M‖_F of each block, the root of the sum of squares of the singular values that are
    /// dropped (a square alone would leave f32 for matrices far from 1). The square of ‖A − M‖_F is the sum
    /// of its squares. Rounding of the factors to their type is not in it.
    Tensor error;
};

/// The Monarch matrix M of that shape that is nearest to `dense` (out, in) in the Frobenius norm (Dao et al.,
/// ICML 2022, arXiv 2204.00595, algorithm 1, for rectangular matrices and any rank):
///
///   T[K, L][S, c] = A[S·l + L, K·p + c]           k·l blocks (s, p); with OutputOrder::blocked A[L·s + S, …]
///   M's block     = Σ_t w2[L, S, R_t] · w1[K, Q_t, c]  over the Q_t of [0, q) with K·q + Q_t = R_t·l + L
///
/// so that block (K, L) is any matrix of a rank up to the number of such Q_t: q / l, or, where l does not
/// divide q, either neighbour of it. The nearest is the truncated singular value decomposition (svd.hpp), and
/// both factors take the root of σ: of a block Σ_t u_t σ_t v_tᴴ
///
///   w2[L, S, R_t] = √σ_t · u_t[S]      w1[K, Q_t, c] = √σ_t · conj(v_t[c])
///
/// Terms past min(s, p), and those with σ below 2^-20 of
/// the block's largest, are zero in both factors.
///
///   dense  f32, f16 or bf16, any strides → w1, w2 of `type`, contiguous
///   dense  complex64                     → w1, w2 complex64
///
/// Precision, in f32: ‖A − M‖ of a block is within 1.0002 of the optimum where that is above 4e-4 of ‖A‖ of
/// the block, and within 1.005 where it is above 3e-5, whatever the singular values; below 2^-20 of a block's
/// longest σ terms count as zero, and `error` has them. A block that holds NaN or an infinity gives NaN in
/// its terms and its error. Throws Error(invalid_argument) naming the argument that does not fit and, where a
/// size lacks the divisor asked for, those that it has, or for a q whose ranks q / l are past min(s, p) the
/// largest; Error(unsupported) as svd().
[[nodiscard]] DANAUS_EXPORT Projection project(Recorder& recorder, const Tensor& dense,
                                               const MonarchShape& shape,
                                               const ProjectionOptions& options = {});
/// The same into factors that exist, whose shapes, order and type are those of the result, with any strides,
/// apart from each other and from `dense`; `error` may be null. Ranks may be past min(s, p) here.
DANAUS_EXPORT void project_into(Recorder& recorder, const Monarch& out, const Tensor& error,
                                const Tensor& dense, const SvdOptions& options = {});

}  // namespace danaus
