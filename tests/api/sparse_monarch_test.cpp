// Monarch matrices of 2:4 factors: pruned, multiplied, differentiated, on whole numbers, so that every result
// is the oracle's, bit for bit.
#include "reference/float_types.hpp"
#include "reference/monarch.hpp"
#include "reference/transposable.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/guarded24.hpp"
#include "support/operands.hpp"

#include <danaus/danaus.hpp>

#include <numeric>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using reference::Tensor3;
using test::device;
using test::draw;
using test::expect_error;
using test::Guarded24;
using test::Layout;
using test::Placed;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

struct Case {
    std::size_t k = 2, q = 4, p = 8, l = 4, s = 5;
    std::size_t batch = 0, tokens = 5;
    DataType type = DataType::f32;
    bool tiles = false;
    Layout x{}, y{};
    bool bias = false, residual = false, accumulate = false, with_inner = false;
    float scale = 1.0f;
    unsigned seed = 1;
    int most = 2;  // of all numbers

    [[nodiscard]] std::size_t r() const { return k * q / l; }
    [[nodiscard]] std::size_t rows() const { return batch ? batch * tokens : tokens; }
    [[nodiscard]] Shape shape(std::size_t features) const {
        return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
    }
};

std::ostream& operator<<(std::ostream& out, const Case& c) {
    return out << "w1 (" << c.k << ", " << c.q << ", " << c.p << "), w2 (" << c.l << ", " << c.s << ", "
               << c.r() << "), batch " << c.batch << ", tokens " << c.tokens << ", " << to_string(c.type)
               << ", tiles " << c.tiles << ", x " << c.x << ", y " << c.y << ", bias " << c.bias << c.residual
               << c.accumulate << ", inner " << c.with_inner << ", scale " << c.scale << ", seed " << c.seed;
}

// Blocks under their masks.
Tensor3 pruned(const Tensor3& w, bool tiles) {
    Tensor3 out = w;
    const std::size_t size = w.n1 * w.n2;
    for (std::size_t b = 0; b < w.n0; ++b) {
        const Matrix block(w.n1, w.n2, std::span(w.data).subspan(b * size, size));
        const Matrix kept = reference::apply_mask(
            block, tiles ? reference::select_transposable_mask(block) : reference::select_mask(block));
        std::copy(kept.data.begin(), kept.data.end(),
                  out.data.begin() + static_cast<std::ptrdiff_t>(b * size));
    }
    return out;
}

SparseMonarch24 make(const Device& d, DataType type, const Shape& first, const Shape& second, bool tiles) {
    if (tiles) return {TileSparse24(d, type, first), TileSparse24(d, type, second)};
    return {Sparse24(d, type, first), Sparse24(d, type, second)};
}

std::vector<float> stored(const std::vector<double>& exact, DataType type) {
    return reference::round_to(test::float_type(type), std::span<const float>(reference::to_float(exact)));
}

std::vector<double> plus(std::vector<double> a, const std::vector<double>& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
}

