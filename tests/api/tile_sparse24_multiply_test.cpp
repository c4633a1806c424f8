// Multiplying by transposable 2:4 matrices, forward and transposed from one copy, against the double oracle.
#include "reference/epilogue.hpp"
#include "reference/error_bound.hpp"
#include "reference/transposable.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace danaus {
namespace {

using reference::absolute;
using reference::dot_bound;
using reference::Matrix;
using test::device;
using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

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

// Matrix `index` of a batch, or the only one.
Matrix member(const std::vector<float>& values, std::size_t index, std::size_t rows, std::size_t cols) {
    const std::size_t size = rows * cols, first = values.size() > size ? index * size : 0;
    return {rows, cols, std::span<const float>(values).subspan(first, size)};
}

// Empty, or the first wrong element of y = x·Wᵀ, dx = dy·W and dW = dyᵀ·x.
std::string mismatch(Stream& stream, const Sizes& s, DataType type, DataType result_type, const Layout& from,
                     const Layout& to, unsigned seed) {
    const auto w = test::random_values(s.w().elements(), seed, type),
               x = test::random_values(s.x(s.in).elements(), seed + 1, type),
               dy = test::random_values(s.x(s.out).elements(), seed + 2, type);
    const Placed tw(stream, type, s.w(), from, w), tx(stream, type, s.x(s.in), from, x),
        tdy(stream, type, s.x(s.out), from, dy);
    const TileSparse24 tiles = compress_transposable(stream, tw);
    const Placed y(stream, result_type, s.y(s.out), to), dx(stream, result_type, s.y(s.in), to);
    matmul_into(stream, y, tx, tiles);
    matmul_transposed_into(stream, dx, tdy, tiles);
    const std::vector<float> got_y = y.values(stream), got_dx = dx.values(stream);
    const reference::DotRounding rounding{.output = test::float_type(result_type)};
    for (std::size_t b = 0; b < std::max<std::size_t>(1, std::max(s.blocks, s.batch)); ++b) {
        const Matrix rw = member(w, b, s.out, s.in), rx = member(x, b, s.tokens, s.in),
                     rdy = member(dy, b, s.tokens, s.out);
        const Matrix masked = reference::apply_mask(rw, reference::select_transposable_mask(rw));
        const auto check = [&](const std::vector<float>& all, const Matrix& expected, const Matrix& magnitude,
                               std::size_t terms) {
            const std::size_t size = expected.rows * expected.cols;
            return reference::first_mismatch(std::span<const float>(all).subspan(b * size, size), expected,
                                             dot_bound(terms + 1, rounding, magnitude, expected));
        };
        std::string text =
            check(got_y, reference::matmul(rx, masked), reference::absolute_product(rx, masked), s.in);
        if (!text.empty()) return "matmul " + std::to_string(b) + ": " + text;
        text = check(got_dx, reference::matmul_transposed(rdy, masked),
                     reference::matmul_transposed(absolute(rdy), absolute(masked)), s.out);
        if (!text.empty()) return "matmul_transposed " + std::to_string(b) + ": " + text;
    }
    if (s.blocks || s.batch) return {};
    const Placed dw(stream, result_type, s.w(), to);
    weight_gradient_into(stream, dw, tdy, tx, tiles);
    const Matrix rx(s.tokens, s.in, x), rdy(s.tokens, s.out, dy);
    const Matrix expected = reference::weight_gradient(rdy, rx);
    return reference::first_mismatch(
        dw.values(stream), expected,
        dot_bound(s.tokens + 1, rounding, reference::weight_gradient(absolute(rdy), absolute(rx)), expected));
}

TEST(TileSparse24Multiply, AgreesWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : types)
        for (const std::uint64_t in : {1u, 4u, 5u, 16u, 31u, 66u, 131u}) {
            const std::uint64_t out = std::array{19u, 4u, 1u, 18u, 64u, 33u}[seed % 6];
            EXPECT_EQ(mismatch(stream, {0, 0, 5, in, out}, type, type, {}, {}, seed), "")
                << to_string(type) << " " << in << " to " << out;
            ++seed;
        }
}

