// FFTW in double precision, as oracle.
#pragma once

#include "reference/matrix.hpp"

#include <danaus/transforms.hpp>

namespace danaus::test {

/// The unnormalised DFT of every row, or its inverse (exponent's sign +1).
[[nodiscard]] reference::ComplexMatrix fftw_dft(reference::ComplexMatrix x, bool inverse = false);
/// Of every row as an image of height × width.
[[nodiscard]] reference::ComplexMatrix fftw_dft2d(reference::ComplexMatrix x, std::size_t height,
                                                  std::size_t width, bool inverse = false);
/// REDFT and RODFT of every row, unnormalised.
[[nodiscard]] reference::Matrix fftw_trigonometric(reference::Matrix x, Trigonometric kind);

}  // namespace danaus::test
