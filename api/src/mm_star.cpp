// The factorisation of MM* matrices. The one source that knows Eigen.
#include "check.hpp"

#include <danaus/mm_star.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>

#include <fmt/ranges.h>

#define EIGEN_MPL2_ONLY
#include <Eigen/Dense>

namespace danaus {

using namespace detail;

namespace {

using Index = Eigen::Index;
template <typename Scalar>
using Square = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;
template <typename Scalar>
using Lu = Eigen::PartialPivLU<Square<Scalar>>;

constexpr bool is_complex(double) {
    return false;
}
constexpr bool is_complex(std::complex<double>) {
    return true;
}

bool is_finite(const std::complex<double>& value) {
    return std::isfinite(value.real()) && std::isfinite(value.imag());
}

double longest_part(const std::complex<double>& value) {
    return std::max(std::abs(value.real()), std::abs(value.imag()));
}

double scale_by(double value, int exponent) {
    return std::scalbn(value, exponent);
}
std::complex<double> scale_by(const std::complex<double>& value, int exponent) {
    return {std::scalbn(value.real(), exponent), std::scalbn(value.imag(), exponent)};
}

template <typename Scalar>
class Factorization {
public:
    Factorization(std::span<const Scalar> m, std::uint64_t n, std::uint64_t blocks)
        : m_(m), n_(n), l_(static_cast<Index>(blocks)), s_(static_cast<Index>(n / blocks)) {}

    MmStarFactors<Scalar> run(const MmStarOptions& options) {
        choose_pivots();
        commuting();
        std::mt19937_64 engine(options.seed);
        // A combination may happen to have eigenvalues that lie close together.
        constexpr int tries = 4;
        MmStarFactors<Scalar> best;
        best.residual = std::numeric_limits<double>::infinity();
        for (int i = 0; i < tries && !(best.residual < good_enough * options.tolerance); ++i) {
            MmStarFactors<Scalar> found = factors(diagonalizer(engine));
            found.residual = residual(found);
            if (found.residual < best.residual) best = std::move(found);
        }
        return best;
    }

private:
    static constexpr double good_enough = 1e-3;

    // M_ij, whose rows are i, i + l, ….
    [[nodiscard]] Square<Scalar> block(Index i, Index j) const {
        Square<Scalar> result(s_, s_);
        for (Index row = 0; row < s_; ++row)
            for (Index column = 0; column < s_; ++column)
                result(row, column) = m_[static_cast<std::size_t>(row * l_ + i) * n_ +
                                         static_cast<std::size_t>(column * l_ + j)];
        return result;
    }

    // The row and the column of blocks whose worst one is best to invert.
    void choose_pivots() {
        Eigen::MatrixXd inverse_condition(l_, l_);
        for (Index i = 0; i < l_; ++i)
            for (Index j = 0; j < l_; ++j) {
                const double value = Lu<Scalar>(block(i, j)).rcond();
                inverse_condition(i, j) = std::isfinite(value) ? value : 0.0;  // of an exact zero on the way
            }
        const double least = static_cast<double>(s_) * std::numeric_limits<double>::epsilon();
        const auto refuse = [&](const char* kind, Index i, Index j) {
            const double worst = inverse_condition(i, j);
            if (worst <= least)
                invalid(
                    "m: singular input: every {} of its {} × {} blocks has one that cannot be inverted; in "
                    "the "
                    "best one block ({}, {}) has condition {:.1e}, at most {:.1e} is needed",
                    kind, l_, l_, i, j, 1.0 / worst, 1.0 / least);
        };
        Index j = 0, i = 0;
        inverse_condition.rowwise().minCoeff().maxCoeff(&row_);
        inverse_condition.row(row_).minCoeff(&j);
        refuse("row", row_, j);
        inverse_condition.colwise().minCoeff().maxCoeff(&column_);
        inverse_condition.col(column_).minCoeff(&i);
        refuse("column", i, column_);
    }

