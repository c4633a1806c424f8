#include "blas.hpp"

#include "platform.hpp"

#include <algorithm>
#include <cstdlib>

#include <fmt/format.h>

namespace danaus::bench {
namespace {

constexpr int row_major = 101, plain = 111, transposed = 112;  // the values of cblas.h

template <typename Function>
Function symbol(void* library, const char* name) {
    return reinterpret_cast<Function>(platform::symbol(library, name));
}

// By default OpenBLAS's threads spin for some 25 ms after their work, and a device that shares their cores
// came out 1.6 times slower. Read when the library is loaded; what the user has set stays.
void let_threads_sleep() {
    constexpr const char* name = "OPENBLAS_THREAD_TIMEOUT";
    if (std::getenv(name)) return;
#if defined(_WIN32)
    _putenv_s(name, "4");
#else
    setenv(name, "4", 0);
#endif
}

}  // namespace

std::optional<Blas> Blas::load(unsigned threads) {
    static constexpr const char* names[] = {"libopenblas.so.0", "libopenblas.so", "libopenblas.dylib",
                                            "libopenblas.dll"};
    let_threads_sleep();
    void* library = platform::open_library(names);
    if (!library) return std::nullopt;
    Blas blas;
    blas.sgemm_ = symbol<Sgemm>(library, "cblas_sgemm");
    blas.sgemv_ = symbol<Sgemv>(library, "cblas_sgemv");
    blas.sgesdd_ = symbol<Sgesdd>(library, "sgesdd_");
    const auto set_threads = symbol<void (*)(int)>(library, "openblas_set_num_threads");
    const auto get_threads = symbol<int (*)()>(library, "openblas_get_num_threads");
    const auto config = symbol<char* (*)()>(library, "openblas_get_config");
    if (!blas.sgemm_ || !blas.sgemv_ || !set_threads || !get_threads || !config) return std::nullopt;
    set_threads(static_cast<int>(threads));
    blas.description_ = fmt::format("{}, {} threads", config(), get_threads());
    return blas;
}

void Blas::sgemm(std::uint64_t m, std::uint64_t n, std::uint64_t k, Operand a, Operand b, float* c,
                 std::uint64_t leading) const {
    sgemm_(row_major, a.transposed ? transposed : plain, b.transposed ? transposed : plain,
           static_cast<int>(m), static_cast<int>(n), static_cast<int>(k), 1.0f, a.data,
           static_cast<int>(a.leading), b.data, static_cast<int>(b.leading), 0.0f, c,
           static_cast<int>(leading));
}

void Blas::sgemv(std::uint64_t rows, std::uint64_t columns, Operand a, const float* x, float* y) const {
    sgemv_(row_major, a.transposed ? transposed : plain, static_cast<int>(rows), static_cast<int>(columns),
           1.0f, a.data, static_cast<int>(a.leading), x, 1, 0.0f, y, 1);
}

void Blas::sgesdd(std::uint64_t m, std::uint64_t n, std::vector<float>& a) const {
    const int rows = static_cast<int>(m), columns = static_cast<int>(n), rank = std::min(rows, columns);
    std::vector<float> sigma(static_cast<std::size_t>(rank)), u(m * sigma.size()), v(sigma.size() * n),
        work(1);
    std::vector<int> whole(8 * sigma.size());
    int info = 0;
    const auto call = [&](int words) {
        sgesdd_("S", &rows, &columns, a.data(), &rows, sigma.data(), u.data(), &rows, v.data(), &rank,
                work.data(), &words, whole.data(), &info, 1);
    };
    call(-1);
    work.resize(static_cast<std::size_t>(work[0]));
    call(static_cast<int>(work.size()));
}

}  // namespace danaus::bench
