// Fourier transforms by Monarch products, beside FFTW in single precision.
#include "fftw.hpp"
#include "jobs.hpp"

#include <memory>

namespace danaus::bench {

Job fourier(Stream& stream, const Sizes& s) {
    const std::uint64_t n = s.in, floats = 2 * s.tokens * n;
    const Split split = splits_of(n).back();
    Job job;
    for (const Role role : {Role::input, Role::output})
        job.operands.push_back({role, floats, Tensor(stream.device(), DataType::f32, {floats}), false});
    const auto view = [&](std::size_t i) {
        return Tensor(job.operands[i].tensor.buffer(), DataType::complex64, {s.tokens, n});
    };
    job.record = [x = view(0), y = view(1), transform = dft(stream, n)](Recorder& recorder) {
        matmul_into(recorder, y, x, transform);
    };
    job.multiply_adds = 4 * s.tokens * n * (split.i + split.j);
    job.bytes = (2 * floats + 2 * n * (split.i + split.j)) * 4;
    job.magnitude = 1;
    job.tolerance = 1e-3;
    job.oracle = [s](std::vector<std::vector<float>>& operands) {
        sampled_dft(operands[0], operands[1], s.tokens, s.in);
    };
    if (auto fftw = std::make_shared<Fftw>(s.tokens, n); *fftw) {
        job.yardstick.what = "fftwf, one thread";
        job.yardstick.multiply_adds = s.tokens * nominal_multiply_adds(n);
        job.yardstick.run = [fftw](const Blas&, std::vector<std::vector<float>>&) { fftw->run(); };
    }
    return job;
}

}  // namespace danaus::bench
