#include "reference/vector_sparse.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace danaus::reference {
namespace {

std::vector<double> column_of(const Matrix& w, std::size_t first_row, std::size_t v, std::size_t column) {
    std::vector<double> entries;
    for (std::size_t r = first_row; r < std::min(first_row + v, w.rows); ++r) entries.push_back(w(r, column));
    return entries;
}

}  // namespace

double column_score(std::span<const double> column) {
    double largest = 0.0;
    for (const double value : column) {
        if (std::isnan(value)) return std::numeric_limits<double>::quiet_NaN();
        largest = std::max(largest, std::abs(value));
    }
    if (largest == 0.0 || std::isinf(largest)) return largest;
    const double unit = std::ldexp(1.0, std::ilogb(largest) - 23);
    double units = 0.0;
    for (const double value : column) units += std::floor(std::abs(value) / unit);
    return units * unit;
}

Mask select_vector_mask(const Matrix& w, const VectorPattern& pattern) {
    const auto [n, m, v] = pattern;
    Mask mask(w.rows, w.cols);
    for (std::size_t top = 0; top < w.rows; top += v)
        for (std::size_t first = 0; first < w.cols; first += m) {
            std::vector<std::size_t> order(std::min(m, w.cols - first));
            std::iota(order.begin(), order.end(), first);
            std::stable_sort(order.begin(), order.end(), [&, v = v, top](std::size_t a, std::size_t b) {
                return ranks_above(column_score(column_of(w, top, v, a)),
                                   column_score(column_of(w, top, v, b)));
            });
            for (std::size_t i = 0; i < std::min(n, order.size()); ++i)
                for (std::size_t r = top; r < std::min(top + v, w.rows); ++r) mask(r, order[i]) = 1;
        }
    return mask;
}

double best_vector_score(const Matrix& w, const VectorPattern& pattern, std::size_t panel,
                         std::size_t group) {
    const auto [n, m, v] = pattern;
    const std::size_t first = group * m, size = std::min(m, w.cols - first), keep = std::min(n, size);
    require(size <= 12, "best_vector_score: at most 12 columns, every subset is tried");
    double best = 0.0;
    for (std::uint32_t subset = 0; subset < (1u << size); ++subset) {
        if (static_cast<std::size_t>(std::popcount(subset)) != keep) continue;
        double sum = 0.0;
        for (std::size_t i = 0; i < size; ++i)
            if ((subset >> i & 1u) != 0u) sum += column_score(column_of(w, panel * v, v, first + i));
        best = std::max(best, sum);
    }
    return best;
}

VectorSparse compress(const Matrix& w, const Mask& mask, const VectorPattern& pattern) {
    const auto [n, m, v] = pattern;
    VectorSparse s{w.rows, w.cols, v, w.cols / m * n + std::min(n, w.cols % m), {}, {}};
    for (std::size_t top = 0; top < w.rows; top += v) {
        std::size_t kept = 0;
        for (std::size_t c = 0; c < w.cols; ++c) {
            for (std::size_t r = top; r < std::min(top + v, w.rows); ++r)
                require(mask(r, c) == mask(top, c), "compress: rows of a panel must have one mask");
            if (mask(top, c) == 0) continue;
            ++kept;
            s.indices.push_back(static_cast<std::uint32_t>(c));
            for (std::size_t r = top; r < top + v; ++r) s.values.push_back(r < w.rows ? w(r, c) : 0.0);
        }
        require(kept == s.kept, "compress: the mask must keep n of every m columns");
    }
    return s;
}

Matrix decompress(const VectorSparse& s) {
    Matrix w(s.rows, s.cols);
    for (std::size_t i = 0; i < s.values.size(); ++i) {
        const std::size_t list = i / s.v, row = list / s.kept * s.v + i % s.v;
        if (row < s.rows) w(row, s.indices[list]) = s.values[i];
    }
    return w;
}

}  // namespace danaus::reference
