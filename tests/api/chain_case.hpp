// A chain of Kronecker-sparse factors with operands in any layout, and the oracle's.
#pragma once

#include "reference/kronecker.hpp"
#include "support/operands.hpp"

#include <danaus/chain.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace danaus::test {

/// A chain of these patterns, activations (batch of) tokens.
struct ChainCase {
    std::vector<FactorPattern> patterns;
    std::size_t tokens = 4, batch = 0;
    DataType type = DataType::f32;
    bool widen = false;  ///< results in f32
    bool whole = false;  ///< values are whole numbers, so that sums in f32 are exact
    Layout x = {}, y = {}, w = {};

    [[nodiscard]] std::size_t rows() const { return tokens * std::max<std::size_t>(1, batch); }
    [[nodiscard]] Shape shape(std::size_t features) const {
        return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
    }
    [[nodiscard]] std::vector<float> values(std::size_t count, unsigned seed) const {
        return whole ? whole_values(count, seed, 2) : random_values(count, seed, type);
    }
};

struct ChainOperands {
    std::vector<reference::KroneckerFactor> oracle;
    reference::Matrix rx, rdy;
    Tensor tx, tdy;
    Chain matrix;

    ChainOperands(Stream& stream, const ChainCase& one) {
        std::vector<KroneckerFactor> factors;
        unsigned seed = 3;
        for (const auto& [a, b, c, d] : one.patterns) {
            const auto w = one.values(a * b * c * d, seed++);
            oracle.emplace_back(a, d, reference::Tensor3(a * d, b, c, w));
            factors.emplace_back(Placed(stream, one.type, {a, d, b, c}, one.w, w).tensor());
        }
        matrix = Chain(std::move(factors));
        const auto x = one.values(one.rows() * matrix.in_features(), 1),
                   dy = one.values(one.rows() * matrix.out_features(), 2);
        rx = reference::Matrix(one.rows(), matrix.in_features(), x);
        rdy = reference::Matrix(one.rows(), matrix.out_features(), dy);
        tx = Placed(stream, one.type, one.shape(matrix.in_features()), one.x, x);
        tdy = Placed(stream, one.type, one.shape(matrix.out_features()), one.y, dy);
    }
};

/// The factors of the transposed matrix.
inline std::vector<reference::KroneckerFactor> transposed_chain(
    const std::vector<reference::KroneckerFactor>& chain) {
    std::vector<reference::KroneckerFactor> turned;
    for (auto factor = chain.rbegin(); factor != chain.rend(); ++factor) {
        const reference::Tensor3& w = factor->w;
        reference::Tensor3 t(w.n0, w.n2, w.n1);
        for (std::size_t i = 0; i < w.n0; ++i)
            for (std::size_t j = 0; j < w.n1; ++j)
                for (std::size_t c = 0; c < w.n2; ++c) t(i, c, j) = w(i, j, c);
        turned.emplace_back(factor->a, factor->d, t);
    }
    return turned;
}

/// The dense matrix of a chain.
inline reference::Matrix dense_of(const std::vector<reference::KroneckerFactor>& chain) {
    reference::Matrix unit(chain.front().in_features(), chain.front().in_features());
    for (std::size_t i = 0; i < unit.rows; ++i) unit(i, i) = 1;
    return reference::transpose(reference::chain_matmul(unit, chain));
}

}  // namespace danaus::test