    // All F_ij; those of the pivots' row and column are 1.
    void commuting() {
        const Square<Scalar> pivot = block(row_, column_);
        std::vector<Square<Scalar>> right;
        for (Index j = 0; j < l_; ++j) right.push_back(Lu<Scalar>(block(row_, j)).solve(pivot));
        for (Index i = 0; i < l_; ++i) {
            const Lu<Scalar> left(block(i, column_));
            for (Index j = 0; j < l_; ++j)
                commuting_.push_back(
                    i == row_ || j == column_
                        ? Square<Scalar>(Square<Scalar>::Identity(s_, s_))
                        : Square<Scalar>(left.solve(block(i, j) * right[static_cast<std::size_t>(j)])));
        }
    }

    [[nodiscard]] const Square<Scalar>& commuting(Index i, Index j) const {
        return commuting_[static_cast<std::size_t>(i * l_ + j)];
    }

    // V with V⁻¹·F_ij·V diagonal.
    [[nodiscard]] Square<Scalar> diagonalizer(std::mt19937_64& engine) const {
        Square<Scalar> sum = Square<Scalar>::Zero(s_, s_);
        // Not std::normal_distribution, whose numbers are each library's own.
        const auto uniform = [&] { return static_cast<double>(engine() >> 11) * 0x1p-52 - 1.0; };
        for (const Square<Scalar>& one : commuting_)
            if (const double norm = one.norm(); norm > 0) sum += one * (uniform() / norm);
        Square<Scalar> v;
        if constexpr (is_complex(Scalar{})) {
            v = Eigen::ComplexEigenSolver<Square<Scalar>>(sum).eigenvectors();
        } else {
            // Of a pair that rounding has made complex, the real and the imaginary part.
            v = Eigen::EigenSolver<Square<Scalar>>(sum).pseudoEigenvectors();
        }
        for (int step = 0; step < 3; ++step) sharpen(v);
        return v;
    }

    // One step of Newton's method towards all F_ij being diagonal: V·(1 + E), where E_pq takes the most of
    // the elements (p, q), which are (λ_p − λ_q)·E_pq in first order.
    void sharpen(Square<Scalar>& v) const {
        const Lu<Scalar> inverse(v);
        Square<Scalar> above = Square<Scalar>::Zero(s_, s_);
        Eigen::MatrixXd below = Eigen::MatrixXd::Zero(s_, s_);
        for (const Square<Scalar>& one : commuting_) {
            const double norm = one.norm(), weight = norm > 0 ? 1.0 / (norm * norm) : 0.0;
            const Square<Scalar> turned = inverse.solve(one * v);
            for (Index p = 0; p < s_; ++p)
                for (Index q = 0; q < s_; ++q) {
                    const Scalar gap = turned(p, p) - turned(q, q);
                    above(p, q) += weight * Eigen::numext::conj(gap) * turned(p, q);
                    below(p, q) += weight * Eigen::numext::abs2(gap);
                }
        }
        Square<Scalar> step = Square<Scalar>::Identity(s_, s_);
        for (Index p = 0; p < s_; ++p)
            for (Index q = 0; q < s_; ++q)
                // No small step leads away; of two eigenvalues that agree in all F_ij it would be a quotient
                // of rounding errors, and any two vectors serve.
                if (p != q && std::abs(above(p, q)) < 0.1 * below(p, q))
                    step(p, q) = -above(p, q) / below(p, q);
        v = v * step;
        for (Index p = 0; p < s_; ++p) v.col(p).normalize();
    }

