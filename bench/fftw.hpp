// FFTW in single precision, opened at run time like OpenBLAS.
#pragma once

#include <cstdint>
#include <vector>

namespace danaus::bench {

/// A measured plan for `tokens` forward transforms of n points, unnormalised, out of place on one thread,
/// with memory of its own.
class Fftw {
public:
    Fftw(std::uint64_t tokens, std::uint64_t n);
    Fftw(const Fftw&) = delete;
    Fftw& operator=(const Fftw&) = delete;
    ~Fftw();
    /// False where libfftw3f cannot be opened.
    [[nodiscard]] explicit operator bool() const { return plan_ != nullptr; }
    void run() const { execute_(plan_); }

private:
    using Execute = void (*)(void*);
    std::vector<float> in_, out_;
    Execute execute_ = nullptr, destroy_ = nullptr;
    void* plan_ = nullptr;
};

/// What FFTW's authors count for a transform of n points, 5·n·log2(n) operations, as multiply-adds.
[[nodiscard]] std::uint64_t nominal_multiply_adds(std::uint64_t n);

/// Frequencies of every token by the definition, in double, of interleaved complex x into y of the same size:
/// 64 of them, other ones from token to token. The others are left as they are.
void sampled_dft(const std::vector<float>& x, std::vector<float>& y, std::uint64_t tokens, std::uint64_t n);

}  // namespace danaus::bench