TEST(TileSparse24Multiply, LayerShapes) {
    Stream stream(device());
    for (const DataType type : types)
        EXPECT_EQ(mismatch(stream, {0, 0, 1, 784, 256}, type, type, {}, {}, 3), "") << to_string(type);
    EXPECT_EQ(mismatch(stream, {0, 0, 64, 784, 256}, DataType::f32, DataType::f32, {}, {}, 3), "");
    // Enough of everything for rules to pack the weight first, or its transpose.
    EXPECT_EQ(mismatch(stream, {0, 0, 260, 516, 130}, DataType::f16, DataType::f32, {}, {}, 4), "");
    EXPECT_EQ(mismatch(stream, {0, 0, 260, 130, 517}, DataType::f16, DataType::f32, {}, {}, 5), "");
    EXPECT_EQ(mismatch(stream, {2, 2, 257, 131, 514}, DataType::f32, DataType::f32, {}, {}, 6), "");
}

TEST(TileSparse24Multiply, AgreesWithTheOracleForDrawnShapes) {
    Stream stream(device());
    test::property(12, [&] {
        Sizes s{0, draw(0, 2), draw(1, 16), draw(1, 70), draw(1, 70)};
        s.blocks = s.batch ? (draw(0, 1) ? s.batch : 0) : draw(0, 2);
        const DataType type = types[draw(0, 2)];
        RC_ASSERT(mismatch(stream, s, type, draw(0, 1) ? type : DataType::f32, test::draw_layout(),
                           draw(0, 1) ? test::draw_layout() : Layout{},
                           static_cast<unsigned>(draw(0, 100000))) == "");
    });
}

TEST(TileSparse24Multiply, AppliesTheEpilogue) {
    Stream stream(device());
    const std::size_t tokens = 9, in = 37, out = 22;
    for (const DataType type : types) {
        const auto w = test::random_values(out * in, 1, type), x = test::random_values(tokens * in, 2, type),
                   bias = test::random_values(out, 3, type),
                   residual = test::random_values(tokens * out, 4, type);
        const TileSparse24 tiles = compress_transposable(stream, upload(stream, w, {out, in}, type));
        const Placed aux(stream, type, {tokens, out});
        Epilogue epilogue;
        epilogue.bias = upload(stream, bias, {out}, type);
        epilogue.residual = upload(stream, residual, {tokens, out}, type);
        epilogue.activation = Activation::relu;
        epilogue.scale = 0.5f;
        epilogue.aux = aux;
        const Tensor y = matmul(stream, upload(stream, x, {tokens, in}, type), tiles, epilogue);

        const Matrix rx(tokens, in, x), rw(out, in, w), rr(tokens, out, residual);
        const Matrix masked = reference::apply_mask(rw, reference::select_transposable_mask(rw));
        const auto expected = reference::epilogue_forward(reference::matmul(rx, masked),
                                                          {.scale = 0.5,
                                                           .bias = reference::convert<double>(bias),
                                                           .activation = reference::Activation::relu,
                                                           .residual = rr});
        Matrix magnitude = reference::absolute_product(rx, masked);
        for (double& value : magnitude.data) value += 2.0;
        const reference::DotRounding rounding{.output = test::float_type(type)};
        const auto near = [&](const std::vector<float>& actual, const Matrix& exact) {
            return reference::first_mismatch(actual, exact, dot_bound(in + 4, rounding, magnitude, exact));
        };
        EXPECT_EQ(near(download(stream, y), expected.y), "") << to_string(type);
        EXPECT_EQ(near(aux.values(stream), expected.z), "") << to_string(type);
    }
}

// A packed copy and the faster of two are other ways to the same product.
TEST(TileSparse24Multiply, PackedAndBest) {
    Stream stream(device());
    const std::size_t tokens = 7, in = 45, out = 38;
    for (const DataType type : {DataType::f32, DataType::bf16}) {
        const auto w = test::whole_values(out * in, 1, 3), x = test::whole_values(tokens * in, 2, 3);
        const Tensor tx = upload(stream, x, {tokens, in}, type);
        const TileSparse24 tiles = compress_transposable(stream, upload(stream, w, {out, in}, type));
        const Matrix rx(tokens, in, x), rw(out, in, w);
        const Matrix masked = reference::apply_mask(rw, reference::select_transposable_mask(rw));
        const Matrix expected = reference::matmul(rx, masked);
        Epilogue wide;
        wide.widen = true;
        const auto exact = reference::to_float(expected.data);
        EXPECT_EQ(download(stream, matmul(stream, tx, tiles, wide)), exact) << to_string(type);
        EXPECT_EQ(download(stream, matmul(stream, tx, pack(stream, tiles), wide)), exact) << to_string(type);
        TuneOptions options;
        options.rounds = 5;
        EXPECT_EQ(download(stream, matmul(stream, tx, best(stream, tiles, tokens, options), wide)), exact);
    }
}

