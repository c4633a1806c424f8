// A Monarch product with operands in any layout, and the oracle's.
#pragma once

#include "reference/monarch.hpp"
#include "support/operands.hpp"

#include <danaus/monarch.hpp>

#include <algorithm>
#include <vector>

namespace danaus::test {

inline constexpr OutputOrder orders[] = {OutputOrder::interleaved, OutputOrder::blocked};

/// w1 (k, q, p), w2 (l, s, k·q / l), activations (batch of) tokens.
struct MonarchCase {
    std::size_t k = 2, q = 6, p = 4, l = 3, s = 5, tokens = 4, batch = 0;
    DataType type = DataType::f32;
    bool widen = false;  ///< results in f32
    Layout x = {}, y = {};
    OutputOrder order = OutputOrder::interleaved;

    [[nodiscard]] std::size_t r() const { return l ? k * q / l : 0; }
    [[nodiscard]] std::size_t rows() const { return tokens * std::max<std::size_t>(1, batch); }
    [[nodiscard]] Shape shape(std::size_t features) const {
        return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
    }
    /// The place of feature S·l + L among those of y.
    [[nodiscard]] std::size_t place(std::size_t feature) const {
        return order == OutputOrder::interleaved ? feature : feature % l * s + feature / l;
    }
    /// Rows of y as they are stored, from rows in the oracle's order, and back.
    [[nodiscard]] reference::Matrix stored(const reference::Matrix& from) const {
        reference::Matrix result(from.rows, from.cols);
        for (std::size_t i = 0; i < from.rows; ++i)
            for (std::size_t j = 0; j < from.cols; ++j) result(i, place(j)) = from(i, j);
        return result;
    }
    [[nodiscard]] reference::Matrix read(const reference::Matrix& from) const {
        reference::Matrix result(from.rows, from.cols);
        for (std::size_t i = 0; i < from.rows; ++i)
            for (std::size_t j = 0; j < from.cols; ++j) result(i, j) = from(i, place(j));
        return result;
    }
};

struct MonarchOperands {
    std::vector<float> x, dy, w1, w2;
    reference::Monarch oracle;
    reference::Matrix rx, rdy;
    Tensor tx, tdy;
    Monarch matrix;

    MonarchOperands(Stream& stream, const MonarchCase& one)
        : x(random_values(one.rows() * one.k * one.p, 1, one.type)),
          dy(random_values(one.rows() * one.l * one.s, 2, one.type)),
          w1(random_values(one.k * one.q * one.p, 3, one.type)),
          w2(random_values(one.l * one.s * one.r(), 4, one.type)),
          oracle(reference::Tensor3(one.k, one.q, one.p, w1), reference::Tensor3(one.l, one.s, one.r(), w2)),
          rx(one.rows(), one.k * one.p, x),
          rdy(one.read(reference::Matrix(one.rows(), one.l * one.s, dy))),
          tx(Placed(stream, one.type, one.shape(one.k * one.p), one.x, x)),
          tdy(Placed(stream, one.type, one.shape(one.l * one.s), one.y, dy)),
          matrix(Placed(stream, one.type, {one.k, one.q, one.p}, {}, w1).tensor(),
                 Placed(stream, one.type, {one.l, one.s, one.r()}, {.skew = 1}, w2).tensor(), one.order) {}
};

/// The factors of the transposed matrix.
inline std::vector<reference::KroneckerFactor> transposed_chain(const reference::Monarch& m) {
    const auto turned = [](const reference::Tensor3& w) {
        reference::Tensor3 t(w.n0, w.n2, w.n1);
        for (std::size_t i = 0; i < w.n0; ++i)
            for (std::size_t j = 0; j < w.n1; ++j)
                for (std::size_t c = 0; c < w.n2; ++c) t(i, c, j) = w(i, j, c);
        return t;
    };
    return {reference::KroneckerFactor(1, m.w2.n0, turned(m.w2)),
            reference::KroneckerFactor(m.w1.n0, 1, turned(m.w1))};
}

}  // namespace danaus::test
