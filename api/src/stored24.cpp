#include "stored24.hpp"

#include "masks.hpp"

#include <danaus/kernels.hpp>

#include <array>

namespace danaus::detail {

Layout24 layout24(const char* name, DataType type, const Shape& shape, bool tile_codes) {
    require(is_floating(type), "{}: type {}, one of f32, f16, bf16 is needed", name, to_string(type));
    require(shape.rank() == 2 || shape.rank() == 3, "{}: shape {}, rank 2 or 3 is needed", name,
            to_string(shape));
    require(shape.elements() <= 1ull << 59, "{}: shape {} has more than 2^59 elements", name,
            to_string(shape));
    Layout24 out{shape, shape};
    const std::size_t last = shape.rank() - 1;
    const std::uint64_t groups = divide_up(shape[last], 4);
    out.values[last] = 2 * groups;
    out.places[last] = divide_up(groups, tile_codes ? 4 : 8);
    if (tile_codes) out.places[last - 1] = divide_up(shape[last - 1], 4);
    out.value_bytes = out.values.elements() * size_of(type);
    out.bytes = out.value_bytes + out.places.elements() * 4;
    return out;
}

Tensors24 tensors24(const char* name, const Buffer& buffer, DataType type, const Shape& shape,
                    std::uint64_t byte_offset, bool tile_codes) {
    const Layout24 l = layout24(name, type, shape, tile_codes);
    require(static_cast<bool>(buffer), "{}: a null buffer", name);
    require(byte_offset % 8 == 0, "byte_offset: {}, a multiple of 8 is needed", byte_offset);
    require(buffer.starts_aligned(), "buffer: an import that does not start at a multiple of 16 bytes");
    require(byte_offset <= buffer.size() && l.bytes <= buffer.size() - byte_offset,
            "{}: {} {} takes {} bytes from byte {} on, the buffer has {}", name, to_string(shape),
            to_string(type), l.bytes, byte_offset, buffer.size());
    return {Tensor(buffer, type, l.values, byte_offset / size_of(type)),
            Tensor(buffer, DataType::u32, l.places, (byte_offset + l.value_bytes) / 4)};
}

void check_stored(const Recorder& recorder, const char* name, const Stored24& a) {
    require(static_cast<bool>(a.values), "{}: a null matrix", name);
    require_tensor(recorder, name, a.values);
}

void require_disjoint(const char* name, const Stored24& a, const char* other_name, const Tensor& other) {
    require_disjoint(name, a.values, other_name, other);
    require_disjoint(name, a.places, other_name, other);
}

void check_compress(const Recorder& recorder, const char* name, const Stored24& out, const Shape& shape,
                    const Tensor& w, const char* w_name) {
    check_matrix(recorder, w_name, w);
    check_stored(recorder, name, out);
    require(out.shape == shape, "{}: shape {}, {} is needed", name, to_string(out.shape), to_string(shape));
    const DataType type = out.values.type();
    require(type == w.type() || w.type() == DataType::f32,
            "{}: type {}, {} like {} is needed; an f32 {} is also rounded to f16 and bf16", name,
            to_string(type), to_string(w.type()), w_name, w_name);
    require_disjoint(name, out, w_name, w);
}

void check_mask_out(const Recorder& recorder, const Stored24& out, const Tensor& w, const Tensor& mask) {
    if (!mask) return;
    check_mask(recorder, "mask", mask, w);
    require_no_self_overlap("mask", mask);
    require_disjoint("mask", mask, "w", w);
    require_disjoint("out", out, "mask", mask);
}

void set_weight24(MultiplyProblem& p, const Stored24& a, bool transpose) {
    const std::size_t r = a.shape.rank();
    const std::uint64_t rows = a.shape[r - 2], cols = a.shape[r - 1], row_values = a.values.size(r - 1);
    p.weight = kernels::MatmulDirect::Weight::sparse24;
    p.tile_codes = a.tile_codes;
    p.contract_columns = !transpose;
    p.k = transpose ? rows : cols;
    p.b = {a.values.buffer(), a.values.type(), a.values.offset(), 0, 0, 0, r == 3 ? rows * row_values : 0};
    (transpose ? p.b.row : p.b.column) = row_values;
    p.metadata_word = a.places.offset();
    p.metadata_words = a.places.elements();
}

namespace {

// Pieces (values, places, dense) that one dispatch reaches.
template <typename Record>
void for_expanded_rows(const Recorder& recorder, const Stored24& a, const Tensor& out, const Record& record) {
    if (!a.tile_codes)
        return for_joined_rows(recorder, "to_dense", out.size(out.rank() - 1),
                               std::array{a.values, a.places, out}, record);
    const bool batch = out.rank() == 3;
    const std::array<Part, 3> parts{
        {{batched(a.values, batch)}, {batched(a.places, batch), 1}, {batched(out, batch)}}};
    for_row_pieces(recorder, "to_dense", 4, recorder.device().capabilities().max_workgroup_count[2], parts,
                   record);
}

}  // namespace

void expand24(Recorder& recorder, const Tensor& out, const Stored24& a) {
    check_stored(recorder, "a", a);
    require_tensor(recorder, "out", out);
    require_shape("out", out, a.shape);
    require_type("out", out, a.values.type());
    require_no_self_overlap("out", out);
    require_disjoint("out", out, "a", a.values);
    require_disjoint("out", out, "a", a.places);
    if (out.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, out_block, out_row, out_column, values_block, places_block;
    };
    for_expanded_rows(recorder, a, out, [&](const std::array<Tensor, 3>& piece) {
        const std::uint64_t blocks = piece[2].size(0), rows = piece[2].size(1), cols = piece[2].size(2);
        kernels::Sparse24Expand kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(out.type());
        kernel.out_pairs = in_pairs(piece[2]);
        kernel.groups = groups_per_lane(recorder);
        kernel.whole = cols % 32 == 0;
        kernel.tile_codes = a.tile_codes;
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = grid_for(recorder, divide_up(cols, 4), kernel.local_size * kernel.groups, rows, blocks);
        packet.operands[0] = operand(piece[0], Touch::read);
        packet.operands[1] = operand(piece[1], Touch::read);
        packet.operands[2] = operand(piece[2], Touch::read_write);
        packet.set_fields(Fields{narrow32(rows), narrow32(cols), stride(piece[2], 0), stride(piece[2], 1),
                                 stride(piece[2], 2), stride(piece[0], 0) / 2, stride(piece[1], 0)});
        packet.work = blocks * rows * cols;
        packet.label = "to_dense";
        recorder.record(packet);
    });
}

}  // namespace danaus::detail
