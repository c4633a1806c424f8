// Multiplying by Kronecker-sparse factors and chains of them, and their gradients, held against the support
// formula.
#include "chain_case.hpp"
#include "epilogue_case.hpp"
#include "support/counter.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::DotRounding;
using reference::Matrix;
using reference::Tensor3;
using test::draw;
using test::Layout;
using test::Placed;
using Case = test::ChainCase;
using Operands = test::ChainOperands;
using Factors = std::vector<reference::KroneckerFactor>;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

// Σ dy ⊗ x for activations that are off by these errors.
std::vector<double> gradient_bound(const Matrix& dy, const Matrix& dy_error, const Matrix& x,
                                   const Matrix& x_error, const reference::KroneckerFactor& factor,
                                   std::size_t length, const DotRounding& rounding) {
    const Tensor3 all = reference::weight_gradient(
                      reference::axpby(1.0, reference::absolute(dy), 1.0, dy_error),
                      reference::axpby(1.0, reference::absolute(x), 1.0, x_error), factor),
                  known = reference::weight_gradient(reference::absolute(dy), reference::absolute(x), factor),
                  exact = reference::weight_gradient(dy, x, factor);
    std::vector<double> bound(all.data.size());
    for (std::size_t i = 0; i < bound.size(); ++i) {
        const double carried = all.data[i] - known.data[i];
        bound[i] =
            carried + reference::dot_bound(length, rounding, all.data[i], std::abs(exact.data[i]) + carried);
    }
    return bound;
}

// Empty, or the first wrong element of y, dx, or a dw, by the bounds of what is stored where.
std::string mismatch(Stream& stream, const Case& one) {
    const Operands o(stream, one);
    const std::size_t count = o.oracle.size();
    const DataType result = one.widen ? DataType::f32 : one.type;
    const DotRounding middle{.output = test::float_type(one.type)}, last{.output = test::float_type(result)};
    const Factors back = test::transposed_chain(o.oracle);
    const auto exact = reference::chain_backward(o.rdy, o.rx, o.oracle);
    const auto exactly = [&](const std::vector<double>& bound) {
        return one.whole ? std::vector<double>(bound.size()) : bound;
    };
    const auto check = [&](const std::string& what, const Placed& actual, const std::vector<double>& expected,
                           const std::vector<double>& bound) {
        const Placed::Contents contents = actual.read(stream);
        const std::string text =
            reference::first_mismatch(reference::to_double(contents.values), expected, exactly(bound)) +
            contents.damage;
        return text.empty() ? text : what + ": " + text;
    };

    const Placed y(stream, result, o.tdy.shape(), one.y), dx(stream, result, o.tx.shape(), one.x),
        back_x(stream, result, o.tx.shape(), one.x);
    std::vector<Placed> dw;
    ChainGradients out{dx, {}};
    for (const KroneckerFactor& factor : o.matrix.factors) {
        dw.emplace_back(stream, result, factor.weight.shape(), one.w);
        out.dw.push_back(dw.back());
    }
    std::vector<Tensor> inner;
    matmul_into(stream, y, o.tx, o.matrix, {}, one.tokens % 2 ? &inner : nullptr);
    backward_into(stream, out, o.tdy, o.tx, o.matrix, inner);
    matmul_transposed_into(stream, back_x, o.tdy, o.matrix);

    std::string text = check("y", y, reference::chain_matmul(o.rx, o.oracle).data,
                             reference::chain_bound(o.rx, o.oracle, middle, last).data);
    const std::vector<double> dx_bound = reference::chain_bound(o.rdy, back, middle, last).data;
    if (text.empty()) text = check("dx", dx, exact.dx.data, dx_bound);
    if (text.empty()) text = check("transposed", back_x, exact.dx.data, dx_bound);
    for (std::size_t i = 0; i < count && text.empty(); ++i) {
        const auto before = static_cast<std::ptrdiff_t>(i),
                   behind = static_cast<std::ptrdiff_t>(count - 1 - i);
        const Factors prefix(o.oracle.begin(), o.oracle.begin() + before),
            suffix(back.begin(), back.begin() + behind);
        text = check("dw[" + std::to_string(i) + "]", dw[i], exact.dw[i].data,
                     gradient_bound(reference::chain_matmul(o.rdy, suffix),
                                    reference::chain_bound(o.rdy, suffix, middle, middle),
                                    reference::chain_matmul(o.rx, prefix),
                                    reference::chain_bound(o.rx, prefix, middle, middle), o.oracle[i],
                                    one.rows() + one.batch, last));
    }
    return text;
}

std::vector<FactorPattern> rectangular(std::initializer_list<std::uint64_t> out,
                                       std::initializer_list<std::uint64_t> in) {
    return radix_patterns(std::vector(out), std::vector(in));
}

