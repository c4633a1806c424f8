// complex64 tensors: views of their parts, everything that moves elements, files, and who refuses them.
#include "support/complex.hpp"
#include "support/device.hpp"

#include <danaus/safetensors.hpp>

#include <cstring>
#include <filesystem>
#include <limits>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::complex_values;
using test::ComplexValues;
using test::expect_error;
using test::Layout;
using test::PlacedComplex;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr auto complex64 = DataType::complex64;

// [b][i][j] → [b][j][i]
ComplexValues transposed(const ComplexValues& values, std::size_t batch, std::size_t rows,
                         std::size_t columns) {
    ComplexValues out(values.size());
    for (std::size_t b = 0; b < batch; ++b)
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t j = 0; j < columns; ++j)
                out[(b * columns + j) * rows + i] = values[(b * rows + i) * columns + j];
    return out;
}

TEST(ComplexTensor, TypeAndParts) {
    EXPECT_EQ(size_of(complex64), 8u);
    EXPECT_STREQ(to_string(complex64), "complex64");
    EXPECT_FALSE(is_floating(complex64));
    Stream stream(test::device());
    const ComplexValues values = complex_values(3 * 5, 1);
    const PlacedComplex t(stream, {3, 5}, {.gap = 2, .skew = 3}, values);
    for (const Tensor& view : {real(t), imag(t)}) {
        EXPECT_EQ(view.type(), DataType::f32);
        EXPECT_EQ(view.shape(), (Shape{3, 5}));
        EXPECT_EQ(view.strides(), (Shape{14, 2}));
        EXPECT_EQ(view.buffer(), t.tensor().buffer());
    }
    const auto re = download(stream, real(t)), im = download(stream, imag(t).transpose());
    for (std::size_t i = 0; i < values.size(); ++i) {
        EXPECT_EQ(re[i], values[i].real());
        EXPECT_EQ(im[i % 5 * 3 + i / 5], values[i].imag());
    }
    // They are written like any other view, and empty ones exist at the end of a buffer.
    fill_into(stream, imag(t), 2.0);
    const ComplexValues now = t.read(stream).values;
    for (std::size_t i = 0; i < values.size(); ++i)
        EXPECT_EQ(now[i], std::complex<float>(values[i].real(), 2.0f));
    const Tensor whole(stream.device(), complex64, {4});
    const Tensor end = whole.as_strided({0}, {1}, 4);
    EXPECT_EQ(imag(end).elements(), 0u);
    expect_error(invalid, {"tensor", "f32", "complex64"}, [&] { static_cast<void>(real(real(t))); });
    expect_error(invalid, {"tensor", "null"}, [&] { static_cast<void>(imag(Tensor())); });
}

TEST(ComplexTensor, Conjugate) {
    Stream stream(test::device());
    ComplexValues values = complex_values(2 * 3 * 40 * 3, 4), exact = values;
    values[7] = {0.0f, -0.0f}, values[8] = {-0.0f, std::numeric_limits<float>::infinity()};
    for (std::size_t i = 0; i < values.size(); ++i) exact[i] = std::conj(values[i]);
    // Copied by rows, transposed, and as one long row.
    for (const bool turned : {false, true})
        for (const Layout& layout : {Layout{}, Layout{.gap = 1, .batch_gap = 2, .skew = 1}}) {
            const PlacedComplex in(stream, {6, 40, 3}, layout, values),
                out(stream, {6, 40, 3}, {.feature_major = turned, .gap = 1, .skew = 3});
            conjugate_into(stream, out, in);
            const auto found = out.read(stream);
            EXPECT_EQ(found.damage, "");
            EXPECT_EQ(std::memcmp(found.values.data(), exact.data(), exact.size() * sizeof exact[0]), 0);
        }
    ComplexValues many = complex_values(3 * 8192 + 5, 5);
    const Tensor row = upload(stream, many, {many.size()});
    for (auto& value : many) value = std::conj(value);
    EXPECT_EQ(download_complex(stream, conjugate(stream, row)), many);
    EXPECT_EQ(conjugate(stream, Tensor(stream.device(), complex64, {0, 3})).shape(), (Shape{0, 3}));
    const std::vector<float> reals{1, -2, 0};
    EXPECT_EQ(download(stream, conjugate(stream, upload(stream, reals, {3}, DataType::bf16))), reals);
    const Tensor out(stream.device(), complex64, {4}), whole(stream.device(), DataType::u32, {4});
    const auto refused = [&](const std::vector<std::string>& parts, const Tensor& to, const Tensor& from) {
        expect_error(invalid, parts, [&] { conjugate_into(stream, to, from); });
    };
    refused({"out", "(4)", "(3)"}, out, upload(stream, many, {many.size()}).slice(0, 0, 3));
    refused({"out", "complex64", "f32"}, out, Tensor(stream.device(), DataType::f32, {4}));
    refused({"out", "overlaps in"}, out, out);
    refused({"in", "u32"}, whole, whole);
    refused({"out", "more than once"}, out.as_strided({4}, {0}), Tensor(stream.device(), complex64, {4}));
}

