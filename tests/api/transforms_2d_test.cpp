// Transforms of images against FFTW, convolutions of images against their definition, and wrong input.
#include "fftw_oracle.hpp"
#include "support/complex.hpp"
#include "support/device.hpp"

#include <danaus/danaus.hpp>

#include <array>
#include <cmath>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Complex;
using reference::ComplexMatrix;
using test::complex_values;
using test::ComplexValues;
using test::expect_error;
using test::PlacedComplex;
constexpr auto invalid = ErrorKind::invalid_argument;

std::vector<double> bound_of(const ComplexMatrix& exact) {
    double largest = 0.0;
    for (const Complex& value : exact.data) largest = std::max(largest, std::abs(value));
    return std::vector<double>(exact.data.size(), 2e-6 * largest);
}

TEST(Fourier2d, AgainstFftw) {
    Stream stream(test::device());
    for (const auto& [images, height, width] :
         {std::array<std::size_t, 3>{2, 16, 32}, {1, 15, 7}, {3, 1, 12}, {1, 48, 36}}) {
        const ComplexValues x = complex_values(images * height * width, 1);
        const ComplexMatrix rx(images, height * width, x), exact = test::fftw_dft2d(rx, height, width);
        for (const bool feature_major : {false, true}) {
            const PlacedComplex tx(stream, {images, height, width},
                                   {.feature_major = feature_major, .gap = 1, .batch_gap = 1}, x),
                y(stream, {images, height, width}, {.feature_major = !feature_major, .skew = 1}),
                back(stream, {images, height, width}, {.gap = 2}), turned(stream, {images, height, width});
            matmul_into(stream, y, tx, dft2d(stream, height, width));
            EXPECT_EQ(y.mismatch(stream, exact.data, bound_of(exact)), "");
            EXPECT_EQ(reference::first_mismatch(test::flat(y.read(stream).values), test::flat(exact.data),
                                                1e-3, 1e-5),
                      "");
            matmul_into(stream, back, y, inverse_dft2d(stream, height, width));
            EXPECT_EQ(back.mismatch(stream, rx.data, bound_of(rx)), "");
            const ComplexMatrix conjugate = test::fftw_dft2d(rx, height, width, true);
            matmul_transposed_into(stream, turned, tx, dft2d(stream, height, width));
            EXPECT_EQ(turned.mismatch(stream, conjugate.data, bound_of(conjugate)), "");
        }
    }
    // Any transform along either side.
    const auto image = test::random_values(2 * 8 * 12, 2);
    const Transform2d cosines{trigonometric(stream, Trigonometric::dct2, 12, Norm::orthonormal),
                              trigonometric(stream, Trigonometric::dct2, 8, Norm::orthonormal)};
    const Tensor x = upload(stream, image, {2, 8, 12}), y = matmul(stream, x, cosines);
    EXPECT_EQ(reference::first_mismatch(download(stream, matmul_transposed(stream, y, cosines)),
                                        reference::to_double(image), 0.0, 2e-6),
              "");
    reference::Matrix rows = test::fftw_trigonometric(reference::Matrix(16, 12, image), Trigonometric::dct2);
    for (std::size_t i = 0; i < 2; ++i) {
        reference::Matrix columns(12, 8);
        for (std::size_t h = 0; h < 8; ++h)
            for (std::size_t w = 0; w < 12; ++w) columns(w, h) = rows(i * 8 + h, w);
        columns = test::fftw_trigonometric(columns, Trigonometric::dct2);
        const auto actual = download(stream, y.select(0, i));
        for (std::size_t h = 0; h < 8; ++h)
            for (std::size_t w = 0; w < 12; ++w) {
                const double gain = std::sqrt((h ? 2.0 : 1.0) / 8 * (w ? 2.0 : 1.0) / 12) / 4;
                EXPECT_NEAR(actual[h * 12 + w], columns(w, h) * gain, 2e-6);
            }
    }
}