TEST(Chain, OneFactorOfEveryKind) {
    Stream stream(test::device());
    for (const FactorPattern& p :
         {FactorPattern{1, 3, 4, 1}, FactorPattern{3, 3, 4, 1}, FactorPattern{1, 3, 4, 5},
          FactorPattern{3, 4, 2, 2}, FactorPattern{2, 1, 1, 3}, FactorPattern{2, 2, 3, 5}})
        for (const DataType type : types) EXPECT_EQ(mismatch(stream, {.patterns = {p}, .type = type}), "");
}

TEST(Chain, FamiliesAreExactWithWholeNumbers) {
    Stream stream(test::device());
    const std::uint64_t mixed[] = {3, 2, 4};
    for (const auto& patterns :
         {butterfly_patterns(16), monarch_patterns(27, 3), radix_patterns(mixed),
          rectangular({2, 5, 3}, {3, 1, 4}), rectangular({2, 2, 2, 2, 2}, {2, 2, 2, 2, 2})})
        EXPECT_EQ(mismatch(stream, {.patterns = patterns, .tokens = 3, .whole = true}), "");
}

TEST(Chain, TypesLayoutsAndBatches) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const bool widen : {false, true})
            for (const bool feature_major : {false, true}) {
                Case one{.patterns = rectangular({2, 3, 2}, {3, 2, 4}), .type = type, .widen = widen};
                one.x.feature_major = one.y.feature_major = feature_major;
                one.x.gap = one.y.skew = 1;
                one.w.skew = 1;
                EXPECT_EQ(mismatch(stream, one), "");
                one.batch = 2;
                one.tokens = 3;
                EXPECT_EQ(mismatch(stream, one), "");
                one.y.batch_gap = 2;
                EXPECT_EQ(mismatch(stream, one), "");
            }
}

// Of results that blocks weave, large ones are moved to their places afterwards.
TEST(Chain, LargeWovenResults) {
    Stream stream(test::device());
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const FactorPattern& p : {FactorPattern{2, 9, 8, 16}, FactorPattern{5, 8, 4, 9}})
            EXPECT_EQ(mismatch(stream, {.patterns = {p}, .tokens = 61, .type = type}), "");
}

TEST(Chain, EmptySizes) {
    Stream stream(test::device());
    const std::vector<FactorPattern> two{{2, 3, 4, 2}, {3, 2, 2, 2}};
    EXPECT_EQ(mismatch(stream, {.patterns = two, .tokens = 0}), "");
    EXPECT_EQ(mismatch(stream, {.patterns = two, .tokens = 0, .batch = 2}), "");
    for (const FactorPattern& p :
         {FactorPattern{0, 3, 4, 2}, FactorPattern{2, 0, 4, 2}, FactorPattern{2, 3, 0, 2},
          FactorPattern{2, 3, 4, 0}, FactorPattern{1, 3, 0, 2}})
        EXPECT_EQ(mismatch(stream, {.patterns = {p}}), "");
}

TEST(Chain, RandomCases) {
    Stream stream(test::device());
    test::property(30, [&] {
        Case one;
        // Every factor has a pattern with as many inputs as the one before has outputs.
        const std::size_t count = draw(1, 5);
        for (std::size_t i = 0; i < count; ++i) {
            FactorPattern p{draw(1, 4), draw(1, 5), draw(1, 4), draw(1, 4)};
            if (i) {
                const std::uint64_t features = one.patterns.back().out_features();
                while (features % p.a) --p.a;
                while (features / p.a % p.d) --p.d;
                p.c = features / (p.a * p.d);
                while (p.out_features() > 60) --p.b;
            }
            one.patterns.push_back(p);
        }
        one.tokens = draw(1, 6);
        one.batch = draw(0, 2);
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        one.x = test::draw_layout();
        one.y = test::draw_layout();
        one.w = test::draw_layout();
        const std::string text = mismatch(stream, one);
        RC_ASSERT(text == "");
    });
}

TEST(Chain, SmallDevicesSplit) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = caps.storage_offset_alignment + 512;
        caps.max_workgroup_count = {2, 3, 2};
    });
    Stream stream(small);
    EXPECT_EQ(mismatch(stream, {.patterns = rectangular({3, 4, 2}, {5, 2, 3}), .tokens = 7}), "");
}

