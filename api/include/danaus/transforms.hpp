// Transforms whose factors are known in closed form: Fourier, cosine and sine, Walsh-Hadamard, circulant and
// Toeplitz matrices, Kronecker products, low rank. Each is a chain of Kronecker-sparse factors with ordinary
// weights: it is applied by the same multiplies as any Monarch matrix, and it can be learned from there on.
// (Dao et al., "Monarch", ICML 2022, arXiv 2204.00595; factors are computed on the host in double precision.)
#pragma once

#include <danaus/chain.hpp>

#include <complex>
#include <span>

namespace danaus {

/// The matrix A = output · matrix · input, with zeros behind x where the chain takes more features than
/// in_features, and without what it makes beyond out_features. Permutations of no features are absent. An
/// input permutation by strides is folded into the first factor. Copies share the weights.
struct DANAUS_EXPORT Transform {
    Permutation input, output;
    Chain matrix;
    std::uint64_t in_features = 0, out_features = 0;

    Transform() = default;
    /// 0 features: all that the chain has. Throws Error(invalid_argument) when a permutation is of another
    /// number of features than the chain's, or when the chain has fewer than are asked for.
    explicit Transform(Chain matrix, Permutation input = {}, Permutation output = {},
                       std::uint64_t in_features = 0, std::uint64_t out_features = 0);

    [[nodiscard]] DataType type() const { return matrix.type(); }
    /// The two factors as a Monarch matrix of the same memory. Throws Error(invalid_argument) when the chain
    /// is no Monarch matrix: one dense factor for sizes without divisors, three of circulant matrices.
    [[nodiscard]] Monarch monarch() const;
};

/// y = A·x for every token, x (…, tokens, in_features), ranks 2 and 3, of the transform's type; f32 is taken
/// by complex transforms, as real parts. Throws Error(invalid_argument) as the dense matmul does.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Transform& a);
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform& a);
/// dx = Aᵀ·dy, of complex64 conj(A)ᵀ·dy.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const Transform& a);
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Transform& a);
/// Input gradient and the gradients of the factors' weights, as the chain's backward_into (chain.hpp).
DANAUS_EXPORT void backward_into(Recorder& recorder, const ChainGradients& out, const Tensor& dy,
                                 const Tensor& x, const Transform& a, const GradientOptions& options = {});
/// Aᵀ, of the same memory. Nothing is conjugated.
[[nodiscard]] DANAUS_EXPORT Transform transposed(const Transform& a);
/// The matrix as a dense (out_features, in_features) tensor.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const Transform& a);

/// n = i·j, the sizes of the blocks of two factors. 0: chosen, i the divisor of n next to √n.
struct Split {
    std::uint64_t i = 0, j = 0;
};
/// Every i ≤ j with i·j = n, i ascending; the last one is what is chosen.
[[nodiscard]] DANAUS_EXPORT std::vector<Split> splits_of(std::uint64_t n);

enum class Norm {
    unnormalised,  ///< as FFTW: nothing in front of the sum; 1/n in front of inverse Fourier transforms
    orthonormal,
};

// Everything below uploads weights and throws Error(invalid_argument) for n = 0 and for a split that is none
// of n's; the message lists those that are. Sizes without divisors, primes and 1, are one dense factor.

/// X[f] = Σ_t x[t]·exp(−2πi·f·t/n), complex64, of any n = i·j:
///   input   x'[b·i + a] = x[a·j + b]
///   w1[b, l, a] = w_i^{a·l}·w_n^{b·l}   (j, i, i), with w_N = exp(−2πi/N)
///   w2[l, s, b] = w_j^{b·s}             (i, j, j)
[[nodiscard]] DANAUS_EXPORT Transform dft(Stream& stream, std::uint64_t n, Norm norm = Norm::unnormalised,
                                          Split split = {});
/// x[t] = 1/n Σ_f X[f]·exp(2πi·f·t/n).
[[nodiscard]] DANAUS_EXPORT Transform inverse_dft(Stream& stream, std::uint64_t n,
                                                  Norm norm = Norm::unnormalised, Split split = {});

