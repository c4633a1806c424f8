// Tensors: typed, strided views of device memory.
#pragma once

#include <danaus/runtime/device.hpp>
#include <danaus/runtime/error.hpp>
#include <danaus/runtime/recorder.hpp>
#include <danaus/runtime/stream.hpp>

#include <array>
#include <complex>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

namespace danaus {

/// Element types. f16 is IEEE 754 binary16, bf16 is bfloat16; both are stored packed, two to a 32-bit word,
/// and computed in f32. complex64 is two f32, real and imaginary part side by side, as std::complex<float>:
/// multiplies by dense, block-diagonal and Monarch matrices, chains and transforms, their gradients and what
/// moves elements take it,
/// all else refuses it by name. The values are those of the shaders' type constants; no shader knows
/// complex64.
enum class DataType : std::uint32_t { f32 = 0, f16 = 1, bf16 = 2, i32 = 3, u32 = 4, complex64 = 5 };

[[nodiscard]] constexpr std::uint64_t size_of(DataType type) noexcept {
    return type == DataType::f16 || type == DataType::bf16 ? 2 : type == DataType::complex64 ? 8 : 4;
}
/// f32, f16 and bf16; complex64 is not among them.
[[nodiscard]] constexpr bool is_floating(DataType type) noexcept {
    return type == DataType::f32 || type == DataType::f16 || type == DataType::bf16;
}
[[nodiscard]] constexpr bool is_complex(DataType type) noexcept {
    return type == DataType::complex64;
}
[[nodiscard]] DANAUS_EXPORT const char* to_string(DataType type) noexcept;

/// Sizes or strides, outermost dimension first; at most max_rank of them.
class DANAUS_EXPORT Shape {
public:
    static constexpr std::size_t max_rank = 4;

    Shape() = default;
    /// Throws Error(invalid_argument) past max_rank dimensions.
    Shape(std::initializer_list<std::uint64_t> sizes);
    explicit Shape(std::span<const std::uint64_t> sizes);

    [[nodiscard]] std::size_t rank() const noexcept { return rank_; }
    [[nodiscard]] std::uint64_t operator[](std::size_t i) const noexcept { return sizes_[i]; }
    [[nodiscard]] std::uint64_t& operator[](std::size_t i) noexcept { return sizes_[i]; }
    [[nodiscard]] const std::uint64_t* begin() const noexcept { return sizes_.data(); }
    [[nodiscard]] const std::uint64_t* end() const noexcept { return sizes_.data() + rank_; }
    /// Product of the sizes; 1 for rank 0. Throws Error(invalid_argument) when it exceeds 2^63.
    [[nodiscard]] std::uint64_t elements() const;
    /// Strides of the contiguous row-major layout of these sizes.
    [[nodiscard]] Shape contiguous_strides() const;
    [[nodiscard]] bool operator==(const Shape& other) const noexcept;

private:
    std::array<std::uint64_t, max_rank> sizes_{};
    std::size_t rank_ = 0;
};

/// "(256, 784)".
[[nodiscard]] DANAUS_EXPORT std::string to_string(const Shape& shape);

/// A shared handle to elements of device memory: type, sizes, strides (in elements, may be 0) and an offset
/// (in elements) into a buffer. Copies and views share the memory. A default-constructed tensor is null,
/// which operations take to mean "absent".
class DANAUS_EXPORT Tensor {
public:
    Tensor() = default;
    /// Uninitialised, contiguous. Throws Error(out_of_memory) naming the size.
    Tensor(const Device& device, DataType type, const Shape& shape);
    /// A view of `buffer`. Throws Error(invalid_argument) when any element lies outside it, naming both
    /// sizes.
    Tensor(const Buffer& buffer, DataType type, const Shape& shape, const Shape& strides,
           std::uint64_t offset = 0);
    Tensor(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t offset = 0);
    /// Strides in braces; without this, those of one dimension would be taken for an offset.
    Tensor(const Buffer& buffer, DataType type, const Shape& shape,
           std::initializer_list<std::uint64_t> strides, std::uint64_t offset = 0)
        : Tensor(buffer, type, shape, Shape(strides), offset) {}

    [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(buffer_); }
    [[nodiscard]] DataType type() const noexcept { return type_; }
    [[nodiscard]] const Shape& shape() const noexcept { return shape_; }
    [[nodiscard]] const Shape& strides() const noexcept { return strides_; }
    [[nodiscard]] std::uint64_t offset() const noexcept { return offset_; }
    [[nodiscard]] std::size_t rank() const noexcept { return shape_.rank(); }
    [[nodiscard]] std::uint64_t size(std::size_t dimension) const noexcept { return shape_[dimension]; }
    [[nodiscard]] std::uint64_t elements() const { return shape_.elements(); }
    [[nodiscard]] const Buffer& buffer() const noexcept { return buffer_; }
    [[nodiscard]] Device device() const { return buffer_.device(); }
    /// Row-major without gaps (dimensions of size 1 may have any stride).
    [[nodiscard]] bool is_contiguous() const noexcept;
    /// Elements from the first to the last one touched, plus 1; 0 when empty.
    [[nodiscard]] std::uint64_t span() const noexcept;

