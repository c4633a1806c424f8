// Transposable 2:4 matrices with a code for each 4×4 tile; tiles and patterns as in transposable.hpp.
#pragma once

#include "reference/transposable.hpp"

#include <cstdint>

namespace danaus::reference {

/// The code of one of the 90 patterns: 36 p0 + 6 p1 + p2, where p is the place of a row's two columns in the
/// list 01, 02, 12, 03, 13, 23.
std::uint32_t code_of_pattern(std::uint32_t pattern);
/// The pattern that has this code, found among all 90; 0 if there is none.
std::uint32_t pattern_of_code(std::uint32_t code);

struct TileSparse24 {
    std::size_t rows = 0;
    std::size_t cols = 0;
    Matrix values;                    ///< rows x 2 * tiles in a row
    BasicMatrix<std::uint8_t> codes;  ///< bands of four rows x tiles in a row
};

/// Of any mask: a tile has the first of the ascending patterns that agrees with the mask on the entries that
/// exist, or the first of all. Values that the mask does not keep are zero.
TileSparse24 compress_tiles(const Matrix& w, const Mask& mask);

/// Entries by the patterns of their tiles.
Matrix decompress(const TileSparse24& s);

}  // namespace danaus::reference
