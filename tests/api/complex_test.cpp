// Multiplies and gradients of complex64 by dense and block-diagonal matrices, held against the oracle.
#include "support/complex.hpp"

#include "reference/block_diagonal.hpp"
#include "support/device.hpp"

#include <danaus/danaus.hpp>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::absolute;
using reference::ComplexMatrix;
using reference::ComplexTensor3;
using test::complex_values;
using test::ComplexValues;
using test::draw;
using test::expect_error;
using test::Layout;
using test::PlacedComplex;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr auto complex64 = DataType::complex64;

Shape activations(std::size_t batch, std::size_t tokens, std::size_t features) {
    return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
}

// What each of `terms` complex products may cost, and the roundings of the partial results that are stored.
std::vector<double> bounds(std::size_t terms, const std::vector<double>& magnitude, bool whole) {
    std::vector<double> bound(magnitude.size());
    for (std::size_t i = 0; i < bound.size() && !whole; ++i)
        bound[i] = reference::dot_bound(2 * terms + 2, {}, magnitude[i], magnitude[i]);
    return bound;
}

struct Case {
    std::size_t k = 1, q = 3, p = 4, tokens = 5, batch = 0;  ///< k = 0: a dense q × p matrix
    bool whole = false;
    Layout x = {}, y = {}, w = {};
};

std::string mismatch(Stream& stream, const Case& one) {
    const bool dense = one.k == 0;
    const std::size_t k = dense ? 1 : one.k, rows = one.tokens * std::max<std::size_t>(1, one.batch),
                      in = k * one.p, out = k * one.q;
    const ComplexValues x = complex_values(rows * in, 1, one.whole),
                        w = complex_values(k * one.q * one.p, 2, one.whole),
                        dy = complex_values(rows * out, 3, one.whole);
    const Shape weight = dense ? Shape{one.q, one.p} : Shape{k, one.q, one.p};
    const PlacedComplex tx(stream, activations(one.batch, one.tokens, in), one.x, x),
        tdy(stream, activations(one.batch, one.tokens, out), one.y, dy), tw(stream, weight, one.w, w),
        y(stream, tdy.tensor().shape(), one.y), dx(stream, tx.tensor().shape(), one.x),
        dw(stream, weight, one.w);
    if (dense) {
        matmul_into(stream, y, tx, tw);
        matmul_transposed_into(stream, dx, tdy, tw);
        const auto tokens = [&](const Tensor& t) {
            return one.batch ? contiguous(stream, t).reshape({rows, t.size(2)}) : t;
        };
        weight_gradient_into(stream, dw, tokens(tdy), tokens(tx));
    } else {
        const BlockDiagonal matrix(tw);
        matmul_into(stream, y, tx, matrix);
        matmul_transposed_into(stream, dx, tdy, matrix);
        weight_gradient_into(stream, BlockDiagonal(dw), tdy, tx);
    }
    const reference::ComplexBlockDiagonal oracle{ComplexTensor3(k, one.q, one.p, w)};
    const reference::BlockDiagonal size = absolute(oracle);
    const ComplexMatrix rx(rows, in, x), rdy(rows, out, dy);
    const reference::Matrix ax = absolute(rx), ady = absolute(rdy);
    const auto check = [&](const char* what, const PlacedComplex& device,
                           const std::vector<reference::Complex>& exact, const std::vector<double>& magnitude,
                           std::size_t terms) {
        const std::string text = device.mismatch(stream, exact, bounds(terms, magnitude, one.whole));
        return text.empty() ? text : std::string(what) + ": " + text;
    };
    std::string text =
        check("y", y, reference::matmul(rx, oracle).data, reference::matmul(ax, size).data, one.p);
    if (text.empty())
        text = check("dx", dx, reference::matmul_transposed(rdy, oracle).data,
                     reference::matmul_transposed(ady, size).data, one.q);
    if (text.empty())
        text = check("dw", dw, reference::weight_gradient(rdy, rx, k).data,
                     reference::weight_gradient(ady, ax, k).data, rows + one.batch);
    return text;
}

