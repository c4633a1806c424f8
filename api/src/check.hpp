// Argument checks with messages that name the argument, its value and what was expected.
#pragma once

#include <danaus/tensor.hpp>

#include <fmt/format.h>

namespace danaus::detail {

template <typename... Args>
[[noreturn]] void invalid(fmt::format_string<Args...> text, Args&&... args) {
    throw Error(ErrorKind::invalid_argument, fmt::format(text, std::forward<Args>(args)...));
}

template <typename... Args>
void require(bool condition, fmt::format_string<Args...> text, Args&&... args) {
    if (!condition) invalid(text, std::forward<Args>(args)...);
}

/// "x (256, 784) f32".
inline std::string describe(const char* name, const Tensor& tensor) {
    return fmt::format("{} {} {}", name, to_string(tensor.shape()), to_string(tensor.type()));
}

/// Present, of an open device, and of the recorder's device.
void require_tensor(const Recorder& recorder, const char* name, const Tensor& tensor);
void require_floating(const char* name, const Tensor& tensor);
/// Floating or complex: what dense, block-diagonal and Monarch multiplies compute with.
void require_number(const char* name, const Tensor& tensor);
void require_type(const char* name, const Tensor& tensor, DataType type);
void require_rank(const char* name, const Tensor& tensor, std::size_t rank);
void require_shape(const char* name, const Tensor& tensor, const Shape& shape);
/// Whether the two may share an element: same buffer and overlapping byte ranges.
bool may_overlap(const Tensor& a, const Tensor& b);
/// Throws unless `out` and `in` cannot share an element.
void require_disjoint(const char* out_name, const Tensor& out, const char* in_name, const Tensor& in);
/// Throws when two different indices of `out` name the same element (a stride of 0, overlapping windows).
void require_no_self_overlap(const char* name, const Tensor& tensor);

/// Elements of `type` that one operand of one dispatch may span: 32-bit offsets in the shader, and the
/// device's storage range where operands are bound as descriptors.
std::uint64_t operand_limit(const Capabilities& capabilities, Access access, DataType type);

/// Whether the two shapes agree and an index means the same offset in both: strides of dimensions of one
/// element are never followed and may differ.
bool same_layout(const Tensor& a, const Tensor& b);

/// Whether the batch of `x` (…, tokens, features), of rank 2 or 3, continues its tokens, so that it is one
/// longer list of tokens.
bool continues(const Tensor& x);

/// (batch, tokens, features) as (batch · tokens, features), by a copy where strides do not allow a view.
Tensor as_rows(Recorder& recorder, const Tensor& tensor);

/// The operand that covers exactly the elements of `tensor`.
Operand operand(const Tensor& tensor, Touch touch);

/// a / b rounded up.
constexpr std::uint64_t divide_up(std::uint64_t a, std::uint64_t b) {
    return (a + b - 1) / b;
}

}  // namespace danaus::detail