/// Unnormalised as FFTW has them (REDFT10, 01, 11, RODFT10, 01, 11):
///   dct2   2 Σ_t x[t]·cos(π(t + ½)f/n)
///   dct3   x[0] + 2 Σ_{t>0} x[t]·cos(πt(f + ½)/n)
///   dct4   2 Σ_t x[t]·cos(π(t + ½)(f + ½)/n)
///   dst2   2 Σ_t x[t]·sin(π(t + ½)(f + 1)/n)
///   dst3   (−1)^f·x[n−1] + 2 Σ_{t<n−1} x[t]·sin(π(t + 1)(f + ½)/n)
///   dst4   2 Σ_t x[t]·sin(π(t + ½)(f + ½)/n)
enum class Trigonometric { dct2, dct3, dct4, dst2, dst3, dst4 };
[[nodiscard]] DANAUS_EXPORT const char* to_string(Trigonometric kind) noexcept;

/// f32. Of x in the order [evens, reversed odds] the angles are 2π(τ + ¼)(f + δ)/n, δ = 0 in dct2, 1 in dst2,
/// ½ in dct4 and dst4, and each is a sum of one angle for either factor: a Monarch matrix of rank 2 in every
/// pair of blocks, w1 (j, 2i, i) and w2 (i, j, 2j), behind a permutation by indices. dct3 and dst3 are dct2
/// and dst2 transposed and invert them, dct4 and dst4 themselves: unnormalised to 2n times x.
[[nodiscard]] DANAUS_EXPORT Transform trigonometric(Stream& stream, Trigonometric kind, std::uint64_t n,
                                                    Norm norm = Norm::unnormalised, Split split = {});

/// H[f, t] = (−1)^popcount(f & t), natural order, f32, n = 2^m: H_j ⊗ H_i. Throws Error(invalid_argument) for
/// any other n; the message has the powers of two around it.
[[nodiscard]] DANAUS_EXPORT Transform walsh_hadamard(Stream& stream, std::uint64_t n,
                                                     Norm norm = Norm::unnormalised);

/// A ⊗ B of a (rows_a, n_a) and b (rows_b, n_b), row-major: y[p·rows_b + q] = Σ a[p, k]·b[q, c]·x[k·n_b + c].
/// Every w1[k] is b and every w2[l] is a. Sizes are those of `shape_a` and `shape_b`, rank 2.
[[nodiscard]] DANAUS_EXPORT Transform kronecker(Stream& stream, std::span<const float> a,
                                                const Shape& shape_a, std::span<const float> b,
                                                const Shape& shape_b);
/// U·Vᵀ of u (out, rank) and v (in, rank), row-major, as a Monarch matrix with k input and l output blocks:
/// w1[K, t·l + L, c] = v[K·p + c, t], w2[L, S, K·rank + t] = u[S·l + L, t]. Throws Error(invalid_argument)
/// unless k divides in and l divides out; the message lists the divisors.
[[nodiscard]] DANAUS_EXPORT Transform low_rank(Stream& stream, std::span<const float> u,
                                               std::span<const float> v, std::uint64_t rank, std::uint64_t k,
                                               std::uint64_t l);

/// y[f] = Σ_t column[(f − t) mod n]·x[t], complex64: inverse DFT · diagonal · DFT, whose inner factors are
/// one, so that there are three, (1,i,i,j), (i,j,j,1), (1,i,i,j), and no permutation. A prime n is embedded
/// in a composite circulant of at least 2n − 1.
[[nodiscard]] DANAUS_EXPORT Transform circulant(Stream& stream, std::span<const std::complex<float>> column,
                                                Split split = {});
/// y[f] = Σ_t c[f − t]·x[t], column = c[0], c[1], …, c[out − 1] and row = c[0], c[−1], …, c[1 − in],
/// complex64: a part of a circulant of out + in − 1 or a few more. Throws Error(invalid_argument) when either
/// is empty or row[0] is not column[0].
[[nodiscard]] DANAUS_EXPORT Transform toeplitz(Stream& stream, std::span<const std::complex<float>> column,
                                               std::span<const std::complex<float>> row);
