// Row-wise 2:4: the compressed form, and its way from and to dense matrices.
#include "check.hpp"
#include "masks.hpp"
#include "stored24.hpp"

#include <danaus/kernels.hpp>
#include <danaus/soft_threshold.hpp>
#include <danaus/sparse24.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace danaus {
namespace {

using detail::check_compress;
using detail::check_mask;
using detail::check_mask_out;
using detail::check_matrix;
using detail::divide_up;
using detail::for_joined_rows;
using detail::grid_for;
using detail::groups_per_lane;
using detail::loads_in_pairs;
using detail::local_size;
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
        kernel.values_type = static_cast<std::uint32_t>(out ? out.type() : w.type());
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

}  // namespace

Sparse24::Sparse24(const Device& device, DataType type, const Shape& shape)
    : Sparse24(device.allocate(bytes(type, shape)), type, shape) {}

Sparse24::Sparse24(const Buffer& buffer, DataType type, const Shape& shape, std::uint64_t byte_offset)
    : shape_(shape) {
    auto [values, places] = detail::tensors24("sparse24", buffer, type, shape, byte_offset, false);
    values_ = std::move(values);
    metadata_ = std::move(places);
}

std::uint64_t Sparse24::bytes(DataType type, const Shape& shape) {
    return detail::layout24("sparse24", type, shape, false).bytes;
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
    check_compress(recorder, "out", out, w.shape(), w);
    check_mask(recorder, "mask", mask, w);
    detail::require_disjoint("out", out, "mask", mask);
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
    check_compress(recorder, "out", out, w.shape(), w);
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
    check_compress(recorder, "out", out, w.shape(), w);
    detail::require_tensor(recorder, "beta", beta);
    detail::require_type("beta", beta, DataType::f32);
    detail::require_shape("beta", beta, {1});
    detail::require_disjoint("out", out, "beta", beta);
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
    detail::expand24(recorder, out, a);
}

Tensor to_dense(Recorder& recorder, const Sparse24& a) {
    detail::check_stored(recorder, "a", a);
    const Tensor out = empty(recorder, a.type(), a.shape());
    to_dense_into(recorder, out, a);
    return out;
}

}  // namespace danaus
