// The Monarch multiply and its gradients, held against the oracle's index formulas and finite differences.
#include "epilogue_case.hpp"
#include "monarch_case.hpp"
#include "reference/finite_difference.hpp"

#include <array>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::DotRounding;
using reference::Matrix;
using reference::Tensor3;
using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;
using Oracle = reference::Monarch;
using Case = test::MonarchCase;
using Operands = test::MonarchOperands;
using test::orders;
using test::transposed_chain;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

void expect_close(const std::vector<float>& actual, const std::vector<double>& expected, const char* what) {
    EXPECT_EQ(reference::first_mismatch(actual, expected, 1e-4, 1e-4), "") << what;
}

void expect_forward_and_gradients(const Case& one) {
    Stream stream(test::device());
    const Operands o(stream, one);
    const auto exact = reference::monarch_backward(o.rdy, o.rx, o.oracle);
    expect_close(download(stream, matmul(stream, o.tx, o.matrix)), reference::matmul(o.rx, o.oracle).data,
                 "y");
    expect_close(download(stream, matmul_transposed(stream, o.tdy, o.matrix)), exact.dx.data, "dx");
    const Monarch dw = weight_gradient(stream, o.tdy, o.tx, o.matrix);
    expect_close(download(stream, dw.w1), exact.dw1.data, "dw1");
    expect_close(download(stream, dw.w2), exact.dw2.data, "dw2");
}

TEST(Monarch, PublicSquareCases) {
    for (const std::size_t root : {4u, 32u, 64u})  // n = 2^4, 2^10, 2^12
        expect_forward_and_gradients({.k = root, .q = root, .p = root, .l = root, .s = root, .tokens = 3});
}

TEST(Monarch, PublicRectangularCase) {
    const Case one{.k = 8, .q = 192, .p = 96, .l = 24, .s = 16, .tokens = 3};
    EXPECT_EQ(one.r(), 64u);
    expect_forward_and_gradients(one);
}

TEST(Monarch, AnyBlockCounts) {
    // l does not divide q; one block; blocks of one.
    for (const Case& one :
         {Case{.k = 2, .q = 3, .p = 5, .l = 6, .s = 2}, Case{.k = 4, .q = 3, .p = 2, .l = 6, .s = 7},
          Case{.k = 3, .q = 4, .p = 5, .l = 2, .s = 3}, Case{.k = 1, .q = 6, .p = 5, .l = 1, .s = 4},
          Case{.k = 7, .q = 1, .p = 1, .l = 7, .s = 1},
          Case{.k = 1, .q = 4, .p = 1, .l = 4, .s = 1, .tokens = 1}})
        expect_forward_and_gradients(one);
}