    /// The same elements under other sizes. Throws Error(invalid_argument) unless the count is the same and
    /// the strides allow it without a copy.
    [[nodiscard]] Tensor reshape(const Shape& shape) const;
    /// Dimensions `a` and `b` exchanged.
    [[nodiscard]] Tensor transpose(std::size_t a, std::size_t b) const;
    /// The matrix transposed: the last two dimensions exchanged.
    [[nodiscard]] Tensor transpose() const;
    /// Indices [begin, end) of one dimension.
    [[nodiscard]] Tensor slice(std::size_t dimension, std::uint64_t begin, std::uint64_t end) const;
    /// One index of one dimension, which disappears.
    [[nodiscard]] Tensor select(std::size_t dimension, std::uint64_t index) const;
    /// The same memory with freely chosen sizes and strides, `offset` elements further on. Checked against
    /// the buffer like a new view.
    [[nodiscard]] Tensor as_strided(const Shape& shape, const Shape& strides, std::uint64_t offset = 0) const;

private:
    void check_inside() const;
    Buffer buffer_;
    DataType type_ = DataType::f32;
    Shape shape_;
    Shape strides_;
    std::uint64_t offset_ = 0;
};

/// The real or imaginary parts of a complex64 tensor: views of the same memory as f32 with doubled strides,
/// to be read or written. Throws Error(invalid_argument) for any other type.
[[nodiscard]] DANAUS_EXPORT Tensor real(const Tensor& tensor);
[[nodiscard]] DANAUS_EXPORT Tensor imag(const Tensor& tensor);

/// A new contiguous tensor from the recorder's memory.
[[nodiscard]] DANAUS_EXPORT Tensor empty(Recorder& recorder, DataType type, const Shape& shape);

/// Copies `values` (row-major) to the device and returns them as a tensor of `type`; floating types other
/// than f32 are rounded to nearest even on the device, complex64 gets them as real parts beside imaginary
/// zeros. The values are taken before the call returns.
[[nodiscard]] DANAUS_EXPORT Tensor upload(Stream& stream, std::span<const float> values, const Shape& shape,
                                          DataType type = DataType::f32);
[[nodiscard]] DANAUS_EXPORT Tensor upload(Stream& stream, std::span<const std::uint32_t> values,
                                          const Shape& shape);
[[nodiscard]] DANAUS_EXPORT Tensor upload(Stream& stream, std::span<const std::int32_t> values,
                                          const Shape& shape);
[[nodiscard]] DANAUS_EXPORT Tensor upload(Stream& stream, std::span<const std::complex<float>> values,
                                          const Shape& shape);
/// The same into an existing tensor of any strides.
DANAUS_EXPORT void upload_into(Stream& stream, const Tensor& out, std::span<const float> values);
DANAUS_EXPORT void upload_into(Stream& stream, const Tensor& out, std::span<const std::uint32_t> values);
DANAUS_EXPORT void upload_into(Stream& stream, const Tensor& out, std::span<const std::int32_t> values);
DANAUS_EXPORT void upload_into(Stream& stream, const Tensor& out,
                               std::span<const std::complex<float>> values);

/// Waits for the work recorded on `stream` and returns the elements row-major; f16 and bf16 are widened.
[[nodiscard]] DANAUS_EXPORT std::vector<float> download(Stream& stream, const Tensor& tensor);
[[nodiscard]] DANAUS_EXPORT std::vector<std::uint32_t> download_u32(Stream& stream, const Tensor& tensor);
[[nodiscard]] DANAUS_EXPORT std::vector<std::int32_t> download_i32(Stream& stream, const Tensor& tensor);
/// Of complex64.
[[nodiscard]] DANAUS_EXPORT std::vector<std::complex<float>> download_complex(Stream& stream,
                                                                              const Tensor& tensor);

/// out[i] = in[i], converted to the type of `out` (floating types into each other, rounded to nearest even,
/// and into complex64 with imaginary parts of 0; all others into themselves). Any strides on either side;
/// `out` must not overlap `in`. Throws Error(invalid_argument) when shapes differ or the types cannot be
/// converted.
DANAUS_EXPORT void convert_into(Recorder& recorder, const Tensor& out, const Tensor& in);
/// A contiguous copy of `in` as `type`.
[[nodiscard]] DANAUS_EXPORT Tensor convert(Recorder& recorder, const Tensor& in, DataType type);
/// A contiguous copy of `in`.
[[nodiscard]] DANAUS_EXPORT Tensor contiguous(Recorder& recorder, const Tensor& in);
/// out[i] = conj(in[i]) of complex64; f32, f16 and bf16 are copied. Any strides on either side. Throws
/// Error(invalid_argument) for other types, when shapes or types differ, and when `out` overlaps `in` or
/// itself.
DANAUS_EXPORT void conjugate_into(Recorder& recorder, const Tensor& out, const Tensor& in);
/// A contiguous conjugate of `in`.
[[nodiscard]] DANAUS_EXPORT Tensor conjugate(Recorder& recorder, const Tensor& in);
/// Every element of `out` becomes `value`, of complex64 with an imaginary part of 0. For i32 and u32 its
/// fraction is dropped; Error(invalid_argument) when it does not fit then.
DANAUS_EXPORT void fill_into(Recorder& recorder, const Tensor& out, double value);

}  // namespace danaus
