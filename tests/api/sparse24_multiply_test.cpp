// Multiplying by 2:4 compressed matrices, against the double oracle with forward error bounds.
#include "reference/epilogue.hpp"
#include "reference/error_bound.hpp"
#include "reference/sparse24.hpp"
#include "support/layout.hpp"

#include <algorithm>
#include <limits>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::absolute;
using reference::dot_bound;
using reference::DotRounding;
using reference::first_mismatch;
using reference::Matrix;
using test::device;
using test::expect_error;
using test::Layout;
using test::Placed;
using test::reference_type;

std::vector<float> random_values(std::size_t count, DataType type, std::mt19937& engine) {
    std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
    std::vector<float> values(count);
    for (float& value : values) value = draw(engine);
    return reference::round_to(reference_type(type), std::span<const float>(values));
}

// Matrix `index` of a batch, or the only one.
Matrix member(const std::vector<float>& values, std::size_t index, std::size_t rows, std::size_t cols) {
    const std::size_t size = rows * cols, first = values.size() > size ? index * size : 0;
    return Matrix(rows, cols, std::span<const float>(values).subspan(first, size));
}

// Blocks of W and batch of x; 0: the tensor has no such dimension.
struct Sizes {
    std::uint64_t blocks, batch, tokens, in, out;

    [[nodiscard]] Shape w() const { return blocks ? Shape{blocks, out, in} : Shape{out, in}; }
    [[nodiscard]] Shape x(std::uint64_t features) const {
        return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
    }
    [[nodiscard]] Shape y(std::uint64_t features) const {
        return batch || blocks ? Shape{std::max(batch, blocks), tokens, features} : Shape{tokens, features};
    }
};

// The three multiplies of one problem.
void check_multiplies(Stream& stream, const Sizes& s, DataType type, DataType result_type, Layout from,
                      Layout to, unsigned seed) {
    const std::string what = to_string(s.w()) + " " + to_string(type) + " by " + to_string(s.x(s.in)) +
                             ", layouts " + std::to_string(static_cast<int>(from)) + " and " +
                             std::to_string(static_cast<int>(to));
    std::mt19937 engine(seed);
    const std::vector<float> w = random_values(s.w().elements(), type, engine),
                             x = random_values(s.x(s.in).elements(), type, engine),
                             dy = random_values(s.x(s.out).elements(), type, engine);
    const Placed tw(stream, type, s.w(), from, w), tx(stream, type, s.x(s.in), from, x),
        tdy(stream, type, s.x(s.out), from, dy);
    const Sparse24 sparse = compress_by_magnitude(stream, tw.tensor());
    const Placed y(stream, result_type, s.y(s.out), to), dx(stream, result_type, s.y(s.in), to);
    matmul_into(stream, y.tensor(), tx.tensor(), sparse);
    matmul_transposed_into(stream, dx.tensor(), tdy.tensor(), sparse);

    const DotRounding rounding{.output = reference_type(result_type)};
    const std::vector<float> got_y = download(stream, y.tensor()), got_dx = download(stream, dx.tensor());
    const std::size_t batches = std::max<std::size_t>(1, std::max(s.blocks, s.batch));
    for (std::size_t b = 0; b < batches; ++b) {
        const Matrix rw = member(w, b, s.out, s.in), rx = member(x, b, s.tokens, s.in),
                     rdy = member(dy, b, s.tokens, s.out);
        const reference::Sparse24 compressed = reference::compress(rw, reference::select_mask(rw));
        const Matrix masked = reference::decompress(compressed);
        const Matrix expected = reference::matmul(rx, compressed),
                     back = reference::matmul_transposed(rdy, compressed);
        const auto part = [&](const std::vector<float>& all, std::size_t features) {
            return std::span<const float>(all).subspan(b * s.tokens * features, s.tokens * features);
        };
        ASSERT_EQ(
            first_mismatch(part(got_y, s.out), expected,
                           dot_bound(s.in + 1, rounding, reference::absolute_product(rx, masked), expected)),
            "")
            << what << ", matmul " << b;
        ASSERT_EQ(
            first_mismatch(part(got_dx, s.in), back,
                           dot_bound(s.out + 1, rounding,
                                     reference::matmul_transposed(absolute(rdy), absolute(masked)), back)),
            "")
            << what << ", matmul_transposed " << b;
    }
    y.check(stream, what);
    dx.check(stream, what);

    if (s.blocks && !s.batch) return;
    const Placed dw(stream, result_type, s.w(), to);
    weight_gradient_into(stream, dw.tensor(), tdy.tensor(), tx.tensor(), sparse);
    const std::vector<float> got_dw = download(stream, dw.tensor());
    for (std::size_t b = 0; b < std::max<std::size_t>(1, s.blocks); ++b) {
        // Without blocks the batch is one list of tokens.
        const std::size_t tokens = s.blocks ? s.tokens : s.tokens * std::max<std::uint64_t>(1, s.batch);
        const Matrix rx = member(x, b, tokens, s.in), rdy = member(dy, b, tokens, s.out);
        const Matrix expected = reference::weight_gradient(rdy, rx);
        Matrix bound = dot_bound(tokens + 1, rounding,
                                 reference::weight_gradient(absolute(rdy), absolute(rx)), expected);
        // A batch in pieces is accumulated in the result, which rounds each time.
        const double steps = s.blocks ? 1.0 : static_cast<double>(std::max<std::uint64_t>(1, s.batch));
        const double unit = reference::unit_roundoff(reference_type(result_type));
        for (double& value : bound.data)
            value += steps > 1 ? 2 * steps * unit * static_cast<double>(tokens) : 0;
        ASSERT_EQ(first_mismatch(std::span<const float>(got_dw).subspan(b * s.out * s.in, s.out * s.in),
                                 expected, bound),
                  "")
            << what << ", weight_gradient " << b;
    }
    dw.check(stream, what);
}