TEST(ComplexTensor, UploadDownloadAndViews) {
    Stream stream(test::device());
    const ComplexValues values = complex_values(2 * 3 * 4, 2);
    const Tensor t = upload(stream, values, {2, 3, 4});
    EXPECT_EQ(download_complex(stream, t), values);
    EXPECT_EQ(download_complex(stream, t.transpose()), transposed(values, 2, 3, 4));
    EXPECT_EQ(download_complex(stream, t.select(0, 1).slice(1, 1, 3)),
              (ComplexValues{values[13], values[14], values[17], values[18], values[21], values[22]}));
    EXPECT_EQ(download_complex(stream, t.reshape({6, 4}).select(0, 5)),
              ComplexValues(values.begin() + 20, values.end()));
    for (const Layout& layout :
         {Layout{}, Layout{.feature_major = true, .gap = 1, .batch_gap = 2, .skew = 1}}) {
        const PlacedComplex out(stream, {2, 3, 4}, layout);
        upload_into(stream, out, values);
        EXPECT_EQ(out.read(stream).values, values);
        EXPECT_EQ(out.read(stream).damage, "");
        EXPECT_EQ(download_complex(stream, contiguous(stream, out)), values);
    }
    // Real values become real parts.
    const std::vector<float> reals{1, -2, 3};
    EXPECT_EQ(download_complex(stream, upload(stream, reals, {3}, complex64)), (ComplexValues{1, -2, 3}));
    EXPECT_EQ(download_complex(stream, upload(stream, reals, {3}, DataType::f16)), (ComplexValues{1, -2, 3}));
    EXPECT_TRUE(download_complex(stream, Tensor(stream.device(), complex64, {0, 3})).empty());
    expect_error(invalid, {"tensor", "complex64", "f32"}, [&] { static_cast<void>(download(stream, t)); });
    expect_error(invalid, {"out", "f32", "complex64"},
                 [&] { upload_into(stream, real(t), std::span<const std::complex<float>>(values)); });
}

TEST(ComplexTensor, CopiesAndConversions) {
    Stream stream(test::device());
    test::property(20, [&] {
        const std::size_t batch = test::draw(1, 3), rows = test::draw(0, 20), columns = test::draw(0, 9);
        const ComplexValues values = complex_values(batch * rows * columns, 3);
        const PlacedComplex in(stream, {batch, rows, columns}, test::draw_layout(), values),
            out(stream, {batch, rows, columns}, test::draw_layout()),
            turned(stream, {batch, columns, rows}, test::draw_layout());
        convert_into(stream, out, in);
        convert_into(stream, turned, in.tensor().transpose());
        RC_ASSERT(out.read(stream).values == values);
        RC_ASSERT(out.read(stream).damage == "");
        RC_ASSERT(turned.read(stream).values == transposed(values, batch, rows, columns));
        RC_ASSERT(turned.read(stream).damage == "");
        // From half precision, on its way to real parts.
        const auto reals = test::random_values(values.size(), 4, DataType::f16);
        convert_into(stream, out, upload(stream, reals, {batch, rows, columns}, DataType::f16));
        const auto widened = out.read(stream);
        RC_ASSERT(widened.values == ComplexValues(reals.begin(), reals.end()));
        RC_ASSERT(widened.damage == "");
    });
    const Tensor t = upload(stream, complex_values(6, 5), {2, 3});
    for (const DataType type : {DataType::f32, DataType::f16, DataType::u32})
        expect_error(invalid, {"out", to_string(type), "complex64", "real()"},
                     [&] { static_cast<void>(convert(stream, t, type)); });
    expect_error(invalid, {"out", "complex64", "u32"}, [&] {
        static_cast<void>(convert(stream, Tensor(stream.device(), DataType::u32, {2}), complex64));
    });
}