TEST(Complex, ChosenShapes) {
    Stream stream(test::device());
    for (const bool whole : {false, true})
        for (const Case& one :
             {Case{.k = 0, .q = 1, .p = 1, .tokens = 1}, Case{.k = 0, .q = 33, .p = 17, .tokens = 20},
              Case{.k = 0, .q = 5, .p = 8, .tokens = 3, .batch = 4}, Case{.k = 3, .q = 1, .p = 9},
              Case{.k = 5, .q = 17, .p = 1}, Case{.k = 2, .q = 6, .p = 4, .tokens = 9, .batch = 3},
              Case{.k = 0, .q = 0}, Case{.k = 0, .p = 0}, Case{.k = 0, .tokens = 0}, Case{.k = 2, .q = 0},
              Case{.k = 2, .p = 0}, Case{.k = 2, .tokens = 0, .batch = 3}}) {
            Case placed = one;
            placed.whole = whole;
            EXPECT_EQ(mismatch(stream, placed), "");
            placed.x = {.feature_major = true, .gap = 1, .batch_gap = 1};
            placed.y = {.gap = 1, .batch_gap = 3, .skew = 1};
            placed.w = {.feature_major = true, .skew = 1};
            EXPECT_EQ(mismatch(stream, placed), "");
        }
}

TEST(Complex, RandomCases) {
    Stream stream(test::device());
    test::property(30, [&] {
        Case one;
        one.k = draw(0, 4);
        one.q = draw(0, 9);
        one.p = draw(0, 9);
        one.tokens = draw(0, 7);
        one.batch = draw(0, 3);
        one.whole = draw(0, 1) == 1;
        one.x = test::draw_layout();
        one.y = test::draw_layout();
        one.w = test::draw_layout();
        const std::string text = mismatch(stream, one);
        RC_ASSERT(text == "");
    });
}

TEST(Complex, BatchedWeights) {
    Stream stream(test::device());
    constexpr std::size_t batch = 3, tokens = 4, in = 5, out = 6;
    const ComplexValues x = complex_values(batch * tokens * in, 1, true),
                        w = complex_values(batch * out * in, 2, true),
                        dy = complex_values(batch * tokens * out, 3, true);
    const Tensor tx = upload(stream, x, {batch, tokens, in}), tw = upload(stream, w, {batch, out, in}),
                 tdy = upload(stream, dy, {batch, tokens, out});
    const auto y = download_complex(stream, matmul(stream, tx, tw)),
               dx = download_complex(stream, matmul_transposed(stream, tdy, tw)),
               dw = download_complex(stream, weight_gradient(stream, tdy, tx));
    const auto member = [](const ComplexValues& all, std::size_t i, std::size_t rows, std::size_t columns) {
        return ComplexMatrix(rows, columns, std::span(all).subspan(i * rows * columns, rows * columns));
    };
    for (std::size_t i = 0; i < batch; ++i) {
        const ComplexMatrix mx = member(x, i, tokens, in), mw = member(w, i, out, in),
                            mdy = member(dy, i, tokens, out);
        EXPECT_EQ(member(y, i, tokens, out), reference::matmul(mx, mw));
        EXPECT_EQ(member(dx, i, tokens, in), reference::matmul_transposed(mdy, mw));
        EXPECT_EQ(member(dw, i, out, in), reference::weight_gradient(mdy, mx));
    }
}

