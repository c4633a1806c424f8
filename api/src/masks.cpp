// Masks: selecting, applying and comparing them. Row-wise 2:4 and vector-wise kernels are in other files.
#include "masks.hpp"

#include "vector_pieces.hpp"

#include <danaus/kernels.hpp>

namespace danaus {

using namespace detail;

namespace {

void check_selection(const Recorder& recorder, const Tensor& out, const Tensor& w) {
    check_matrix(recorder, "w", w);
    check_mask(recorder, "out", out, w);
    require_no_self_overlap("out", out);
    require_disjoint("out", out, "w", w);
}

void check_words(const Recorder& recorder, const char* name, const Tensor& mask) {
    require_tensor(recorder, name, mask);
    require_type(name, mask, DataType::u32);
    require(mask.rank() == 2 || mask.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(mask.shape()));
}

Tensor new_mask(Recorder& recorder, const Tensor& w) {
    check_matrix(recorder, "w", w);
    return empty(recorder, DataType::u32, mask_shape(w.shape()));
}

}  // namespace

Shape mask_shape(const Shape& shape) {
    require(shape.rank() > 0, "shape: {}, rank 1 or more is needed", to_string(shape));
    Shape mask = shape;
    mask[shape.rank() - 1] = divide_up(shape[shape.rank() - 1], 32);
    return mask;
}

void detail::check_pattern(const MaskPattern& pattern) {
    require(pattern.of >= 1 && pattern.of <= 32, "pattern.of: {}, 1 to 32 is needed", pattern.of);
    require(pattern.keep >= 1 && pattern.keep <= pattern.of, "pattern.keep: {}, 1 to {} is needed",
            pattern.keep, pattern.of);
}

void select_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w, const MaskPattern& pattern) {
    check_pattern(pattern);
    check_selection(recorder, out, w);
    if (pattern == MaskPattern{})
        record_select24(recorder, out, w);
    else
        record_select_vectors(recorder, out, w, {pattern.keep, pattern.of, 1}, "select_mask");
}

Tensor select_mask(Recorder& recorder, const Tensor& w, const MaskPattern& pattern) {
    check_pattern(pattern);
    const Tensor out = new_mask(recorder, w);
    select_mask_into(recorder, out, w, pattern);
    return out;
}

void select_transposable_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w,
                                   TransposableSearch search) {
    require(search <= TransposableSearch::two_approximation,
            "search: {}, exact, greedy or two_approximation is needed", static_cast<std::uint32_t>(search));
    check_selection(recorder, out, w);
    if (w.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, w_block, w_row, w_column, mask_block, mask_row, mask_word;
    };
    const bool batch = w.rank() == 3;
    const std::array<Part, 2> parts{{{batched(w, batch)}, {batched(out, batch)}}};
    const std::uint32_t most_blocks = recorder.device().capabilities().max_workgroup_count[2];
    const char* label = "select_transposable_mask";
    for_row_pieces(recorder, label, 4, most_blocks, parts, [&](const std::array<Tensor, 2>& piece) {
        const std::uint64_t blocks = piece[0].size(0), rows = piece[0].size(1), cols = piece[0].size(2);
        kernels::TransposableMask kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(w.type());
        kernel.in_pairs = loads_in_pairs(piece[0]);
        kernel.method = static_cast<std::uint32_t>(search);
        kernel.word_lanes = 8 / groups_per_lane(recorder);
        kernel.whole = cols % 32 == 0 && rows % 4 == 0;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = grid_for(recorder, divide_up(cols, 32), kernel.local_size / kernel.word_lanes,
                               divide_up(rows, 4), blocks);
        packet.operands[0] = operand(piece[0], Touch::read);
        packet.operands[1] = operand(piece[1], Touch::write);
        packet.set_fields(Fields{narrow32(rows), narrow32(cols), stride(piece[0], 0), stride(piece[0], 1),
                                 stride(piece[0], 2), stride(piece[1], 0), stride(piece[1], 1),
                                 stride(piece[1], 2)});
        packet.work = 8 * blocks * rows * cols;
        packet.label = label;
        recorder.record(packet);
    });
}

Tensor select_transposable_mask(Recorder& recorder, const Tensor& w, TransposableSearch search) {
    const Tensor out = new_mask(recorder, w);
    select_transposable_mask_into(recorder, out, w, search);
    return out;
}