TEST(Sparse24Multiply, AgreesWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : test::float_types)
        for (const std::uint64_t in : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 31u, 33u, 66u, 131u}) {
            const Layout from = test::layouts[seed % 5], to = test::layouts[seed / 5 % 5];
            check_multiplies(stream, {0, 0, 5, in, 19}, type, type, from, to, seed);
            ++seed;
        }
    for (const DataType type : test::float_types)
        for (const unsigned out : {1u, 2u, 3u, 7u, 8u, 33u})
            check_multiplies(stream, {0, 0, 67, 40, out}, type, DataType::f32, Layout::contiguous,
                             Layout::contiguous, out);
}

TEST(Sparse24Multiply, LayerShapes) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        check_multiplies(stream, {0, 0, 64, 784, 256}, type, type, Layout::contiguous, Layout::contiguous, 3);
    // Enough of everything for rules to pack the weight first, or its transpose.
    check_multiplies(stream, {0, 0, 260, 516, 130}, DataType::f16, DataType::f32, Layout::contiguous,
                     Layout::contiguous, 4);
    check_multiplies(stream, {0, 0, 260, 130, 517}, DataType::f16, DataType::f32, Layout::contiguous,
                     Layout::contiguous, 5);
    check_multiplies(stream, {2, 2, 257, 131, 514}, DataType::f32, DataType::f32, Layout::contiguous,
                     Layout::contiguous, 6);
}

TEST(Sparse24Multiply, Batches) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const Layout layout : test::layouts) {
            check_multiplies(stream, {3, 3, 5, 21, 18}, type, type, layout, layout, 1);
            check_multiplies(stream, {3, 0, 5, 18, 21}, type, type, layout, Layout::contiguous, 2);
            check_multiplies(stream, {0, 3, 4, 30, 13}, type, DataType::f32, layout, layout, 3);
            check_multiplies(stream, {1, 1, 4, 30, 13}, type, type, Layout::contiguous, layout, 4);
        }
}

RC_GTEST_PROP(Sparse24Multiply, AgreesWithTheOracleForDrawnShapes, ()) {
    Stream stream(device());
    const auto type =
        *rc::gen::elementOf(std::vector(std::begin(test::float_types), std::end(test::float_types)));
    const auto layout = rc::gen::elementOf(std::vector(std::begin(test::layouts), std::end(test::layouts)));
    const auto from = *layout, to = *layout;
    const auto size = rc::gen::inRange<std::uint64_t>(1, 70);
    // At most 16 tokens: taller tiles take the driver long to compile, and have their chosen shapes above.
    Sizes s{0, 0, *rc::gen::inRange<std::uint64_t>(1, 17), *size, *size};
    s.batch = *rc::gen::inRange<std::uint64_t>(0, 3);
    s.blocks =
        s.batch ? *rc::gen::element(std::uint64_t{0}, s.batch) : *rc::gen::inRange<std::uint64_t>(0, 3);
    check_multiplies(stream, s, type, *rc::gen::arbitrary<bool>() ? type : DataType::f32, from, to,
                     *rc::gen::inRange(0u, 1000000u));
    RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Sparse24Multiply, AppliesTheEpilogue) {
    Stream stream(device());
    const std::size_t tokens = 9, in = 37, out = 22;
    for (const DataType type : test::float_types) {
        std::mt19937 engine(4);
        const auto w = random_values(out * in, type, engine), x = random_values(tokens * in, type, engine),
                   bias = random_values(out, type, engine),
                   residual = random_values(tokens * out, type, engine);
        const Sparse24 sparse = compress_by_magnitude(stream, upload(stream, w, {out, in}, type));
        const Placed aux(stream, type, {tokens, out}, Layout::contiguous);
        Epilogue epilogue;
        epilogue.bias = upload(stream, bias, {out}, type);
        epilogue.residual = upload(stream, residual, {tokens, out}, type);
        epilogue.activation = Activation::relu;
        epilogue.scale = 0.5f;
        epilogue.aux = aux.tensor();
        const Tensor y = matmul(stream, upload(stream, x, {tokens, in}, type), sparse, epilogue);

        const Matrix rx(tokens, in, x), rw(out, in, w), rr(tokens, out, residual);
        const Matrix masked = reference::apply_mask(rw, reference::select_mask(rw));
        const auto expected = reference::epilogue_forward(reference::matmul(rx, masked),
                                                          {.scale = 0.5,
                                                           .bias = reference::convert<double>(bias),
                                                           .activation = reference::Activation::relu,
                                                           .residual = rr});
        Matrix magnitude = reference::absolute_product(rx, masked);
        for (double& value : magnitude.data) value += 2.0;
        const DotRounding rounding{.output = reference_type(type)};
        EXPECT_EQ(first_mismatch(download(stream, y), expected.y,
                                 dot_bound(in + 4, rounding, magnitude, expected.y)),
                  "");
        EXPECT_EQ(first_mismatch(download(stream, aux.tensor()), expected.z,
                                 dot_bound(in + 4, rounding, magnitude, expected.z)),
                  "");
        aux.check(stream, "aux");
    }
}

