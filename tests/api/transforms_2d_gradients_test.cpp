// Gradients of transforms and convolutions of images, held against the chain rule in double.
#include "reference/kronecker.hpp"
#include "support/complex.hpp"
#include "support/counter.hpp"
#include "support/device.hpp"

#include <danaus/danaus.hpp>

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Complex;
using reference::ComplexKroneckerFactor;
using reference::ComplexMatrix;
using reference::ComplexTensor3;
using test::complex_values;
using test::ComplexValues;
using test::expect_error;
using test::PlacedComplex;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr auto complex64 = DataType::complex64;

// Any weights: those of the closed forms are symmetric in too many ways.
std::vector<ComplexKroneckerFactor> randomized(Stream& stream, const Chain& chain, unsigned seed) {
    std::vector<ComplexKroneckerFactor> oracle;
    for (const KroneckerFactor& factor : chain.factors) {
        const auto [a, b, c, d] = factor.pattern();
        ComplexValues w = complex_values(a * b * c * d, seed++);
        if (!is_complex(chain.type())) {
            std::vector<float> reals(w.size());
            for (std::size_t i = 0; i < w.size(); ++i) w[i] = reals[i] = w[i].real();
            upload_into(stream, factor.weight, reals);
        } else {
            upload_into(stream, factor.weight, w);
        }
        oracle.emplace_back(a, d, ComplexTensor3(a * d, b, c, w));
    }
    return oracle;
}

struct LineGradients {
    ComplexMatrix dx;
    std::vector<ComplexTensor3> dw;
};

// A transform of lines in double: zeros behind x, the input permuted, the chain, cut.
struct LineOracle {
    std::vector<ComplexKroneckerFactor> chain;
    std::vector<std::size_t> input;  // permuted feature i is that of x
    std::size_t in = 0, out = 0;

    LineOracle(Stream& stream, const Transform& t, unsigned seed)
        : chain(randomized(stream, t.matrix, seed)), in(t.in_features), out(t.out_features) {
        const std::size_t takes = t.matrix.in_features();
        for (std::size_t i = 0; i < takes; ++i)
            input.push_back(t.input.size() ? i % t.input.a() * t.input.b() + i / t.input.a() : i);
    }

    [[nodiscard]] ComplexMatrix permuted(const ComplexMatrix& x) const {
        ComplexMatrix wide(x.rows, input.size());
        for (std::size_t t = 0; t < x.rows; ++t)
            for (std::size_t i = 0; i < input.size(); ++i)
                if (input[i] < in) wide(t, i) = x(t, input[i]);
        return wide;
    }
    [[nodiscard]] ComplexMatrix forward(const ComplexMatrix& x) const {
        const ComplexMatrix wide = reference::chain_matmul(permuted(x), chain);
        ComplexMatrix y(x.rows, out);
        for (std::size_t t = 0; t < x.rows; ++t)
            for (std::size_t i = 0; i < out; ++i) y(t, i) = wide(t, i);
        return y;
    }
    [[nodiscard]] LineGradients backward(const ComplexMatrix& dy, const ComplexMatrix& x) const {
        ComplexMatrix wide(dy.rows, chain.back().out_features());
        for (std::size_t t = 0; t < dy.rows; ++t)
            for (std::size_t i = 0; i < out; ++i) wide(t, i) = dy(t, i);
        auto whole = reference::chain_backward(wide, permuted(x), chain);
        LineGradients gradients{ComplexMatrix(dy.rows, in), std::move(whole.dw)};
        for (std::size_t t = 0; t < dy.rows; ++t)
            for (std::size_t i = 0; i < input.size(); ++i)
                if (input[i] < in) gradients.dx(t, input[i]) = whole.dx(t, i);
        return gradients;
    }
};

// Lines (images · height, width) as columns (images · width, height), or back.
ComplexMatrix turned(const ComplexMatrix& m, std::size_t images) {
    const std::size_t height = m.rows / images;
    ComplexMatrix out(images * m.cols, height);
    for (std::size_t i = 0; i < images; ++i)
        for (std::size_t h = 0; h < height; ++h)
            for (std::size_t w = 0; w < m.cols; ++w) out(i * m.cols + w, h) = m(i * height + h, w);
    return out;
}