void apply_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    check_mask(recorder, "mask", mask, w);
    require_tensor(recorder, "out", out);
    require_shape("out", out, w.shape());
    require_type("out", out, w.type());
    require_no_self_overlap("out", out);
    require_disjoint("out", out, "mask", mask);
    const bool in_place =
        out.buffer() == w.buffer() && out.offset() == w.offset() && out.strides() == w.strides();
    if (!in_place) require_disjoint("out", out, "w", w);
    if (w.elements() == 0) return;

    struct Fields {
        std::uint32_t rows, cols;
        std::array<std::uint32_t, 3> w, mask, out;
    };
    for_joined_rows(
        recorder, "apply_mask", w.size(w.rank() - 1), std::array{w, mask, out},
        [&](const std::array<Tensor, 3>& piece) {
            const std::uint64_t blocks = piece[0].size(0), rows = piece[0].size(1), cols = piece[0].size(2);
            kernels::Sparse24ApplyMask kernel;
            kernel.local_size = local_size(recorder);
            kernel.type = static_cast<std::uint32_t>(w.type());
            kernel.in_pairs = loads_in_pairs(piece[0]);
            kernel.out_pairs = in_pairs(piece[2]);
            kernel.groups = groups_per_lane(recorder);
            kernel.whole = cols % 32 == 0;
            Fields fields{static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(cols), {}, {}, {}};
            for (std::size_t i = 0; i < 3; ++i) {
                fields.w[i] = stride(piece[0], i);
                fields.mask[i] = stride(piece[1], i);
                fields.out[i] = stride(piece[2], i);
            }
            Packet packet;
            packet.kernel = kernel.kernel();
            packet.grid =
                grid_for(recorder, divide_up(cols, 4), kernel.local_size * kernel.groups, rows, blocks);
            packet.operands[0] = operand(piece[0], Touch::read);
            packet.operands[1] = operand(piece[1], Touch::read);
            packet.operands[2] = operand(piece[2], Touch::read_write);
            packet.set_fields(fields);
            packet.work = blocks * rows * cols;
            packet.label = "apply_mask";
            recorder.record(packet);
        });
}

Tensor apply_mask(Recorder& recorder, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    const Tensor out = empty(recorder, w.type(), w.shape());
    apply_mask_into(recorder, out, w, mask);
    return out;
}

void count_flips_into(Recorder& recorder, const Tensor& out, const Tensor& a, const Tensor& b) {
    check_words(recorder, "a", a);
    check_words(recorder, "b", b);
    require_shape("b", b, a.shape());
    require_tensor(recorder, "out", out);
    require_type("out", out, DataType::u32);
    require_shape("out", out, {1});
    require_disjoint("out", out, "a", a);
    require_disjoint("out", out, "b", b);
    struct Fields {
        std::uint32_t rows, words, a_block, a_row, a_word, b_block, b_row, b_word;
    };
    // Words count as the columns of 32 dense ones would: rows of any number of them can be joined.
    std::vector<std::array<Tensor, 2>> pieces;
    if (a.elements() > 0)
        for_joined_rows(recorder, "count_flips", 32, std::array{a, b},
                        [&](const std::array<Tensor, 2>& piece) { pieces.push_back(piece); });
    fill_into(recorder, out, 0.0);
    for (const auto& [one, other] : pieces) {
        const std::uint64_t blocks = one.size(0), rows = one.size(1), words = one.size(2);
        kernels::CountFlips kernel;
        kernel.local_size = local_size(recorder);
        Packet packet;
        packet.kernel = kernel.kernel();
        // Few enough workgroups for one addition each to be cheap.
        packet.grid = grid_for(recorder, words, 16 * kernel.local_size, rows, blocks);
        packet.operands[0] = operand(one, Touch::read);
        packet.operands[1] = operand(other, Touch::read);
        packet.operands[2] = operand(out, Touch::read_write);
        packet.set_fields(Fields{narrow32(rows), narrow32(words), stride(one, 0), stride(one, 1),
                                 stride(one, 2), stride(other, 0), stride(other, 1), stride(other, 2)});
        packet.work = blocks * rows * words;
        packet.label = "count_flips";
        recorder.record(packet);
    }
}

Tensor count_flips(Recorder& recorder, const Tensor& a, const Tensor& b) {
    check_words(recorder, "a", a);
    const Tensor out = empty(recorder, DataType::u32, {1});
    count_flips_into(recorder, out, a, b);
    return out;
}

}  // namespace danaus
