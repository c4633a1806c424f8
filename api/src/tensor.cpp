#include "check.hpp"

#include <danaus/runtime/kernel_support.hpp>
#include <danaus/tensor.hpp>

#include <algorithm>

namespace danaus {

using detail::invalid;
using detail::require;

const char* to_string(DataType type) noexcept {
    switch (type) {
        case DataType::f32:
            return "f32";
        case DataType::f16:
            return "f16";
        case DataType::bf16:
            return "bf16";
        case DataType::complex64:
            return "complex64";
        case DataType::i32:
            return "i32";
        case DataType::u32:
            break;
    }
    return "u32";
}

Shape::Shape(std::initializer_list<std::uint64_t> sizes) : Shape(std::span(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const std::uint64_t> sizes) : rank_(sizes.size()) {
    require(rank_ <= max_rank, "shape: rank {}, at most {} dimensions are supported", rank_, max_rank);
    std::copy(sizes.begin(), sizes.end(), sizes_.begin());
}

std::uint64_t Shape::elements() const {
    std::uint64_t count = 1;
    for (const std::uint64_t size : *this)
        if (size == 0) return 0;
    for (const std::uint64_t size : *this) {
        require(count <= (1ull << 63) / size, "shape: {} has more than 2^63 elements", to_string(*this));
        count *= size;
    }
    return count;
}

Shape Shape::contiguous_strides() const {
    Shape strides = *this;
    std::uint64_t stride = 1;
    for (std::size_t i = rank_; i-- > 0;) {
        strides[i] = stride;
        stride *= std::max<std::uint64_t>(1, sizes_[i]);
    }
    return strides;
}

bool Shape::operator==(const Shape& other) const noexcept {
    return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
}

std::string to_string(const Shape& shape) {
    std::string text = "(";
    for (std::size_t i = 0; i < shape.rank(); ++i) text += fmt::format("{}{}", i ? ", " : "", shape[i]);
    return text + ")";
}

Tensor::Tensor(const Device& device, DataType type, const Shape& shape)
    : type_(type), shape_(shape), strides_(shape.contiguous_strides()) {
    const std::uint64_t count = shape.elements();
    require(count <= (1ull << 60), "shape: {} has more than 2^60 elements", to_string(shape));
    buffer_ = device.allocate(count * size_of(type));
}

Tensor::Tensor(const Buffer& buffer, DataType type, const Shape& shape, const Shape& strides,
               std::uint64_t offset)
    : buffer_(buffer), type_(type), shape_(shape), strides_(strides), offset_(offset) {
    check_inside();
}

Tensor::Tensor(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t offset)
    : Tensor(buffer, type, shape, shape.contiguous_strides(), offset) {}

void Tensor::check_inside() const {
    require(static_cast<bool>(buffer_), "tensor: a null buffer");
    require(strides_.rank() == shape_.rank(), "tensor: shape {} and strides {} differ in rank",
            to_string(shape_), to_string(strides_));
    const std::uint64_t available = buffer_.size() / size_of(type_);
    // Guarded against overflow: no term may exceed what is left.
    bool inside = offset_ <= available;
    if (shape_.elements() > 0) {
        std::uint64_t left = inside ? available - offset_ : 0;
        inside = left > 0;
        left = inside ? left - 1 : 0;
        for (std::size_t i = 0; i < shape_.rank() && inside; ++i) {
            const std::uint64_t steps = shape_[i] - 1;
            inside = steps == 0 || strides_[i] <= left / steps;
            if (inside) left -= steps * strides_[i];
        }
    }
    require(inside,
            "tensor: shape {} with strides {} from element {} reaches outside its buffer of {} {} elements",
            to_string(shape_), to_string(strides_), offset_, available, to_string(type_));
}

bool Tensor::is_contiguous() const noexcept {
    std::uint64_t stride = 1;
    for (std::size_t i = rank(); i-- > 0;) {
        if (shape_[i] == 0) return true;
        if (shape_[i] != 1 && strides_[i] != stride) return false;
        stride *= shape_[i];
    }
    return true;
}

std::uint64_t Tensor::span() const noexcept {
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < rank(); ++i) {
        if (shape_[i] == 0) return 0;
        last += (shape_[i] - 1) * strides_[i];
    }
    return last + 1;
}

Tensor Tensor::reshape(const Shape& shape) const {
    require(shape.elements() == elements(), "reshape: {} has {} elements, {} has {}", to_string(shape_),
            elements(), to_string(shape), shape.elements());
    Tensor view = *this;
    view.shape_ = shape;
    view.strides_ = shape.contiguous_strides();
    if (elements() == 0 || is_contiguous()) return view;
    // Each run of old dimensions that are contiguous among themselves must be a product of new dimensions.
    std::size_t old = 0, next = 0;
    while (old < rank() && next < shape.rank()) {
        std::uint64_t old_count = shape_[old], next_count = shape[next];
        std::size_t old_end = old + 1, next_end = next + 1;
        while (old_count != next_count)
            if (old_count < next_count)
                old_count *= shape_[old_end++];
            else
                next_count *= shape[next_end++];
        // Trailing ones belong to either side.
        std::uint64_t expected = 0;
        bool first = true;
        std::uint64_t inner_stride = 0;
        for (std::size_t i = old_end; i-- > old;) {
            if (shape_[i] == 1) continue;
            if (first) inner_stride = strides_[i];
            require(first || strides_[i] == expected,
                    "reshape: {} with strides {} cannot be viewed as {} without a copy; use contiguous()",
                    to_string(shape_), to_string(strides_), to_string(shape));
            expected = strides_[i] * shape_[i];
            first = false;
        }
        std::uint64_t stride = first ? 1 : inner_stride;
        for (std::size_t i = next_end; i-- > next;) {
            view.strides_[i] = stride;
            stride *= shape[i];
        }
        old = old_end;
        next = next_end;
    }
    return view;
}

Tensor Tensor::transpose(std::size_t a, std::size_t b) const {
    require(a < rank() && b < rank(), "transpose: dimensions {} and {} of a tensor of rank {}", a, b, rank());
    Tensor view = *this;
    std::swap(view.shape_[a], view.shape_[b]);
    std::swap(view.strides_[a], view.strides_[b]);
    return view;
}

Tensor Tensor::transpose() const {
    require(rank() >= 2, "transpose: a tensor of rank {}, at least 2 is needed", rank());
    return transpose(rank() - 2, rank() - 1);
}

Tensor Tensor::slice(std::size_t dimension, std::uint64_t begin, std::uint64_t end) const {
    require(dimension < rank(), "slice: dimension {} of a tensor of rank {}", dimension, rank());
    require(begin <= end && end <= shape_[dimension], "slice: indices {} to {} of dimension {} with size {}",
            begin, end, dimension, shape_[dimension]);
    Tensor view = *this;
    view.shape_[dimension] = end - begin;
    if (view.elements() > 0) view.offset_ += begin * strides_[dimension];
    return view;
}

Tensor Tensor::select(std::size_t dimension, std::uint64_t index) const {
    require(dimension < rank(), "select: dimension {} of a tensor of rank {}", dimension, rank());
    require(index < shape_[dimension], "select: index {} of dimension {} with size {}", index, dimension,
            shape_[dimension]);
    const Tensor one = slice(dimension, index, index + 1);
    std::array<std::uint64_t, Shape::max_rank> sizes{}, strides{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < rank(); ++i) {
        if (i == dimension) continue;
        sizes[count] = one.shape_[i];
        strides[count++] = one.strides_[i];
    }
    Tensor view = one;
    view.shape_ = Shape(std::span<const std::uint64_t>(sizes.data(), count));
    view.strides_ = Shape(std::span<const std::uint64_t>(strides.data(), count));
    return view;
}

Tensor Tensor::as_strided(const Shape& shape, const Shape& strides, std::uint64_t offset) const {
    require(offset <= UINT64_MAX - offset_, "as_strided: offset {} behind offset {} leaves 64 bits", offset,
            offset_);
    return Tensor(buffer_, type_, shape, strides, offset_ + offset);
}

namespace {

Tensor part(const Tensor& tensor, std::uint64_t index) {
    require(static_cast<bool>(tensor), "tensor: a null tensor");
    require(is_complex(tensor.type()), "tensor: type {}, complex64 is needed", to_string(tensor.type()));
    Shape strides = tensor.strides();
    for (std::size_t i = 0; i < strides.rank(); ++i) strides[i] *= 2;
    // Nothing is at the place of an empty tensor, which may be the buffer's end.
    if (tensor.elements() == 0) index = 0;
    return Tensor(tensor.buffer(), DataType::f32, tensor.shape(), strides, 2 * tensor.offset() + index);
}

}  // namespace

Tensor real(const Tensor& tensor) {
    return part(tensor, 0);
}

Tensor imag(const Tensor& tensor) {
    return part(tensor, 1);
}

namespace detail {

void require_tensor(const Recorder& recorder, const char* name, const Tensor& tensor) {
    require(static_cast<bool>(tensor), "{}: a null tensor", name);
    require(tensor.device() == recorder.device(), "{}: lives on another device than the recorder", name);
}

void require_floating(const char* name, const Tensor& tensor) {
    require(is_floating(tensor.type()), "{}: type {}, one of f32, f16, bf16 is needed", name,
            to_string(tensor.type()));
}

void require_number(const char* name, const Tensor& tensor) {
    require(is_floating(tensor.type()) || is_complex(tensor.type()),
            "{}: type {}, one of f32, f16, bf16, complex64 is needed", name, to_string(tensor.type()));
}

void require_type(const char* name, const Tensor& tensor, DataType type) {
    require(tensor.type() == type, "{}: type {}, {} is needed; use convert()", name, to_string(tensor.type()),
            to_string(type));
}

void require_rank(const char* name, const Tensor& tensor, std::size_t rank) {
    require(tensor.rank() == rank, "{}: shape {}, rank {} is needed", name, to_string(tensor.shape()), rank);
}

void require_shape(const char* name, const Tensor& tensor, const Shape& shape) {
    require(tensor.shape() == shape, "{}: shape {}, {} is needed", name, to_string(tensor.shape()),
            to_string(shape));
}

namespace {

struct Dimension {
    std::uint64_t stride = 0, size = 1;
    auto operator<=>(const Dimension&) const = default;
};
using Dimensions = std::array<Dimension, Shape::max_rank>;

/// The dimensions of more than one element, by ascending stride; the rest are {0, 1} in front.
Dimensions sorted_dimensions(const Tensor& tensor) {
    Dimensions dims{};
    for (std::size_t i = 0; i < tensor.rank(); ++i)
        if (tensor.size(i) > 1) dims[i] = {tensor.strides()[i], tensor.size(i)};
    std::sort(dims.begin(), dims.end());
    return dims;
}

/// Whether every dimension steps over all smaller ones: then no two indices name one element.
bool is_nested(const Dimensions& dims) {
    std::uint64_t reach = 0;
    for (const Dimension& dim : dims) {
        if (dim.size == 1) continue;
        if (dim.stride <= reach) return false;
        reach += dim.stride * (dim.size - 1);
    }
    return true;
}

/// A stride that two views share, and how far either walks along it.
struct Step {
    std::uint64_t stride = 0, a = 1, b = 1;
};

/// The strides of both views, ascending; a view that lacks one stands still along it.
std::vector<Step> common_steps(const Tensor& a, const Tensor& b) {
    std::vector<Step> steps;
    for (const Dimension& dim : sorted_dimensions(a))
        if (dim.size > 1) steps.push_back({dim.stride, dim.size, 1});
    for (const Dimension& dim : sorted_dimensions(b)) {
        if (dim.size == 1) continue;
        const auto same = std::find_if(steps.begin(), steps.end(), [&](const Step& step) {
            return step.stride == dim.stride && step.b == 1;
        });
        if (same != steps.end())
            same->b = dim.size;
        else
            steps.push_back({dim.stride, 1, dim.size});
    }
    std::sort(steps.begin(), steps.end(), [](const Step& x, const Step& y) { return x.stride < y.stride; });
    return steps;
}

/// Whether no sum of the other steps reaches a step's stride.
bool is_nested(const std::vector<Step>& steps) {
    std::uint64_t reach = 0;
    for (const Step& step : steps) {
        if (step.stride <= reach) return false;
        reach += step.stride * (std::max(step.a, step.b) - 1);
    }
    return true;
}

/// Whether a + Σ iₛ·strideₛ = b + Σ jₛ·strideₛ, a - b = distance, for nested steps [0, count) and indices
/// inside both views.
bool reaches(const std::vector<Step>& steps, std::size_t count, std::int64_t distance) {
    if (count == 0) return distance == 0;
    const Step& step = steps[count - 1];
    const auto stride = static_cast<std::int64_t>(step.stride), low = 1 - static_cast<std::int64_t>(step.a),
               high = static_cast<std::int64_t>(step.b) - 1;
    // What the smaller steps can make up is less than a stride.
    const std::int64_t below = distance >= 0 ? distance / stride : -((-distance + stride - 1) / stride);
    for (const std::int64_t taken : {below, below + 1})
        if (taken >= low && taken <= high && reaches(steps, count - 1, distance - taken * stride))
            return true;
    return false;
}

}  // namespace

bool may_overlap(const Tensor& a, const Tensor& b) {
    if (!a || !b || a.elements() == 0 || b.elements() == 0) return false;
    const MemoryRange a_memory = a.buffer().range(), b_memory = b.buffer().range();
    if (a_memory.memory != b_memory.memory) return false;
    const bool one_buffer = a.buffer() == b.buffer();
    // Aliased imports tell nothing about where they lie to each other.
    if (!one_buffer && a_memory.end == UINT64_MAX) return true;
    const std::uint64_t a_begin = (one_buffer ? 0 : a_memory.begin) + a.offset() * size_of(a.type()),
                        b_begin = (one_buffer ? 0 : b_memory.begin) + b.offset() * size_of(b.type());
    if (a_begin >= b_begin + b.span() * size_of(b.type()) ||
        b_begin >= a_begin + a.span() * size_of(a.type()))
        return false;
    // Windows of one matrix interleave in memory and are told apart exactly.
    const std::uint64_t size = size_of(a.type());
    if (size != size_of(b.type()) || (a_begin - b_begin) % size != 0) return true;
    const std::vector<Step> steps = common_steps(a, b);
    return !is_nested(steps) ||
           reaches(steps, steps.size(),
                   (static_cast<std::int64_t>(a_begin) - static_cast<std::int64_t>(b_begin)) /
                       static_cast<std::int64_t>(size));
}

void require_disjoint(const char* out_name, const Tensor& out, const char* in_name, const Tensor& in) {
    require(!may_overlap(out, in), "{}: overlaps {} in memory", out_name, in_name);
}

void require_no_self_overlap(const char* name, const Tensor& tensor) {
    require(tensor.elements() == 0 || is_nested(sorted_dimensions(tensor)),
            "{}: shape {} with strides {} writes an element more than once", name, to_string(tensor.shape()),
            to_string(tensor.strides()));
}

std::uint64_t operand_limit(const Capabilities& caps, Access access, DataType type) {
    const std::uint64_t max_offset = (1ull << 31) / std::max<std::uint64_t>(1, size_of(type) / 4);
    if (access == Access::address) return max_offset;
    // The binding starts at an aligned offset in front of the operand.
    std::uint64_t bytes =
        caps.max_storage_range - std::min(caps.max_storage_range, caps.storage_offset_alignment);
    bytes /= joined_operands(caps, access);
    return std::min(max_offset, bytes / size_of(type));
}

bool same_layout(const Tensor& a, const Tensor& b) {
    if (!(a.shape() == b.shape())) return false;
    for (std::size_t i = 0; i < a.rank(); ++i)
        if (a.size(i) > 1 && a.strides()[i] != b.strides()[i]) return false;
    return true;
}

bool continues(const Tensor& x) {
    return x.rank() == 2 || x.size(0) <= 1 || x.strides()[0] == x.size(1) * x.strides()[1];
}

Tensor as_rows(Recorder& recorder, const Tensor& tensor) {
    if (tensor.rank() == 2) return tensor;
    const Shape shape{tensor.size(0) * tensor.size(1), tensor.size(2)};
    const Shape& strides = tensor.strides();
    if (tensor.size(0) == 1 || tensor.size(1) == 1 || strides[0] == strides[1] * tensor.size(1))
        return tensor.as_strided(shape, {tensor.size(1) == 1 ? strides[0] : strides[1], strides[2]});
    return contiguous(recorder, tensor).reshape(shape);
}

Operand operand(const Tensor& tensor, Touch touch) {
    return {tensor.buffer(), tensor.offset() * size_of(tensor.type()), tensor.span() * size_of(tensor.type()),
            touch};
}

}  // namespace detail
}  // namespace danaus
