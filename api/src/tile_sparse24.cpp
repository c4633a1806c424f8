// Transposable 2:4: compressed tile by tile, once for W and its transpose or for each of them.
#include "masks.hpp"
#include "stored24.hpp"

#include <danaus/kernels.hpp>
#include <danaus/tile_sparse24.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace danaus {

using namespace detail;

TileSparse24::TileSparse24(const Device& device, DataType type, const Shape& shape)
    : TileSparse24(device.allocate(bytes(type, shape)), type, shape) {}

TileSparse24::TileSparse24(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t byte_offset)
    : shape_(shape) {
    auto [values, places] = tensors24("tile_sparse24", buffer, type, shape, byte_offset, true);
    values_ = std::move(values);
    codes_ = std::move(places);
}

std::uint64_t TileSparse24::bytes(DataType type, const Shape& shape) {
    return layout24("tile_sparse24", type, shape, true).bytes;
}

std::uint64_t TileSparse24::bytes() const {
    return *this ? bytes(type(), shape_) : 0;
}

TileSparse24 empty_tile_sparse24(Recorder& recorder, DataType type, const Shape& shape) {
    return TileSparse24(recorder.allocate(TileSparse24::bytes(type, shape)), type, shape);
}

namespace {

// SOURCE of tile24/compress.comp.
enum class Source : std::uint32_t { whole_tiles, mask, magnitude };

// The mask is read, or with Source::magnitude written if it is there.
void record_tiles(Recorder& recorder, const TileSparse24& out, const Tensor& w, const Tensor& mask,
                  Source source, const char* label) {
    if (w.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, w_block, w_row, w_column, mask_block, mask_row, mask_word, values_block,
            codes_block;
    };
    const bool batch = w.rank() == 3, writes = source == Source::magnitude;
    const std::array<Part, 4> parts{{{batched(w, batch)},
                                     {batched(mask, batch)},
                                     {batched(out.values(), batch)},
                                     {batched(out.codes(), batch), 1}}};
    const std::uint32_t most_blocks = recorder.device().capabilities().max_workgroup_count[2];
    for_row_pieces(recorder, label, 4, most_blocks, parts, [&](const std::array<Tensor, 4>& piece) {
        const auto& [from, bits, values, codes] = piece;
        const std::uint64_t blocks = from.size(0), rows = from.size(1), cols = from.size(2);
        kernels::Tile24Compress kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(w.type());
        kernel.in_pairs = loads_in_pairs(from);
        kernel.source = static_cast<std::uint32_t>(source);
        kernel.write_mask = writes && bits;
        kernel.word_lanes = 8 / groups_per_lane(recorder);
        kernel.whole = source != Source::mask && cols % 32 == 0 && rows % 4 == 0;
        kernel.values_type = static_cast<std::uint32_t>(out.type());
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = grid_for(recorder, divide_up(cols, 32), kernel.local_size / kernel.word_lanes,
                               divide_up(rows, 4), blocks);
        packet.operands[0] = operand(from, Touch::read);
        if (bits) packet.operands[writes ? 2 : 1] = operand(bits, writes ? Touch::write : Touch::read);
        packet.operands[3] = operand(values, Touch::write);
        packet.operands[4] = operand(codes, Touch::write);
        packet.set_fields(Fields{narrow32(rows), narrow32(cols), stride(from, 0), stride(from, 1),
                                 stride(from, 2), stride(bits, 0), stride(bits, 1), stride(bits, 2),
                                 stride(values, 0) / 2, stride(codes, 0)});
        packet.work = (writes ? 8 : 1) * blocks * rows * cols;
        packet.label = label;
        recorder.record(packet);
    });
}

}  // namespace

void compress_tiles_into(Recorder& recorder, const TileSparse24& out, const Tensor& w, const Tensor& mask) {
    check_compress(recorder, "out", out, w.shape(), w);
    check_mask(recorder, "mask", mask, w);
    require_disjoint("out", out, "mask", mask);
    const std::size_t last = w.rank() - 1;
    const bool whole = w.size(last - 1) % 4 == 0 && w.size(last) % 4 == 0;
    record_tiles(recorder, out, w, mask, whole ? Source::whole_tiles : Source::mask, "compress_tiles");
}

TileSparse24 compress_tiles(Recorder& recorder, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    const TileSparse24 out = empty_tile_sparse24(recorder, w.type(), w.shape());
    compress_tiles_into(recorder, out, w, mask);
    return out;
}

