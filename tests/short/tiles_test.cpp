// The short suite's part for transposable 2:4 matrices.
#include "reference/transposable.hpp"
#include "short/short.hpp"

namespace danaus {
namespace {

using reference::Matrix;
using test::Placed;

class ShortTiles : public test::ShortTest {};

TEST_F(ShortTiles, CompressedAndMultiplied) {
    const auto w = draw(DataType::f32, 13, 22, 29), x = draw(DataType::f32, 9, 22, 30);
    const Tensor mask = select_transposable_mask(witness, w.tensor);
    const Matrix masked = reference::apply_mask(w.matrix, reference::select_transposable_mask(w.matrix));
    const TileSparse24 tiles = compress_transposable(witness, w.tensor);
    const Placed y(stream, DataType::f32, {9, 13}), dense(stream, DataType::f32, {13, 22});
    matmul_into(witness, y, x.tensor, tiles);
    expect_near(y, reference::matmul(x.matrix, masked), 1e-5);
    to_dense_into(witness, dense, tiles);
    expect_near(dense, masked, 0.0);
    // Both row-wise copies from one pass; the second one's is the transposed product's weight.
    const Sparse24 rows = empty_sparse24(witness, DataType::f32, {13, 22}),
                   columns = empty_sparse24(witness, DataType::f32, {22, 13});
    compress_both_into(witness, rows, columns, w.tensor, mask);
    to_dense_into(witness, dense, rows);
    expect_near(dense, masked, 0.0);
    const Placed turned(stream, DataType::f32, {22, 13});
    to_dense_into(witness, turned, columns);
    expect_near(turned, reference::transpose(masked), 0.0);
}

}  // namespace
}  // namespace danaus