// z = scale · x·Wᵀ + bias + residual, whole numbers, in every layout of the residual.
void expect_epilogue(std::size_t k, bool bias, int residual, bool feature_major, std::size_t batch) {
    Stream stream(test::device());
    constexpr std::size_t q = 4, p = 3, tokens = 5;
    const std::size_t rows = tokens * std::max<std::size_t>(1, batch);
    const ComplexValues x = complex_values(rows * k * p, 1, true), w = complex_values(k * q * p, 2, true),
                        b = complex_values(k * q, 3, true), before = complex_values(rows * k * q, 4, true);
    const Shape shape = activations(batch, tokens, k * q);
    const Layout layout{.feature_major = feature_major, .gap = 1, .batch_gap = batch ? 2u : 0u};
    const PlacedComplex out = residual > 1 ? PlacedComplex(stream, shape, layout, before)
                                           : PlacedComplex(stream, shape, layout),
                        same(stream, shape, layout, before),
                        other(stream, shape, {.feature_major = !feature_major}, before),
                        tb(stream, {1, k * q}, {.skew = 1}, b),
                        tx(stream, activations(batch, tokens, k * p), {.batch_gap = batch}, x);
    Epilogue epilogue;
    epilogue.scale = -2.0f;
    if (bias) epilogue.bias = tb.tensor().select(0, 0);
    if (residual == 0) epilogue.residual = same;
    if (residual == 1) epilogue.residual = other;
    if (residual == 2) epilogue.residual = out;
    if (residual == 3) epilogue.accumulate = true;
    matmul_into(stream, out, tx, BlockDiagonal(upload(stream, w, {k, q, p})), epilogue);
    ComplexMatrix exact = reference::matmul(ComplexMatrix(rows, k * p, x),
                                            reference::ComplexBlockDiagonal{ComplexTensor3(k, q, p, w)});
    for (std::size_t i = 0; i < exact.data.size(); ++i)
        exact.data[i] = -2.0 * exact.data[i] + (bias ? reference::Complex(b[i % (k * q)]) : 0.0) +
                        (residual < 4 ? reference::Complex(before[i]) : 0.0);
    EXPECT_EQ(out.mismatch(stream, exact.data, std::vector<double>(exact.data.size())), "")
        << k << " " << bias << " " << residual << " " << feature_major << " " << batch;
}

TEST(Complex, Epilogues) {
    for (const std::size_t k : {1u, 3u})
        for (const bool bias : {false, true})
            for (const int residual : {0, 1, 2, 3, 4})
                for (const std::size_t batch : {0u, 2u})
                    expect_epilogue(k, bias, residual, residual % 2 == static_cast<int>(k) / 2, batch);
}

TEST(Complex, GradientOptions) {
    Stream stream(test::device());
    const ComplexValues x = complex_values(7 * 3, 1, true), dy = complex_values(7 * 2, 2, true),
                        before = complex_values(6, 3, true);
    const PlacedComplex dw(stream, {2, 3}, {.gap = 1}, before);
    GradientOptions options{.scale = 0.5f, .accumulate = true};
    weight_gradient_into(stream, dw, upload(stream, dy, {7, 2}), upload(stream, x, {7, 3}), options);
    ComplexMatrix exact = reference::weight_gradient(ComplexMatrix(7, 2, dy), ComplexMatrix(7, 3, x));
    for (std::size_t i = 0; i < 6; ++i) exact.data[i] = 0.5 * exact.data[i] + reference::Complex(before[i]);
    EXPECT_EQ(dw.mismatch(stream, exact.data, std::vector<double>(6)), "");
}

TEST(Complex, ToAndFromDense) {
    Stream stream(test::device());
    const ComplexValues w = complex_values(3 * 4 * 5, 1);
    const BlockDiagonal matrix(upload(stream, w, {3, 4, 5}));
    const Tensor dense = to_dense(stream, matrix);
    EXPECT_EQ(
        test::flat(download_complex(stream, dense)),
        test::flat(reference::to_dense(reference::ComplexBlockDiagonal{ComplexTensor3(3, 4, 5, w)}).data));
    EXPECT_EQ(download_complex(stream, extract(stream, dense, 3).weight), w);
}

TEST(Complex, OnADeviceOfSmallLimits) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = caps.storage_offset_alignment + 1024;
        caps.max_workgroup_count = {2, 3, 2};
    });
    Stream stream(small);
    EXPECT_EQ(mismatch(stream, {.k = 5, .q = 9, .p = 8, .tokens = 11, .whole = true}), "");
    EXPECT_EQ(mismatch(stream, {.k = 0, .q = 9, .p = 8, .tokens = 11, .batch = 2, .whole = true}), "");
}

