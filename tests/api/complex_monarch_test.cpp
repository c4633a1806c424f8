// Multiplies and gradients of complex64 by Monarch matrices, held against the oracle.
#include "reference/monarch.hpp"
#include "support/complex.hpp"
#include "support/device.hpp"

#include <danaus/danaus.hpp>

#include <array>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::ComplexMatrix;
using reference::ComplexTensor3;
using test::complex_values;
using test::ComplexValues;
constexpr auto complex64 = DataType::complex64;

struct Operands {
    ComplexValues x, dy, w1, w2;
    reference::ComplexMonarch oracle;
    Monarch matrix;
    ComplexMatrix rx, rdy;

    Operands(Stream& stream, std::size_t k, std::size_t q, std::size_t p, std::size_t l, std::size_t s,
             std::size_t tokens, bool whole, OutputOrder order = OutputOrder::interleaved)
        : x(complex_values(tokens * k * p, 1, whole)),
          dy(complex_values(tokens * l * s, 2, whole)),
          w1(complex_values(k * q * p, 3, whole)),
          w2(complex_values(s * k * q, 4, whole)),
          oracle(ComplexTensor3(k, q, p, w1), ComplexTensor3(l, s, k * q / l, w2)),
          matrix(upload(stream, w1, {k, q, p}), upload(stream, w2, {l, s, k * q / l}), order),
          rx(tokens, k * p, x),
          rdy(tokens, l * s, dy) {}
};

void expect_monarch(const Operands& o, Stream& stream, double tolerance) {
    const std::size_t tokens = o.rx.rows;
    const auto close = [&](const char* what, const Tensor& actual,
                           const std::vector<reference::Complex>& exact) {
        EXPECT_EQ(reference::first_mismatch(test::flat(download_complex(stream, actual)), test::flat(exact),
                                            tolerance, tolerance),
                  "")
            << what;
    };
    const Tensor tx = upload(stream, o.x, {tokens, o.rx.cols}),
                 tdy = upload(stream, o.dy, {tokens, o.rdy.cols});
    const auto exact = reference::monarch_backward(o.rdy, o.rx, o.oracle);
    Tensor inner;
    close("y", matmul(stream, tx, o.matrix, {}, &inner), reference::matmul(o.rx, o.oracle).data);
    close("y", matmul(stream, tx, o.matrix), reference::matmul(o.rx, o.oracle).data);
    close("dx", matmul_transposed(stream, tdy, o.matrix), exact.dx.data);
    const Monarch dw = weight_gradient(stream, tdy, tx, o.matrix);
    close("dw1", dw.w1, exact.dw1.data);
    close("dw2", dw.w2, exact.dw2.data);
    const Tensor dx = empty(stream, complex64, tx.shape());
    const Monarch again(empty(stream, complex64, o.matrix.w1.shape()),
                        empty(stream, complex64, o.matrix.w2.shape()));
    backward_into(stream, {dx, again}, tdy, tx, o.matrix, inner);
    close("dx", dx, exact.dx.data);
    close("dw1", again.w1, exact.dw1.data);
    close("dw2", again.w2, exact.dw2.data);
}

TEST(ComplexMonarch, PublicCases) {
    Stream stream(test::device());
    for (const std::size_t root : {4u, 32u, 64u})  // n = 2^4, 2^10, 2^12
        expect_monarch(Operands(stream, root, root, root, root, root, 3, false), stream, 1e-4);
    expect_monarch(Operands(stream, 8, 192, 96, 24, 16, 3, false), stream, 1e-4);
}

TEST(ComplexMonarch, AnyShape) {
    Stream stream(test::device());
    for (const auto& [k, q, p, l, s] :
         {std::array<std::size_t, 5>{4, 3, 2, 6, 7}, {3, 4, 5, 2, 3}, {1, 6, 5, 1, 4}, {7, 1, 1, 7, 1}}) {
        const Operands o(stream, k, q, p, l, s, 5, true);
        expect_monarch(o, stream, 0.0);
        const Tensor dense = to_dense(stream, o.matrix);
        EXPECT_EQ(test::flat(download_complex(stream, dense)),
                  test::flat(reference::to_dense(o.oracle).data));
    }
    // Blocked outputs are the interleaved ones, permuted.
    const Operands o(stream, 4, 3, 2, 6, 7, 5, true, OutputOrder::blocked);
    const Tensor y = matmul(stream, upload(stream, o.x, {5, 8}), o.matrix);
    EXPECT_EQ(test::flat(download_complex(stream, to_interleaved(stream, y, o.matrix))),
              test::flat(reference::matmul(o.rx, o.oracle).data));
}

}  // namespace
}  // namespace danaus
