// OpenBLAS, the yardstick on the CPU: opened at run time, so that one danaus-bench serves machines with and
// without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace danaus::bench {

class Blas {
public:
    /// The machine's OpenBLAS, told to use `threads` threads; empty where there is none.
    [[nodiscard]] static std::optional<Blas> load(unsigned threads);

    /// Version, kernels and threads, as OpenBLAS states them.
    [[nodiscard]] const std::string& description() const { return description_; }

    /// One operand: row-major with `leading` elements between rows, or transposed.
    struct Operand {
        const float* data;
        std::uint64_t leading;
        bool transposed;
    };
    /// c (m × n, row-major, `leading` elements between rows) = a (m × k) · b (k × n).
    void sgemm(std::uint64_t m, std::uint64_t n, std::uint64_t k, Operand a, Operand b, float* c,
               std::uint64_t leading) const;
    /// y (rows) = a (rows × columns, row-major, `leading` elements between rows) · x, or aᵀ · x.
    void sgemv(std::uint64_t rows, std::uint64_t columns, Operand a, const float* x, float* y) const;

    /// Whether this OpenBLAS was built with LAPACK.
    [[nodiscard]] bool has_lapack() const { return sgesdd_ != nullptr; }
    /// Thin singular value decomposition, with both sides' vectors, of a (m × n, column-major), which is
    /// overwritten.
    void sgesdd(std::uint64_t m, std::uint64_t n, std::vector<float>& a) const;

private:
    using Sgesdd = void (*)(const char*, const int*, const int*, float*, const int*, float*, float*,
                            const int*, float*, const int*, float*, const int*, int*, int*, std::size_t);
    using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                           float*, int);
    using Sgemv = void (*)(int, int, int, int, float, const float*, int, const float*, int, float, float*,
                           int);
    Sgemm sgemm_ = nullptr;
    Sgemv sgemv_ = nullptr;
    Sgesdd sgesdd_ = nullptr;
    std::string description_;
};

}  // namespace danaus::bench
