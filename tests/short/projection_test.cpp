// The short suite's part for decompositions and projections.
#include "reference/monarch.hpp"
#include "short/short.hpp"
#include "support/complex.hpp"

#include <functional>

namespace danaus {
namespace {

using reference::Matrix;
using reference::Tensor3;
using test::Placed;

class ShortProjection : public test::ShortTest {
protected:
    // A device that is too small for it has to say so.
    static void expect_refused(const std::function<void()>& action) {
        test::expect_error(ErrorKind::unsupported, {"a: a matrix", "reaches"}, action);
    }
};

// The dense matrix of random factors, projected back.
TEST_F(ShortProjection, RecoversAMonarchMatrixByPanels) {
    constexpr std::size_t k = 1, q = 4, p = 66, l = 2, s = 3;
    const reference::Monarch exact(Tensor3(k, q, p, test::random_values(k * q * p, 40)),
                                   Tensor3(l, s, k * q / l, test::random_values(s * k * q, 41)));
    Matrix identity(k * p, k * p);
    for (std::size_t i = 0; i < k * p; ++i) identity(i, i) = 1.0;
    const Matrix dense = reference::transpose(reference::matmul(identity, exact));
    const Placed a(stream, DataType::f32, {l * s, k * p}, {}, reference::to_float(dense.data));
    if (too_small_for_svd())
        return expect_refused([&] { static_cast<void>(project(witness, a, {k, l, q})); });
    const Projection result = project(witness, a, {k, l, q});
    const Placed again(stream, DataType::f32, {l * s, k * p}), error(stream, DataType::f32, {k, l});
    convert_into(witness, again, to_dense(stream, result.matrix));
    convert_into(witness, error, result.error);
    expect_near(again, dense, 2e-5);
    expect_near(error, Matrix(k, l), 2e-5);
}

void expect_decomposed(Stream& stream, const Svd& out, const Matrix& a) {
    const std::size_t rho = out.sigma.size(0);
    Matrix scaled(a.rows, rho, download(stream, out.u));
    const Matrix v(a.cols, rho, download(stream, out.v));
    const auto sigma = download(stream, out.sigma);
    for (std::size_t i = 0; i < scaled.data.size(); ++i)
        scaled.data[i] *= static_cast<double>(sigma[i % rho]);
    const Matrix product = reference::matmul(scaled, v);
    EXPECT_EQ(reference::first_mismatch(reference::to_float(product.data), a.data, 1e-5, 1e-5), "");
}

TEST_F(ShortProjection, Decomposes) {
    const auto a = draw(DataType::f32, 7, 5, 42);
    if (too_small_for_svd()) return expect_refused([&] { static_cast<void>(svd(witness, a.tensor)); });
    expect_decomposed(stream, svd(witness, a.tensor), a.matrix);
    if (test::device().capabilities().shader_float64)
        expect_decomposed(stream, svd(witness, a.tensor, {.arithmetic = Arithmetic::f64}), a.matrix);
}

// Rotated in registers, in panels and in f64.
TEST_F(ShortProjection, DecomposesComplexMatrices) {
    const auto expect_complex = [&](std::size_t rows, std::size_t cols, const SvdOptions& options = {}) {
        const auto a = test::complex_values(rows * cols, 43);
        const Tensor dense = upload(stream, a, {rows, cols});
        if (too_small_for_svd()) return expect_refused([&] { static_cast<void>(svd(witness, dense)); });
        const Svd out = svd(witness, dense, options);
        const auto u = download_complex(stream, out.u), v = download_complex(stream, out.v);
        const auto sigma = download(stream, out.sigma);
        const std::size_t rho = sigma.size();
        std::vector<reference::Complex> product(a.size());
        for (std::size_t i = 0; i < a.size(); ++i)
            for (std::size_t t = 0; t < rho; ++t)
                product[i] += reference::Complex(u[i / cols * rho + t]) * static_cast<double>(sigma[t]) *
                              std::conj(reference::Complex(v[i % cols * rho + t]));
        EXPECT_EQ(reference::first_mismatch(test::flat(product), test::flat(a), 1e-5, 1e-5), "");
    };
    expect_complex(5, 4);
    expect_complex(33, 2);
    if (test::device().capabilities().shader_float64) expect_complex(5, 4, {.arithmetic = Arithmetic::f64});
}

}  // namespace
}  // namespace danaus
