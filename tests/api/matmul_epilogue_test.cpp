// Every combination of the epilogue's parts around the dense multiply.
#include "epilogue_case.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::EpilogueCase;
using test::EpilogueChoice;
using Bias = EpilogueChoice::Bias;
using Residual = EpilogueChoice::Residual;

constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::gelu,
                                      Activation::gelu_erf};

// y (tokens, out) of fixed sizes: odd ones, so that rows and columns are cut off, and small ones, which
// compile fast.
class MatmulEpilogue : public ::testing::Test {
protected:
    static constexpr std::size_t tokens = 3, in = 9, out = 7;
    Stream stream{test::device()};

    std::string run(const EpilogueChoice& choice, float spread = 1.0f) {
        std::vector<float> x = test::random_values(tokens * in, 21, choice.type);
        for (float& value : x) value *= spread;  // a power of two
        const std::vector<float> w = test::random_values(out * in, 22, choice.type);
        const Tensor tx = test::Placed(stream, choice.type, {tokens, in}, {.gap = 1}, x),
                     tw = test::Placed(stream, choice.type, {out, in}, {.gap = 1}, w);
        const Matrix rx(tokens, in, x), rw(out, in, w), sum = reference::matmul(rx, rw);
        const EpilogueCase one(stream, choice, tokens, out);
        matmul_into(stream, one.out(), tx, tw, one.epilogue());
        return one.mismatch(stream, sum,
                            reference::dot_bound(in, {}, reference::absolute_product(rx, rw), sum));
    }
};

TEST_F(MatmulEpilogue, EveryCombination) {
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const Bias bias : {Bias::none, Bias::operand_type, Bias::f32})
            for (const Activation activation : activations)
                for (const Residual residual : {Residual::none, Residual::same_layout, Residual::other_layout,
                                                Residual::in_place, Residual::accumulate})
                    for (const bool aux : {false, true})
                        for (const bool feature_major : {false, true}) {
                            if (type == DataType::f32 && bias == Bias::f32) continue;
                            EpilogueChoice choice;
                            choice.type = type;
                            choice.bias = bias;
                            choice.activation = activation;
                            choice.residual = residual;
                            choice.aux = aux;
                            choice.feature_major = feature_major;
                            choice.scale = aux ? -0.75f : 1.0f;
                            ASSERT_EQ(run(choice), "");
                        }
}

TEST_F(MatmulEpilogue, OtherTypesAndStarts) {
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const bool widen : {false, true})
            for (const unsigned skew : {0u, 1u})
                for (const Residual residual : {Residual::none, Residual::same_layout, Residual::in_place}) {
                    EpilogueChoice choice;
                    choice.type = type;
                    choice.widen = widen;
                    choice.skew = skew;
                    choice.bias = Bias::operand_type;
                    choice.activation = Activation::relu;
                    choice.residual = residual;
                    choice.aux = true;
                    choice.scale = 0.5f;
                    EXPECT_EQ(run(choice), "");
                }
}

TEST_F(MatmulEpilogue, ActivationsFarFromZero) {
    for (const Activation activation : activations)
        for (const float spread : {16.0f, 1024.0f, 0x1p-20f}) {
            EpilogueChoice choice;
            choice.activation = activation;
            choice.aux = true;
            EXPECT_EQ(run(choice, spread), "") << spread;
        }
}

TEST_F(MatmulEpilogue, OfAnEmptySum) {
    const Tensor x(test::device(), DataType::f32, {tokens, 0}), w(test::device(), DataType::f32, {out, 0});
    EpilogueChoice choice;
    choice.bias = Bias::operand_type;
    choice.activation = Activation::gelu;
    choice.residual = Residual::other_layout;
    const EpilogueCase one(stream, choice, tokens, out);
    matmul_into(stream, one.out(), x, w, one.epilogue());
    EXPECT_EQ(one.mismatch(stream, Matrix(tokens, out), Matrix(tokens, out)), "");
}

TEST_F(MatmulEpilogue, BatchesShareTheBias) {
    const auto x = test::random_values(2 * 3 * 4, 1), w = test::random_values(5 * 4, 2),
               bias = test::random_values(5, 3);
    const Tensor tx = upload(stream, x, {2, 3, 4}), tw = upload(stream, w, {5, 4}),
                 tb = upload(stream, bias, {5});
    Epilogue epilogue;
    epilogue.bias = tb;
    const std::vector<float> once = download(stream, matmul(stream, tx.reshape({6, 4}), tw, epilogue));
    EXPECT_EQ(download(stream, matmul(stream, tx, tw, epilogue)), once);
    epilogue.order = Order::feature_major;
    EXPECT_EQ(download(stream, matmul(stream, tx, tw, epilogue)), once);
    // A bias of any stride, a stride of 0 included.
    epilogue.bias =
        upload(stream,
               std::vector<float>{bias[0], 9, 9, bias[1], 9, 9, bias[2], 9, 9, bias[3], 9, 9, bias[4]}, {13})
            .as_strided({5}, {3});
    EXPECT_EQ(download(stream, matmul(stream, tx, tw, epilogue)), once);
}

TEST_F(MatmulEpilogue, GradientsScaleAndAccumulate) {
    const auto dy = test::random_values(tokens * out, 1), x = test::random_values(tokens * in, 2),
               before = test::random_values(out * in, 3);
    const Tensor tdy = upload(stream, dy, {tokens, out}), tx = upload(stream, x, {tokens, in}),
                 dw = upload(stream, before, {out, in});
    const Matrix rdy(tokens, out, dy), rx(tokens, in, x);
    const Matrix expected =
        reference::axpby(0.25, reference::weight_gradient(rdy, rx), 1.0, Matrix(out, in, before));
    GradientOptions options;
    options.scale = 0.25f;
    options.accumulate = true;
    weight_gradient_into(stream, dw, tdy, tx, options);
    EXPECT_EQ(reference::first_mismatch(download(stream, dw), expected.data, 1e-6, 1e-6), "");
}

// Sizes of one element have strides that nobody follows: they need not agree.
TEST_F(MatmulEpilogue, StridesOfOneRowDoNotMatter) {
    const Tensor x = upload(stream, test::random_values(4, 1), {1, 4}),
                 w = upload(stream, test::random_values(12, 2), {3, 4}),
                 big(test::device(), DataType::f32, {2, 7});
    Epilogue epilogue;
    epilogue.aux = Tensor(test::device(), DataType::f32, {1, 3});
    const Tensor row = big.slice(0, 1, 2).slice(1, 2, 5);
    matmul_into(stream, row, x, w, epilogue);
    EXPECT_EQ(download(stream, row), download(stream, matmul(stream, x, w)));
    EXPECT_EQ(download(stream, epilogue.aux), download(stream, row));
}

}  // namespace
}  // namespace danaus
