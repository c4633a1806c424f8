// Multiplies by vector-wise N:M sparse weights, which are compressed beforehand, and the compression itself.
#include "jobs.hpp"

#include <algorithm>

namespace danaus::bench {
namespace {

// Which columns of a group a panel keeps: another choice from group to group and panel to panel.
bool keeps(const VectorPattern& p, std::uint64_t row, std::uint64_t column) {
    const std::uint64_t turn = column / p.of + 5 * (row / p.rows);
    return (column % p.of + p.of - turn % p.of) % p.of < p.keep;
}

void prune(std::vector<float>& w, std::uint64_t columns, const VectorPattern& p) {
    for (std::uint64_t i = 0; i < w.size(); ++i)
        if (!keeps(p, i / columns, i % columns)) w[i] = 0.0f;
}

}  // namespace

Job vector_sparse(Stream& stream, DataType type, const Sizes& s, Verb verb, const VectorPattern& pattern) {
    Job job = dense(stream, type, s, verb);
    const Tensor x = job.operands[0].tensor, w = job.operands[1].tensor, y = job.operands[2].tensor;
    const VectorSparse a(stream.device(), type, w.shape(), pattern);
    job.prepare = [=](Recorder& recorder) { compress_by_magnitude_into(recorder, a, w); };
    job.record = [=](Recorder& recorder) {
        if (verb == Verb::forward) matmul_into(recorder, y, x, a);
        if (verb == Verb::transposed) matmul_transposed_into(recorder, x, y, a);
    };
    job.multiply_adds = s.tokens * s.out * a.kept();
    job.bytes = (x.elements() + y.elements()) * size_of(type) + a.bytes();
    job.oracle = [s, pattern, multiply = job.oracle](std::vector<std::vector<float>>& operands) {
        prune(operands[1], s.in, pattern);
        multiply(operands);
    };
    job.yardstick.what = s.tokens == 1 ? "dense sgemv" : "dense sgemm";
    return job;
}

Job vector_compression(Stream& stream, DataType type, const Sizes& s, const VectorPattern& pattern) {
    Job job;
    const Tensor w(stream.device(), type, {s.out, s.in});
    const VectorSparse a(stream.device(), type, w.shape(), pattern);
    job.operands = {{Role::input, w.elements(), w, false},
                    {Role::output, a.values().elements(), a.values(), false}};
    job.record = [=](Recorder& recorder) { compress_by_magnitude_into(recorder, a, w); };
    job.bytes = w.elements() * size_of(type) + a.bytes();
    job.oracle = [=](std::vector<std::vector<float>>& operands) {
        prune(operands[0], s.in, pattern);
        std::size_t at = 0;
        for (std::uint64_t top = 0; top < s.out; top += pattern.rows)
            for (std::uint64_t column = 0; column < s.in; ++column) {
                if (!keeps(pattern, top, column)) continue;
                for (std::uint64_t row = top; row < top + pattern.rows; ++row)
                    operands[1][at++] = row < s.out ? operands[0][row * s.in + column] : 0.0f;
            }
    };
    return job;
}

}  // namespace danaus::bench
