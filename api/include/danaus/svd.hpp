// Singular value decompositions of batches of matrices, by one-sided Jacobi rotations.
#pragma once

#include <danaus/tensor.hpp>

namespace danaus {

/// What a decomposition computes in. Operands and results are what they are; f64 keeps rounding out of the
/// rotations.
enum class Arithmetic : std::uint32_t {
    f32,
    f64,  ///< Error(unsupported) on devices without shaderFloat64 (Capabilities::shader_float64)
};

struct SvdOptions {
    Arithmetic arithmetic = Arithmetic::f32;
    /// The most sweeps over all pairs of vectors, at least 1; matrices that converge earlier stop there. Ten
    /// or less is what random matrices take; in panels (svd()) those whose singular values reach over many
    /// orders of magnitude take up to twenty. The work that is recorded grows with it for large matrices.
    std::uint32_t sweeps = 24;
    /// A matrix has converged after a sweep that found no two of its vectors at a cosine above this; at least
    /// 0 and finite. That sweep still rotated them, so that what is left is mostly of the order of its
    /// square. 0: what rounding lets be reached, ε √max(16, length) in f32, ε = 2^-23, and 2^-36 in f64;
    /// project() in f32 takes 2^-11.
    /// Nothing tells of matrices that have not converged when sweeps run out. In panels (svd()) vectors
    /// shorter than 2^-20 of the longest are rotated until the others have converged, and are not waited for:
    /// eight roundings of the longest one are as long, and noise has no angles that settle.
    float tolerance = 0.0f;
};

/// A = u · diag(sigma) · vᴴ, with rho = min(m, n) terms: A[i, j] = Σ_t u[i, t] · sigma[t] · conj(v[j, t]).
/// f32, u and v of complex matrices complex64.
struct Svd {
    Tensor u;      ///< (…, m, rho)
    Tensor sigma;  ///< (…, rho), f32, descending
    Tensor v;      ///< (…, n, rho)
};

/// The thin singular value decomposition of every matrix of a (…, m, n): f32, f16, bf16 or complex64, ranks 2
/// to 4, any strides, m and n.
///
/// One-sided Jacobi (Hestenes 1958; de Rijk's order of pairs, SIAM J. Sci. Stat. Comput. 10, 1989): plane
/// rotations make the columns (or the rows, whichever there are fewer of) orthogonal; their lengths are then
/// sigma. Matrices with a longer side than 64, complex ones than 32 (on GPUs 16 and 8), rotate panels of
/// columns at a time, by the eigenvectors of their Gram matrices (f32 only; in f64 they rotate pair by pair,
/// which takes long). Complex vectors are rotated by real angles after one of each two was turned by the
/// phase of their product, which is four times the arithmetic of a real matrix. Every matrix is scaled by a
/// power of two first, so that squares neither overflow nor vanish; subnormal elements may count as zero.
/// Each run gives the same bits.
///
/// The singular vectors of the shorter side are orthonormal whatever sigma is. Those of the longer side
/// (of u for m >= n, else of v; either for m = n) are zero where sigma is zero, as all of them are for a zero
/// matrix, and are only as orthogonal as rounding leaves them where sigma is below 1e-6 of the largest. A
/// matrix that holds NaN or an infinity gives NaN for all of its u, sigma and v; the others of its batch are
/// not touched by it.
///
/// Nothing is recorded for an empty batch or rho = 0. Throws Error(invalid_argument) naming the argument that
/// does not fit, Error(unsupported) for arithmetic that the device lacks and for matrices past its limits.
[[nodiscard]] DANAUS_EXPORT Svd svd(Recorder& recorder, const Tensor& a, const SvdOptions& options = {});
/// The same into `out`, of the types and shapes above and any strides, apart from each other and from `a`.
DANAUS_EXPORT void svd_into(Recorder& recorder, const Svd& out, const Tensor& a,
                            const SvdOptions& options = {});

}  // namespace danaus