TEST(ComplexTensor, FourDimensionsThatDoNotMerge) {
    Stream stream(test::device());
    const ComplexValues values = complex_values(2 * 3 * 2 * 3, 6);
    const Tensor t = upload(stream, values, {2, 3, 2, 3});
    const ComplexValues now = download_complex(stream, t.transpose(0, 3).transpose(1, 2));
    for (std::size_t i = 0; i < 36; ++i)
        EXPECT_EQ(now[i], values[((i % 2 * 3 + i / 2 % 3) * 2 + i / 6 % 2) * 3 + i / 12]);
}

TEST(ComplexTensor, Fill) {
    Stream stream(test::device());
    for (const double value : {0.0, -2.5})
        for (const Layout& layout : {Layout{}, Layout{.gap = 3, .skew = 1}}) {
            const PlacedComplex out(stream, {3, 4}, layout);
            fill_into(stream, out, value);
            EXPECT_EQ(out.read(stream).values, ComplexValues(12, static_cast<float>(value)));
            EXPECT_EQ(out.read(stream).damage, "");
        }
    fill_into(stream, Tensor(stream.device(), complex64, {0}), 1.0);
}

TEST(ComplexTensor, Permutations) {
    Stream stream(test::device());
    const std::vector<std::uint32_t> index{4, 0, 5, 2, 1, 3};
    const ComplexValues values = complex_values(3 * 6, 7);
    const PlacedComplex x(stream, {3, 6}, {.feature_major = true, .gap = 1}, values);
    for (const Permutation& p : {Permutation::stride(2, 3), Permutation::from_indices(stream, index)}) {
        const PlacedComplex y(stream, {3, 6}, {.gap = 2}), back(stream, {3, 6}, {.feature_major = true});
        matmul_into(stream, y, x, p);
        const auto read = y.read(stream);
        EXPECT_EQ(read.damage, "");
        for (std::size_t t = 0; t < 3; ++t)
            for (std::size_t i = 0; i < 6; ++i)
                EXPECT_EQ(read.values[t * 6 + i],
                          values[t * 6 + (p.is_stride() ? i % 2 * 3 + i / 2 : index[i])]);
        matmul_transposed_into(stream, back, y, p);
        EXPECT_EQ(back.read(stream).values, values);
        EXPECT_EQ(back.read(stream).damage, "");
        EXPECT_EQ(download_complex(
                      stream, matmul(stream, upload(stream, values, {3, 6}), to_dense(stream, p, complex64))),
                  read.values);
    }
}

TEST(ComplexTensor, Files) {
    Stream stream(test::device());
    const auto file = std::filesystem::temp_directory_path() /
                      ("danaus_complex_" + std::to_string(static_cast<int>(test::access())) + ".safetensors");
    const ComplexValues values = complex_values(3 * 4, 8);
    SafetensorsWriter writer;
    writer.add("spectrum", upload(stream, values, {4, 3}).transpose());
    writer.add("weight", upload(stream, std::vector<float>{1, 2}, {2}));
    writer.save(stream, file);
    const SafetensorsFile read(file);
    EXPECT_EQ(read.entry("spectrum").dtype, "C64");
    EXPECT_EQ(read.entry("spectrum").type(), complex64);
    EXPECT_EQ(download_complex(stream, read.load(stream, "spectrum")), transposed(values, 1, 4, 3));
    const PlacedComplex out(stream, {3, 4}, {.gap = 1});
    read.load_into(stream, out, "spectrum");
    EXPECT_EQ(out.read(stream).values, transposed(values, 1, 4, 3));
    EXPECT_EQ(out.read(stream).damage, "");
    std::filesystem::remove(file);
}

