#include "fftw.hpp"

#include "platform.hpp"

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

namespace danaus::bench {

Fftw::Fftw(std::uint64_t tokens, std::uint64_t n) : in_(2 * tokens * n), out_(2 * tokens * n) {
    using PlanMany = void* (*)(int, const int*, int, float*, const int*, int, int, float*, const int*, int,
                               int, int, unsigned);
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
    plan_ = plan_many(1, &size, count, in_.data(), nullptr, 1, size, out_.data(), nullptr, 1, size, forward,
                      measure);
    std::fill(in_.begin(), in_.end(), 1.0f);
}

Fftw::~Fftw() {
    if (plan_) destroy_(plan_);
}

std::uint64_t nominal_multiply_adds(std::uint64_t n) {
    const auto points = static_cast<double>(n);
    return static_cast<std::uint64_t>(points * std::log2(points) * 2.5);
}

void sampled_dft(const std::vector<float>& x, std::vector<float>& y, std::uint64_t tokens, std::uint64_t n) {
    constexpr std::uint64_t frequencies = 64;
    std::vector<std::complex<double>> roots(n);
    for (std::uint64_t i = 0; i < n; ++i)
        roots[i] = std::polar(1.0, -2.0 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(n));
    for (std::uint64_t token = 0; token < tokens; ++token)
        for (std::uint64_t i = 0; i < std::min(n, frequencies); ++i) {
            const std::uint64_t f = (token + i * 67) % n;
            std::complex<double> sum = 0.0;
            for (std::uint64_t t = 0; t < n; ++t) {
                const float* const at = &x[2 * (token * n + t)];
                sum += std::complex<double>(at[0], at[1]) * roots[f * t % n];
            }
            y[2 * (token * n + f)] = static_cast<float>(sum.real());
            y[2 * (token * n + f) + 1] = static_cast<float>(sum.imag());
        }
}

}  // namespace danaus::bench