// A bias reaches along one batch of blocks, a residual may lie elsewhere than the result: woven factors are
// then more packets than one.
TEST(Chain, Epilogues) {
    using Choice = test::EpilogueChoice;
    Stream stream(test::device());
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const auto residual : {Choice::Residual::none, Choice::Residual::other_layout,
                                    Choice::Residual::in_place, Choice::Residual::accumulate})
            for (const bool bias : {false, true})
                for (const FactorPattern& p : {FactorPattern{2, 3, 2, 3}, FactorPattern{3, 2, 4, 2}}) {
                    const Case one{.patterns = {{1, p.in_features(), 3, 1}, p}, .tokens = 3, .type = type};
                    const Operands o(stream, one);
                    Choice choice;
                    choice.type = type;
                    choice.bias = bias ? Choice::Bias::f32 : Choice::Bias::none;
                    choice.activation = Activation::gelu;
                    choice.residual = residual;
                    choice.aux = true;
                    choice.scale = 0.5f;
                    choice.feature_major = p.a == 2;
                    const test::EpilogueCase epilogue(stream, choice, one.tokens, p.out_features());
                    matmul_into(stream, epilogue.out(), o.tx, o.matrix, epilogue.epilogue());
                    EXPECT_EQ(epilogue.mismatch(stream, reference::chain_matmul(o.rx, o.oracle),
                                                reference::chain_bound(
                                                    o.rx, o.oracle, {.output = test::float_type(type)}, {})),
                              "");
                }
}

TEST(Chain, WovenBlocksAreOnePacket) {
    Stream stream(test::device());
    const Operands o(stream, {.patterns = {{3, 2, 4, 5}}, .tokens = 6});
    const Tensor y(stream.device(), DataType::f32, o.tdy.shape()), batched = y.reshape({2, 3, 30});
    const auto packets = [&](const Tensor& out, const Tensor& x, const Epilogue& epilogue = {}) {
        test::Counter counter(stream);
        matmul_into(counter, out, x, o.matrix, epilogue);
        return counter.recorded;
    };
    EXPECT_EQ(packets(y, o.tx), 1);
    EXPECT_EQ(packets(batched, contiguous(stream, o.tx).reshape({2, 3, 60})), 1);
    // Members of a batch with gaps one by one, or one axis of blocks where it is shorter.
    const Case gaps{.patterns = {{3, 2, 4, 5}}, .tokens = 2, .batch = 2, .x = {.batch_gap = 3}};
    const Operands apart(stream, gaps);
    test::Counter counter(stream);
    static_cast<void>(matmul(counter, apart.tx, apart.matrix));
    EXPECT_EQ(counter.recorded, 2);
    Epilogue bias;
    bias.bias = Tensor(stream.device(), DataType::f32, {30});
    fill_into(stream, bias.bias, 1.0);
    EXPECT_EQ(packets(y, o.tx, bias), 3);
    counter.recorded = 0;
    static_cast<void>(weight_gradient(counter, o.tdy, o.tx, FactorPattern{3, 2, 4, 5}));
    EXPECT_EQ(counter.recorded, 1);
}

TEST(Chain, BackwardComputesWhatIsAsked) {
    Stream stream(test::device());
    const Case one{.patterns = rectangular({2, 3, 2}, {3, 2, 2}), .whole = true};
    const Operands o(stream, one);
    std::vector<Tensor> inner;
    static_cast<void>(matmul(stream, o.tx, o.matrix, {}, &inner));
    ASSERT_EQ(inner.size(), 2u);
    EXPECT_EQ(inner[0].shape(), (Shape{4, o.matrix.factors[0].out_features()}));
    const auto exact = reference::chain_backward(o.rdy, o.rx, o.oracle);
    const auto f32 = [&](const Shape& shape) { return Tensor(test::device(), DataType::f32, shape); };
    const auto expect_exact = [&](const Tensor& actual, const std::vector<double>& expected) {
        EXPECT_EQ(download(stream, actual), reference::to_float(expected));
    };
    for (int parts = 0; parts < 16; ++parts)
        for (const auto& given : {std::vector<Tensor>(), inner}) {
            ChainGradients out;
            if (parts & 8) out.dx = f32(o.tx.shape());
            for (std::size_t i = 0; i < 3; ++i)
                out.dw.push_back(parts & 1 << i ? f32(o.matrix.factors[i].weight.shape()) : Tensor());
            backward_into(stream, out, o.tdy, o.tx, o.matrix, given);
            if (out.dx) expect_exact(out.dx, exact.dx.data);
            for (std::size_t i = 0; i < 3; ++i)
                if (out.dw[i]) expect_exact(out.dw[i], exact.dw[i].data);
        }

    // scale is of every gradient, accumulate of dw alone; dx may take the place of x.
    const Chain dw = weight_gradient(stream, o.tdy, o.tx, o.matrix);
    GradientOptions options;
    options.accumulate = true;
    options.scale = 2.0f;
    ChainGradients out{contiguous(stream, o.tx), {}};
    for (const KroneckerFactor& factor : dw.factors) out.dw.push_back(factor.weight);
    const Tensor x = out.dx;
    backward_into(stream, out, o.tdy, x, o.matrix, inner, options);
    for (std::size_t i = 0; i < 3; ++i) {
        std::vector<double> sum = exact.dw[i].data;
        for (double& value : sum) value *= 3;
        expect_exact(out.dw[i], sum);
    }
    std::vector<double> twice = exact.dx.data;
    for (double& value : twice) value *= 2;
    expect_exact(x, twice);
}

}  // namespace
}  // namespace danaus
