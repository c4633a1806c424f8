#include "reference/tile_sparse24.hpp"

#include <algorithm>
#include <array>

namespace danaus::reference {
namespace {

std::vector<std::size_t> columns_of(std::uint32_t pattern, std::size_t row) {
    std::vector<std::size_t> columns;
    for (std::size_t c = 0; c < 4; ++c)
        if ((pattern >> (4 * row + c) & 1u) != 0) columns.push_back(c);
    return columns;
}

}  // namespace

std::uint32_t code_of_pattern(std::uint32_t pattern) {
    const std::array<std::vector<std::size_t>, 6> pairs{{{0, 1}, {0, 2}, {1, 2}, {0, 3}, {1, 3}, {2, 3}}};
    std::uint32_t code = 0;
    for (std::size_t row = 0; row < 3; ++row)
        code =
            6 * code + static_cast<std::uint32_t>(
                           std::find(pairs.begin(), pairs.end(), columns_of(pattern, row)) - pairs.begin());
    return code;
}

std::uint32_t pattern_of_code(std::uint32_t code) {
    for (const std::uint32_t pattern : transposable_patterns())
        if (code_of_pattern(pattern) == code) return pattern;
    return 0;
}

TileSparse24 compress_tiles(const Matrix& w, const Mask& mask) {
    require(w.rows == mask.rows && w.cols == mask.cols, "the mask must have the matrix's shape");
    const std::size_t bands = (w.rows + 3) / 4, tiles = (w.cols + 3) / 4;
    TileSparse24 s{w.rows, w.cols, Matrix(w.rows, 2 * tiles), BasicMatrix<std::uint8_t>(bands, tiles)};
    for (std::size_t band = 0; band < bands; ++band)
        for (std::size_t tile = 0; tile < tiles; ++tile) {
            std::uint32_t exists = 0, kept = 0;
            for (std::size_t i = 0; i < 16; ++i) {
                const std::size_t row = 4 * band + i / 4, column = 4 * tile + i % 4;
                if (row >= w.rows || column >= w.cols) continue;
                exists |= 1u << i;
                kept |= std::uint32_t{mask(row, column)} << i;
            }
            const auto& all = transposable_patterns();
            const auto found =
                std::find_if(all.begin(), all.end(), [&](std::uint32_t p) { return (p & exists) == kept; });
            const std::uint32_t pattern = found == all.end() ? all.front() : *found;
            s.codes(band, tile) = static_cast<std::uint8_t>(code_of_pattern(pattern));
            for (std::size_t row = 4 * band; row < std::min(4 * band + 4, w.rows); ++row)
                for (std::size_t i = 0; i < 2; ++i) {
                    const std::size_t column = 4 * tile + columns_of(pattern, row % 4)[i];
                    if (column < w.cols && mask(row, column) != 0)
                        s.values(row, 2 * tile + i) = w(row, column);
                }
        }
    return s;
}

Matrix decompress(const TileSparse24& s) {
    Matrix w(s.rows, s.cols);
    for (std::size_t row = 0; row < s.rows; ++row)
        for (std::size_t tile = 0; tile < s.codes.cols; ++tile) {
            const auto columns = columns_of(pattern_of_code(s.codes(row / 4, tile)), row % 4);
            for (std::size_t i = 0; i < columns.size(); ++i)
                if (4 * tile + columns[i] < s.cols)
                    w(row, 4 * tile + columns[i]) = s.values(row, 2 * tile + i);
        }
    return w;
}

}  // namespace danaus::reference