/// y[f] = Σ_s kernel[s]·x[f − s], n features to n + (kernel's size) − 1: the Toeplitz matrix of a kernel.
[[nodiscard]] DANAUS_EXPORT Transform convolution(Stream& stream, std::span<const std::complex<float>> kernel,
                                                  std::uint64_t n);

/// One transform along the rows of an image, and one along its columns.
struct DANAUS_EXPORT Transform2d {
    Transform along_rows;     ///< of the last dimension
    Transform along_columns;  ///< of the one before it
};
/// x (images, height, width) → (images, height′, width′), of any strides. The transform's type as above.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Transform2d& a);
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Transform2d& a);
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const Transform2d& a);
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Transform2d& a);
/// Where backward_into() writes: null tensors are not computed, and empty lists are all null. Gradients of
/// weights have their shapes, and their type or f32.
struct Transform2dGradients {
    Tensor dx;  ///< (images, height, width), of the transform's type
    std::vector<Tensor> along_rows, along_columns;
};
/// dx as matmul_transposed, and the gradients of all weights, summed over images. options.scale is of all of
/// them, options.accumulate of the weights' alone. Throws Error(invalid_argument) naming the argument that
/// does not fit, and where what is written overlaps anything else, but for dx, which may be x.
DANAUS_EXPORT void backward_into(Recorder& recorder, const Transform2dGradients& out, const Tensor& dy,
                                 const Tensor& x, const Transform2d& a, const GradientOptions& options = {});

[[nodiscard]] DANAUS_EXPORT Transform2d dft2d(Stream& stream, std::uint64_t height, std::uint64_t width,
                                              Norm norm = Norm::unnormalised);
[[nodiscard]] DANAUS_EXPORT Transform2d inverse_dft2d(Stream& stream, std::uint64_t height,
                                                      std::uint64_t width, Norm norm = Norm::unnormalised);

/// Convolution of images: a DFT along the rows, for each of its frequencies a circulant along the columns (of
/// all of them three factors of one chain), the inverse DFT along the rows.
struct DANAUS_EXPORT Convolution2d {
    Transform rows, inverse_rows;
    Chain columns;                                ///< of height · width features
    std::uint64_t height = 0, width = 0;          ///< of the circulants
    std::uint64_t in_height = 0, in_width = 0;    ///< of x
    std::uint64_t out_height = 0, out_width = 0;  ///< of y
};
/// y[p, q] = Σ kernel[a, b]·x[p − a, q − b], kernel (rows, columns) row-major of `shape`: x of height × width
/// to (height + rows − 1) × (width + columns − 1). With `circular` indices of x wrap around, and y has the
/// size of x; throws Error(invalid_argument) then for a kernel larger than x.
[[nodiscard]] DANAUS_EXPORT Convolution2d convolution2d(Stream& stream,
                                                        std::span<const std::complex<float>> kernel,
                                                        const Shape& shape, std::uint64_t height,
                                                        std::uint64_t width, bool circular = false);
/// x (images, height, width) of complex64 or f32, any strides → complex64.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Convolution2d& a);
/// dx[p, q] = Σ conj(kernel[a, b])·dy[p + a, q + b], the correlation: dy has the shape of y, dx that of x.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const Convolution2d& a);
/// Where backward_into() writes, as for a Transform2d.
struct Convolution2dGradients {
    Tensor dx;  ///< of the shape of x, complex64
    std::vector<Tensor> rows, columns, inverse_rows;
};
/// dx as matmul_transposed, and the gradients of the weights of all three parts: as of a Transform2d.
DANAUS_EXPORT void backward_into(Recorder& recorder, const Convolution2dGradients& out, const Tensor& dy,
                                 const Tensor& x, const Convolution2d& a,
                                 const GradientOptions& options = {});

}  // namespace danaus
