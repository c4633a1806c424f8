// Forward multiplies by weights that were packed beforehand, and the packing itself.
#include "jobs.hpp"

#include <danaus/packed.hpp>

namespace danaus::bench {

// The job of the plain weight, but for what is prepared and recorded.
Job packed_dense(Stream& stream, DataType type, const Sizes& s, Verb verb) {
    Job job = dense(stream, type, s, verb);
    const Tensor x = job.operands[0].tensor, w = job.operands[1].tensor, y = job.operands[2].tensor;
    const PackedWeight packed(stream, type, w.shape());
    job.prepare = [=](Recorder& recorder) { pack_into(recorder, packed, w); };
    job.record = [=](Recorder& recorder) { matmul_into(recorder, y, x, packed); };
    return job;
}

Job packed_block_diagonal(Stream& stream, DataType type, const Sizes& s, Verb verb) {
    Job job = block_diagonal(stream, type, s, verb);
    const Tensor x = job.operands[0].tensor, w = job.operands[1].tensor, y = job.operands[2].tensor;
    const PackedBlockDiagonal packed{PackedWeight(stream, type, w.shape())};
    job.prepare = [=](Recorder& recorder) { pack_into(recorder, packed.blocks, w); };
    job.record = [=](Recorder& recorder) { matmul_into(recorder, y, x, packed); };
    return job;
}

Job packing(Stream& stream, DataType type, const Sizes& s) {
    Job job;
    const Tensor w(stream.device(), type, {s.out, s.in});
    const PackedWeight packed(stream, type, w.shape());
    job.operands = {{Role::input, w.elements(), w, false},
                    {Role::output, packed.data().elements(), packed.data(), false}};
    const std::uint64_t panel = packed.panel_rows(), depth = packed.panel_depth();
    job.record = [=](Recorder& recorder) { pack_into(recorder, packed, w); };
    job.bytes = w.elements() * size_of(type) + packed.bytes();
    job.oracle = [=](std::vector<std::vector<float>>& operands) {
        std::size_t at = 0;
        for (std::uint64_t first = 0; first < s.out; first += panel)
            for (std::uint64_t start = 0; start < s.in; start += depth)
                for (std::uint64_t row = first; row < first + panel; ++row)
                    for (std::uint64_t k = start; k < start + depth; ++k)
                        operands[1][at++] = row < s.out && k < s.in ? operands[0][row * s.in + k] : 0.0f;
    };
    return job;
}

}  // namespace danaus::bench
