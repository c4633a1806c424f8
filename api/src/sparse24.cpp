// Row-wise 2:4: the compressed form, and its way from and to dense matrices.
#include "check.hpp"
#include "masks.hpp"
#include "multiply.hpp"

#include <danaus/kernels.hpp>
#include <danaus/soft_threshold.hpp>
#include <danaus/sparse24.hpp>

#include <algorithm>
#include <array>
#include <bit>

namespace danaus {
namespace {

using detail::check_mask;
using detail::check_matrix;
using detail::divide_up;
using detail::for_joined_rows;
using detail::grid_for;
using detail::groups_per_lane;
using detail::in_pairs;
using detail::loads_in_pairs;
using detail::local_size;
using detail::require;
using detail::stride;

void record_compress(Recorder& recorder, const Tensor& w, const Tensor& mask_in, const Tensor& mask_out,
                     const Sparse24& out, const char* label, const Tensor& beta = {}) {
    if (w.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, w_block, w_row, w_column, mask_block, mask_row, mask_word, values_block,
            meta_block;
    };
    const std::array<Tensor, 5> parts{w, mask_in, mask_out, out.values(), out.metadata()};
    for_joined_rows(recorder, label, w.size(w.rank() - 1), parts, [&](const std::array<Tensor, 5>& piece) {
        const std::uint64_t blocks = piece[0].size(0), rows = piece[0].size(1), cols = piece[0].size(2);
        const Tensor& mask = mask_in ? piece[1] : piece[2];
        kernels::Sparse24Compress kernel;
        kernel.local_size = local_size(recorder);
        kernel.type = static_cast<std::uint32_t>(w.type());
        kernel.in_pairs = loads_in_pairs(piece[0]);
        kernel.by_magnitude = !mask_in;
        kernel.write_mask = static_cast<bool>(mask_out);
        kernel.write_compressed = static_cast<bool>(out);
        kernel.word_lanes = 8 / groups_per_lane(recorder);
        kernel.whole = cols % 32 == 0;
        kernel.soft = static_cast<bool>(beta);
        Packet packet;
        packet.kernel = kernel.kernel();
        packet.grid =
            grid_for(recorder, divide_up(cols, 32), kernel.local_size / kernel.word_lanes, rows, blocks);
        if (beta) packet.operands[5] = detail::operand(beta, Touch::read);
        for (std::size_t i = 0; i < piece.size(); ++i)
            if (piece[i]) packet.operands[i] = detail::operand(piece[i], i < 2 ? Touch::read : Touch::write);
        packet.set_fields(Fields{static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(cols),
                                 stride(piece[0], 0), stride(piece[0], 1), stride(piece[0], 2),
                                 stride(mask, 0), stride(mask, 1), stride(mask, 2), stride(piece[3], 0) / 2,
                                 stride(piece[4], 0)});
        packet.work = blocks * rows * cols;
        packet.label = label;
        recorder.record(packet);
    });
}

void check_compressed(const Recorder& recorder, const char* name, const Sparse24& a) {
    require(static_cast<bool>(a), "{}: a null matrix", name);
    detail::require_tensor(recorder, name, a.values());
}

void check_compress(const Recorder& recorder, const Sparse24& out, const Tensor& w) {
    check_matrix(recorder, "w", w);
    check_compressed(recorder, "out", out);
    require(out.shape() == w.shape(), "out: shape {}, {} is needed", to_string(out.shape()),
            to_string(w.shape()));
    detail::require_type("out", out.values(), w.type());
    detail::require_disjoint("out", out.values(), "w", w);
    detail::require_disjoint("out", out.metadata(), "w", w);
}

void require_disjoint_mask(const Sparse24& out, const Tensor& mask) {
    detail::require_disjoint("out", out.values(), "mask", mask);
    detail::require_disjoint("out", out.metadata(), "mask", mask);
}

void check_mask_out(const Recorder& recorder, const Sparse24& out, const Tensor& w, const Tensor& mask) {
    if (!mask) return;
    check_mask(recorder, "mask", mask, w);
    detail::require_no_self_overlap("mask", mask);
    detail::require_disjoint("mask", mask, "w", w);
    require_disjoint_mask(out, mask);
}

struct Layout {
    Shape values, metadata;
    std::uint64_t value_bytes, bytes;
};

Layout layout(DataType type, const Shape& shape) {
    require(is_floating(type), "sparse24: type {}, one of f32, f16, bf16 is needed", to_string(type));
    require(shape.rank() == 2 || shape.rank() == 3, "sparse24: shape {}, rank 2 or 3 is needed",
            to_string(shape));
    require(shape.elements() <= 1ull << 59, "sparse24: shape {} has more than 2^59 elements",
            to_string(shape));
    Layout out{shape, shape, 0, 0};
    const std::size_t last = shape.rank() - 1;
    const std::uint64_t groups = divide_up(shape[last], 4);
    out.values[last] = 2 * groups;
    out.metadata[last] = divide_up(groups, 8);
    out.value_bytes = out.values.elements() * size_of(type);
    out.bytes = out.value_bytes + out.metadata.elements() * 4;
    return out;
}

}  // namespace

Sparse24::Sparse24(const Device& device, DataType type, const Shape& shape)
    : Sparse24(device.allocate(bytes(type, shape)), type, shape) {}

Sparse24::Sparse24(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t byte_offset)
    : shape_(shape) {
    const Layout l = layout(type, shape);
    require(static_cast<bool>(buffer), "sparse24: a null buffer");
    require(byte_offset % 8 == 0, "byte_offset: {}, a multiple of 8 is needed", byte_offset);
    require(buffer.starts_aligned(), "buffer: an import that does not start at a multiple of 16 bytes");
    require(byte_offset <= buffer.size() && l.bytes <= buffer.size() - byte_offset,
            "sparse24: {} {} takes {} bytes from byte {} on, the buffer has {}", to_string(shape),
            to_string(type), l.bytes, byte_offset, buffer.size());
    values_ = Tensor(buffer, type, l.values, byte_offset / size_of(type));
    metadata_ = Tensor(buffer, DataType::u32, l.metadata, (byte_offset + l.value_bytes) / 4);
}

std::uint64_t Sparse24::bytes(DataType type, const Shape& shape) {
    return layout(type, shape).bytes;
}

std::uint64_t Sparse24::bytes() const {
    return *this ? bytes(type(), shape_) : 0;
}

Sparse24 empty_sparse24(Recorder& recorder, DataType type, const Shape& shape) {
    return Sparse24(recorder.allocate(Sparse24::bytes(type, shape)), type, shape);
}

void detail::record_select24(Recorder& recorder, const Tensor& out, const Tensor& w) {
    record_compress(recorder, w, {}, out, {}, "select_mask");
}

void compress_into(Recorder& recorder, const Sparse24& out, const Tensor& w, const Tensor& mask) {
    check_compress(recorder, out, w);
    check_mask(recorder, "mask", mask, w);
    require_disjoint_mask(out, mask);
    record_compress(recorder, w, mask, {}, out, "compress");
}

Sparse24 compress(Recorder& recorder, const Tensor& w, const Tensor& mask) {
    check_matrix(recorder, "w", w);
    const Sparse24 out = empty_sparse24(recorder, w.type(), w.shape());
    compress_into(recorder, out, w, mask);
    return out;
}

void compress_by_magnitude_into(Recorder& recorder, const Sparse24& out, const Tensor& w,
                                const Tensor& mask) {
    check_compress(recorder, out, w);
    check_mask_out(recorder, out, w, mask);
    record_compress(recorder, w, {}, mask, out, "compress_by_magnitude");
}

Sparse24 compress_by_magnitude(Recorder& recorder, const Tensor& w) {
    check_matrix(recorder, "w", w);
    const Sparse24 out = empty_sparse24(recorder, w.type(), w.shape());
    compress_by_magnitude_into(recorder, out, w);
    return out;
}

void compress_soft_into(Recorder& recorder, const Sparse24& out, const Tensor& w, const Tensor& beta,
                        const Tensor& mask) {
    check_compress(recorder, out, w);
    detail::require_tensor(recorder, "beta", beta);
    detail::require_type("beta", beta, DataType::f32);
    detail::require_shape("beta", beta, {1});
    detail::require_disjoint("out", out.values(), "beta", beta);
    detail::require_disjoint("out", out.metadata(), "beta", beta);
    if (mask) detail::require_disjoint("mask", mask, "beta", beta);
    check_mask_out(recorder, out, w, mask);
    record_compress(recorder, w, {}, mask, out, "compress_soft", beta);
}

Sparse24 compress_soft(Recorder& recorder, const Tensor& w, const Tensor& beta) {
    check_matrix(recorder, "w", w);
    const Sparse24 out = empty_sparse24(recorder, w.type(), w.shape());
    compress_soft_into(recorder, out, w, beta);
    return out;
}

void to_dense_into(Recorder& recorder, const Tensor& out, const Sparse24& a) {
    check_compressed(recorder, "a", a);
    detail::require_tensor(recorder, "out", out);
    detail::require_shape("out", out, a.shape());
    detail::require_type("out", out, a.type());
    detail::require_no_self_overlap("out", out);
    detail::require_disjoint("out", out, "a", a.values());
    detail::require_disjoint("out", out, "a", a.metadata());
    if (out.elements() == 0) return;
    struct Fields {
        std::uint32_t rows, cols, out_block, out_row, out_column, values_block, meta_block;
    };
    const std::array<Tensor, 3> parts{a.values(), a.metadata(), out};
    for_joined_rows(
        recorder, "to_dense", out.size(out.rank() - 1), parts, [&](const std::array<Tensor, 3>& piece) {
            const std::uint64_t blocks = piece[2].size(0), rows = piece[2].size(1), cols = piece[2].size(2);
            kernels::Sparse24Expand kernel;
            kernel.local_size = local_size(recorder);
            kernel.type = static_cast<std::uint32_t>(a.type());
            kernel.out_pairs = in_pairs(piece[2]);
            kernel.groups = groups_per_lane(recorder);
            kernel.whole = cols % 32 == 0;
            Packet packet;
            packet.kernel = kernel.kernel();
            packet.grid =
                grid_for(recorder, divide_up(cols, 4), kernel.local_size * kernel.groups, rows, blocks);
            packet.operands[0] = detail::operand(piece[0], Touch::read);
            packet.operands[1] = detail::operand(piece[1], Touch::read);
            packet.operands[2] = detail::operand(piece[2], Touch::read_write);
            packet.set_fields(Fields{static_cast<std::uint32_t>(rows), static_cast<std::uint32_t>(cols),
                                     stride(piece[2], 0), stride(piece[2], 1), stride(piece[2], 2),
                                     stride(piece[0], 0) / 2, stride(piece[1], 0)});
            packet.work = blocks * rows * cols;
            packet.label = "to_dense";
            recorder.record(packet);
        });
}

Tensor to_dense(Recorder& recorder, const Sparse24& a) {
    check_compressed(recorder, "a", a);
    const Tensor out = empty(recorder, a.type(), a.shape());
    to_dense_into(recorder, out, a);
    return out;
}

}  // namespace danaus