// Images (images · height, width) of other heights: cut, or with rows of zeros behind them.
ComplexMatrix with_height(const ComplexMatrix& m, std::size_t images, std::size_t height) {
    const std::size_t had = m.rows / images;
    ComplexMatrix out(images * height, m.cols);
    for (std::size_t i = 0; i < images; ++i)
        for (std::size_t h = 0; h < std::min(had, height); ++h)
            for (std::size_t w = 0; w < m.cols; ++w) out(i * height + h, w) = m(i * had + h, w);
    return out;
}

ComplexMatrix lines(const ComplexMatrix& m, std::size_t width) {
    return {m.rows * m.cols / width, width, m.data};
}

void expect_close(Stream& stream, const Tensor& actual, const std::vector<Complex>& exact,
                  const std::string& what) {
    double largest = 0.0;
    for (const Complex& value : exact) largest = std::max(largest, std::abs(value));
    const Tensor whole = convert(stream, actual, complex64);
    EXPECT_EQ(reference::first_mismatch(test::flat(download_complex(stream, whole)), test::flat(exact), 0.0,
                                        3e-6 * largest),
              "")
        << what;
}

std::vector<Tensor> gradients_of(Stream& stream, const Chain& chain) {
    std::vector<Tensor> out;
    for (const KroneckerFactor& factor : chain.factors) {
        out.push_back(empty(stream, chain.type(), factor.weight.shape()));
        fill_into(stream, out.back(), std::nan(""));
    }
    return out;
}

void expect_weights(Stream& stream, const std::vector<Tensor>& actual,
                    const std::vector<ComplexTensor3>& exact, double factor, const std::string& what) {
    ASSERT_EQ(actual.size(), exact.size());
    for (std::size_t i = 0; i < exact.size(); ++i) {
        if (!actual[i]) continue;
        std::vector<Complex> values = exact[i].data;
        for (Complex& value : values) value *= factor;
        expect_close(stream, actual[i], values, what + " " + std::to_string(i));
    }
}

std::vector<Complex> scaled(const ComplexMatrix& m, double factor) {
    std::vector<Complex> values = m.data;
    for (Complex& value : values) value *= factor;
    return values;
}

