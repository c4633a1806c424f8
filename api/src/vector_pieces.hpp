// What the sources of vector-wise sparse matrices share: patterns, and pieces that one dispatch reaches.
#pragma once

#include "check.hpp"
#include "masks.hpp"
#include "multiply.hpp"

#include <danaus/vector_sparse.hpp>

#include <algorithm>
#include <array>

namespace danaus::detail {

void check_pattern(const VectorPattern& pattern);
/// Columns that a row of `in` columns keeps.
[[nodiscard]] std::uint64_t kept_columns(const VectorPattern& pattern, std::uint64_t in);
/// A type whose kernel moves the bits of `type`: both of 16 bits are one.
[[nodiscard]] inline std::uint32_t moved_as(DataType type) {
    return static_cast<std::uint32_t>(size_of(type) == 2 ? DataType::f16 : type);
}
/// Throws on a null matrix and on one of another device.
void check_vector_sparse(const Recorder& recorder, const char* name, const VectorSparse& a);

// A batch of one, for kernels that always see the batch.
inline Tensor batched(const Tensor& t, bool batch) {
    if (!t || batch) return t;
    if (t.rank() == 2) return t.as_strided({1, t.size(0), t.size(1)}, {0, t.strides()[0], t.strides()[1]});
    return t.as_strided({1, t.size(0), t.size(1), t.size(2)},
                        {0, t.strides()[0], t.strides()[1], t.strides()[2]});
}

// What a kernel moves: dense ones by rows, compressed ones by panels. Null where it does not.
struct Parts {
    Tensor w, mask_in, mask_out, values, indices;
    [[nodiscard]] std::array<Tensor*, 5> all() { return {&w, &mask_in, &mask_out, &values, &indices}; }
    [[nodiscard]] const Tensor& mask() const { return mask_in ? mask_in : mask_out; }
};

inline Parts parts_of(const Tensor& w, const Tensor& mask_in, const Tensor& mask_out, const VectorSparse& a) {
    const bool batch = w.rank() == 3;
    return {batched(w, batch), batched(mask_in, batch), batched(mask_out, batch), batched(a.values(), batch),
            batched(a.indices(), batch)};
}

// Calls `record` for pieces along blocks and panels, each within what one dispatch can reach.
template <typename Record>
void for_pieces(const Recorder& recorder, const char* label, std::uint64_t panel_rows, Parts parts,
                const Record& record) {
    const Capabilities& caps = recorder.device().capabilities();
    const auto halve = [&](std::size_t dimension, std::uint64_t at) {
        Parts head = parts, tail = parts;
        for (std::size_t i = 0; i < 5; ++i) {
            const Tensor& part = *parts.all()[i];
            if (!part) continue;
            const std::uint64_t middle = i < 3 && dimension == 1 ? at * panel_rows : at;
            *head.all()[i] = part.slice(dimension, 0, middle);
            *tail.all()[i] = part.slice(dimension, middle, part.size(dimension));
        }
        for_pieces(recorder, label, panel_rows, head, record);
        for_pieces(recorder, label, panel_rows, tail, record);
    };
    const std::uint64_t blocks = parts.w.size(0), panels = divide_up(parts.w.size(1), panel_rows);
    for (const Tensor* part : parts.all()) {
        if (!*part) continue;
        const std::uint64_t limit = operand_limit(caps, recorder.device().access(), part->type());
        if (part->span() <= limit) continue;
        if (blocks > 1) return halve(0, blocks / 2);
        if (panels > 1) return halve(1, panels / 2);
        throw Error(ErrorKind::unsupported,
                    fmt::format("{}: {} rows at a time span {} elements of {}; one dispatch on {} reaches {}",
                                label, panel_rows, part->span(), to_string(part->type()), caps.name, limit));
    }
    if (blocks > caps.max_workgroup_count[1]) return halve(0, blocks / 2);
    record(parts);
}

inline std::uint32_t narrow32(std::uint64_t value) {
    return static_cast<std::uint32_t>(value);
}

inline std::uint32_t groups_of(const Recorder& recorder, std::uint64_t count) {
    return narrow32(std::min<std::uint64_t>(count, recorder.device().capabilities().max_workgroup_count[0]));
}

}  // namespace danaus::detail