// Empty, or the first wrong element of y, dx, dw1 or dw2 by the bounds of what is stored where.
std::string mismatch(Stream& stream, const Case& one) {
    const Operands o(stream, one);
    const DataType result = one.widen ? DataType::f32 : one.type;
    const DotRounding middle{.output = test::float_type(one.type)}, last{.output = test::float_type(result)};
    const auto chain = reference::to_chain(o.oracle), back = transposed_chain(o.oracle);
    const auto exact = reference::monarch_backward(o.rdy, o.rx, o.oracle);
    const Matrix t = reference::matmul(o.rx, chain[0]), dt = reference::matmul(o.rdy, back[0]);
    const Matrix t_error = reference::chain_bound(o.rx, {chain[0]}, middle, middle),
                 dt_error = reference::chain_bound(o.rdy, {back[0]}, middle, middle);

    const Placed y(stream, result, o.tdy.shape(), one.y), dx(stream, result, o.tx.shape(), one.x),
        dw1(stream, result, o.matrix.w1.shape()), dw2(stream, result, o.matrix.w2.shape());
    Tensor inner;
    matmul_into(stream, y, o.tx, o.matrix, {}, &inner);
    backward_into(stream, {dx, Monarch(dw1, dw2)}, o.tdy, o.tx, o.matrix, one.tokens % 2 ? inner : Tensor());

    // A gradient of two factors' activations, one of which is `error` off, over `rows` tokens.
    const auto gradient_bound = [&](const Matrix& left, const Matrix& left_error, const Matrix& right,
                                    const Matrix& right_error, const reference::KroneckerFactor& factor,
                                    const Tensor3& value) {
        const Matrix l = reference::axpby(1.0, reference::absolute(left), 1.0, left_error),
                     r = reference::axpby(1.0, reference::absolute(right), 1.0, right_error);
        const Tensor3 all = reference::weight_gradient(l, r, factor),
                      known = reference::weight_gradient(reference::absolute(left),
                                                         reference::absolute(right), factor);
        std::vector<double> bound(all.data.size());
        for (std::size_t i = 0; i < bound.size(); ++i) {
            const double carried = all.data[i] - known.data[i];
            bound[i] = carried + reference::dot_bound(one.rows() + one.batch, last, all.data[i],
                                                      std::abs(value.data[i]) + carried);
        }
        return bound;
    };
    const Matrix none_x(o.rx.rows, o.rx.cols), none_y(o.rdy.rows, o.rdy.cols);
    const std::vector<double> bounds[] = {
        one.stored(reference::monarch_bound(o.rx, o.oracle, middle, last)).data,
        reference::chain_bound(o.rdy, back, middle, last).data,
        gradient_bound(dt, dt_error, o.rx, none_x, chain[0], exact.dw1),
        gradient_bound(o.rdy, none_y, t, t_error, chain[1], exact.dw2)};
    const std::vector<double> expected[] = {one.stored(reference::matmul(o.rx, o.oracle)).data, exact.dx.data,
                                            exact.dw1.data, exact.dw2.data};
    const Placed* const actual[] = {&y, &dx, &dw1, &dw2};
    const char* const names[] = {"y", "dx", "dw1", "dw2"};
    for (std::size_t i = 0; i < 4; ++i) {
        const Placed::Contents contents = actual[i]->read(stream);
        const std::string text =
            reference::first_mismatch(reference::to_double(contents.values), expected[i], bounds[i]) +
            contents.damage;
        if (!text.empty()) return std::string(names[i]) + ": " + text;
    }
    return {};
}

TEST(Monarch, TypesAndLayouts) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const bool widen : {false, true})
            for (const bool feature_major : {false, true}) {
                Case one{.type = type, .widen = widen, .order = orders[feature_major != widen]};
                one.x.feature_major = one.y.feature_major = feature_major;
                one.x.gap = one.y.skew = 1;
                EXPECT_EQ(mismatch(stream, one), "");
                one.batch = 2;
                one.tokens = 3;
                EXPECT_EQ(mismatch(stream, one), "");
                one.y.batch_gap = 2;
                EXPECT_EQ(mismatch(stream, one), "");
            }
}

// Large results of the second factor are computed block by block and moved to their places.
TEST(Monarch, LargeResults) {
    Stream stream(test::device());
    const Layout gap{.gap = 3, .skew = 1}, major{.feature_major = true};
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16})
        for (const Case& one : {Case{.k = 4, .q = 32, .p = 16, .l = 16, .s = 24, .tokens = 91},
                                Case{.k = 4, .q = 32, .p = 16, .l = 8, .s = 24, .tokens = 31, .batch = 3},
                                Case{.k = 3, .q = 6, .p = 7, .l = 9, .s = 23, .tokens = 83, .y = gap},
                                Case{.k = 3, .q = 6, .p = 7, .l = 9, .s = 23, .tokens = 83, .y = major}}) {
            Case typed = one;
            typed.type = type;
            EXPECT_EQ(mismatch(stream, typed), "");
            typed.order = OutputOrder::blocked;
            EXPECT_EQ(mismatch(stream, typed), "");
        }
}

TEST(Monarch, EmptySizes) {
    Stream stream(test::device());
    for (const Case& one :
         {Case{.tokens = 0}, Case{.p = 0}, Case{.s = 0}, Case{.q = 0}, Case{.tokens = 0, .batch = 2}})
        EXPECT_EQ(mismatch(stream, one), "");
}

