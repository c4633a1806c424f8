// Transposable 2:4 weights: compressed by tiles or both ways at once, and multiplied by from one copy. What
// they work on is that of row-wise jobs; each has the row-wise way for a rival where there is one.
#include "jobs.hpp"

#include <stdexcept>

namespace danaus::bench {

Job tile_compression(Stream& stream, DataType type, const Sizes& s, TileVerb verb) {
    Job job = masking(stream, type, s, MaskVerb::select_transposable);
    const Tensor w = job.operands[0].tensor, out = job.operands[1].tensor;
    const Tensor mask(stream.device(), DataType::u32, mask_shape(w.shape()));
    const std::uint64_t dense_bytes = w.elements() * size_of(type), mask_bytes = mask.elements() * 4;
    job.prepare = [=](Recorder& recorder) { select_transposable_mask_into(recorder, mask, w); };
    const TileSparse24 tiles(stream.device(), type, w.shape());
    job.reveal = [=](Recorder& recorder) { to_dense_into(recorder, out, tiles); };
    const Sparse24 rows(stream.device(), type, w.shape());
    const auto compress_rows = [=](Recorder& recorder) { compress_into(recorder, rows, w, mask); };
    if (verb == TileVerb::compress) {
        job.record = [=](Recorder& recorder) { compress_tiles_into(recorder, tiles, w, mask); };
        job.bytes = dense_bytes + mask_bytes + tiles.bytes();
        job.rival = {"row-wise compression", compress_rows};
    } else if (verb == TileVerb::select_and_compress) {
        job.prepare = {};
        job.record = [=](Recorder& recorder) { compress_transposable_into(recorder, tiles, w); };
        job.bytes = dense_bytes + tiles.bytes();
        job.rival = {"search and compression apart", [=](Recorder& recorder) {
                         select_transposable_mask_into(recorder, mask, w);
                         compress_tiles_into(recorder, tiles, w, mask);
                     }};
    } else {
        const Sparse24 columns(stream.device(), type, {s.in, s.out});
        const Tensor turned = w.transpose();
        const Tensor turned_mask(stream.device(), DataType::u32, mask_shape(turned.shape()));
        job.prepare = [=](Recorder& recorder) {
            select_transposable_mask_into(recorder, mask, w);
            select_transposable_mask_into(recorder, turned_mask, turned);
        };
        job.record = [=](Recorder& recorder) { compress_both_into(recorder, rows, columns, w, mask); };
        const Tensor by_rows(stream.device(), type, w.shape());
        job.operands.push_back({Role::output, by_rows.elements(), by_rows, false});
        job.oracle = [masked = job.oracle](std::vector<std::vector<float>>& operands) {
            masked(operands);
            operands[2] = operands[1];
        };
        job.reveal = [=](Recorder& recorder) {
            to_dense_into(recorder, out.transpose(), columns);
            to_dense_into(recorder, by_rows, rows);
        };
        job.bytes = dense_bytes + mask_bytes + rows.bytes() + columns.bytes();
        job.copy_bytes = rows.bytes() + columns.bytes();
        job.rival = {"one orientation after the other", [=](Recorder& recorder) {
                         compress_rows(recorder);
                         compress_into(recorder, columns, turned, turned_mask);
                     }};
    }
    job.master_bytes = w.elements() * size_of(DataType::f32);
    if (verb != TileVerb::compress_both) job.copy_bytes = tiles.bytes();
    return job;
}

Job tile_sparse24(Stream& stream, DataType type, const Sizes& s, Verb verb) {
    if (verb == Verb::gradient)
        throw std::invalid_argument("tile_sparse24: the weight gradient is the dense one");
    Job job = sparse24(stream, type, s, verb);
    const Tensor x = job.operands[0].tensor, dense = job.operands[1].tensor, y = job.operands[2].tensor;
    const TileSparse24 w(stream.device(), type, {s.out, s.in});
    job.rival = {"the same by Sparse24", job.record};
    job.prepare = [=, rows = job.prepare](Recorder& recorder) {
        rows(recorder);
        compress_transposable_into(recorder, w, dense);
    };
    job.record = [=](Recorder& recorder) {
        if (verb == Verb::forward) matmul_into(recorder, y, x, w);
        if (verb == Verb::transposed) matmul_transposed_into(recorder, x, y, w);
    };
    job.bytes = (x.elements() + y.elements()) * size_of(type) + w.bytes();
    return job;
}

}  // namespace danaus::bench