    [[nodiscard]] MmStarFactors<Scalar> factors(const Square<Scalar>& v) const {
        MmStarFactors<Scalar> out;
        out.blocks = static_cast<std::uint64_t>(l_);
        out.size = static_cast<std::uint64_t>(s_);
        std::vector<Square<Scalar>> left, right;
        for (Index i = 0; i < l_; ++i) left.push_back(block(i, column_) * v);
        const Lu<Scalar> pivot(left[static_cast<std::size_t>(row_)]);
        for (Index j = 0; j < l_; ++j) right.push_back(pivot.solve(block(row_, j)));
        const Lu<Scalar> inverse(v);
        out.middle.resize(static_cast<std::size_t>(s_ * l_ * l_));
        const auto middle = [&](Index p, Index i, Index j) -> Scalar& {
            return out.middle[static_cast<std::size_t>((p * l_ + i) * l_ + j)];
        };
        for (Index i = 0; i < l_; ++i)
            for (Index j = 0; j < l_; ++j) {
                const Square<Scalar> turned = inverse.solve(commuting(i, j) * v);
                for (Index p = 0; p < s_; ++p)
                    middle(p, i, j) = turned(p, p) * left[static_cast<std::size_t>(i)].col(p).norm() *
                                      right[static_cast<std::size_t>(j)].row(p).norm();
            }
        for (Index i = 0; i < l_; ++i) {
            left[static_cast<std::size_t>(i)].colwise().normalize();
            right[static_cast<std::size_t>(i)].rowwise().normalize();
        }
        for (auto [from, to] : {std::pair{&left, &out.left}, std::pair{&right, &out.right}})
            for (const Square<Scalar>& one : *from)
                for (Index row = 0; row < s_; ++row)
                    for (Index column = 0; column < s_; ++column) to->push_back(one(row, column));
        return out;
    }

    [[nodiscard]] double residual(const MmStarFactors<Scalar>& found) const {
        const std::vector<Scalar> product = to_dense(found);
        double wrong = 0, all = 0;
        for (std::size_t i = 0; i < product.size(); ++i) {
            wrong += std::norm(product[i] - m_[i]);
            all += std::norm(m_[i]);
        }
        const double result = std::sqrt(wrong / all);
        return std::isfinite(result) ? result : std::numeric_limits<double>::infinity();
    }