TEST(Monarch, RandomCases) {
    Stream stream(test::device());
    test::property(25, [&] {
        Case one;
        one.k = draw(1, 5);
        one.q = draw(1, 8);
        const std::size_t inner = one.k * one.q;
        do one.l = draw(1, inner);
        while (inner % one.l);
        one.p = draw(1, 6);
        one.s = draw(1, 6);
        one.tokens = draw(1, 6);
        one.batch = draw(0, 2);
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        one.order = orders[draw(0, 1)];
        one.x = test::draw_layout();
        one.y = test::draw_layout();
        const std::string text = mismatch(stream, one);
        RC_ASSERT(text == "");
    });
}

TEST(Monarch, SmallDevicesSplit) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = caps.storage_offset_alignment + 512;
        caps.max_workgroup_count = {2, 3, 2};
    });
    Stream stream(small);
    EXPECT_EQ(mismatch(stream, {.k = 4, .q = 9, .p = 7, .l = 6, .s = 8, .tokens = 17}), "");
}

TEST(Monarch, Epilogues) {
    using Choice = test::EpilogueChoice;
    Stream stream(test::device());
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const auto residual :
             {Choice::Residual::none, Choice::Residual::other_layout, Choice::Residual::in_place})
            for (const bool feature_major : {false, true}) {
                const Case one{.tokens = 3, .type = type};
                const Operands o(stream, one);
                Choice choice;
                choice.type = type;
                choice.bias = Choice::Bias::f32;
                choice.activation = Activation::gelu_erf;
                choice.residual = residual;
                choice.aux = true;
                choice.feature_major = feature_major;
                const test::EpilogueCase epilogue(stream, choice, one.tokens, one.l * one.s);
                matmul_into(stream, epilogue.out(), o.tx, o.matrix, epilogue.epilogue());
                EXPECT_EQ(epilogue.mismatch(stream, reference::matmul(o.rx, o.oracle),
                                            reference::monarch_bound(o.rx, o.oracle,
                                                                     {.output = test::float_type(type)}, {})),
                          "");
            }
}

TEST(Monarch, BackwardComputesWhatIsAsked) {
    Stream stream(test::device());
    const Case one;
    const Operands o(stream, one);
    Tensor inner;
    static_cast<void>(matmul(stream, o.tx, o.matrix, {}, &inner));
    EXPECT_EQ(inner.shape(), (Shape{4, 12}));
    const auto exact = reference::monarch_backward(o.rdy, o.rx, o.oracle);
    const auto f32 = [&](const Shape& shape) { return Tensor(test::device(), DataType::f32, shape); };
    for (int parts = 0; parts < 8; ++parts)
        for (const Tensor& given : {Tensor(), inner}) {
            MonarchGradients out;
            if (parts & 1) out.dx = f32(o.tx.shape());
            if (parts & 2) out.dw.w1 = f32(o.matrix.w1.shape());
            if (parts & 4) out.dw.w2 = f32(o.matrix.w2.shape());
            backward_into(stream, out, o.tdy, o.tx, o.matrix, given);
            if (parts & 1) expect_close(download(stream, out.dx), exact.dx.data, "dx");
            if (parts & 2) expect_close(download(stream, out.dw.w1), exact.dw1.data, "dw1");
            if (parts & 4) expect_close(download(stream, out.dw.w2), exact.dw2.data, "dw2");
        }

    GradientOptions options;
    options.accumulate = true;
    options.scale = -0.5f;
    const auto before1 = test::random_values(o.w1.size(), 8), before2 = test::random_values(o.w2.size(), 9);
    const Monarch sums(upload(stream, before1, o.matrix.w1.shape()),
                       upload(stream, before2, o.matrix.w2.shape()));
    // dx is overwritten all the same.
    const Tensor scaled_dx = upload(stream, test::random_values(o.tx.elements(), 10), o.tx.shape());
    backward_into(stream, {scaled_dx, sums}, o.tdy, o.tx, o.matrix, inner, options);
    std::vector<double> half = exact.dx.data;
    for (double& value : half) value *= -0.5;
    expect_close(download(stream, scaled_dx), half, "scaled dx");
    std::vector<double> dw1 = exact.dw1.data, dw2 = exact.dw2.data;
    for (std::size_t i = 0; i < dw1.size(); ++i) dw1[i] = before1[i] - 0.5 * dw1[i];
    for (std::size_t i = 0; i < dw2.size(); ++i) dw2[i] = before2[i] - 0.5 * dw2[i];
    expect_close(download(stream, sums.w1), dw1, "dw1 +=");
    expect_close(download(stream, sums.w2), dw2, "dw2 +=");

    // dx may take the place of x: it is written last.
    const Tensor x = contiguous(stream, o.tx), w1 = f32(o.matrix.w1.shape());
    backward_into(stream, {x, {w1, f32(o.matrix.w2.shape())}}, o.tdy, x, o.matrix);
    expect_close(download(stream, x), exact.dx.data, "dx over x");
    expect_close(download(stream, w1), exact.dw1.data, "dw1 beside dx over x");
}