TEST(Complex, Tuning) {
    // Its real products are tuned like any others.
    const Device device = test::capped_device([](Capabilities&) {});
    const auto record = [&](Recorder& recorder) {
        const Tensor x = empty(recorder, complex64, {8, 12}), w = empty(recorder, complex64, {16, 12});
        static_cast<void>(matmul(recorder, x, w));
    };
    TuneOptions options;
    options.seconds = 0.01;
    const TuneResult result = tune(device, record, options);
    EXPECT_GE(result.problems.size(), 1u);
    Stream stream(device);
    EXPECT_EQ(mismatch(stream, {.k = 0, .q = 16, .p = 12, .tokens = 8}), "");
}

TEST(Complex, WrongInput) {
    const Device device = test::device();
    Stream stream(device);
    const auto tensor = [&](const Shape& shape, DataType type = complex64) {
        return Tensor(device, type, shape);
    };
    const Tensor x = tensor({5, 8}), w = tensor({6, 8}), y = tensor({5, 6});
    const BlockDiagonal blocks(tensor({2, 3, 4}));
    const Monarch monarch(tensor({2, 3, 4}), tensor({3, 2, 2}));
    const auto refused = [&](const std::vector<std::string>& parts,
                             const std::function<void(Epilogue&)>& change) {
        Epilogue epilogue;
        change(epilogue);
        expect_error(invalid, parts, [&] { static_cast<void>(matmul(stream, x, w, epilogue)); });
        expect_error(invalid, parts, [&] { static_cast<void>(matmul(stream, x, blocks, epilogue)); });
        expect_error(invalid, parts, [&] { static_cast<void>(matmul(stream, x, monarch, epilogue)); });
    };
    refused({"activation", "gelu", "none", "complex64"},
            [](Epilogue& e) { e.activation = Activation::gelu; });
    refused({"aux", "complex64"}, [&](Epilogue& e) { e.aux = y; });
    refused({"bias", "f32", "complex64"}, [&](Epilogue& e) { e.bias = tensor({6}, DataType::f32); });
    refused({"residual", "f32", "complex64"}, [&](Epilogue& e) {
        e.residual = tensor({5, 6}, DataType::f32);
    });
    refused({"widen", "complex64"}, [](Epilogue& e) { e.widen = true; });
    expect_error(invalid, {"out", "f32", "complex64"}, [&] {
        matmul_into(stream, tensor({5, 6}, DataType::f32), x, w);
    });
    expect_error(invalid, {"w", "f32", "complex64"}, [&] {
        static_cast<void>(matmul(stream, x, tensor({6, 8}, DataType::f32)));
    });
    expect_error(invalid, {"out", "overlaps x"}, [&] { matmul_into(stream, x.slice(1, 0, 6), x, w); });
    expect_error(invalid, {"w2", "f32", "complex64"}, [&] {
        Monarch(tensor({2, 3, 4}), tensor({3, 2, 2}, DataType::f32));
    });
    GradientOptions widen;
    widen.widen = true;
    expect_error(invalid, {"widen", "complex64"},
                 [&] { static_cast<void>(weight_gradient(stream, y, x, widen)); });
    expect_error(invalid, {"widen", "complex64"},
                 [&] { static_cast<void>(weight_gradient(stream, y, x, 2, widen)); });
    expect_error(invalid, {"widen", "complex64"},
                 [&] { static_cast<void>(weight_gradient(stream, y, x, monarch, widen)); });
    expect_error(invalid, {"inner", "f32", "complex64"}, [&] {
        backward_into(stream, {x, {}}, y, tensor({5, 8}), monarch, tensor({5, 6}, DataType::f32));
    });
    EXPECT_EQ(stream.submissions(), 0u);
}

}  // namespace
}  // namespace danaus