TEST(Convolution2d, AgainstItsDefinition) {
    Stream stream(test::device());
    struct Case {
        std::size_t height, width, rows, columns;
        bool circular;
    };
    for (const Case& one : {Case{6, 8, 3, 3, true}, Case{7, 5, 2, 4, true}, Case{6, 8, 3, 2, false},
                            Case{1, 1, 1, 1, false}, Case{9, 4, 4, 7, false}, Case{1, 6, 1, 6, true}}) {
        constexpr std::size_t images = 2;
        const auto& [height, width, rows, columns, circular] = one;
        const ComplexValues kernel = complex_values(rows * columns, 1),
                            x = complex_values(images * height * width, 2);
        const std::size_t out_h = circular ? height : height + rows - 1,
                          out_w = circular ? width : width + columns - 1;
        ComplexMatrix exact(images, out_h * out_w);
        for (std::size_t i = 0; i < images; ++i)
            for (std::size_t h = 0; h < height; ++h)
                for (std::size_t w = 0; w < width; ++w)
                    for (std::size_t a = 0; a < rows; ++a)
                        for (std::size_t b = 0; b < columns; ++b)
                            exact(i, (h + a) % out_h * out_w + (w + b) % out_w) +=
                                Complex(kernel[a * columns + b]) * Complex(x[(i * height + h) * width + w]);
        const ComplexValues dy = complex_values(images * out_h * out_w, 3);
        ComplexMatrix correlation(images, height * width);
        for (std::size_t i = 0; i < images; ++i)
            for (std::size_t h = 0; h < height; ++h)
                for (std::size_t w = 0; w < width; ++w)
                    for (std::size_t a = 0; a < rows; ++a)
                        for (std::size_t b = 0; b < columns; ++b)
                            correlation(i, h * width + w) +=
                                std::conj(Complex(kernel[a * columns + b])) *
                                Complex(dy[(i * out_h + (h + a) % out_h) * out_w + (w + b) % out_w]);
        const Convolution2d c = convolution2d(stream, kernel, {rows, columns}, height, width, circular);
        const PlacedComplex tx(stream, {images, height, width}, {.gap = 1}, x);
        const Tensor y = matmul(stream, tx, c);
        EXPECT_EQ(y.shape(), (Shape{images, out_h, out_w}));
        const Tensor dx = matmul_transposed(stream, upload(stream, dy, {images, out_h, out_w}), c);
        EXPECT_EQ(reference::first_mismatch(test::flat(download_complex(stream, dx)),
                                            test::flat(correlation.data), test::twice(bound_of(correlation))),
                  "");
        EXPECT_EQ(reference::first_mismatch(test::flat(download_complex(stream, y)), test::flat(exact.data),
                                            test::twice(bound_of(exact))),
                  "")
            << height << " × " << width << (circular ? " circular" : "");
        EXPECT_EQ(reference::first_mismatch(test::flat(download_complex(stream, y)), test::flat(exact.data),
                                            1e-3, 1e-5),
                  "");
    }
}

