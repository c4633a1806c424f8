// What the transforms should give: FFTW in double precision, of square images of n × n, row-major.
#pragma once

#include <complex>
#include <cstddef>
#include <vector>

namespace sample {

using Reals = std::vector<double>;
using Complexes = std::vector<std::complex<double>>;

/// X[f, g] = Σ x[s, t]·exp(−2πi(f·s + g·t)/n).
Complexes exact_dft(const Reals& image, std::size_t n);
/// The unnormalised DCT-II along rows and columns, and the DCT-III, which is (2n)² times its inverse.
Reals exact_dct2(Reals image, std::size_t n);
Reals exact_dct3(Reals coefficients, std::size_t n);
/// y[p, q] = Σ kernel[a, b]·x[p − a, q − b], indices modulo n.
Complexes exact_convolution(const Reals& image, const Reals& kernel, std::size_t n);

}  // namespace sample