// Of a blocked matrix everything is that of P·M: y and its bias, residual, dy, the dense matrix.
TEST(Monarch, BlockedOrderIsThePermutedMatrix) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const Case& one :
             {Case{.type = type}, Case{.k = 4, .q = 3, .p = 2, .l = 6, .s = 7, .type = type}}) {
            const Operands o(stream, one);
            const Monarch blocked(o.matrix.w1, o.matrix.w2, OutputOrder::blocked);
            const Tensor bias = upload(stream, test::random_values(one.l * one.s, 5), {one.l * one.s});
            const Tensor residual = upload(stream, test::random_values(one.tokens * one.l * one.s, 6),
                                           {one.tokens, one.l * one.s}, type);
            Epilogue plain, moved;
            plain.activation = moved.activation = Activation::gelu;
            plain.bias = bias;
            plain.residual = residual;
            moved.bias = to_blocked(stream, bias, blocked);
            moved.residual = to_blocked(stream, residual, blocked);
            const Tensor y = matmul(stream, o.tx, o.matrix, plain), z = matmul(stream, o.tx, blocked, moved);
            // The same sums, stored elsewhere.
            EXPECT_EQ(download(stream, z), download(stream, to_blocked(stream, y, blocked)));
            EXPECT_EQ(download(stream, to_interleaved(stream, z, blocked)), download(stream, y));
            EXPECT_EQ(download(stream, to_dense(stream, blocked)),
                      download(stream, matmul(stream, to_dense(stream, o.matrix).transpose(),
                                              output_permutation(blocked))
                                           .transpose()));
            const Tensor dy = to_blocked(stream, o.tdy, blocked);
            EXPECT_EQ(download(stream, matmul_transposed(stream, dy, blocked)),
                      download(stream, matmul_transposed(stream, o.tdy, o.matrix)));
            const Monarch dw = weight_gradient(stream, o.tdy, o.tx, o.matrix),
                          dw_blocked = weight_gradient(stream, dy, o.tx, blocked);
            EXPECT_EQ(static_cast<int>(dw_blocked.order), static_cast<int>(OutputOrder::blocked));
            EXPECT_EQ(download(stream, dw_blocked.w1), download(stream, dw.w1));
            EXPECT_EQ(download(stream, dw_blocked.w2), download(stream, dw.w2));
        }
}

TEST(Monarch, NextWeightTakesThePermutationOver) {
    Stream stream(test::device());
    const Case one{.k = 4, .q = 3, .p = 2, .l = 6, .s = 7};
    const Operands o(stream, one);
    const Monarch blocked(o.matrix.w1, o.matrix.w2, OutputOrder::blocked);
    const std::size_t features = one.l * one.s, out = 5;
    const auto w = test::whole_values(out * features, 7, 9);
    const Tensor weight = upload(stream, w, {out, features}), folded = to_blocked(stream, weight, blocked);
    const std::vector<float> moved = download(stream, folded);
    for (std::size_t i = 0; i < out; ++i)
        for (std::size_t big = 0; big < one.l; ++big)
            for (std::size_t small = 0; small < one.s; ++small)
                ASSERT_EQ(moved[i * features + big * one.s + small], w[i * features + small * one.l + big]);
    EXPECT_EQ(download(stream, to_interleaved(stream, folded, blocked)), w);
    // Whole numbers, so that the order of summation does not show.
    const Tensor x = upload(stream, test::whole_values(one.tokens * features, 8, 9), {one.tokens, features});
    EXPECT_EQ(download(stream, matmul(stream, to_blocked(stream, x, blocked), folded)),
              download(stream, matmul(stream, x, weight)));
    expect_error(invalid, {"x", "(5, 41)", "42"},
                 [&] { static_cast<void>(to_blocked(stream, weight.slice(1, 0, 41), blocked)); });
    expect_error(invalid, {"w2", "null"}, [&] { static_cast<void>(output_permutation(Monarch())); });
    Monarch unknown = blocked;
    unknown.order = static_cast<OutputOrder>(7);
    expect_error(invalid, {"order", "7"}, [&] { static_cast<void>(matmul(stream, o.tx, unknown)); });
}

