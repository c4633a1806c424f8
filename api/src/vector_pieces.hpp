// What the sources of vector-wise sparse matrices share: patterns, and pieces that one dispatch reaches.
#pragma once

#include "check.hpp"
#include "masks.hpp"
#include "multiply.hpp"
#include "pieces.hpp"

#include <danaus/vector_sparse.hpp>

namespace danaus::detail {

void check_pattern(const VectorPattern& pattern);
/// Columns that a row of `in` columns keeps.
[[nodiscard]] std::uint64_t kept_columns(const VectorPattern& pattern, std::uint64_t in);
/// A type whose kernel moves the bits of `type`: both of 16 bits are one.
[[nodiscard]] inline std::uint32_t moved_as(DataType type) {
    return static_cast<std::uint32_t>(size_of(type) == 2 ? DataType::f16 : type);
}
/// The vector-wise mask of w; panels may be of one row. Arguments were checked.
void record_select_vectors(Recorder& recorder, const Tensor& out, const Tensor& w,
                           const VectorPattern& pattern, const char* label);
/// Throws on a null matrix and on one of another device.
void check_vector_sparse(const Recorder& recorder, const char* name, const VectorSparse& a);

// What a kernel moves: dense ones by rows, compressed ones by panels. Null where it does not.
struct Parts {
    Tensor w, mask_in, mask_out, values, indices;
    [[nodiscard]] const Tensor& mask() const { return mask_in ? mask_in : mask_out; }
};

inline Parts parts_of(const Tensor& w, const Tensor& mask_in, const Tensor& mask_out, const VectorSparse& a) {
    const bool batch = w.rank() == 3;
    return {batched(w, batch), batched(mask_in, batch), batched(mask_out, batch), batched(a.values(), batch),
            batched(a.indices(), batch)};
}

// Calls `record` for pieces along blocks and panels, each within what one dispatch can reach.
template <typename Record>
void for_pieces(const Recorder& recorder, const char* label, std::uint64_t panel_rows, const Parts& parts,
                const Record& record) {
    for_row_pieces(recorder, label, panel_rows, recorder.device().capabilities().max_workgroup_count[1],
                   std::array<Part, 5>{
                       {{parts.w}, {parts.mask_in}, {parts.mask_out}, {parts.values, 1}, {parts.indices, 1}}},
                   [&](const std::array<Tensor, 5>& t) {
                       record(Parts{t[0], t[1], t[2], t[3], t[4]});
                   });
}

inline std::uint32_t groups_of(const Recorder& recorder, std::uint64_t count) {
    return narrow32(std::min<std::uint64_t>(count, recorder.device().capabilities().max_workgroup_count[0]));
}

}  // namespace danaus::detail