void compress_transposable_into(Recorder& recorder, const TileSparse24& out, const Tensor& w,
                                const Tensor& mask) {
    check_compress(recorder, "out", out, w.shape(), w);
    check_mask_out(recorder, out, w, mask);
    record_tiles(recorder, out, w, mask, Source::magnitude, "compress_transposable");
}

TileSparse24 compress_transposable(Recorder& recorder, const Tensor& w) {
    check_matrix(recorder, "w", w);
    const TileSparse24 out = empty_tile_sparse24(recorder, w.type(), w.shape());
    compress_transposable_into(recorder, out, w);
    return out;
}

void to_dense_into(Recorder& recorder, const Tensor& out, const TileSparse24& a) {
    expand24(recorder, out, a);
}

Tensor to_dense(Recorder& recorder, const TileSparse24& a) {
    check_stored(recorder, "a", a);
    const Tensor out = empty(recorder, a.type(), a.shape());
    to_dense_into(recorder, out, a);
    return out;
}

void compress_both_into(Recorder& recorder, const Sparse24& out, const Sparse24& out_transposed,
                        const Tensor& w, const Tensor& mask) {
    check_compress(recorder, "out", out, w.shape(), w);
    Shape turned = w.shape();
    std::swap(turned[turned.rank() - 2], turned[turned.rank() - 1]);
    check_compress(recorder, "out_transposed", out_transposed, turned, w);
    check_mask(recorder, "mask", mask, w);
    require(out_transposed.type() == out.type(), "out_transposed: type {}, {} like out is needed",
            to_string(out_transposed.type()), to_string(out.type()));
    for (const Tensor& part : {out_transposed.values(), out_transposed.metadata()})
        require_disjoint("out", out, "out_transposed", part);
    require_disjoint("out", out, "mask", mask);
    require_disjoint("out_transposed", out_transposed, "mask", mask);
    if (w.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, w_block, w_row, w_column, mask_block, mask_row, mask_word, values_block,
            meta_block, turned_values_block, turned_values_row, turned_meta_block, turned_meta_row;
    };
    constexpr std::uint64_t block = 32;  // rows and columns that share words of metadata
    const bool batch = w.rank() == 3;
    const std::array<Part, 6> parts{{{batched(w, batch)},
                                     {batched(mask, batch)},
                                     {batched(out.values(), batch)},
                                     {batched(out.metadata(), batch)},
                                     {batched(out_transposed.values(), batch), block / 2, 2},
                                     {batched(out_transposed.metadata(), batch), 1, 2}}};
    const Capabilities& caps = recorder.device().capabilities();
    const char* label = "compress_both";
    for_row_pieces(recorder, label, block, caps.max_workgroup_count[2], parts, [&](const auto& piece) {
        const auto& [from, bits, values, meta, turned_values, turned_meta] = piece;
        const std::uint64_t blocks = from.size(0), rows = from.size(1), cols = from.size(2);
        kernels::Tile24Both kernel;
        kernel.type = static_cast<std::uint32_t>(w.type());
        kernel.in_pairs = loads_in_pairs(from);
        kernel.block_lanes = groups_per_lane(recorder) > 1 || local_size(recorder) < 64 ? 1 : 64;
        kernel.local_size = kernel.block_lanes == 1 ? 8 : 64;
        kernel.whole = cols % block == 0 && rows % block == 0;
        kernel.values_type = static_cast<std::uint32_t>(out.type());
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid = grid_for(recorder, divide_up(cols, block), kernel.local_size / kernel.block_lanes,
                               divide_up(rows, block), blocks);
        for (std::size_t i = 0; i < piece.size(); ++i)
            packet.operands[i] = operand(piece[i], i < 2 ? Touch::read : Touch::write);
        packet.set_fields(Fields{narrow32(rows), narrow32(cols), stride(from, 0), stride(from, 1),
                                 stride(from, 2), stride(bits, 0), stride(bits, 1), stride(bits, 2),
                                 stride(values, 0) / 2, stride(meta, 0), stride(turned_values, 0) / 2,
                                 stride(turned_values, 1) / 2, stride(turned_meta, 0),
                                 stride(turned_meta, 1)});
        packet.work = 2 * blocks * rows * cols;
        packet.label = label;
        recorder.record(packet);
    });
}

}  // namespace danaus