TEST(ComplexTensor, OverlapsAreSeen) {
    Stream stream(test::device());
    const Tensor t(stream.device(), complex64, {4, 4});
    expect_error(invalid, {"out", "overlaps in"},
                 [&] { convert_into(stream, t.slice(0, 0, 3), t.slice(0, 1, 4)); });
    convert_into(stream, t.slice(1, 0, 2), t.slice(1, 2, 4));
    // A tensor's halves are apart, a half and the whole are not.
    fill_into(stream, t, 1.0);
    convert_into(stream, imag(t), real(t));
    EXPECT_EQ(download_complex(stream, t), ComplexValues(16, {1, 1}));
    expect_error(invalid, {"out", "overlaps in"}, [&] { convert_into(stream, t, real(t)); });
    expect_error(invalid, {"out", "more than once"}, [&] {
        fill_into(stream, t.as_strided({2, 2}, {0, 1}), 1.0);
    });
}

TEST(ComplexTensor, OperationsOfRealNumbersRefuseIt) {
    const Device device = test::device();
    Stream stream(device);
    const Tensor c(device, complex64, {8, 8}), f(device, DataType::f32, {8, 8}),
        blocks(device, complex64, {2, 4, 4}), labels(device, DataType::u32, {8});
    const auto refused = [&](const auto& action) { expect_error(invalid, {"complex64"}, action); };
    const std::vector<Tensor> list{c};
    const LossMetrics metrics(stream);
    LinearOptions layer;
    layer.type = complex64;
    refused([&] { static_cast<void>(column_sums(stream, c)); });
    refused([&] { static_cast<void>(global_norm(stream, list)); });
    refused([&] { static_cast<void>(epilogue_backward(stream, c, c, Activation::none)); });
    refused([&] { static_cast<void>(gated_activation(stream, c, Gate::swiglu)); });
    refused([&] { static_cast<void>(softmax_cross_entropy(stream, metrics, c, labels)); });
    refused([&] { uniform_into(stream, c, 0.0f, 1.0f, 1); });
    refused([&] { static_cast<void>(normal(stream, complex64, {4}, 0.0f, 1.0f, 1)); });
    refused([&] { fan_in_uniform_into(stream, c, 8, 1); });
    refused([&] { static_cast<void>(pack(stream, c)); });
    refused([&] { static_cast<void>(pack(stream, BlockDiagonal(blocks))); });
    refused([&] { static_cast<void>(compress_by_magnitude(stream, c)); });
    refused([&] { static_cast<void>(compress_by_magnitude(stream, c, VectorPattern{})); });
    refused([&] { static_cast<void>(compress_transposable(stream, c)); });
    refused([&] { static_cast<void>(compress_unbiased(stream, c, {})); });
    refused([&] { static_cast<void>(soft_threshold_scale(stream, c)); });
    refused([&] { static_cast<void>(select_mask(stream, c)); });
    refused([&] { static_cast<void>(select_transposable_mask(stream, c)); });
    refused([&] { static_cast<void>(select_vector_mask(stream, c, VectorPattern{})); });
    refused([&] { verify_finite(stream, c); });
    refused([&] { Sparse24(device, complex64, {8, 8}); });
    refused([&] { TileSparse24(device, complex64, {8, 8}); });
    refused([&] { VectorSparse(device, complex64, {8, 8}, {}); });
    refused([&] { static_cast<void>(matmul(stream, c, compress_by_magnitude(stream, f))); });
    refused([&] { static_cast<void>(matmul_transposed(stream, c, compress_transposable(stream, f))); });
    refused([&] { static_cast<void>(matmul(stream, c, pack(stream, f))); });
    refused([&] { static_cast<void>(new_parameter(device, {8, 8}, complex64)); });
    refused([&] { static_cast<void>(new_parameter(device, {8, 8}, DataType::f32, complex64)); });
    refused([&] { DenseLinear(stream, 8, 8, layer); });
    refused([&] { static_cast<void>(best(stream, BlockDiagonal(blocks), 4)); });
    refused([&] { static_cast<void>(matmul(stream, c, f)); });
    refused([&] { project_into(stream, Monarch(blocks, blocks), {}, f); });
    refused([&] { static_cast<void>(compress_by_magnitude(stream, Monarch(blocks, blocks))); });
    refused([&] { static_cast<void>(matmul(stream, f, c)); });
}

}  // namespace
}  // namespace danaus
