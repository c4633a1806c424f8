#include "reference.hpp"

#include <fftw3.h>

namespace sample {
namespace {

void execute(fftw_plan plan) {
    fftw_execute(plan);
    fftw_destroy_plan(plan);
}

Complexes fourier(Complexes values, std::size_t n, int sign) {
    auto* const at = reinterpret_cast<fftw_complex*>(values.data());
    const int size = static_cast<int>(n);
    execute(fftw_plan_dft_2d(size, size, at, at, sign, FFTW_ESTIMATE));
    return values;
}

Reals cosines(Reals values, std::size_t n, fftw_r2r_kind kind) {
    const int size = static_cast<int>(n);
    execute(fftw_plan_r2r_2d(size, size, values.data(), values.data(), kind, kind, FFTW_ESTIMATE));
    return values;
}

}  // namespace

Complexes exact_dft(const Reals& image, std::size_t n) {
    return fourier({image.begin(), image.end()}, n, FFTW_FORWARD);
}

Reals exact_dct2(Reals image, std::size_t n) {
    return cosines(std::move(image), n, FFTW_REDFT10);
}

Reals exact_dct3(Reals coefficients, std::size_t n) {
    return cosines(std::move(coefficients), n, FFTW_REDFT01);
}

Complexes exact_convolution(const Reals& image, const Reals& kernel, std::size_t n) {
    Complexes spectrum = exact_dft(image, n);
    const Complexes gain = exact_dft(kernel, n);
    const double scale = 1.0 / static_cast<double>(n * n);
    for (std::size_t i = 0; i < spectrum.size(); ++i) spectrum[i] *= scale * gain[i];
    return fourier(std::move(spectrum), n, FFTW_BACKWARD);
}

}  // namespace sample
