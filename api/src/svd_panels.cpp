// Rotations of large matrices, by pairs of panels of their vectors: Gram matrix, its rotations, and the
// product of both panels with them.
#include "pieces.hpp"
#include "svd_rotate.hpp"

#include <algorithm>

namespace danaus::detail {

void rotate_panels(Recorder& recorder, const Decomposition& d, const SvdOptions& options) {
    const std::uint64_t size = d.panels, rows = size * d.parts, panels = d.vectors / (size / 2),
                        pairs = panels / 2;
    const std::uint64_t lanes = rotation_lanes(recorder), all = round_up(d.batch * pairs, lanes);
    const Tensor grams = empty(recorder, DataType::f32, {all, size, 2 * rows});
    const Tensor rotations = empty(recorder, DataType::f32, {all, size, rows});
    const Tensor measures = empty(recorder, DataType::f32, {all, 2});
    const float tolerance = tolerance_of(d, options);

    kernels::SvdGram gram;
    if (d.is_complex()) gram.element = kernels::SvdGram::Element::complex;
    gram.local_size = is_cpu(recorder) || size < 32 ? 8 : narrow32(size);
    gram.size = narrow32(size);
    gram.columns = gram.local_size < size ? 2 : 1;
    gram.tile = narrow32(std::min<std::uint64_t>(size / 2, (is_cpu(recorder) ? 32 : 16) / d.parts));
    std::uint32_t tiles = 0;
    const std::uint64_t width = std::uint64_t{gram.local_size} * gram.columns;
    for (std::uint64_t end = width; end <= size; end += width) tiles += narrow32(divide_up(end, gram.tile));
    kernels::SvdJacobi jacobi;
    jacobi.local_size = narrow32(lanes);
    if (d.is_complex()) jacobi.element = kernels::SvdJacobi::Element::complex;
    jacobi.kept = narrow32(rows);
    jacobi.gram = true;
    jacobi.parts = 2;
    kernels::SvdUpdate update;
    if (d.is_complex()) update.element = kernels::SvdUpdate::Element::complex;
    update.local_size = d.local_size;
    update.size = narrow32(size);
    kernels::SvdSettle settle;
    settle.local_size = d.local_size;

    const std::uint64_t work = d.batch * pairs * size * rows;
    for (std::uint32_t sweep = 0; sweep < options.sweeps; ++sweep) {
        for (std::uint32_t round = 0; round < std::max<std::uint64_t>(1, panels - 1); ++round) {
            Packet packet;
            packet.kernel = gram.kernel();
            packet.grid = {tiles, narrow32(pairs), narrow32(d.batch)};
            packet.operands = {operand(d.work, Touch::read), operand(d.state, Touch::read),
                               operand(grams, Touch::read_write)};
            packet.set_fields(std::array<std::uint32_t, 5>{narrow32(d.vectors), narrow32(d.rows),
                                                           narrow32(d.dot_rows), round, narrow32(lanes)});
            packet.work = work * d.dot_rows;
            packet.label = "svd_gram";
            recorder.record(packet);

            // One sweep: what it leaves is less than what other pairs bring back before these meet again. Two
            // of the same panel meet in every second round: more seldom, and vectors whose lengths differ
            // by orders of magnitude take many sweeps more.
            const bool first = round == 0, inside = round % 2 == 0;
            const JacobiFields fields{narrow32(size),
                                      narrow32(2 * rows),
                                      narrow32(rows),
                                      0,
                                      narrow32(inside ? size - 1 : size / 2),
                                      1,
                                      tolerance,
                                      rounding_of(d, options),
                                      0,
                                      narrow32(pairs),
                                      first ? 1u : 0u,
                                      narrow32(inside ? 0 : size / 2)};
            record_rotations(recorder, jacobi, fields, all / lanes, lanes,
                             {operand(grams, Touch::read_write), operand(d.state, Touch::read_write),
                              operand(rotations, Touch::read_write), operand(measures, Touch::read_write)},
                             "svd_rotate");

            packet.kernel = update.kernel();
            packet.grid = {narrow32(divide_up(d.rows, update.local_size * d.parts)), narrow32(pairs),
                           narrow32(d.batch)};
            packet.operands = {operand(d.work, Touch::read_write), operand(d.state, Touch::read),
                               operand(rotations, Touch::read)};
            packet.set_fields(std::array<std::uint32_t, 3>{narrow32(d.vectors), narrow32(d.rows), round});
            packet.work = work * d.rows;
            packet.label = "svd_update";
            recorder.record(packet);
        }
        Packet packet;
        packet.kernel = settle.kernel();
        packet.grid = {narrow32(divide_up(d.batch, settle.local_size)), 1, 1};
        packet.operands = {operand(d.state, Touch::read_write), operand(measures, Touch::read)};
        struct {
            std::uint32_t batch, pairs;
            float tolerance;
        } const fields{narrow32(d.batch), narrow32(pairs), tolerance};
        packet.set_fields(fields);
        packet.work = d.batch * pairs;
        packet.label = "svd_settle";
        recorder.record(packet);
    }
}

}  // namespace danaus::detail
