// Chains of Kronecker-sparse factors beside what they stand for.
#include "jobs.hpp"

namespace danaus::bench {

Job chain(Stream& stream, DataType type, const Sizes& s, std::uint64_t radix, ChainRival rival) {
    std::vector<std::uint64_t> radices;
    for (std::uint64_t n = s.in; n > 1; n /= radix) radices.push_back(radix);
    const std::vector<FactorPattern> patterns = radix_patterns(radices);
    Job job;
    job.magnitude = 1;  // sums of 16 bits are whole numbers too
    const auto add = [&](Role role, const Shape& shape) {
        job.operands.push_back({role, shape.elements(), Tensor(stream.device(), type, shape), false});
        return job.operands.back().tensor;
    };
    const Tensor x = add(Role::input, {s.tokens, s.in}), y = add(Role::output, {s.tokens, s.out});
    std::vector<KroneckerFactor> factors;
    for (const auto& [a, b, c, d] : patterns) factors.emplace_back(add(Role::input, {a, d, b, c}));
    const Chain w(std::move(factors));
    job.record = [=](Recorder& recorder) { matmul_into(recorder, y, x, w); };
    job.multiply_adds = s.tokens * w.parameters();
    job.bytes = (x.elements() + y.elements()) * size_of(type) + w.bytes();
    job.oracle = [s, patterns](std::vector<std::vector<float>>& operands) {
        std::vector<double> from(operands[0].begin(), operands[0].end());
        for (std::size_t f = 0; f < patterns.size(); ++f) {
            const auto [a, b, c, d] = patterns[f];
            std::vector<double> to(s.tokens * a * b * d);
            const float* weight = operands[2 + f].data();
            for (std::uint64_t i = 0; i < a; ++i)
                for (std::uint64_t j = 0; j < d; ++j)
                    for (std::uint64_t row = 0; row < b; ++row)
                        for (std::uint64_t column = 0; column < c; ++column, ++weight)
                            for (std::uint64_t t = 0; t < s.tokens; ++t)
                                to[((t * a + i) * b + row) * d + j] +=
                                    static_cast<double>(*weight) * from[((t * a + i) * c + column) * d + j];
            from = std::move(to);
        }
        operands[1].assign(from.begin(), from.end());
    };
    const Tensor own(stream.device(), type, y.shape());
    if (rival == ChainRival::dense) {
        const Tensor dense(stream.device(), type, {s.out, s.in});
        job.prepare = [=](Recorder& recorder) { fill_into(recorder, dense, 1.0); };
        job.rival = {"dense", [=](Recorder& recorder) { matmul_into(recorder, own, x, dense); }};
    } else {
        const Tensor w1(stream.device(), type, {s.blocks, s.in / s.blocks, s.in / s.blocks});
        const Monarch monarch(w1, Tensor(stream.device(), type, w1.shape()));
        job.prepare = [=](Recorder& recorder) {
            for (const Tensor& one : {monarch.w1, monarch.w2}) fill_into(recorder, one, 1.0);
        };
        job.rival = {"Monarch of two factors",
                     [=](Recorder& recorder) { matmul_into(recorder, own, x, monarch); }};
    }
    return job;
}

}  // namespace danaus::bench
