// Elementwise kernels over a box of three dimensions: what order the dimensions take, and pieces that one
// dispatch reaches.
#pragma once

#include "check.hpp"

#include <algorithm>
#include <array>
#include <vector>

namespace danaus::detail {

/// Tensors of one shape of rank 1 to 3 as rank 3: dimensions sorted by the strides of the first tensor, the
/// smallest last, and merged where all tensors allow it.
template <std::size_t Count>
std::array<Tensor, Count> sorted_box(const std::array<Tensor, Count>& tensors) {
    struct Dimension {
        std::uint64_t size;
        std::array<std::uint64_t, Count> strides;
    };
    std::vector<Dimension> dims;
    for (std::size_t i = 0; i < tensors[0].rank(); ++i) {
        if (tensors[0].size(i) == 1) continue;
        dims.push_back({tensors[0].size(i), {}});
        for (std::size_t t = 0; t < Count; ++t) dims.back().strides[t] = tensors[t].strides()[i];
    }
    std::sort(dims.begin(), dims.end(),
              [](const Dimension& a, const Dimension& b) { return a.strides[0] > b.strides[0]; });
    for (std::size_t i = dims.size(); i-- > 1;) {
        Dimension& outer = dims[i - 1];
        const Dimension inner = dims[i];
        bool continues = outer.size * inner.size <= (1ull << 31);
        for (std::size_t t = 0; t < Count; ++t)
            continues = continues && outer.strides[t] == inner.strides[t] * inner.size;
        if (!continues) continue;
        outer = {outer.size * inner.size, inner.strides};
        dims.erase(dims.begin() + static_cast<std::ptrdiff_t>(i));
    }
    std::array<Tensor, Count> box;
    for (std::size_t t = 0; t < Count; ++t) {
        Shape sizes{1, 1, 1}, strides{0, 0, 1};
        for (std::size_t i = 0; i < dims.size(); ++i) {
            sizes[3 - dims.size() + i] = dims[i].size;
            strides[3 - dims.size() + i] = dims[i].strides[t];
        }
        box[t] = tensors[t].as_strided(sizes, strides);
    }
    return box;
}

/// Calls `record` with pieces of a box none of which spans more than `limit` elements, halved along the
/// dimension that reaches furthest.
template <std::size_t Count, typename Record>
void for_box_pieces(const std::array<Tensor, Count>& box, std::uint64_t limit, const Record& record) {
    const auto span = [](const Tensor& a, const Tensor& b) { return a.span() < b.span(); };
    if (std::max_element(box.begin(), box.end(), span)->span() <= limit) return record(box);
    std::size_t dimension = 0;
    std::uint64_t furthest = 0;
    for (const Tensor& tensor : box)
        for (std::size_t i = 0; i < 3; ++i)
            if (const std::uint64_t reach = (tensor.size(i) - 1) * tensor.strides()[i]; reach > furthest)
                dimension = i, furthest = reach;
    std::array<Tensor, Count> head = box, tail = box;
    for (std::size_t t = 0; t < Count; ++t) {
        const std::uint64_t size = box[t].size(dimension), half = size / 2;
        head[t] = box[t].slice(dimension, 0, half);
        tail[t] = box[t].slice(dimension, half, size);
    }
    for_box_pieces(head, limit, record);
    for_box_pieces(tail, limit, record);
}

/// Sizes or strides as push fields.
inline std::array<std::uint32_t, 3> three_fields(const Shape& shape) {
    const auto narrow = [](std::uint64_t value) { return static_cast<std::uint32_t>(value); };
    return {narrow(shape[0]), narrow(shape[1]), narrow(shape[2])};
}

}  // namespace danaus::detail