// Empty, or what differs from the oracle.
std::string check(Stream& stream, const Case& c) {
    const auto w1 = test::whole_values(c.k * c.q * c.p, c.seed, c.most),
               w2 = test::whole_values(c.l * c.s * c.r(), c.seed + 1, c.most),
               x = test::whole_values(c.rows() * c.k * c.p, c.seed + 2, c.most),
               dy = test::whole_values(c.rows() * c.s * c.l, c.seed + 3, c.most),
               residual = test::whole_values(c.rows() * c.s * c.l, c.seed + 4, 3),
               bias = test::whole_values(c.s * c.l, c.seed + 5, 3);
    const Shape first{c.k, c.q, c.p}, second{c.l, c.s, c.r()};
    const Monarch dense(upload(stream, w1, first), upload(stream, w2, second));
    const reference::Monarch oracle(pruned(Tensor3(c.k, c.q, c.p, w1), c.tiles),
                                    pruned(Tensor3(c.l, c.s, c.r(), w2), c.tiles));
    // From f32 into the type, by magnitude; then once more under the masks of what it kept.
    const SparseMonarch24 a = make(device(), c.type, first, second, c.tiles);
    compress_by_magnitude_into(stream, a, dense);
    std::ostringstream text;
    const auto compare = [&](const char* what, const std::vector<float>& actual,
                             const std::vector<float>& expected) {
        // Zeros may have either sign.
        const auto positive = [](std::vector<float> values) {
            for (float& value : values) value += 0.0f;
            return values;
        };
        const std::string problem = test::first_difference(positive(actual), positive(expected));
        if (!problem.empty()) text << what << ": " << problem << '\n';
    };
    const Monarch back = to_monarch(stream, a);
    compare("w1", download(stream, back.w1), reference::to_float(oracle.w1.data));
    compare("w2", download(stream, back.w2), reference::to_float(oracle.w2.data));
    const Guarded24<Sparse24> rows1(stream, c.type, first), rows2(stream, c.type, second);
    const Guarded24<TileSparse24> tiles1(stream, c.type, first), tiles2(stream, c.type, second);
    const SparseMonarch24 again =
        c.tiles ? SparseMonarch24(tiles1.get(), tiles2.get()) : SparseMonarch24(rows1.get(), rows2.get());
    const auto mask = [&](const Tensor& w) {
        return c.tiles ? select_transposable_mask(stream, w) : select_mask(stream, w);
    };
    compress_into(stream, again, dense, mask(dense.w1), mask(dense.w2));
    compare("dense", download(stream, to_dense(stream, again)),
            stored(reference::to_dense(oracle).data, c.type));
    for (const auto* guarded : {&rows1, &rows2}) guarded->check(stream, "rows");
    for (const auto* guarded : {&tiles1, &tiles2}) guarded->check(stream, "tiles");

    const Placed tx(stream, c.type, c.shape(c.k * c.p), c.x, x), ty(stream, c.type, c.shape(c.s * c.l), c.y),
        tdy(stream, c.type, c.shape(c.s * c.l), c.y, dy), tdx(stream, c.type, c.shape(c.k * c.p), c.x);
    const Matrix mx(c.rows(), c.k * c.p, x), mdy(c.rows(), c.s * c.l, dy);
    Epilogue epilogue{.scale = c.scale, .accumulate = c.accumulate};
    std::vector<double> y = reference::matmul(mx, oracle).data;
    for (double& value : y) value *= static_cast<double>(c.scale);
    if (c.bias) {
        epilogue.bias = upload(stream, bias, {c.s * c.l});
        for (std::size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(bias[i % bias.size()]);
    }
    if (c.residual && !c.accumulate) epilogue.residual = upload(stream, residual, c.shape(c.s * c.l), c.type);
    if (c.accumulate) upload_into(stream, ty, residual);
    if (c.residual || c.accumulate) y = plus(y, reference::to_double(residual));
    Tensor inner;
    matmul_into(stream, ty, tx, a, epilogue, c.with_inner ? &inner : nullptr);
    const auto ry = ty.read(stream);
    compare("y", ry.values, stored(y, c.type));

    const auto exact = reference::monarch_backward(mdy, mx, oracle);
    const Tensor dw1(device(), DataType::f32, first), dw2(device(), DataType::f32, second);
    for (const Tensor& dw : {dw1, dw2}) fill_into(stream, dw, 5.0);
    backward_into(stream, {tdx, Monarch(dw1, dw2)}, tdy, tx, a, inner,
                  {.scale = c.scale, .accumulate = c.accumulate});
    const auto changed = [&](std::vector<double> values, double before) {
        for (double& value : values) value = static_cast<double>(c.scale) * value + before;
        return values;
    };
    const auto rdx = tdx.read(stream);
    compare("dx", rdx.values, stored(changed(exact.dx.data, 0.0), c.type));
    const double before = c.accumulate ? 5.0 : 0.0;
    compare("dw1", download(stream, dw1), reference::to_float(changed(exact.dw1.data, before)));
    compare("dw2", download(stream, dw2), reference::to_float(changed(exact.dw2.data, before)));
    compare("transposed", download(stream, matmul_transposed(stream, tdy, a)), stored(exact.dx.data, c.type));
    text << ry.damage << rdx.damage;
    return text.str();
}

TEST(SparseMonarch24, AgreesWithTheOracle) {
    Stream stream(device());
    for (const DataType type : types)
        for (const bool tiles : {false, true})
            for (Case c :
                 {Case{}, Case{.k = 4, .q = 8, .p = 8, .l = 4, .s = 8, .tokens = 20},
                  Case{.k = 2, .q = 3, .p = 5, .l = 6, .s = 2}, Case{.k = 1, .q = 6, .p = 5, .l = 1, .s = 4},
                  Case{.k = 7, .q = 1, .p = 1, .l = 7, .s = 1, .tokens = 1},
                  Case{.k = 3, .q = 4, .p = 9, .l = 2, .s = 3, .batch = 2}}) {
                if (type != DataType::f32 && c.k % 2) continue;  // shapes are tried in one type
                c.type = type;
                c.tiles = tiles;
                ASSERT_EQ(check(stream, c), "") << c;
            }
}

// Large enough that factors are expanded into panels before and results moved to their places behind.
TEST(SparseMonarch24, LargeFactors) {
    Stream stream(device());
    for (const bool tiles : {false, true}) {
        const Case c{.k = 2,
                     .q = 128,
                     .p = 512,
                     .l = 2,
                     .s = 160,
                     .tokens = 256,
                     .type = tiles ? DataType::f32 : DataType::f16,
                     .tiles = tiles,
                     .most = 1};
        ASSERT_EQ(check(stream, c), "") << c;
    }
}

TEST(SparseMonarch24, AgreesForAnyShapeLayoutAndEpilogue) {
    Stream stream(device());
    test::property(15, [&] {
        Case c;
        const std::size_t root = draw(1, 4);
        c.k = draw(1, 4);
        c.l = c.k * draw(1, 2);
        c.q = root * c.l / std::gcd(c.k, c.l);
        c.p = draw(1, 10);
        c.s = draw(1, 9);
        c.batch = draw(0, 2);
        c.tokens = draw(0, 17);
        c.type = types[draw(0, 2)];
        c.tiles = draw(0, 1);
        c.bias = draw(0, 1);
        c.residual = draw(0, 1);
        c.accumulate = draw(0, 1);
        c.with_inner = draw(0, 1);
        c.scale = draw(0, 1) ? 1.0f : -2.0f;
        c.x = test::draw_layout();
        c.y = test::draw_layout();
        c.seed = static_cast<unsigned>(draw(0, 1000));
        RC_LOG() << c << '\n';
        RC_ASSERT(check(stream, c) == "");
    });
}

TEST(SparseMonarch24, TakesTheStatedBytes) {
    // Of 64 x 64 blocks: f16 values and 4 bits for two of them, or a byte for 4 x 4 weights.
    const Shape blocks{64, 64, 64};
    EXPECT_EQ(make(device(), DataType::f16, blocks, blocks, false).bytes(), 2u * 64 * 64 * (32 * 2 + 16 / 2));
    EXPECT_EQ(make(device(), DataType::f16, blocks, blocks, true).bytes(), 2u * 64 * 64 * 64 / 16 * 17);
}

TEST(SparseMonarch24, RefusesWrongInput) {
    Stream stream(device());
    const Device& d = device();
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const Shape first{2, 4, 8}, second{4, 5, 2};
    const auto tensor = [&](DataType type, const Shape& shape) { return Tensor(d, type, shape); };
    const Monarch w(tensor(DataType::f32, first), tensor(DataType::f32, second));
    const SparseMonarch24 a = make(d, DataType::f32, first, second, false),
                          half = make(d, DataType::f16, first, second, true), none;
    refuses({"w1", "null"}, [&] { SparseMonarch24(Sparse24(), Sparse24()); });
    refuses({"w1", "(4, 8)", "rank 3"}, [&] {
        SparseMonarch24(Sparse24(d, DataType::f32, {4, 8}), a.rows().second);
    });
    refuses({"w2", "f16", "f32"},
            [&] { SparseMonarch24(a.rows().first, Sparse24(d, DataType::f16, second)); });
    refuses({"w2", "(4, 5, 3)", "12", "(2, 4, 8)", "8"}, [&] {
        SparseMonarch24(a.rows().first, Sparse24(d, DataType::f32, {4, 5, 3}));
    });
    const Tensor x = tensor(DataType::f32, {3, 16}), y = tensor(DataType::f32, {3, 20});
    refuses({"a", "null"}, [&] { static_cast<void>(matmul(stream, x, none)); });
    refuses({"x", "(3, 20)", "16"}, [&] { static_cast<void>(matmul(stream, y, a)); });
    refuses({"x", "f32", "f16"}, [&] { static_cast<void>(matmul(stream, x, half)); });
    refuses({"dy", "(3, 16)", "20"}, [&] { static_cast<void>(matmul_transposed(stream, x, a)); });
    refuses({"out", "(3, 16)", "(3, 20)"}, [&] { matmul_into(stream, x, x, a); });
    MonarchGradients wrong;
    wrong.dw.w1 = tensor(DataType::f32, second);
    refuses({"dw.w1", "(4, 5, 2)", "(2, 4, 8)"}, [&] { backward_into(stream, wrong, y, x, a); });
    refuses({"out.w1", "(2, 4, 8)"}, [&] {
        compress_by_magnitude_into(stream, a, Monarch(tensor(DataType::f32, {2, 4, 4}), w.w2));
    });
    refuses({"out.w1: type f16", "bf16 like w.w1", "an f32 w.w1"}, [&] {
        compress_by_magnitude_into(stream, half,
                                   Monarch(tensor(DataType::bf16, first), tensor(DataType::bf16, second)));
    });
    refuses({"w.w1", "null"}, [&] { static_cast<void>(compress_by_magnitude(stream, Monarch())); });
    // Each factor where the other's result goes, and its own.
    const auto view = [&](const Tensor& of, const Shape& shape) {
        return Tensor(of.buffer(), DataType::f32, shape);
    };
    const Tensor small1(d, DataType::f32, {1, 1, 4}), small2(d, DataType::f32, {1, 1, 1});
    const SparseMonarch24 small = make(d, DataType::f32, {1, 1, 4}, {1, 1, 1}, false);
    const Tensor &values1 = small.rows().first.values(), &values2 = small.rows().second.values();
    refuses({"out.w2", "overlaps w.w2"}, [&] {
        compress_by_magnitude_into(stream, small, Monarch(small1, view(values2, {1, 1, 1})));
    });
    refuses({"w.w2", "overlaps out.w1"}, [&] {
        compress_by_magnitude_into(stream, small, Monarch(small1, view(values1, {1, 1, 1})));
    });
    refuses({"first_mask", "(4, 5, 1)", "for w.w1 (2, 4, 8)"},
            [&] { compress_into(stream, a, w, select_mask(stream, w.w2), select_mask(stream, w.w2)); });
    refuses({"w.order", "interleaved"},
            [&] { compress_by_magnitude_into(stream, a, Monarch(w.w1, w.w2, OutputOrder::blocked)); });
    // Nothing may be written where it is read.
    const Tensor inside(a.rows().first.values().buffer(), DataType::f32, {1, 20});
    refuses({"out", "w1"}, [&] { matmul_into(stream, inside, x.slice(0, 0, 1), a); });
}

}  // namespace
}  // namespace danaus