TEST(Transform2dGradients, AgainstTheChainRule) {
    Stream stream(test::device());
    const std::vector<std::uint64_t> three{3, 2}, four{2, 2};
    // Fourier transforms, whose input is permuted, and real chains with lines that are padded and cut.
    const Transform2d real_one{
        Transform(empty(stream, DataType::f32, radix_patterns(three)), {}, {}, 5, 4),
        Transform(empty(stream, DataType::f32, radix_patterns(four)), Permutation::stride(2, 2), {}, 4, 3)};
    for (const Transform2d& a : {dft2d(stream, 6, 8), dft2d(stream, 4, 5), real_one}) {
        constexpr std::size_t images = 2;
        const LineOracle rows(stream, a.along_rows, 10), columns(stream, a.along_columns, 20);
        const bool complex = is_complex(a.along_rows.type());
        const auto values = [&](std::size_t count, unsigned seed) {
            ComplexValues v = complex_values(count, seed);
            if (!complex)
                for (auto& value : v) value = value.real();
            return v;
        };
        const ComplexValues x = values(images * columns.in * rows.in, 1),
                            dy = values(images * columns.out * rows.out, 2);
        const auto placed = [&](const Shape& shape, const test::Layout& layout, const ComplexValues& v) {
            const PlacedComplex t(stream, shape, layout, v);
            return complex ? t.tensor() : real(t);
        };
        const Tensor tx = placed({images, columns.in, rows.in}, {.gap = 1, .batch_gap = 1}, x),
                     tdy = placed({images, columns.out, rows.out}, {.feature_major = true, .gap = 2}, dy);
        const ComplexMatrix rx(images * columns.in, rows.in, x), rdy(images * columns.out, rows.out, dy);
        const ComplexMatrix inner = turned(rows.forward(rx), images);
        const LineGradients c = columns.backward(turned(rdy, images), inner),
                            r = rows.backward(turned(c.dx, images), rx);

        const Tensor dx = empty(stream, a.along_rows.type(), tx.shape());
        Transform2dGradients out{dx, gradients_of(stream, a.along_rows.matrix),
                                 gradients_of(stream, a.along_columns.matrix)};
        backward_into(stream, out, tdy, tx, a);
        expect_close(stream, dx, r.dx.data, "dx");
        expect_close(stream, matmul_transposed(stream, tdy, a), r.dx.data, "dx alone");
        expect_weights(stream, out.along_rows, r.dw, 1, "along rows");
        expect_weights(stream, out.along_columns, c.dw, 1, "along columns");
        // Weights accumulate, dx does not; the scale is of all, once.
        backward_into(stream, out, tdy, tx, a, {.scale = 2.0f, .accumulate = true});
        expect_close(stream, dx, scaled(r.dx, 2), "dx");
        expect_weights(stream, out.along_rows, r.dw, 3, "along rows");
        expect_weights(stream, out.along_columns, c.dw, 3, "along columns");
        // Each alone.
        for (const bool first : {true, false}) {
            const Transform2dGradients one{
                {},
                first ? gradients_of(stream, a.along_rows.matrix) : std::vector<Tensor>(),
                first ? std::vector<Tensor>() : gradients_of(stream, a.along_columns.matrix)};
            backward_into(stream, one, tdy, tx, a);
            if (first)
                expect_weights(stream, one.along_rows, r.dw, 1, "rows alone");
            else
                expect_weights(stream, one.along_columns, c.dw, 1, "columns alone");
        }
        // dx in the place of x.
        const Tensor same = contiguous(stream, tx);
        backward_into(stream, {same, out.along_rows, out.along_columns}, tdy, same, a);
        expect_close(stream, same, r.dx.data, "in place");
        expect_weights(stream, out.along_columns, c.dw, 1, "in place, along columns");
        expect_weights(stream, out.along_rows, r.dw, 1, "in place, along rows");
        // Sums over no images.
        const Tensor none(stream.device(), tx.type(), {0, columns.in, rows.in}),
            nothing(stream.device(), tx.type(), {0, columns.out, rows.out});
        backward_into(stream, {{}, out.along_rows, out.along_columns}, nothing, none, a);
        expect_weights(stream, out.along_rows, r.dw, 0, "no images");
        expect_weights(stream, out.along_columns, c.dw, 0, "no images");
    }
}

