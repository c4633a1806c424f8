// Block-diagonal multiply, both gradients, to and from dense.
#include "reference/block_diagonal.hpp"

#include "epilogue_case.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using reference::Tensor3;
using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;
using Oracle = reference::BlockDiagonal;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

Shape activations(std::size_t batch, std::size_t tokens, std::size_t features) {
    return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
}

TEST(BlockDiagonal, PublicCase) {
    constexpr std::size_t k = 8, q = 192, p = 96, tokens = 32;
    Stream stream(test::device());
    const auto x = test::random_values(tokens * k * p, 1), w = test::random_values(k * q * p, 2),
               dy = test::random_values(tokens * k * q, 3);
    const BlockDiagonal matrix(upload(stream, w, {k, q, p}));
    EXPECT_EQ(matrix.in_features(), 768u);
    const Tensor tx = upload(stream, x, {tokens, k * p}), tdy = upload(stream, dy, {tokens, k * q});
    const Oracle oracle{Tensor3(k, q, p, w)};
    const Matrix rx(tokens, k * p, x), rdy(tokens, k * q, dy);
    EXPECT_EQ(reference::first_mismatch(download(stream, matmul(stream, tx, matrix)),
                                        reference::matmul(rx, oracle).data, 1e-4, 1e-4),
              "");
    EXPECT_EQ(reference::first_mismatch(download(stream, matmul_transposed(stream, tdy, matrix)),
                                        reference::matmul_transposed(rdy, oracle).data, 1e-4, 1e-4),
              "");
    EXPECT_EQ(reference::first_mismatch(download(stream, weight_gradient(stream, tdy, tx, k).weight),
                                        reference::weight_gradient(rdy, rx, k).data, 1e-4, 1e-4),
              "");
}

struct Case {
    std::size_t k = 2, q = 3, p = 4, tokens = 5, batch = 0;
    DataType type = DataType::f32;
    bool widen = false, whole = false;
    Layout x = {}, y = {}, w = {};
};

// Forward, transposed and gradient of one case. Batches are longer lists of tokens to the oracle.
std::string mismatch(Stream& stream, const Case& one) {
    const std::size_t rows = one.tokens * std::max<std::size_t>(1, one.batch), in = one.k * one.p,
                      out = one.k * one.q;
    const auto values = [&](std::size_t count, unsigned seed) {
        return one.whole ? test::whole_values(count, seed, 3) : test::random_values(count, seed, one.type);
    };
    const auto x = values(rows * in, 1), w = values(one.k * one.q * one.p, 2), dy = values(rows * out, 3);
    const Placed tx(stream, one.type, activations(one.batch, one.tokens, in), one.x, x),
        tdy(stream, one.type, activations(one.batch, one.tokens, out), one.y, dy),
        tw(stream, one.type, {one.k, one.q, one.p}, one.w, w);
    const BlockDiagonal matrix(tw);
    const Oracle oracle{Tensor3(one.k, one.q, one.p, w)};
    const Matrix rx(rows, in, x), rdy(rows, out, dy);
    const DataType result = one.widen ? DataType::f32 : one.type;
    const auto check = [&](const char* what, const Placed& device, std::vector<double> exact,
                           std::size_t length, const std::vector<double>& magnitude) {
        std::vector<double> bound(exact.size());
        for (std::size_t i = 0; i < exact.size() && !one.whole; ++i)
            bound[i] =
                reference::dot_bound(length, {.output = test::float_type(result)}, magnitude[i], exact[i]);
        if (one.whole) exact = reference::round_to(test::float_type(result), std::span<const double>(exact));
        const Placed::Contents contents = device.read(stream);
        const std::string text =
            reference::first_mismatch(reference::to_double(contents.values), exact, bound) + contents.damage;
        return text.empty() ? text : std::string(what) + ": " + text;
    };
    const Oracle magnitude = reference::absolute(oracle);
    const Matrix ax = reference::absolute(rx), ady = reference::absolute(rdy);

    const Placed y(stream, result, tdy.tensor().shape(), one.y),
        dx(stream, result, tx.tensor().shape(), one.x), dw(stream, result, tw.tensor().shape(), one.w);
    matmul_into(stream, y, tx, matrix);
    matmul_transposed_into(stream, dx, tdy, matrix);
    weight_gradient_into(stream, BlockDiagonal(dw), tdy, tx);
    std::string text =
        check("forward", y, reference::matmul(rx, oracle).data, one.p, reference::matmul(ax, magnitude).data);
    if (text.empty())
        text = check("transposed", dx, reference::matmul_transposed(rdy, oracle).data, one.q,
                     reference::matmul_transposed(ady, magnitude).data);
    // Members of a batch that are summed one by one cost one more rounding each.
    if (text.empty())
        text = check("gradient", dw, reference::weight_gradient(rdy, rx, one.k).data, rows + one.batch,
                     reference::weight_gradient(ady, ax, one.k).data);
    return text;
}

