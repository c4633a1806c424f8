// Permutations of features: by strides, which need no storage, or by a tensor of indices.
#pragma once

#include <danaus/tensor.hpp>

#include <cstdint>
#include <span>

namespace danaus {

/// The permutation matrix P with P[i, index[i]] = 1: y = x·Pᵀ is y[…, i] = x[…, index[i]]. Either a stride
/// permutation, y[…, j·a + i] = x[…, i·b + j] for i < a and j < b (reshape to (a, b), transpose, flatten), as
/// between the two stages of a Monarch matrix; or u32 indices on the device, with their inverse, computed
/// once. Copies share the indices.
class DANAUS_EXPORT Permutation {
public:
    /// The permutation of no features.
    Permutation() = default;
    /// The stride permutation of a·b features. Its inverse is stride(b, a).
    [[nodiscard]] static Permutation stride(std::uint64_t a, std::uint64_t b);
    /// Uploads `index`. Throws Error(invalid_argument) naming the first index that is too large or occurs
    /// twice.
    [[nodiscard]] static Permutation from_indices(Stream& stream, std::span<const std::uint32_t> index);
    /// Of indices that are on the device already, u32 of rank 1 (kept, not copied); records the computation
    /// of the inverse. The indices are not looked at: where they are no permutation, an index that is too
    /// large gives 0, and the transposed multiply gives 0 for features that no index names and one of the
    /// values for features named twice. Memory outside the operands is never touched.
    [[nodiscard]] static Permutation from_tensor(Recorder& recorder, const Tensor& index);

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] bool is_stride() const noexcept { return !index_; }
    /// a and b of a stride permutation; 0 of one by indices.
    [[nodiscard]] std::uint64_t a() const noexcept { return a_; }
    [[nodiscard]] std::uint64_t b() const noexcept { return b_; }
    /// The indices and their inverse; null for a stride permutation.
    [[nodiscard]] const Tensor& index() const noexcept { return index_; }
    [[nodiscard]] const Tensor& inverse_index() const noexcept { return inverse_index_; }
    /// P⁻¹ = Pᵀ. Costs nothing.
    [[nodiscard]] Permutation inverse() const;

private:
    std::uint64_t size_ = 0, a_ = 0, b_ = 0;
    Tensor index_, inverse_index_;
};

/// y = x·Pᵀ, y[…, i] = x[…, index[i]]: x (…, features) of rank 1 to 4, any type and strides, moved bit for
/// bit. Throws Error(invalid_argument) when x has another number of features than p, or out another type than
/// x. Throws Error(unsupported) when the features of one token by indices span more than one dispatch
/// reaches.
[[nodiscard]] DANAUS_EXPORT Tensor matmul(Recorder& recorder, const Tensor& x, const Permutation& p);
/// The same into `out`, which must not overlap x.
DANAUS_EXPORT void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Permutation& p);

/// dx = dy·P, dx[…, index[i]] = dy[…, i]: the inverse permutation.
[[nodiscard]] DANAUS_EXPORT Tensor matmul_transposed(Recorder& recorder, const Tensor& dy,
                                                     const Permutation& p);
DANAUS_EXPORT void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy,
                                          const Permutation& p);

/// P as a (features, features) matrix of ones and zeros.
[[nodiscard]] DANAUS_EXPORT Tensor to_dense(Recorder& recorder, const Permutation& p,
                                            DataType type = DataType::f32);
DANAUS_EXPORT void to_dense_into(Recorder& recorder, const Tensor& out, const Permutation& p);

}  // namespace danaus
