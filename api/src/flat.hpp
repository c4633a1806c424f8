// Kernels that walk contiguous elements: pieces, operands and grids.
#pragma once

#include "check.hpp"
#include "multiply.hpp"

#include <algorithm>

namespace danaus::detail {

/// Calls emit(first, count) for pieces of `elements` that one dispatch of f32 operands can reach. Pieces
/// start at multiples of 4 elements.
template <typename Emit>
void for_pieces(const Recorder& recorder, std::uint64_t elements, const Emit& emit) {
    const Device device = recorder.device();
    const std::uint64_t limit = operand_limit(device.capabilities(), device.access(), DataType::f32);
    const std::uint64_t piece =
        std::max<std::uint64_t>(4, std::min<std::uint64_t>(limit, 1ull << 30) / 4 * 4);
    for (std::uint64_t first = 0; first < elements; first += piece)
        emit(first, std::min(piece, elements - first));
}

/// Elements first … first + count - 1 of a contiguous tensor; no operand of a null tensor.
inline Operand flat_operand(const Tensor& tensor, std::uint64_t first, std::uint64_t count, Touch touch) {
    if (!tensor) return {};
    const std::uint64_t size = size_of(tensor.type());
    return {tensor.buffer(), (tensor.offset() + first) * size, count * size, touch};
}

/// Workgroups for `lanes` invocations' worth of work, a few rounds each when there is much of it.
inline std::uint32_t flat_grid(std::uint64_t lanes, std::uint32_t local_size) {
    return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(divide_up(lanes, local_size), 1, 16384));
}

}  // namespace danaus::detail