TEST(BlockDiagonal, ChosenShapes) {
    Stream stream(test::device());
    for (const Case& one : {Case{.k = 1, .q = 1, .p = 1, .tokens = 1}, Case{.k = 3, .q = 1, .p = 9},
                            Case{.k = 5, .q = 17, .p = 1}, Case{.k = 4, .q = 8, .p = 8, .tokens = 33},
                            Case{.k = 2, .q = 0, .p = 3}, Case{.k = 2, .q = 3, .p = 0},
                            Case{.k = 2, .tokens = 0}, Case{.k = 2, .tokens = 0, .batch = 3}})
        EXPECT_EQ(mismatch(stream, one), "");
}

TEST(BlockDiagonal, BatchesWithGaps) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const bool whole : {false, true}) {
            Case one{.k = 2, .q = 6, .p = 4, .tokens = 9, .batch = 3, .type = type, .whole = whole};
            EXPECT_EQ(mismatch(stream, one), "");
            one.x.batch_gap = 2;
            EXPECT_EQ(mismatch(stream, one), "");
            one.y.batch_gap = 1;
            one.y.feature_major = true;
            EXPECT_EQ(mismatch(stream, one), "");
        }
}

TEST(BlockDiagonal, RandomCases) {
    Stream stream(test::device());
    test::property(30, [&] {
        Case one;
        one.k = draw(1, 5);
        one.q = draw(0, 9);
        one.p = draw(0, 9);
        one.tokens = draw(0, 7);
        one.batch = draw(0, 3);
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        one.whole = draw(0, 1) == 1;
        one.x = test::draw_layout();
        one.y = test::draw_layout();
        one.w = test::draw_layout();
        const std::string text = mismatch(stream, one);
        RC_ASSERT(text == "");
    });
}

TEST(BlockDiagonal, Epilogues) {
    using Choice = test::EpilogueChoice;
    constexpr std::size_t k = 3, q = 4, p = 5, tokens = 3;
    Stream stream(test::device());
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const auto residual :
             {Choice::Residual::same_layout, Choice::Residual::other_layout, Choice::Residual::accumulate})
            for (const bool feature_major : {false, true}) {
                Choice choice;
                choice.type = type;
                choice.bias = Choice::Bias::operand_type;
                choice.activation = Activation::gelu;
                choice.residual = residual;
                choice.aux = true;
                choice.scale = 0.5f;
                choice.feature_major = feature_major;
                const auto x = test::random_values(tokens * k * p, 4, type),
                           w = test::random_values(k * q * p, 5, type);
                const Oracle oracle{Tensor3(k, q, p, w)};
                const Matrix rx(tokens, k * p, x), sum = reference::matmul(rx, oracle);
                const test::EpilogueCase one(stream, choice, tokens, k * q);
                matmul_into(stream, one.out(), upload(stream, x, {tokens, k * p}, type),
                            BlockDiagonal(upload(stream, w, {k, q, p}, type)), one.epilogue());
                EXPECT_EQ(one.mismatch(stream, sum,
                                       reference::dot_bound(p, {},
                                                            reference::matmul(reference::absolute(rx),
                                                                              reference::absolute(oracle)),
                                                            sum)),
                          "");
            }
}

TEST(BlockDiagonal, ToAndFromDense) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const auto& [k, q, p] : {std::array<std::size_t, 3>{3, 4, 5}, {1, 2, 3}, {4, 1, 1}, {2, 0, 3}}) {
            const auto w = test::random_values(k * q * p, 6, type);
            const BlockDiagonal matrix(
                Placed(stream, type, {k, q, p}, {.feature_major = true, .gap = 1}, w).tensor());
            const Tensor dense = to_dense(stream, matrix);
            EXPECT_EQ(dense.shape(), (Shape{k * q, k * p}));
            EXPECT_EQ(reference::to_double(download(stream, dense)),
                      reference::to_dense(Oracle{Tensor3(k, q, p, w)}).data);
            const BlockDiagonal back = extract(stream, dense.transpose().transpose(), k);
            EXPECT_EQ(back.weight.shape(), (Shape{k, q, p}));
            EXPECT_EQ(download(stream, back.weight), w);
        }
    // The diagonal of a full matrix.
    const auto full = test::random_values(6 * 4, 7);
    EXPECT_EQ(reference::to_double(download(stream, extract(stream, upload(stream, full, {6, 4}), 2).weight)),
              reference::extract_blocks(Matrix(6, 4, full), 2).w.data);
}