TEST(Convolution2dGradients, AgainstTheChainRule) {
    Stream stream(test::device());
    for (const bool circular : {true, false}) {
        constexpr std::size_t images = 2, height = 6, width = 5;
        const Convolution2d a = convolution2d(stream, complex_values(6, 1), {2, 3}, height, width, circular);
        const LineOracle rows(stream, a.rows, 10), inverse(stream, a.inverse_rows, 20);
        const auto columns = randomized(stream, a.columns, 30);
        const ComplexValues x = complex_values(images * height * width, 1),
                            dy = complex_values(images * a.out_height * a.out_width, 2);
        const ComplexMatrix rx(images * height, width, x), rdy(images * a.out_height, a.out_width, dy);
        const std::size_t takes = a.columns.in_features() / a.width,
                          makes = a.columns.out_features() / a.width;
        const ComplexMatrix in = with_height(rows.forward(rx), images, takes),
                            flat_in(images, takes * a.width, in.data),
                            spectra = with_height(lines(reference::chain_matmul(flat_in, columns), a.width),
                                                  images, a.out_height);
        const LineGradients last = inverse.backward(rdy, spectra);
        const ComplexMatrix dspectra = with_height(last.dx, images, makes);
        const auto middle = reference::chain_backward(ComplexMatrix(images, makes * a.width, dspectra.data),
                                                      flat_in, columns);
        const LineGradients first = rows.backward(with_height(lines(middle.dx, a.width), images, height), rx);

        const PlacedComplex tx(stream, {images, height, width}, {.gap = 1, .batch_gap = 1}, x),
            tdy(stream, {images, a.out_height, a.out_width}, {.feature_major = true, .gap = 2}, dy),
            dx(stream, {images, height, width}, {.gap = 2, .skew = 1});
        expect_close(stream, matmul(stream, tx, a), inverse.forward(spectra).data, "y");
        Convolution2dGradients out{dx, gradients_of(stream, a.rows.matrix), gradients_of(stream, a.columns),
                                   gradients_of(stream, a.inverse_rows.matrix)};
        const auto expect = [&](double factor, const std::string& what) {
            expect_weights(stream, out.rows, first.dw, factor, what + ", rows");
            expect_weights(stream, out.columns, middle.dw, factor, what + ", columns");
            expect_weights(stream, out.inverse_rows, last.dw, factor, what + ", inverse rows");
        };
        backward_into(stream, out, tdy, tx, a);
        expect_close(stream, dx, first.dx.data, "dx");
        EXPECT_EQ(dx.read(stream).damage, "");
        expect(1, "all");
        backward_into(stream, out, tdy, tx, a, {.scale = 2.0f, .accumulate = true});
        expect_close(stream, dx, scaled(first.dx, 2), "dx");
        expect(3, "twice and once");
        // Every part alone.
        const Convolution2dGradients all = out;
        for (const int part : {0, 1, 2, 3}) {
            fill_into(stream, dx, -1.0);
            out.rows = gradients_of(stream, a.rows.matrix);
            out.columns = gradients_of(stream, a.columns);
            out.inverse_rows = gradients_of(stream, a.inverse_rows.matrix);
            out.inverse_rows.front() = Tensor();
            const Convolution2dGradients one{part == 0 ? dx.tensor() : Tensor(),
                                             part == 1 ? out.rows : std::vector<Tensor>(),
                                             part == 2 ? out.columns : std::vector<Tensor>(),
                                             part == 3 ? out.inverse_rows : std::vector<Tensor>()};
            backward_into(stream, one, tdy, tx, a);
            if (part == 0) expect_close(stream, dx, first.dx.data, "dx alone");
            if (part == 1) expect_weights(stream, out.rows, first.dw, 1, "rows alone");
            if (part == 2) expect_weights(stream, out.columns, middle.dw, 1, "columns alone");
            if (part == 3) expect_weights(stream, out.inverse_rows, last.dw, 1, "inverse rows alone");
        }
        // dx in the place of x; real numbers; no images.
        const Tensor same = contiguous(stream, tx);
        backward_into(stream, {same, all.rows, all.columns, all.inverse_rows}, tdy, same, a);
        expect_close(stream, same, first.dx.data, "in place");
        out = all;
        expect(1, "in place");
        const Tensor rows_of = convert(stream, real(tx), DataType::f32),
                     dy_of = contiguous(stream, real(tdy));
        backward_into(stream, all, convert(stream, dy_of, complex64), convert(stream, rows_of, complex64), a);
        const auto wide = download_complex(stream, all.columns[1]), wide_dx = dx.read(stream).values;
        backward_into(stream, all, dy_of, rows_of, a);
        EXPECT_EQ(download_complex(stream, all.columns[1]), wide);
        EXPECT_EQ(dx.read(stream).values, wide_dx);
        backward_into(stream, {{}, all.rows, all.columns, all.inverse_rows},
                      Tensor(stream.device(), complex64, {0, a.out_height, a.out_width}),
                      Tensor(stream.device(), complex64, {0, height, width}), a);
        expect(0, "no images");
    }
}

