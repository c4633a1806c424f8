#include "linear_oracle.hpp"

#include "reference/block_diagonal.hpp"
#include "reference/monarch.hpp"
#include "reference/transposable.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <cmath>

namespace danaus::test {

using reference::Matrix;
using reference::Tensor3;

std::ostream& operator<<(std::ostream& out, Structure structure) {
    constexpr const char* names[] = {"dense", "block-diagonal", "Monarch", "2:4", "2:4 Monarch"};
    return out << names[static_cast<std::size_t>(structure)];
}

bool has_factors(Structure structure) {
    return structure == Structure::monarch || structure == Structure::sparse_monarch;
}

std::unique_ptr<Linear> make_linear(Structure structure, Recorder& recorder, std::uint64_t in,
                                    std::uint64_t out, const LinearOptions& options) {
    switch (structure) {
        case Structure::dense:
            return std::make_unique<DenseLinear>(recorder, in, out, options);
        case Structure::block_diagonal:
            return std::make_unique<BlockDiagonalLinear>(recorder, in, out, blocks, options);
        case Structure::monarch:
            return std::make_unique<MonarchLinear>(recorder, in, out, blocks, options);
        case Structure::sparse24:
        case Structure::sparse_monarch:
            break;
    }
    const SparseLinear24Options sparse{.weight = {.prune_gradient = false}};
    if (structure == Structure::sparse_monarch)
        return std::make_unique<SparseMonarchLinear24>(recorder, in, out, blocks, sparse, options);
    return std::make_unique<SparseLinear24>(recorder, in, out, sparse, options);
}

namespace {

// What the masks of `layer` should keep of `rounded`, the same for every block of rows.
std::vector<double> kept_of(const Linear24& layer, const Shape& shape, const std::vector<float>& master,
                            const std::vector<double>& rounded) {
    const bool transposable = layer.weights()[0].options().transposable;
    const std::size_t columns = shape[shape.rank() - 1], rows = shape[shape.rank() - 2],
                      size = rows * columns;
    std::vector<double> kept;
    for (std::size_t begin = 0; begin < master.size(); begin += size) {
        const Matrix w(rows, columns, std::span(master).subspan(begin, size)),
            values(rows, columns, std::span(rounded).subspan(begin, size));
        const Matrix block = reference::apply_mask(
            values, transposable ? reference::select_transposable_mask(w) : reference::select_mask(w));
        kept.insert(kept.end(), block.data.begin(), block.data.end());
    }
    return kept;
}

}  // namespace

Weights weights_of(Stream& stream, Structure structure, const Linear& layer) {
    Weights weights{structure, layer.in(), layer.out(), {}};
    const auto* sparse = dynamic_cast<const Linear24*>(&layer);
    for (std::size_t i = 0; i < (has_factors(structure) ? 2u : 1u); ++i) {
        const Tensor& parameter = layer.parameters()[i].master;
        const std::vector<float> master = download(stream, parameter);
        weights.factors.push_back(reference::to_double(
            reference::round_to(float_type(layer.type()), std::span<const float>(master))));
        if (sparse && sparse->sparse())
            weights.factors[i] = kept_of(*sparse, parameter.shape(), master, weights.factors[i]);
    }
    return weights;
}

Weights absolute(Weights weights) {
    for (std::vector<double>& factor : weights.factors)
        for (double& value : factor) value = std::abs(value);
    return weights;
}

namespace {

// Of sizes that blocks need not divide: larger than the weights.
reference::Monarch monarch_of(const Weights& w) {
    const std::size_t p = (w.in + blocks - 1) / blocks, s = (w.out + blocks - 1) / blocks, q = std::min(p, s);
    return {Tensor3(blocks, q, p, w.factors[0]), Tensor3(blocks, s, q, w.factors[1])};
}

// The corner of `m` in a matrix of this size, zeros behind it.
Matrix resized(const Matrix& m, std::size_t rows, std::size_t cols) {
    Matrix out(rows, cols);
    for (std::size_t r = 0; r < std::min(rows, m.rows); ++r)
        for (std::size_t c = 0; c < std::min(cols, m.cols); ++c) out(r, c) = m(r, c);
    return out;
}

}  // namespace

Matrix dense(const Weights& w) {
    if (w.structure == Structure::block_diagonal)
        return reference::to_dense(
            reference::BlockDiagonal{Tensor3(blocks, w.out / blocks, w.in / blocks, w.factors[0])});
    if (has_factors(w.structure)) return resized(reference::to_dense(monarch_of(w)), w.out, w.in);
    return {w.out, w.in, w.factors[0]};
}

std::vector<std::vector<double>> gradients(const Weights& w, const Matrix& dz, const Matrix& x) {
    if (w.structure == Structure::block_diagonal) return {reference::weight_gradient(dz, x, blocks).data};
    if (has_factors(w.structure)) {
        const reference::Monarch m = monarch_of(w);
        const auto both = reference::monarch_backward(resized(dz, dz.rows, m.w2.n0 * m.w2.n1),
                                                      resized(x, x.rows, m.in_features()), m);
        return {both.dw1.data, both.dw2.data};
    }
    return {reference::weight_gradient(dz, x).data};
}

void set_parameter(Stream& stream, const Linear& layer, std::size_t i, const std::vector<float>& values) {
    upload_into(stream, layer.parameters()[i].master, values);
    refresh_working(stream, layer.parameters()[i]);
}

}  // namespace danaus::test
