// The scale of the soft threshold of groups of four; its compression is sparse24.cpp's.
#include "masks.hpp"

#include <danaus/kernels.hpp>
#include <danaus/soft_threshold.hpp>

namespace danaus {

using namespace detail;

namespace {

struct SumsPiece {
    Tensor w;
    std::uint32_t columns = 0, rows = 0;  // of workgroups
};

// Few enough partials for one workgroup to add, chosen from the sizes of the piece alone.
SumsPiece sums_piece(const Tensor& w, std::uint32_t local_size) {
    const std::uint64_t columns = std::clamp<std::uint64_t>(divide_up(w.size(2), 16 * local_size), 1, 64);
    return {w, narrow32(columns), narrow32(std::clamp<std::uint64_t>(w.size(1) / 4, 1, 256 / columns))};
}

void check_scale(const Recorder& recorder, const char* name, const Tensor& beta) {
    require_tensor(recorder, name, beta);
    require_type(name, beta, DataType::f32);
    require_shape(name, beta, {1});
}

}  // namespace

void soft_threshold_scale_into(Recorder& recorder, const Tensor& out, const Tensor& w) {
    check_matrix(recorder, "w", w);
    check_scale(recorder, "out", out);
    require_disjoint("out", out, "w", w);
    kernels::SoftSums sums;
    sums.type = static_cast<std::uint32_t>(w.type());
    std::vector<SumsPiece> pieces;
    std::uint32_t count = 0;
    if (w.elements() != 0)
        for_joined_rows(recorder, "soft_threshold_scale", w.size(w.rank() - 1), std::array{w},
                        [&](const std::array<Tensor, 1>& piece) {
                            pieces.push_back(sums_piece(piece[0], sums.local_size));
                            count += pieces.back().columns * pieces.back().rows;
                        });
    const Tensor partials = empty(recorder, DataType::f32, {std::max<std::uint64_t>(1, count), 2});
    std::uint32_t next = 0;
    for (const SumsPiece& piece : pieces) {
        struct Fields {
            std::uint32_t blocks, rows, cols, w_block, w_row, w_column, first_partial;
        };
        Packet packet;
        packet.kernel = sums.kernel();
        packet.grid = {piece.columns, piece.rows, 1};
        packet.operands[0] = operand(piece.w, Touch::read);
        packet.operands[1] = operand(partials, Touch::write);
        packet.set_fields(Fields{narrow32(piece.w.size(0)), narrow32(piece.w.size(1)),
                                 narrow32(piece.w.size(2)), stride(piece.w, 0), stride(piece.w, 1),
                                 stride(piece.w, 2), next});
        packet.work = 4 * piece.w.elements();
        packet.label = "soft_threshold_scale";
        recorder.record(packet);
        next += piece.columns * piece.rows;
    }
    const kernels::QuotientFinish finish;
    Packet packet;
    packet.kernel = finish.kernel();
    packet.operands[0] = operand(partials, Touch::read);
    packet.operands[1] = operand(out, Touch::write);
    packet.set_fields(count);
    packet.work = count;
    packet.label = "soft_threshold_scale";
    recorder.record(packet);
}

Tensor soft_threshold_scale(Recorder& recorder, const Tensor& w) {
    check_matrix(recorder, "w", w);
    const Tensor out = empty(recorder, DataType::f32, {1});
    soft_threshold_scale_into(recorder, out, w);
    return out;
}

}  // namespace danaus
