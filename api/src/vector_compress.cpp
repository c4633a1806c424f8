// Vector-wise N:M masks and compression.
#include "vector_pieces.hpp"

#include <numeric>

namespace danaus {

using namespace detail;

namespace {

void record_compress(Recorder& recorder, const Tensor& w, const Tensor& mask_in, const Tensor& mask_out,
                     const VectorSparse& out, const VectorPattern& pattern, const char* label) {
    if (w.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, panels, kept, keep, group, panel_rows, chunk;
        std::uint32_t w_block, w_row, w_column, mask_block, mask_row, mask_word;
    };
    // Whole groups and whole words of the mask, and enough columns for a workgroup's lanes.
    const std::uint32_t least = std::lcm(pattern.of, 32u), chunk = least * std::max(1u, 128 / least);
    for_pieces(recorder, label, pattern.rows, parts_of(w, mask_in, mask_out, out), [&](const Parts& piece) {
        const std::uint64_t blocks = piece.w.size(0), rows = piece.w.size(1), cols = piece.w.size(2),
                            panels = divide_up(rows, pattern.rows);
        kernels::VectorCompress kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = mask_in ? moved_as(w.type()) : static_cast<std::uint32_t>(w.type());
        kernel.by_magnitude = !mask_in;
        kernel.write_mask = static_cast<bool>(mask_out);
        kernel.write_compressed = static_cast<bool>(out);
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = {groups_of(recorder, panels * divide_up(cols, chunk)), narrow32(blocks), 1};
        const std::array<Tensor, 5> operands{piece.w, piece.mask_in, piece.mask_out, piece.values,
                                             piece.indices};
        for (std::size_t i = 0; i < operands.size(); ++i)
            if (operands[i]) packet.operands[i] = operand(operands[i], i < 2 ? Touch::read : Touch::write);
        packet.set_fields(Fields{
            narrow32(rows), narrow32(cols), narrow32(panels), narrow32(kept_columns(pattern, cols)),
            pattern.keep, pattern.of, pattern.rows, chunk, stride(piece.w, 0), stride(piece.w, 1),
            stride(piece.w, 2), stride(piece.mask(), 0), stride(piece.mask(), 1), stride(piece.mask(), 2)});
        packet.work = blocks * rows * cols;
        packet.label = label;
        recorder.record(packet);
    });
}

// Neither of `out`'s tensors shares an element with `other`.
void require_apart(const VectorSparse& out, const char* name, const Tensor& other) {
    require_disjoint("out", out.values(), name, other);
    require_disjoint("out", out.indices(), name, other);
}

void check_compress(const Recorder& recorder, const VectorSparse& out, const Tensor& w) {
    check_matrix(recorder, "w", w);
    check_vector_sparse(recorder, "out", out);
    require(out.shape() == w.shape(), "out: shape {}, {} is needed", to_string(out.shape()),
            to_string(w.shape()));
    require_type("out", out.values(), w.type());
    require_apart(out, "w", w);
}

}  // namespace

void detail::record_select_vectors(Recorder& recorder, const Tensor& out, const Tensor& w,
                                   const VectorPattern& pattern, const char* label) {
    record_compress(recorder, w, {}, out, {}, pattern, label);
}

void select_vector_mask_into(Recorder& recorder, const Tensor& out, const Tensor& w,
                             const VectorPattern& pattern) {
    check_matrix(recorder, "w", w);
    check_pattern(pattern);
    check_mask(recorder, "out", out, w);
    require_no_self_overlap("out", out);
    require_disjoint("out", out, "w", w);
    record_compress(recorder, w, {}, out, {}, pattern, "select_vector_mask");
}

Tensor select_vector_mask(Recorder& recorder, const Tensor& w, const VectorPattern& pattern) {
    check_matrix(recorder, "w", w);
    const Tensor out = empty(recorder, DataType::u32, mask_shape(w.shape()));
    select_vector_mask_into(recorder, out, w, pattern);
    return out;
}

void compress_into(Recorder& recorder, const VectorSparse& out, const Tensor& w, const Tensor& mask) {
    check_compress(recorder, out, w);
    check_mask(recorder, "mask", mask, w);
    require_apart(out, "mask", mask);
    record_compress(recorder, w, mask, {}, out, out.pattern(), "vector_compress");
}

VectorSparse compress(Recorder& recorder, const Tensor& w, const Tensor& mask, const VectorPattern& pattern) {
    check_matrix(recorder, "w", w);
    const VectorSparse out = empty_vector_sparse(recorder, w.type(), w.shape(), pattern);
    compress_into(recorder, out, w, mask);
    return out;
}

void compress_by_magnitude_into(Recorder& recorder, const VectorSparse& out, const Tensor& w,
                                const Tensor& mask) {
    check_compress(recorder, out, w);
    if (mask) {
        check_mask(recorder, "mask", mask, w);
        require_no_self_overlap("mask", mask);
        require_disjoint("mask", mask, "w", w);
        require_apart(out, "mask", mask);
    }
    // One kernel with a mask or without: its words are few beside the values.
    const Tensor written = mask ? mask : empty(recorder, DataType::u32, mask_shape(w.shape()));
    record_compress(recorder, w, {}, written, out, out.pattern(), "vector_compress_by_magnitude");
}

VectorSparse compress_by_magnitude(Recorder& recorder, const Tensor& w, const VectorPattern& pattern) {
    check_matrix(recorder, "w", w);
    const VectorSparse out = empty_vector_sparse(recorder, w.type(), w.shape(), pattern);
    compress_by_magnitude_into(recorder, out, w);
    return out;
}

void verify_vector_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features,
                        const VectorPattern& pattern) {
    check_pattern(pattern);
    verify_mask(stream, mask, in_features, {pattern.keep, pattern.of});
    const std::uint64_t words = divide_up(in_features, 32), rows = mask.size(mask.rank() - 2);
    const std::vector<std::uint32_t> bits = download_u32(stream, mask);
    for (std::uint64_t row = 0; words > 0 && row < bits.size() / words; ++row) {
        const std::string place = mask.rank() == 3 ? fmt::format("block {}, row {}", row / rows, row % rows)
                                                   : fmt::format("row {}", row);
        const auto set = [&](std::uint64_t in_row, std::uint64_t c) {
            return (bits[in_row * words + c / 32] >> c % 32 & 1) != 0;
        };
        const std::uint64_t first_row = row % rows / pattern.rows * pattern.rows;
        for (std::uint64_t c = 0; c < in_features; ++c)
            require(set(row, c) == set(row - row % rows + first_row, c),
                    "mask: {}, column {} differs from row {}, the first of its {} rows", place, c, first_row,
                    pattern.rows);
    }
}

}  // namespace danaus
