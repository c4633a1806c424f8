// What masks and compressed forms of every pattern share: their checks, and how their kernels are laid out.
#pragma once

#include "pieces.hpp"

#include <danaus/masks.hpp>

#include <algorithm>
#include <array>

namespace danaus::detail {

inline void check_matrix(const Recorder& recorder, const char* name, const Tensor& t) {
    require_tensor(recorder, name, t);
    require_floating(name, t);
    require(t.rank() == 2 || t.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(t.shape()));
}

inline void check_mask(const Recorder& recorder, const char* name, const Tensor& mask, const Tensor& w,
                       const char* w_name = "w") {
    require_tensor(recorder, name, mask);
    require_type(name, mask, DataType::u32);
    const Shape shape = mask_shape(w.shape());
    require(mask.shape() == shape, "{}: shape {}, {} is needed for {} {}", name, to_string(mask.shape()),
            to_string(shape), w_name, to_string(w.shape()));
}

/// Invocations of a workgroup: 64 where the device allows it, at least 8.
inline std::uint32_t local_size(const Recorder& recorder) {
    const Capabilities& caps = recorder.device().capabilities();
    std::uint32_t size = 64;
    while (size > 8 && size > std::min(caps.max_workgroup_invocations, caps.max_workgroup_size[0])) size /= 2;
    return size;
}

/// A stride along one element is never followed and may be anything.
inline std::uint32_t stride(const Tensor& t, std::size_t dimension) {
    return t && t.size(dimension) > 1 ? static_cast<std::uint32_t>(t.strides()[dimension]) : 0;
}

/// Whether a kernel may load or store two columns of a batch at once: neighbours that start at a multiple of
/// two elements.
inline bool in_pairs(const Tensor& t) {
    bool pairs = t.strides()[2] == 1 && t.offset() % 2 == 0 && t.buffer().starts_aligned();
    for (std::size_t i = 0; i < 2; ++i) pairs = pairs && (t.size(i) == 1 || t.strides()[i] % 2 == 0);
    return pairs;
}

inline bool loads_in_pairs(const Tensor& t) {
    // The partner of a last odd f32 column would be a word behind the operand.
    return in_pairs(t) && (size_of(t.type()) == 2 || t.size(2) % 2 == 0);
}

/// A grid for `count` items of each row, `lanes` at a time.
inline std::array<std::uint32_t, 3> grid_for(const Recorder& recorder, std::uint64_t count,
                                             std::uint64_t lanes, std::uint64_t rows, std::uint64_t blocks) {
    const auto& most = recorder.device().capabilities().max_workgroup_count;
    return {static_cast<std::uint32_t>(std::min<std::uint64_t>(divide_up(count, lanes), most[0])),
            static_cast<std::uint32_t>(std::min<std::uint64_t>(rows, most[1])),
            static_cast<std::uint32_t>(blocks)};
}

/// Groups of four columns a lane. Lanes of a GPU load together what lies together; a CPU loads lane by lane,
/// and decodes a word of bits once where one lane has all of its groups.
inline std::uint32_t groups_per_lane(const Recorder& recorder) {
    return recorder.device().capabilities().type == DeviceType::cpu ? 8 : 1;
}

/// Pieces of batches with the same blocks and rows, each within what one dispatch can reach. Rows that
/// continue each other in all parts, in units that 32 columns fill, are joined to one; `cols` are those of
/// the dense one.
template <std::size_t Count, typename Record>
void for_joined_rows(const Recorder& recorder, const char* label, std::uint64_t cols,
                     const std::array<Tensor, Count>& tensors, const Record& record) {
    std::array<Part, Count> parts;
    for (std::size_t i = 0; i < Count; ++i)
        parts[i].tensor = batched(tensors[i], tensors[i] && tensors[i].rank() == 3);
    const auto continues = [&](const Tensor& t) {
        // Spans are within reach of 32-bit offsets; a broadcast's tells nothing of its count.
        return !t || (cols % 32 == 0 && t.size(1) > 1 && t.strides()[2] > 0 &&
                      t.strides()[1] == t.size(2) * t.strides()[2]);
    };
    for_row_pieces(recorder, label, 1, recorder.device().capabilities().max_workgroup_count[2], parts,
                   [&](std::array<Tensor, Count> piece) {
                       if (std::all_of(piece.begin(), piece.end(), continues))
                           for (Tensor& t : piece)
                               if (t) t = t.as_strided({t.size(0), 1, t.size(1) * t.size(2)}, t.strides());
                       record(piece);
                   });
}

void check_pattern(const MaskPattern& pattern);
/// verify_transposable_mask, or with less than `exact` tiles that keep at most two of each row and column.
void verify_tiles(Stream& stream, const Tensor& mask, std::uint64_t in_features, bool exact);
/// verify_finite of a tensor that is called so.
void require_finite(Stream& stream, const char* name, const Tensor& tensor);

/// The row-wise 2:4 mask of w, by the kernel that compresses; arguments were checked.
void record_select24(Recorder& recorder, const Tensor& out, const Tensor& w);

}  // namespace danaus::detail
