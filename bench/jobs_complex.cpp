// Multiplies of complex64, beside the real ones of the same shape repeated four times: as many multiply-adds.
#include "jobs.hpp"

#include <algorithm>
#include <complex>
#include <limits>

namespace danaus::bench {
namespace {

using Complex = std::complex<double>;
using Values = std::vector<std::vector<float>>;

// An operand of complex elements, which the rest of the program sees as twice as many floats.
Operand complex_operand(Role role, Stream& stream, const Shape& shape) {
    const std::uint64_t floats = 2 * shape.elements();
    return {role, floats, Tensor(stream.device(), DataType::f32, {floats}), false};
}

Tensor as_complex(const Operand& operand, const Shape& shape) {
    return Tensor(operand.tensor.buffer(), DataType::complex64, shape);
}

Complex at(const std::vector<float>& values, std::uint64_t i) {
    return {values[2 * i], values[2 * i + 1]};
}

// Rows of the result that the oracle computes, as many as keep it quick.
std::vector<std::uint64_t> sampled_rows(std::uint64_t tokens, std::uint64_t work_of_one) {
    const std::uint64_t count = std::clamp<std::uint64_t>((1ull << 29) / work_of_one, 1, tokens);
    std::vector<std::uint64_t> rows;
    for (std::uint64_t i = 0; i < count; ++i) rows.push_back(i * tokens / count);
    return rows;
}

// Of blocks w (blocks, out, in): block b reads element e of x at b·in_block + e·in_step and writes likewise.
struct Blocks {
    std::uint64_t blocks, out, in, in_block, in_step, out_block, out_step;

    [[nodiscard]] std::uint64_t work() const { return blocks * out * in; }
    [[nodiscard]] std::vector<Complex> apply(const std::vector<float>& w,
                                             const std::vector<Complex>& x) const {
        std::vector<Complex> y(blocks * out);
        for (std::uint64_t b = 0; b < blocks; ++b)
            for (std::uint64_t o = 0; o < out; ++o) {
                Complex sum = 0.0;
                for (std::uint64_t i = 0; i < in; ++i)
                    sum += at(w, (b * out + o) * in + i) * x[b * in_block + i * in_step];
                y[b * out_block + o * out_step] = sum;
            }
        return y;
    }
};

// y = x through one layer of blocks after the other; operands x, the layers' weights, y.
void by_oracle(Values& operands, const std::vector<Blocks>& layers, std::uint64_t tokens) {
    const std::uint64_t in = operands.front().size() / 2 / tokens, out = operands.back().size() / 2 / tokens;
    std::uint64_t work = 0;
    for (const Blocks& layer : layers) work += layer.work();
    for (const std::uint64_t row : sampled_rows(tokens, 4 * work)) {
        std::vector<Complex> t(in);
        for (std::uint64_t i = 0; i < in; ++i) t[i] = at(operands.front(), row * in + i);
        for (std::size_t i = 0; i < layers.size(); ++i) t = layers[i].apply(operands[i + 1], t);
        for (std::uint64_t i = 0; i < out; ++i) {
            operands.back()[2 * (row * out + i)] = static_cast<float>(t[i].real());
            operands.back()[2 * (row * out + i) + 1] = static_cast<float>(t[i].imag());
        }
    }
}

void finish(Job& job, const Sizes& s, const std::vector<Blocks>& layers,
            const std::function<void(Recorder&)>& real_one) {
    for (const Operand& operand : job.operands) job.bytes += operand.elements * 4;
    for (const Blocks& layer : layers) job.multiply_adds += 4 * s.tokens * layer.work();
    job.magnitude = 1;
    job.oracle = [layers, tokens = s.tokens](Values& operands) { by_oracle(operands, layers, tokens); };
    job.rival = {"four of the real one", [real_one](Recorder& recorder) {
                     for (int i = 0; i < 4; ++i) real_one(recorder);
                 }};
}

Tensor random(Stream& stream, const Shape& shape) {
    return uniform(stream, DataType::f32, shape, -1.0f, 1.0f, 1);
}

}  // namespace

Job complex_dense(Stream& stream, const Sizes& s) {
    Job job;
    job.operands = {complex_operand(Role::input, stream, {s.tokens, s.in}),
                    complex_operand(Role::input, stream, {s.out, s.in}),
                    complex_operand(Role::output, stream, {s.tokens, s.out})};
    const Tensor x = as_complex(job.operands[0], {s.tokens, s.in}),
                 w = as_complex(job.operands[1], {s.out, s.in}),
                 y = as_complex(job.operands[2], {s.tokens, s.out});
    job.record = [=](Recorder& recorder) { matmul_into(recorder, y, x, w); };
    const Tensor rx = random(stream, x.shape()), rw = random(stream, w.shape()),
                 ry = random(stream, y.shape());
    finish(job, s, {{1, s.out, s.in, 0, 1, 0, 1}},
           [=](Recorder& recorder) { matmul_into(recorder, ry, rx, rw); });
    return job;
}

Job complex_monarch(Stream& stream, const Sizes& s) {
    const std::uint64_t k = s.blocks, p = s.in / k, out = s.out / k, q = std::min(p, out);
    Job job;
    job.operands = {complex_operand(Role::input, stream, {s.tokens, s.in}),
                    complex_operand(Role::input, stream, {k, q, p}),
                    complex_operand(Role::input, stream, {k, out, q}),
                    complex_operand(Role::output, stream, {s.tokens, s.out})};
    const Tensor x = as_complex(job.operands[0], {s.tokens, s.in}),
                 y = as_complex(job.operands[3], {s.tokens, s.out});
    const Monarch w(as_complex(job.operands[1], {k, q, p}), as_complex(job.operands[2], {k, out, q}));
    job.record = [=](Recorder& recorder) { matmul_into(recorder, y, x, w); };
    const Tensor rx = random(stream, x.shape()), ry = random(stream, y.shape());
    const Monarch rw(random(stream, w.w1.shape()), random(stream, w.w2.shape()));
    finish(job, s, {{k, q, p, p, 1, q, 1}, {k, out, q, 1, k, 1, k}},
           [=](Recorder& recorder) { matmul_into(recorder, ry, rx, rw); });
    return job;
}

}  // namespace danaus::bench
