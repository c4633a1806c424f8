// Monarch multiplies beside what they are without permuted factors: two block-diagonal multiplies, each
// followed by a pass that permutes its result.
#include "jobs.hpp"

namespace danaus::bench {

Job monarch_beside_passes(Stream& stream, DataType type, const Sizes& sizes, Verb verb) {
    Job job = monarch(stream, type, sizes, verb);
    const Tensor x = job.operands[0].tensor, own(stream.device(), type, job.operands[4].tensor.shape());
    const BlockDiagonal first(job.operands[1].tensor), second(job.operands[2].tensor);
    const Shape& w2 = job.operands[2].tensor.shape();
    const std::uint64_t l = w2[0], s = w2[1], r = w2[2];
    // Feature-major as between a Monarch matrix's factors: the pass then moves whole rows of tokens. A
    // token's features side by side cost the rival more.
    Epilogue between;
    between.order = Order::feature_major;
    job.rival = {"two factors, two permutation passes", [=](Recorder& recorder) {
                     const Tensor t = matmul(recorder, x, first, between);
                     const Tensor permuted = empty(recorder, type, {l * r, sizes.tokens}).transpose();
                     matmul_into(recorder, permuted, t, Permutation::stride(r, l));
                     matmul_into(recorder, own, matmul(recorder, permuted, second),
                                 Permutation::stride(l, s));
                 }};
    // OpenBLAS's threads spin for a while after their work and would meet one of the two more than the other.
    job.yardstick = {};
    // The rival's result is verified as well.
    job.operands.push_back({Role::output, own.elements(), own});
    job.reveal = job.rival.record;
    job.oracle = [multiply = job.oracle](std::vector<std::vector<float>>& operands) {
        multiply(operands);
        operands.back() = operands[4];
    };
    return job;
}

}  // namespace danaus::bench