TEST(BlockDiagonal, GradientOptions) {
    Stream stream(test::device());
    const auto dy = test::random_values(5 * 6, 1, DataType::f16),
               x = test::random_values(5 * 4, 2, DataType::f16), before = test::random_values(2 * 3 * 2, 3);
    const Tensor tdy = upload(stream, dy, {5, 6}, DataType::f16),
                 tx = upload(stream, x, {5, 4}, DataType::f16);
    danaus::GradientOptions options;
    options.widen = true;
    options.scale = 2.0f;
    const BlockDiagonal wide = weight_gradient(stream, tdy, tx, 2, options);
    EXPECT_EQ(wide.weight.type(), DataType::f32);
    const Tensor3 exact = reference::weight_gradient(Matrix(5, 6, dy), Matrix(5, 4, x), 2);
    std::vector<double> expected = exact.data;
    for (double& value : expected) value *= 2;
    EXPECT_EQ(reference::first_mismatch(download(stream, wide.weight), expected, 1e-6, 1e-6), "");
    options.accumulate = true;
    const BlockDiagonal sum(upload(stream, before, {2, 3, 2}));
    weight_gradient_into(stream, sum, tdy, tx, options);
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += before[i];
    EXPECT_EQ(reference::first_mismatch(download(stream, sum.weight), expected, 1e-6, 1e-6), "");
    expect_error(invalid, {"accumulate", "takes out"},
                 [&] { static_cast<void>(weight_gradient(stream, tdy, tx, 2, options)); });
}

TEST(BlockDiagonal, OnADeviceOfSmallLimits) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = caps.storage_offset_alignment + 512;
        caps.max_workgroup_count = {2, 3, 2};
    });
    Stream stream(small);
    EXPECT_EQ(mismatch(stream, {.k = 7, .q = 9, .p = 8, .tokens = 21}), "");
    EXPECT_EQ(mismatch(stream, {.k = 5,
                                .q = 6,
                                .p = 8,
                                .tokens = 9,
                                .batch = 3,
                                .type = DataType::f16,
                                .widen = true,
                                .whole = true}),
              "");
}

TEST(BlockDiagonal, WrongInput) {
    const Device device = test::device();
    Stream stream(device);
    const auto tensor = [&](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device, type, shape);
    };
    const BlockDiagonal w(tensor({2, 3, 4}));
    const Tensor x = tensor({5, 8}), y = tensor({5, 6});
    const auto refused = [&](const std::vector<std::string>& parts, auto&& action) {
        expect_error(invalid, parts, action);
    };
    refused({"weight", "null"}, [] { BlockDiagonal{Tensor()}; });
    refused({"weight", "(3, 4)", "rank 3"}, [&] { BlockDiagonal{tensor({3, 4})}; });
    refused({"weight", "i32"}, [&] { BlockDiagonal{tensor({2, 3, 4}, DataType::i32)}; });
    refused({"weight", "null"}, [&] { static_cast<void>(matmul(stream, x, BlockDiagonal())); });
    refused({"x", "(5, 6)", "8"}, [&] { static_cast<void>(matmul(stream, y, w)); });
    refused({"dy", "(5, 8)", "6"}, [&] { static_cast<void>(matmul_transposed(stream, x, w)); });
    refused({"x", "f16", "f32"}, [&] {
        static_cast<void>(matmul(stream, tensor({5, 8}, DataType::f16), w));
    });
    refused({"x", "(8)", "rank 2 or 3"}, [&] { static_cast<void>(matmul(stream, tensor({8}), w)); });
    refused({"out", "(5, 8)", "(5, 6)"}, [&] { matmul_into(stream, x, x, w); });
    refused({"out", "overlaps weight"}, [&] {
        matmul_into(stream, w.weight.as_strided({1, 6}, {6, 1}), tensor({1, 8}), w);
    });
    refused({"blocks", "4", "6", "dy"}, [&] { static_cast<void>(weight_gradient(stream, y, x, 4)); });
    refused({"blocks", "3", "8", "x"}, [&] { static_cast<void>(weight_gradient(stream, y, x, 3)); });
    refused({"blocks", "0"}, [&] { static_cast<void>(weight_gradient(stream, y, x, 0)); });
    refused({"x", "(4, 8)", "(5, 6)"}, [&] {
        static_cast<void>(weight_gradient(stream, y, tensor({4, 8}), 2));
    });
    refused({"x", "f16", "f32"}, [&] {
        static_cast<void>(weight_gradient(stream, y, tensor({5, 8}, DataType::f16), 2));
    });
    refused({"out", "(2, 4, 3)", "(2, 3, 4)"}, [&] {
        weight_gradient_into(stream, BlockDiagonal(tensor({2, 4, 3})), y, x);
    });
    refused({"blocks", "4", "(6, 8)"}, [&] { static_cast<void>(extract(stream, tensor({6, 8}), 4)); });
    refused({"blocks", "0"}, [&] { static_cast<void>(extract(stream, tensor({6, 8}), 0)); });
    refused({"dense", "(2, 3, 4)", "rank 2"}, [&] { static_cast<void>(extract(stream, w.weight, 2)); });
    refused({"dense", "u32"}, [&] { static_cast<void>(extract(stream, tensor({6, 8}, DataType::u32), 2)); });
    EXPECT_EQ(stream.submissions(), 0u);
    EXPECT_EQ(mismatch(stream, {}), "");
}

}  // namespace
}  // namespace danaus