// Nothing is recorded for any of it.
TEST(Transform2dGradients, WrongInput) {
    const Device device = test::device();
    Stream stream(device);
    test::Counter counter(stream);
    const Transform2d a = dft2d(stream, 4, 6);
    const Tensor x(device, complex64, {2, 4, 6}), dy(device, complex64, {2, 4, 6}),
        dx(device, complex64, {2, 4, 6});
    const auto refused = [&](const std::vector<std::string>& parts, const Transform2dGradients& out,
                             const Tensor& from) {
        expect_error(invalid, parts, [&] { backward_into(counter, out, from, x, a); });
        EXPECT_EQ(counter.recorded, 0);
    };
    const auto rows = gradients_of(stream, a.along_rows.matrix),
               columns = gradients_of(stream, a.along_columns.matrix);
    refused({"dy", "(2, 4, 5)", "(2, 4, 6)"}, {}, Tensor(device, complex64, {2, 4, 5}));
    refused({"dx", "(2, 6, 4)"}, {dx.transpose(), {}, {}}, dy);
    refused({"dx", "overlaps", "dy"}, {dy, {}, {}}, dy);
    refused({"along_rows", "1 tensors", "2 factors"}, {{}, {rows[0]}, {}}, dy);
    refused({"along_columns[0]", "(1, 2, 3, 3)"}, {{}, {}, {rows[1], columns[1]}}, dy);
    refused({"along_columns[1]", "overlaps", "along_columns[0]"},
            {{}, {}, {columns[0], columns[0].reshape({1, 2, 2, 2})}}, dy);
    refused({"along_rows[0]", "overlaps a"}, {{}, {a.along_rows.matrix.factors[0].weight, {}}, {}}, dy);
    const Convolution2d c = convolution2d(stream, ComplexValues{1, 2}, {1, 2}, 4, 6, true);
    const auto refuses = [&](const std::vector<std::string>& parts, const Convolution2dGradients& out,
                             const Tensor& from) {
        expect_error(invalid, parts, [&] { backward_into(counter, out, from, x, c); });
        EXPECT_EQ(counter.recorded, 0);
    };
    refuses({"dy", "3 images", "2"}, {}, Tensor(device, complex64, {3, 4, 6}));
    refuses({"dy", "(2, 5, 6)"}, {}, Tensor(device, complex64, {2, 5, 6}));
    refuses({"dx", "f32", "complex64"}, {Tensor(device, DataType::f32, {2, 4, 6}), {}, {}, {}}, dy);
    refuses({"columns", "2 tensors", "3 factors"}, {{}, {}, rows, {}}, dy);
    expect_error(invalid, {"a", "null"}, [&] { backward_into(stream, {}, dy, x, Convolution2d()); });
    // Parts that do not belong together.
    Convolution2d other = c;
    other.rows = Transform();
    const auto odd = [&](const std::vector<std::string>& parts) {
        expect_error(invalid, parts, [&] { backward_into(counter, {dx, {}, {}, {}}, dy, x, other); });
        expect_error(invalid, parts, [&] { static_cast<void>(matmul(counter, x, other)); });
        expect_error(invalid, parts, [&] { static_cast<void>(matmul_transposed(counter, dy, other)); });
        EXPECT_EQ(counter.recorded, 0);
    };
    odd({"a", "null"});
    other = c;
    other.inverse_rows = dft(stream, 8);
    odd({"a", "4 × 6 to 4 × 6"});
    other = c;
    other.width = 0;
    odd({"a", "4 × 6"});
    other = c;
    other.columns = convolution2d(stream, ComplexValues{1, 2}, {1, 2}, 4, 12, true).columns;
    other.width = 12;
    odd({"a", "4 × 6"});
    // The height, too, is named as it is.
    expect_error(invalid, {"x", "(2, 5, 6)", "(2, 4, 6)"}, [&] {
        backward_into(counter, {dx, {}, {}}, dy, Tensor(device, complex64, {2, 5, 6}), a);
    });
    // And of lines: weights and gradients in each other's place.
    const Transform line = dft(stream, 6);
    const Tensor lx(device, complex64, {3, 6}), ldy(device, complex64, {3, 6});
    expect_error(invalid, {"dw[0]", "overlaps a"}, [&] {
        backward_into(counter, ChainGradients{{}, {line.matrix.factors[0].weight, {}}}, ldy, lx, line);
    });
    EXPECT_EQ(counter.recorded, 0);
    backward_into(counter, ChainGradients{}, ldy, lx, line);
    backward_into(counter, Transform2dGradients{}, dy, x, a);
    EXPECT_EQ(counter.recorded, 0);
}

}  // namespace
}  // namespace danaus