// Weights that the mask hides do not reach the result, whatever they are.
TEST(TileSparse24Multiply, HiddenWeightsDoNotCount) {
    Stream stream(device());
    const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
    const std::vector<float> w{nan, 2, 3, inf, 5, nan, -inf, 7, 1, nan, inf, 4, nan, 6, 8, -inf};
    for (const DataType type : types) {
        const TileSparse24 tiles = compress_tiles(
            stream, upload(stream, w, {4, 4}, type),
            upload(stream, std::vector<std::uint32_t>{0b0110, 0b1001, 0b1001, 0b0110}, {4, 1}));
        const Tensor x = upload(stream, std::vector<float>{1, 10, 100, 1000}, {1, 4}, type);
        Epilogue wide;
        wide.widen = true;
        EXPECT_EQ(download(stream, matmul(stream, x, tiles, wide)),
                  (std::vector<float>{320, 7005, 4001, 860}));
        EXPECT_EQ(download(stream, matmul_transposed(stream, x, tiles, wide)),
                  (std::vector<float>{150, 6002, 8003, 470}));
    }
}

TEST(TileSparse24Multiply, EmptySizes) {
    Stream stream(device());
    const auto zeros = [&](const Tensor& t) {
        return download(stream, t) == std::vector<float>(t.elements(), 0.0f);
    };
    const auto make = [](const Shape& shape) { return Tensor(device(), DataType::f16, shape); };
    const TileSparse24 no_in(device(), DataType::f16, {6, 0}), no_out(device(), DataType::f16, {0, 6});
    EXPECT_TRUE(zeros(matmul(stream, make({5, 0}), no_in)));
    EXPECT_EQ(matmul_transposed(stream, make({5, 6}), no_in).elements(), 0u);
    EXPECT_EQ(matmul(stream, make({5, 6}), no_out).elements(), 0u);
    EXPECT_TRUE(zeros(matmul_transposed(stream, make({5, 0}), no_out)));
    EXPECT_TRUE(zeros(
        weight_gradient(stream, make({0, 6}), make({0, 8}), TileSparse24(device(), DataType::f16, {6, 8}))));
}

// Few workgroups and short storage ranges: products are cut along blocks and tokens; the weight must fit in
// one piece. Blocks of 25 rows are seven bands each.
TEST(TileSparse24Multiply, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {64, 3, 3};
        caps.max_storage_range = 16384;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    EXPECT_EQ(mismatch(stream, {7, 7, 30, 40, 25}, DataType::f32, DataType::f32, {}, {}, 5), "");
    EXPECT_EQ(mismatch(stream, {0, 7, 200, 40, 25}, DataType::f32, DataType::f32, {}, {}, 6), "");
    if (test::access() != Access::descriptor) return;
    const TileSparse24 wide(small, DataType::f32, {64, 256});
    expect_error(ErrorKind::unsupported, {"tile_sparse24_matmul", "weight spans", "elements of f32"}, [&] {
        (void)matmul(stream, Tensor(small, DataType::f32, {1, 256}), wide);
    });
}

TEST(TileSparse24Multiply, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const auto make = [](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device(), type, shape);
    };
    const TileSparse24 a(device(), DataType::f32, {6, 8}), blocks(device(), DataType::f32, {3, 6, 8});
    refuses({"a", "null"}, [&] { (void)matmul(stream, make({5, 8}), TileSparse24()); });
    refuses({"a", "null"}, [&] { (void)pack(stream, TileSparse24()); });
    refuses({"x", "null"}, [&] { (void)matmul(stream, Tensor(), a); });
    refuses({"x", "(5, 6)", "8", "(6, 8)"}, [&] { (void)matmul(stream, make({5, 6}), a); });
    refuses({"dy", "(5, 8)", "6", "(6, 8)"}, [&] { (void)matmul_transposed(stream, make({5, 8}), a); });
    refuses({"x", "f16", "f32"}, [&] { (void)matmul(stream, make({5, 8}, DataType::f16), a); });
    refuses({"x", "batch 2", "3 blocks"}, [&] { (void)matmul(stream, make({2, 5, 8}), blocks); });
    refuses({"out", "(5, 8)", "(5, 6)"}, [&] { matmul_into(stream, make({5, 8}), make({5, 8}), a); });
    refuses({"out", "overlaps a"}, [&] {
        matmul_into(stream, Tensor(a.values().buffer(), DataType::f32, {1, 6}), make({1, 8}), a);
    });
    refuses({"dy", "(5, 6)", "rank 3"}, [&] {
        (void)weight_gradient(stream, make({5, 6}), make({5, 8}), blocks);
    });
}

}  // namespace
}  // namespace danaus