TEST(Sparse24Multiply, OrderWidenAndAccumulate) {
    Stream stream(device());
    const std::vector<float> w{3, 1, 2, 4}, x{1, 10, 100, 1000, 2, 20, 200, 2000};  // keeps columns 0 and 3
    const Sparse24 sparse = compress_by_magnitude(stream, upload(stream, w, {1, 4}, DataType::f16));
    const Tensor tx = upload(stream, x, {2, 4}, DataType::f16);
    Epilogue epilogue;
    epilogue.order = Order::feature_major;
    epilogue.widen = true;
    const Tensor y = matmul(stream, tx, sparse, epilogue);
    EXPECT_EQ(y.type(), DataType::f32);
    EXPECT_EQ(y.strides()[0], 1u);
    EXPECT_EQ(download(stream, y), (std::vector<float>{4003, 8006}));
    Epilogue add;
    add.accumulate = true;
    matmul_into(stream, y, tx, sparse, add);
    EXPECT_EQ(download(stream, y), (std::vector<float>{8006, 16012}));
    GradientOptions options;
    options.widen = true;
    options.scale = 2.0f;
    const Tensor dy = upload(stream, std::vector<float>{1, 1}, {2, 1}, DataType::f16);
    const Tensor dw = weight_gradient(stream, dy, tx, sparse, options);
    EXPECT_EQ(download(stream, dw), (std::vector<float>{6, 60, 600, 6000}));
    options.accumulate = true;
    weight_gradient_into(stream, dw, dy, tx, sparse, options);
    EXPECT_EQ(download(stream, dw), (std::vector<float>{12, 120, 1200, 12000}));
}

// Weights that the mask hides do not reach the result, whatever they are.
TEST(Sparse24Multiply, HiddenWeightsDoNotCount) {
    Stream stream(device());
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    for (const DataType type : test::float_types) {
        const Tensor w = upload(stream, std::vector<float>{nan, 2, 3, inf, 5, nan, -inf, 7}, {2, 4}, type);
        const Sparse24 sparse =
            compress(stream, w, upload(stream, std::vector<std::uint32_t>{0b0110, 0b1001}, {2, 1}));
        const Tensor x = upload(stream, std::vector<float>{1, 10, 100, 1000}, {1, 4}, type);
        const Tensor dy = upload(stream, std::vector<float>{1, 10}, {1, 2}, type);
        Epilogue wide;
        wide.widen = true;
        EXPECT_EQ(download(stream, matmul(stream, x, sparse, wide)), (std::vector<float>{320, 7005}))
            << to_string(type);
        EXPECT_EQ(download(stream, matmul_transposed(stream, dy, sparse, wide)),
                  (std::vector<float>{50, 2, 3, 70}))
            << to_string(type);
    }
}

