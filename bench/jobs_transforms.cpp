// Fourier transforms by Monarch products, beside FFTW in single precision, which is opened at run time like
// OpenBLAS.
#include "jobs.hpp"
#include "platform.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <memory>
#include <numbers>

namespace danaus::bench {
namespace {

using Values = std::vector<std::vector<float>>;

// A plan of FFTW for `tokens` transforms of n points, with memory of its own.
class Fftw {
public:
    Fftw(std::uint64_t tokens, std::uint64_t n) : in_(2 * tokens * n), out_(2 * tokens * n) {
        static constexpr const char* names[] = {"libfftw3f.so.3", "libfftw3f.so", "libfftw3f.3.dylib",
                                                "libfftw3f-3.dll"};
        void* const library = platform::open_library(names);
        if (!library) return;
        const auto plan_many = reinterpret_cast<PlanMany>(platform::symbol(library, "fftwf_plan_many_dft"));
        execute_ = reinterpret_cast<Execute>(platform::symbol(library, "fftwf_execute"));
        destroy_ = reinterpret_cast<Execute>(platform::symbol(library, "fftwf_destroy_plan"));
        if (!plan_many || !execute_ || !destroy_) return;
        constexpr int forward = -1;
        constexpr unsigned measure = 0;
        const int size = static_cast<int>(n), count = static_cast<int>(tokens);
        plan_ = plan_many(1, &size, count, in_.data(), nullptr, 1, size, out_.data(), nullptr, 1, size,
                          forward, measure);
        std::fill(in_.begin(), in_.end(), 1.0f);
    }
    Fftw(const Fftw&) = delete;
    Fftw& operator=(const Fftw&) = delete;
    ~Fftw() {
        if (plan_) destroy_(plan_);
    }
    [[nodiscard]] explicit operator bool() const { return plan_ != nullptr; }
    void run() const { execute_(plan_); }

private:
    using PlanMany = void* (*)(int, const int*, int, float*, const int*, int, int, float*, const int*, int,
                               int, int, unsigned);
    using Execute = void (*)(void*);
    std::vector<float> in_, out_;
    Execute execute_ = nullptr, destroy_ = nullptr;
    void* plan_ = nullptr;
};

// By the definition, of a few frequencies of every token.
void sampled(Values& operands, std::uint64_t tokens, std::uint64_t n) {
    constexpr std::uint64_t frequencies = 64;
    for (std::uint64_t token = 0; token < tokens; ++token)
        for (std::uint64_t i = 0; i < std::min(n, frequencies); ++i) {
            const std::uint64_t f = (token + i * 67) % n;
            std::complex<double> sum = 0.0;
            for (std::uint64_t t = 0; t < n; ++t) {
                const float* const x = &operands[0][2 * (token * n + t)];
                sum += std::complex<double>(x[0], x[1]) *
                       std::polar(1.0, -2.0 * std::numbers::pi * static_cast<double>(f * t % n) /
                                           static_cast<double>(n));
            }
            operands[1][2 * (token * n + f)] = static_cast<float>(sum.real());
            operands[1][2 * (token * n + f) + 1] = static_cast<float>(sum.imag());
        }
}

}  // namespace

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
    job.oracle = [s](Values& operands) { sampled(operands, s.tokens, s.in); };
    if (auto fftw = std::make_shared<Fftw>(s.tokens, n); *fftw) {
        job.yardstick.what = "fftwf, one thread";
        // 5·n·log2(n) operations, as FFTW counts them.
        job.yardstick.multiply_adds =
            s.tokens * n * static_cast<std::uint64_t>(std::bit_width(n) - 1) * 5 / 2;
        job.yardstick.run = [fftw](const Blas&, Values&) { fftw->run(); };
    }
    return job;
}

}  // namespace danaus::bench