TEST(Monarch, ToDenseIsTheMatrix) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const Case& one :
             {Case{.type = type}, Case{.k = 2, .q = 3, .p = 5, .l = 6, .s = 2, .type = type},
              Case{.p = 0, .type = type}}) {
            const Operands o(stream, one);
            const Tensor dense = to_dense(stream, o.matrix);
            EXPECT_EQ(dense.shape(), (Shape{one.l * one.s, one.k * one.p}));
            const Matrix exact = reference::to_dense(o.oracle),
                         magnitude = reference::to_dense(
                             Oracle(reference::absolute(o.oracle.w1), reference::absolute(o.oracle.w2)));
            EXPECT_EQ(
                reference::first_mismatch(
                    download(stream, dense), exact,
                    reference::dot_bound(one.r(), {.output = test::float_type(type)}, magnitude, exact)),
                "");
            // Column j is the product with the unit vector j, rounded once more in between.
            if (type != DataType::f32 || one.p == 0) continue;
            const std::size_t in = one.k * one.p;
            std::vector<float> unit(in * in);
            for (std::size_t i = 0; i < in; ++i) unit[i * in + i] = 1;
            EXPECT_EQ(reference::first_mismatch(
                          download(stream, matmul(stream, upload(stream, unit, {in, in}), o.matrix)),
                          reference::transpose(exact).data, 1e-6, 1e-6),
                      "");
        }
}

TEST(Monarch, GradientsAreThoseOfFiniteDifferences) {
    Stream stream(test::device());
    const Case one{.k = 2, .q = 3, .p = 2, .l = 2, .s = 3, .tokens = 2};
    const Operands o(stream, one);
    // loss = Σ dy ∘ y, so that its gradients are the multiply's for this dy.
    const auto loss = [&](const Matrix& x, const Oracle& m) {
        const Matrix y = reference::matmul(x, m);
        double sum = 0;
        for (std::size_t i = 0; i < y.data.size(); ++i) sum += y.data[i] * o.rdy.data[i];
        return sum;
    };
    using Values = std::vector<double>;
    const Values dx = reference::finite_difference_gradient(
        [&](const Values& v) { return loss(Matrix(one.tokens, 4, v), o.oracle); }, o.rx.data);
    const Values dw1 = reference::finite_difference_gradient(
        [&](const Values& v) {
            return loss(o.rx, {Tensor3(2, 3, 2, v), o.oracle.w2});
        },
        o.oracle.w1.data);
    const Values dw2 = reference::finite_difference_gradient(
        [&](const Values& v) {
            return loss(o.rx, {o.oracle.w1, Tensor3(2, 3, 3, v)});
        },
        o.oracle.w2.data);
    expect_close(download(stream, matmul_transposed(stream, o.tdy, o.matrix)), dx, "dx");
    const Monarch dw = weight_gradient(stream, o.tdy, o.tx, o.matrix);
    expect_close(download(stream, dw.w1), dw1, "dw1");
    expect_close(download(stream, dw.w2), dw2, "dw2");
}