TEST(Sparse24Multiply, EmptySizes) {
    Stream stream(device());
    const auto zeros = [&](const Tensor& t) {
        return download(stream, t) == std::vector<float>(t.elements(), 0.0f);
    };
    const auto make = [](const Shape& shape) { return Tensor(device(), DataType::f16, shape); };
    const Sparse24 no_in(device(), DataType::f16, {6, 0}), no_out(device(), DataType::f16, {0, 6});
    EXPECT_TRUE(zeros(matmul(stream, make({5, 0}), no_in)));
    EXPECT_EQ(matmul_transposed(stream, make({5, 6}), no_in).elements(), 0u);
    EXPECT_EQ(weight_gradient(stream, make({5, 6}), make({5, 0}), no_in).elements(), 0u);
    EXPECT_EQ(matmul(stream, make({5, 6}), no_out).elements(), 0u);
    EXPECT_TRUE(zeros(matmul_transposed(stream, make({5, 0}), no_out)));
    const Sparse24 some =
        compress_by_magnitude(stream, upload(stream, std::vector<float>(48, 1.0f), {6, 8}, DataType::f16));
    EXPECT_EQ(matmul(stream, make({0, 8}), some).shape(), (Shape{0, 6}));
    EXPECT_EQ(matmul(stream, make({0, 5, 8}), some).shape(), (Shape{0, 5, 6}));
    EXPECT_TRUE(zeros(weight_gradient(stream, make({0, 6}), make({0, 8}), some)));
    EXPECT_TRUE(zeros(weight_gradient(stream, make({0, 5, 6}), make({0, 5, 8}), some)));
}

// Few workgroups and short storage ranges: products are cut along blocks and tokens; the weight must fit in
// one piece.
TEST(Sparse24Multiply, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {64, 3, 3};
        caps.max_storage_range = 16384;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    check_multiplies(stream, {7, 7, 30, 40, 24}, DataType::f32, DataType::f32, Layout::contiguous,
                     Layout::contiguous, 5);
    check_multiplies(stream, {0, 7, 200, 40, 24}, DataType::f32, DataType::f32, Layout::contiguous,
                     Layout::contiguous, 6);
    if (test::access() != Access::descriptor) return;
    const Sparse24 wide(small, DataType::f32, {64, 256});
    expect_error(ErrorKind::unsupported, {"sparse24_matmul", "weight spans", "elements of f32"}, [&] {
        (void)matmul(stream, Tensor(small, DataType::f32, {1, 256}), wide);
    });
}

TEST(Sparse24Multiply, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const auto make = [](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device(), type, shape);
    };
    const Sparse24 a(device(), DataType::f32, {6, 8}), blocks(device(), DataType::f32, {3, 6, 8});
    refuses({"a", "null"}, [&] { (void)matmul(stream, make({5, 8}), Sparse24()); });
    refuses({"x", "null"}, [&] { (void)matmul(stream, Tensor(), a); });
    refuses({"x", "(5, 6)", "8", "(6, 8)"}, [&] { (void)matmul(stream, make({5, 6}), a); });
    refuses({"dy", "(5, 8)", "6", "(6, 8)"}, [&] { (void)matmul_transposed(stream, make({5, 8}), a); });
    refuses({"x", "f16", "f32"}, [&] { (void)matmul(stream, make({5, 8}, DataType::f16), a); });
    refuses({"x", "(8)", "rank 2 or 3"}, [&] { (void)matmul(stream, make({8}), a); });
    refuses({"x", "batch 2", "3 blocks"}, [&] { (void)matmul(stream, make({2, 5, 8}), blocks); });
    refuses({"out", "(5, 8)", "(5, 6)"}, [&] { matmul_into(stream, make({5, 8}), make({5, 8}), a); });
    refuses({"out", "f16", "f32"}, [&] {
        matmul_into(stream, make({5, 6}, DataType::f16), make({5, 8}), a);
    });
    // What the epilogue stores is apart from the operands, too.
    const Tensor square = empty(stream, DataType::f32, {16, 16});
    const Sparse24 square_weight = compress_by_magnitude(stream, square);
    refuses({"aux", "overlaps x"}, [&] {
        Epilogue epilogue;
        epilogue.aux = square;
        (void)matmul(stream, square, square_weight, epilogue);
    });
    refuses({"out", "overlaps a"}, [&] {
        matmul_into(stream, Tensor(a.values().buffer(), DataType::f32, {1, 6}), make({1, 8}), a);
    });
    refuses({"x", "(4, 8)", "(5, 6)"}, [&] { (void)weight_gradient(stream, make({5, 6}), make({4, 8}), a); });
    refuses({"x", "(5, 6)", "8"}, [&] { (void)weight_gradient(stream, make({5, 6}), make({5, 6}), a); });
    refuses({"dy", "(5, 6)", "rank 3"}, [&] {
        (void)weight_gradient(stream, make({5, 6}), make({5, 8}), blocks);
    });
    refuses({"out", "(8, 6)", "(6, 8)"}, [&] {
        weight_gradient_into(stream, make({8, 6}), make({5, 6}), make({5, 8}), a);
    });
    Epilogue accumulate;
    accumulate.accumulate = true;
    refuses({"accumulate"}, [&] { (void)matmul(stream, make({5, 8}), a, accumulate); });
    Epilogue bias;
    bias.bias = make({8});
    refuses({"bias", "(8)", "(6)"}, [&] { (void)matmul(stream, make({5, 8}), a, bias); });
}

}  // namespace
}  // namespace danaus