TEST(Transforms, WrongInput) {
    const Device device = test::device();
    Stream stream(device);
    const auto refused = [&](const std::vector<std::string>& parts, const auto& action) {
        expect_error(invalid, parts, action);
    };
    refused({"n: 0"}, [&] { static_cast<void>(dft(stream, 0)); });
    refused({"n: 100003", "16384", "100004"}, [&] { static_cast<void>(dft(stream, 100003)); });
    refused({"n: 100003"}, [&] { static_cast<void>(trigonometric(stream, Trigonometric::dct4, 100003)); });
    refused({"norm: 7"}, [&] { static_cast<void>(dft(stream, 4, static_cast<Norm>(7))); });
    refused({"norm: 7"}, [&] { static_cast<void>(walsh_hadamard(stream, 4, static_cast<Norm>(7))); });
    {
        const Transform one = trigonometric(stream, Trigonometric::dct2, 12);
        const Tensor x(device, DataType::f32, {3, 12}), dy(device, DataType::f32, {3, 12});
        ChainGradients out;
        out.dw = {one.matrix.factors[0].weight};
        refused({"dw: 1", "2 factors"}, [&] { backward_into(stream, out, dy, x, one); });
    }
    refused({"split", "5", "48", "1·48", "2·24", "3·16", "4·12", "6·8"}, [&] {
        static_cast<void>(dft(stream, 48, Norm::unnormalised, {5, 0}));
    });
    refused({"split", "4·6", "48", "6·8"}, [&] {
        static_cast<void>(inverse_dft(stream, 48, Norm::unnormalised, {4, 6}));
    });
    refused({"split", "3·2", "n = 7", "1·7"}, [&] {
        static_cast<void>(trigonometric(stream, Trigonometric::dct2, 7, Norm::unnormalised, {3, 2}));
    });
    refused({"kind", "9"},
            [&] { static_cast<void>(trigonometric(stream, static_cast<Trigonometric>(9), 4)); });
    refused({"n: 12", "power of two", "8", "16"}, [&] { static_cast<void>(walsh_hadamard(stream, 12)); });
    const std::vector<float> u(12), v(10);
    refused({"k: 3", "5 inputs", "1, 5"}, [&] { static_cast<void>(low_rank(stream, u, v, 2, 3, 2)); });
    refused({"l: 4", "6 outputs", "1, 2, 3, 6"}, [&] { static_cast<void>(low_rank(stream, u, v, 2, 1, 4)); });
    refused({"rank: 0"}, [&] { static_cast<void>(low_rank(stream, u, v, 0, 1, 1)); });
    refused({"u", "12", "5"}, [&] { static_cast<void>(low_rank(stream, u, v, 5, 1, 1)); });
    refused({"a", "12", "(3, 3)"}, [&] { static_cast<void>(kronecker(stream, u, {3, 3}, v, {2, 5})); });
    refused({"shape_b", "(10)"}, [&] { static_cast<void>(kronecker(stream, u, {3, 4}, v, {10})); });
    const ComplexValues none, one{1}, two{2, 3};
    refused({"n: 0"}, [&] { static_cast<void>(circulant(stream, none)); });
    refused({"column", "no elements"}, [&] { static_cast<void>(toeplitz(stream, none, one)); });
    refused({"row", "no elements"}, [&] { static_cast<void>(toeplitz(stream, one, none)); });
    refused({"row", "2", "1"}, [&] { static_cast<void>(toeplitz(stream, one, two)); });
    refused({"kernel", "no elements"}, [&] { static_cast<void>(convolution(stream, none, 4)); });
    refused({"n: 0"}, [&] { static_cast<void>(convolution(stream, one, 0)); });
    refused({"shape", "(2, 1)", "1 × 4"}, [&] {
        static_cast<void>(convolution2d(stream, two, {2, 1}, 1, 4, true));
    });
    refused({"kernel", "2 elements", "(2, 2)"}, [&] {
        static_cast<void>(convolution2d(stream, two, {2, 2}, 4, 4));
    });

    const Convolution2d identity = convolution2d(stream, one, {1, 1}, 4, 4);
    refused({"x", "(1, 4, 5)", "(1, 4, 4)"}, [&] {
        static_cast<void>(matmul(stream, Tensor(device, DataType::f32, {1, 4, 5}), identity));
    });
    refused({"dy", "f16", "complex64"}, [&] {
        static_cast<void>(matmul_transposed(stream, Tensor(device, DataType::f16, {1, 4, 4}), identity));
    });
    refused({"a", "null"}, [&] {
        static_cast<void>(matmul(stream, Tensor(device, DataType::f32, {1, 4, 4}), Convolution2d()));
    });
    const Transform f = dft(stream, 12), c = trigonometric(stream, Trigonometric::dct2, 12);
    const auto tensor = [&](const Shape& shape, DataType type = DataType::complex64) {
        return Tensor(device, type, shape);
    };
    refused({"x", "(3, 11)", "12"}, [&] { static_cast<void>(matmul(stream, tensor({3, 11}), f)); });
    refused({"x", "f16", "complex64"}, [&] {
        static_cast<void>(matmul(stream, tensor({3, 12}, DataType::f16), f));
    });
    refused({"x", "complex64", "f32"}, [&] { static_cast<void>(matmul(stream, tensor({3, 12}), c)); });
    refused({"out", "f32", "complex64"}, [&] {
        matmul_into(stream, tensor({3, 12}, DataType::f32), tensor({3, 12}), f);
    });
    refused({"out", "(3, 11)"}, [&] { matmul_into(stream, tensor({3, 11}), tensor({3, 12}), f); });
    const Tensor x = tensor({3, 12});
    refused({"out", "overlaps x"}, [&] { matmul_into(stream, x, x, f); });
    refused({"a", "null"}, [&] { static_cast<void>(matmul(stream, x, Transform())); });
    refused({"matrix", "3 factor(s)"},
            [&] { static_cast<void>(circulant(stream, ComplexValues(4)).monarch()); });
    refused({"input", "5", "12"}, [&] { Transform(f.matrix, Permutation::stride(5, 1)); });
    refused({"in_features", "13", "12"}, [&] { Transform(f.matrix, {}, {}, 13); });
    refused({"along_columns", "f32", "complex64"}, [&] {
        static_cast<void>(matmul(stream, tensor({1, 12, 12}), Transform2d{f, c}));
    });
    refused({"x", "(3, 12)", "(3, 12, 12)"}, [&] {
        static_cast<void>(matmul(stream, x, Transform2d{f, f}));
    });
}

}  // namespace
}  // namespace danaus