TEST(Monarch, WrongInput) {
    const Device device = test::device(), second = test::capped_device([](Capabilities&) {});
    Stream stream(device);
    const auto tensor = [&](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device, type, shape);
    };
    const Monarch m(tensor({2, 6, 4}), tensor({3, 5, 4}));
    const Tensor x = tensor({7, 8}), dy = tensor({7, 15}), dx = tensor({7, 8});
    const auto refused = [&](const std::vector<std::string>& parts, auto&& action) {
        expect_error(invalid, parts, action);
    };
    refused({"w2", "(3, 5, 5)", "15", "(2, 6, 4)", "12"}, [&] {
        Monarch(tensor({2, 6, 4}), tensor({3, 5, 5}));
    });
    refused({"w2", "f16", "f32"}, [&] { Monarch(tensor({2, 6, 4}), tensor({3, 5, 4}, DataType::f16)); });
    refused({"w1", "(6, 4)", "rank 3"}, [&] { Monarch(tensor({6, 4}), tensor({3, 5, 4})); });
    refused({"w1", "u32"}, [&] {
        Monarch(tensor({2, 6, 4}, DataType::u32), tensor({3, 5, 4}, DataType::u32));
    });
    refused({"w1", "null"}, [&] { Monarch(Tensor(), tensor({3, 5, 4})); });
    refused({"w1", "null"}, [&] { static_cast<void>(matmul(stream, x, Monarch())); });
    refused({"x", "(7, 15)", "8"}, [&] { static_cast<void>(matmul(stream, dy, m)); });
    refused({"dy", "(7, 8)", "15"}, [&] { static_cast<void>(matmul_transposed(stream, x, m)); });
    refused({"x", "bf16", "f32"}, [&] {
        static_cast<void>(matmul(stream, tensor({7, 8}, DataType::bf16), m));
    });
    refused({"x", "another device"}, [&] {
        static_cast<void>(matmul(stream, Tensor(second, DataType::f32, {7, 8}), m));
    });
    refused({"out", "(7, 8)", "(7, 15)"}, [&] { matmul_into(stream, dx, x, m); });
    refused({"out", "overlaps w2"}, [&] {
        matmul_into(stream, m.w2.as_strided({1, 15}, {15, 1}), tensor({1, 8}), m);
    });
    refused({"bias", "(8)", "(15)"}, [&] {
        Epilogue epilogue;
        epilogue.bias = tensor({8});
        static_cast<void>(matmul(stream, x, m, epilogue));
    });
    const auto backward = [&](const std::vector<std::string>& parts, const MonarchGradients& out,
                              const Tensor& inner = {}, const GradientOptions& options = {}) {
        expect_error(invalid, parts, [&] { backward_into(stream, out, dy, x, m, inner, options); });
    };
    const Monarch dw(tensor({2, 6, 4}), tensor({3, 5, 4}));
    backward({"inner", "(7, 8)", "(7, 12)"}, {dx, dw}, dx);
    backward({"inner", "f16"}, {dx, dw}, tensor({7, 12}, DataType::f16));
    backward({"dw.w1", "(2, 6, 5)", "(2, 6, 4)"}, {dx, Monarch(tensor({2, 6, 5}), tensor({3, 5, 4}))});
    backward({"dw.w1", "overlaps w1"}, {dx, m});
    backward({"dw.w2", "overlaps w2"}, {dx, Monarch(dw.w1, m.w2)});
    const Tensor shared = tensor({80});
    backward({"dw.w1", "overlaps dw.w2"}, {{},
                                           Monarch(shared.as_strided({2, 6, 4}, {24, 4, 1}),
                                                   shared.as_strided({3, 5, 4}, {20, 4, 1}, 20))});
    backward({"dw.w1", "overlaps dx"},
             {shared.as_strided({7, 8}, {8, 1}), Monarch(shared.as_strided({2, 6, 4}, {24, 4, 1}), dw.w2)});
    backward({"out", "overlaps dy"}, {dy.slice(1, 0, 8), {}});
    GradientOptions accumulate;
    accumulate.accumulate = true;
    refused({"dy", "(6, 15)", "(7, 15)"}, [&] { backward_into(stream, {dx, dw}, tensor({6, 15}), x, m); });
    refused({"accumulate", "backward_into"},
            [&] { static_cast<void>(weight_gradient(stream, dy, x, m, accumulate)); });
    EXPECT_EQ(stream.submissions(), 0u);
    EXPECT_EQ(mismatch(stream, {}), "");
}

}  // namespace
}  // namespace danaus