    std::span<const Scalar> m_;
    std::uint64_t n_;
    Index l_, s_;  // blocks, and the size of one
    Index row_ = 0, column_ = 0;
    std::vector<Square<Scalar>> commuting_;
};

template <typename Scalar>
MmStarFactors<Scalar> factorize(std::span<const Scalar> m, std::uint64_t n, std::uint64_t blocks,
                                const MmStarOptions& options) {
    require(n > 0 && n < 1ull << 31 && m.size() == n * n, "m: {} elements, n·n are needed for n = {} > 0",
            m.size(), n);
    if (blocks == 0 || n % blocks != 0) {
        std::vector<std::uint64_t> possible;
        for (std::uint64_t i = 1; i <= n; ++i)
            if (n % i == 0) possible.push_back(i);
        invalid("blocks: {} does not divide n = {}; {} do", blocks, n, fmt::join(possible, ", "));
    }
    for (std::size_t i = 0; i < m.size(); ++i)
        require(is_finite(m[i]), "m: the element in row {}, column {} is not finite", i / n, i % n);
    // A power of two in front, which the middle factor takes back: squares of elements stay in range.
    double largest = 0;
    for (const Scalar& value : m) largest = std::max(largest, longest_part(value));
    const int exponent = largest > 0 ? std::ilogb(largest) : 0;
    std::vector<Scalar> scaled(m.begin(), m.end());
    for (Scalar& value : scaled) value = scale_by(value, -exponent);
    MmStarFactors<Scalar> found = Factorization<Scalar>(scaled, n, blocks).run(options);
    require(
        found.residual <= options.tolerance,
        "m: no MM* matrix of {} blocks with {} factors: what was found leaves a relative residual of {:.1e}, "
        "the tolerance is {:.1e}",
        blocks, is_complex(Scalar{}) ? "complex" : "real", found.residual, options.tolerance);
    for (Scalar& value : found.middle) {
        value = scale_by(value, exponent);
        require(is_finite(value), "m: elements of up to {:.1e}, those of its middle factor pass {:.1e}",
                largest, std::numeric_limits<double>::max());
    }
    return found;
}

template <typename Scalar>
std::vector<Scalar> multiplied(const MmStarFactors<Scalar>& f) {
    const std::uint64_t l = f.blocks, s = f.size, n = f.n();
    for (const auto& [name, factor, size] :
         {std::tuple{"left", &f.left, l * s * s}, std::tuple{"middle", &f.middle, s * l * l},
          std::tuple{"right", &f.right, l * s * s}})
        require(factor->size() == size, "{}: {} elements, {} are needed", name, factor->size(), size);
    std::vector<Scalar> dense(n * n);
    for (std::uint64_t row = 0; row < s; ++row)
        for (std::uint64_t i = 0; i < l; ++i)
            for (std::uint64_t k = 0; k < s; ++k)
                for (std::uint64_t j = 0; j < l; ++j) {
                    const Scalar both = f.left[(i * s + row) * s + k] * f.middle[(k * l + i) * l + j];
                    const Scalar* const from = &f.right[(j * s + k) * s];
                    Scalar* const to = &dense[(row * l + i) * n + j];
                    for (std::uint64_t column = 0; column < s; ++column)
                        to[column * l] += both * from[column];
                }
    return dense;
}

}  // namespace

MmStarFactors<double> factorize_mm_star(std::span<const double> m, std::uint64_t n, std::uint64_t blocks,
                                        const MmStarOptions& options) {
    return factorize(m, n, blocks, options);
}

MmStarFactors<std::complex<double>> factorize_mm_star(std::span<const std::complex<double>> m,
                                                      std::uint64_t n, std::uint64_t blocks,
                                                      const MmStarOptions& options) {
    return factorize(m, n, blocks, options);
}

std::vector<double> to_dense(const MmStarFactors<double>& factors) {
    return multiplied(factors);
}

std::vector<std::complex<double>> to_dense(const MmStarFactors<std::complex<double>>& factors) {
    return multiplied(factors);
}

namespace {

// `send` uploads the narrowed values of one factor.
template <typename Narrow, typename Scalar, typename Send>
Chain uploaded(const MmStarFactors<Scalar>& f, const Send& send) {
    const std::uint64_t l = f.blocks, s = f.size;
    const std::array<std::tuple<const char*, const std::vector<Scalar>*, Shape>, 3> parts{
        {{"right", &f.right, Shape{1, l, s, s}},
         {"middle", &f.middle, Shape{s, 1, l, l}},
         {"left", &f.left, Shape{1, l, s, s}}}};
    for (const auto& [name, values, shape] : parts)
        require(values->size() == shape.elements(), "{}: {} elements, {} are needed", name, values->size(),
                shape.elements());
    std::vector<KroneckerFactor> factors;
    for (const auto& [name, values, shape] : parts) {
        for (std::size_t i = 0; i < values->size(); ++i)
            require(longest_part((*values)[i]) <= std::numeric_limits<float>::max(),
                    "{}: element {} has a part of {:.1e}, f32 reaches {:.1e}", name, i,
                    longest_part((*values)[i]), std::numeric_limits<float>::max());
        std::vector<Narrow> narrow(values->size());
        std::transform(values->begin(), values->end(), narrow.begin(),
                       [](const Scalar& value) { return static_cast<Narrow>(value); });
        factors.emplace_back(send(std::span<const Narrow>(narrow), shape));
    }
    return Chain(std::move(factors));
}

}  // namespace

Chain upload(Stream& stream, const MmStarFactors<double>& f, DataType type) {
    return uploaded<float>(f, [&](std::span<const float> values, const Shape& shape) {
        return upload(stream, values, shape, type);
    });
}

Chain upload(Stream& stream, const MmStarFactors<std::complex<double>>& f) {
    using Narrow = std::complex<float>;
    return uploaded<Narrow>(
        f, [&](std::span<const Narrow> values, const Shape& shape) { return upload(stream, values, shape); });
}

}  // namespace danaus
