#include "reference/sparse24.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace danaus::reference {
namespace {

void require_same_shape(const Matrix& w, const Mask& mask) {
    require(w.rows == mask.rows && w.cols == mask.cols, "the mask must have the matrix's shape");
}

}  // namespace

double selection_magnitude(double value) {
    return std::isnan(value) ? std::numeric_limits<double>::infinity() : std::abs(value);
}

bool ranks_above(double a, double b) {
    if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && !std::isnan(b);
    return std::abs(a) > std::abs(b);
}

Mask select_mask(const Matrix& w, std::size_t n, std::size_t m) {
    require(m > 0 && n <= m, "select_mask: N:M needs 0 <= N <= M and M > 0");
    Mask mask(w.rows, w.cols);
    for (std::size_t row = 0; row < w.rows; ++row) {
        for (std::size_t first = 0; first < w.cols; first += m) {
            std::vector<std::size_t> order(std::min(m, w.cols - first));
            std::iota(order.begin(), order.end(), first);
            // A stable sort leaves equal magnitudes in ascending column order.
            std::stable_sort(order.begin(), order.end(),
                             [&](std::size_t a, std::size_t b) { return ranks_above(w(row, a), w(row, b)); });
            for (std::size_t i = 0; i < std::min(n, order.size()); ++i) mask(row, order[i]) = 1;
        }
    }
    return mask;
}

bool is_mask(const Mask& mask, std::size_t n, std::size_t m) {
    require(m > 0 && n <= m, "is_mask: N:M needs 0 <= N <= M and M > 0");
    for (std::size_t row = 0; row < mask.rows; ++row) {
        for (std::size_t first = 0; first < mask.cols; first += m) {
            const std::size_t present = std::min(m, mask.cols - first);
            std::size_t kept = 0;
            for (std::size_t i = 0; i < present; ++i) {
                if (mask(row, first + i) > 1) return false;
                kept += mask(row, first + i);
            }
            if (kept != std::min(n, present)) return false;
        }
    }
    return true;
}

Matrix apply_mask(const Matrix& w, const Mask& mask) {
    require_same_shape(w, mask);
    Matrix result(w.rows, w.cols);
    for (std::size_t i = 0; i < w.data.size(); ++i) result.data[i] = mask.data[i] != 0 ? w.data[i] : 0.0;
    return result;
}

Matrix soft_threshold(const Matrix& w) {
    Matrix s(w.rows, w.cols);
    for (std::size_t row = 0; row < w.rows; ++row)
        for (std::size_t first = 0; first < w.cols; first += 4) {
            std::array<double, 4> sizes{};
            const std::size_t present = std::min<std::size_t>(4, w.cols - first);
            for (std::size_t i = 0; i < present; ++i) sizes[i] = std::abs(w(row, first + i));
            std::sort(sizes.begin(), sizes.end());
            for (std::size_t i = 0; i < present; ++i) {
                const double a = w(row, first + i);
                s(row, first + i) = std::copysign(std::max(std::abs(a) - sizes[1], 0.0), a);
            }
        }
    return s;
}

double soft_threshold_scale(const Matrix& w) {
    const Matrix s = soft_threshold(w);
    double product = 0.0, square = 0.0;
    for (std::size_t i = 0; i < s.data.size(); ++i) {
        product += w.data[i] * s.data[i];
        square += s.data[i] * s.data[i];
    }
    return square == 0.0 ? 1.0 : product / square;
}

double kept_magnitude(const Matrix& w, const Mask& mask) {
    require_same_shape(w, mask);
    double sum = 0.0;
    for (std::size_t i = 0; i < w.data.size(); ++i)
        sum += mask.data[i] != 0 ? selection_magnitude(w.data[i]) : 0.0;
    return sum;
}

double best_group_magnitude(std::span<const double> group, std::size_t n) {
    require(group.size() <= 20, "best_group_magnitude: at most 20 entries, every subset is tried");
    const std::size_t keep = std::min(n, group.size());
    double best = 0.0;
    for (std::uint32_t subset = 0; subset < (1u << group.size()); ++subset) {
        if (static_cast<std::size_t>(std::popcount(subset)) != keep) continue;
        double sum = 0.0;
        for (std::size_t i = 0; i < group.size(); ++i) {
            if ((subset >> i & 1u) != 0u) sum += selection_magnitude(group[i]);
        }
        best = std::max(best, sum);
    }
    return best;
}

double flip_rate(const Mask& a, const Mask& b) {
    require(a.rows == b.rows && a.cols == b.cols, "flip_rate: both masks must have one shape");
    if (a.data.empty()) return 0.0;
    std::size_t flips = 0;
    for (std::size_t i = 0; i < a.data.size(); ++i)
        flips += a.data[i] != b.data[i] ? std::size_t{1} : std::size_t{0};
    return static_cast<double>(flips) / static_cast<double>(a.data.size());
}

Sparse24 compress(const Matrix& w, const Mask& mask) {
    require_same_shape(w, mask);
    require(is_mask(mask, 2, 4), "compress: the mask must keep exactly two of every four");
    Sparse24 s{w.rows, w.cols, {}, {}};
    s.values = Matrix(w.rows, 2 * s.groups());
    s.indices = BasicMatrix<std::uint8_t>(w.rows, s.groups());
    for (std::size_t row = 0; row < w.rows; ++row) {
        for (std::size_t group = 0; group < s.groups(); ++group) {
            std::vector<std::size_t> kept;
            for (std::size_t i = 0; i < 4 && 4 * group + i < w.cols; ++i) {
                if (mask(row, 4 * group + i) == 0) continue;
                s.values(row, 2 * group + kept.size()) = w(row, 4 * group + i);
                kept.push_back(i);
            }
            if (kept.size() == 1) kept.push_back(1);  // a last group of one column: padding at position 1
            s.indices(row, group) = static_cast<std::uint8_t>(kept[0] | kept[1] << 2);
        }
    }
    return s;
}

Matrix decompress(const Sparse24& s) {
    Matrix w(s.rows, s.cols);
    for (std::size_t row = 0; row < s.rows; ++row) {
        for (std::size_t group = 0; group < s.groups(); ++group) {
            for (std::size_t i = 0; i < 2; ++i) {
                const std::size_t col =
                    4 * group + (static_cast<std::size_t>(s.indices(row, group)) >> (2 * i) & 3u);
                if (col < s.cols) w(row, col) = s.values(row, 2 * group + i);
            }
        }
    }
    return w;
}

Matrix matmul(const Matrix& x, const Sparse24& s) {
    return matmul(x, decompress(s));
}

Matrix matmul_transposed(const Matrix& dy, const Sparse24& s) {
    return matmul_transposed(dy, decompress(s));
}

Matrix weight_gradient(const Matrix& dy, const Matrix& x, const Sparse24& s) {
    require(dy.cols == s.rows && x.cols == s.cols,
            "2:4 weight_gradient: dY and X must fit the matrix's shape");
    return weight_gradient(dy, x);
}

Matrix masked_decay(const Matrix& gradient, const Matrix& w, const Mask& mask, double lambda) {
    require_same_shape(w, mask);
    require_same_shape(gradient, mask);
    Matrix result = gradient;
    for (std::size_t i = 0; i < w.data.size(); ++i) {
        if (mask.data[i] == 0) result.data[i] += lambda * w.data[i];
    }
    return result;
}

}  // namespace danaus::reference
