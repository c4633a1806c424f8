#include "fftw_oracle.hpp"

#include <fftw3.h>

namespace danaus::test {
namespace {

void run(fftw_plan plan) {
    fftw_execute(plan);
    fftw_destroy_plan(plan);
}

}  // namespace

reference::ComplexMatrix fftw_dft2d(reference::ComplexMatrix x, std::size_t height, std::size_t width,
                                    bool inverse) {
    for (std::size_t row = 0; row < x.rows; ++row) {
        auto* const at = reinterpret_cast<fftw_complex*>(&x.data[row * x.cols]);
        run(fftw_plan_dft_2d(static_cast<int>(height), static_cast<int>(width), at, at,
                             inverse ? FFTW_BACKWARD : FFTW_FORWARD, FFTW_ESTIMATE));
    }
    return x;
}

reference::ComplexMatrix fftw_dft(reference::ComplexMatrix x, bool inverse) {
    const std::size_t n = x.cols;
    return fftw_dft2d(std::move(x), 1, n, inverse);
}

reference::Matrix fftw_trigonometric(reference::Matrix x, Trigonometric kind) {
    constexpr fftw_r2r_kind kinds[] = {FFTW_REDFT10, FFTW_REDFT01, FFTW_REDFT11,
                                       FFTW_RODFT10, FFTW_RODFT01, FFTW_RODFT11};
    for (std::size_t row = 0; row < x.rows; ++row) {
        double* const at = &x.data[row * x.cols];
        run(fftw_plan_r2r_1d(static_cast<int>(x.cols), at, at, kinds[static_cast<std::size_t>(kind)],
                             FFTW_ESTIMATE));
    }
    return x;
}

}  // namespace danaus::test
