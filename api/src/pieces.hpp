// Matrices cut along blocks and rows into pieces that one dispatch reaches.
#pragma once

#include "check.hpp"

#include <algorithm>
#include <array>

namespace danaus::detail {

inline std::uint32_t narrow32(std::uint64_t value) {
    return static_cast<std::uint32_t>(value);
}

/// A matrix or a batch of them as a batch, for kernels that always see the batch.
inline Tensor batched(const Tensor& t, bool batch) {
    if (!t || batch) return t;
    if (t.rank() == 2) return t.as_strided({1, t.size(0), t.size(1)}, {0, t.strides()[0], t.strides()[1]});
    return t.as_strided({1, t.size(0), t.size(1), t.size(2)},
                        {0, t.strides()[0], t.strides()[1], t.strides()[2]});
}

/// A batch (blocks, rows, …), or one that has `a_panel` elements of another count in `dimension` for every
/// panel of rows of the others; null where a kernel does not touch it.
struct Part {
    Tensor tensor;
    std::uint64_t a_panel = 0;
    std::size_t dimension = 1;
};

/// Calls `record` with pieces of `parts` along blocks and panels of rows, each within what one dispatch can
/// reach, and of at most `most_blocks` blocks. At least one part is present and has rows.
template <std::size_t Count, typename Record>
void for_row_pieces(const Recorder& recorder, const char* label, std::uint64_t panel_rows,
                    std::uint64_t most_blocks, const std::array<Part, Count>& parts, const Record& record) {
    const Capabilities& caps = recorder.device().capabilities();
    const auto halve = [&](std::size_t dimension, std::uint64_t at) {
        std::array<Part, Count> head = parts, tail = parts;
        for (std::size_t i = 0; i < Count; ++i) {
            const Tensor& part = parts[i].tensor;
            if (!part) continue;
            const std::size_t cut = dimension == 0 ? 0 : parts[i].dimension;
            const std::uint64_t unit = parts[i].a_panel ? parts[i].a_panel : panel_rows;
            const std::uint64_t middle = dimension == 0 ? at : at * unit;
            head[i].tensor = part.slice(cut, 0, middle);
            tail[i].tensor = part.slice(cut, middle, part.size(cut));
        }
        for_row_pieces(recorder, label, panel_rows, most_blocks, head, record);
        for_row_pieces(recorder, label, panel_rows, most_blocks, tail, record);
    };
    const Tensor& rows = std::find_if(parts.begin(), parts.end(), [](const Part& part) {
                             return part.tensor && part.a_panel == 0;
                         })->tensor;
    const std::uint64_t blocks = rows.size(0), panels = divide_up(rows.size(1), panel_rows);
    for (const Part& part : parts) {
        if (!part.tensor) continue;
        const std::uint64_t limit = operand_limit(caps, recorder.device().access(), part.tensor.type());
        if (part.tensor.span() <= limit) continue;
        if (blocks > 1) return halve(0, blocks / 2);
        if (panels > 1) return halve(1, panels / 2);
        throw Error(
            ErrorKind::unsupported,
            fmt::format("{}: {} row(s) at a time span {} elements of {}; one dispatch on {} reaches {}",
                        label, panel_rows, part.tensor.span(), to_string(part.tensor.type()), caps.name,
                        limit));
    }
    if (blocks > most_blocks) return halve(0, blocks / 2);
    std::array<Tensor, Count> tensors;
    std::transform(parts.begin(), parts.end(), tensors.begin(), [](const Part& part) { return part.tensor; });
    record(tensors);
}

}  // namespace danaus::detail
