// Proves the oracle's epilogue, loss and optimizers, by finite differences and by worked steps.
#include "reference/epilogue.hpp"
#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"
#include "reference/loss.hpp"
#include "reference/optimizers.hpp"
#include "reference/philox.hpp"

#include <cmath>
#include <limits>

#include <gtest/gtest.h>

namespace danaus::reference {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

TEST(FiniteDifference, Polynomial) {
    const auto f = [](const std::vector<double>& v) { return v[0] * v[0] * v[1] + 3 * v[1]; };
    const auto g = finite_difference_gradient(f, {2.0, -5.0});
    EXPECT_NEAR(g[0], -20.0, 1e-8);
    EXPECT_NEAR(g[1], 7.0, 1e-8);
}

TEST(Activation, Values) {
    EXPECT_EQ(activate(Activation::relu, -2.0), 0.0);
    EXPECT_EQ(activate(Activation::relu, 2.0), 2.0);
    EXPECT_TRUE(std::isnan(activate(Activation::relu, std::nan(""))));
    EXPECT_EQ(activation_derivative(Activation::relu, 0.0), 0.0);
    EXPECT_NEAR(activate(Activation::gelu_erf, 1.0), 0.841344746068543, 1e-14);
    EXPECT_NEAR(activate(Activation::gelu_erf, -1.0), -0.158655253931457, 1e-14);
    for (const double z : {-3.0, -0.5, 0.0, 0.7, 4.0}) {
        const double u = std::sqrt(2.0 / std::acos(-1.0)) * (z + 0.044715 * z * z * z);
        EXPECT_NEAR(activate(Activation::gelu_tanh, z), 0.5 * z * (1.0 + std::tanh(u)), 1e-14);
        EXPECT_NEAR(activate(Activation::gelu_erf, z), 0.5 * z * (1.0 + std::erf(z / std::sqrt(2.0))), 1e-14);
        EXPECT_NEAR(activate(Activation::gelu_tanh, z), activate(Activation::gelu_erf, z), 1e-3);
    }
    EXPECT_LT(activate(Activation::gelu_erf, -20.0), 0.0);  // no cancellation in the tail
}

TEST(Activation, DerivativesByFiniteDifferences) {
    for (const Activation act :
         {Activation::identity, Activation::relu, Activation::gelu_erf, Activation::gelu_tanh}) {
        for (double z = -6.05; z < 6.0; z += 0.1) {
            const auto f = [&](const std::vector<double>& v) { return activate(act, v[0]); };
            EXPECT_NEAR(activation_derivative(act, z), finite_difference_gradient(f, {z})[0], 1e-8) << z;
        }
    }
}

TEST(Epilogue, OrderAndGradients) {
    const Matrix product(3, 4, philox_normal(1, 0, 12));
    const Matrix dy(3, 4, philox_normal(2, 0, 12));
    Epilogue epilogue{.scale = 0.5,
                      .bias = philox_normal(3, 0, 4),
                      .activation = Activation::gelu_tanh,
                      .residual = Matrix(3, 4, philox_normal(4, 0, 12))};
    const EpilogueResult forward = epilogue_forward(product, epilogue);
    const double z = 0.5 * product(1, 2) + epilogue.bias[2];
    EXPECT_EQ(forward.z(1, 2), z);
    EXPECT_EQ(forward.y(1, 2), activate(Activation::gelu_tanh, z) + epilogue.residual(1, 2));

    const auto loss = [&](const Matrix& a, const Epilogue& e) {
        const Matrix y = epilogue_forward(a, e).y;
        double sum = 0.0;
        for (std::size_t i = 0; i < y.data.size(); ++i) sum += dy.data[i] * y.data[i];
        return sum;
    };
    const EpilogueGradients backward = epilogue_backward(dy, forward.z, epilogue.activation);
    const auto by_product = finite_difference_gradient(
        [&](const auto& v) { return loss(Matrix(3, 4, v), epilogue); }, product.data);
    for (std::size_t i = 0; i < 12; ++i)
        EXPECT_NEAR(epilogue.scale * backward.dz.data[i], by_product[i], 1e-8);
    const auto by_bias = finite_difference_gradient(
        [&](const auto& v) {
            Epilogue changed = epilogue;
            changed.bias = v;
            return loss(product, changed);
        },
        epilogue.bias);
    EXPECT_EQ(first_mismatch(backward.bias, by_bias, 1e-7, 1e-7), "");
    EXPECT_EQ(epilogue_forward(product, {}).y, product);
    epilogue.bias.pop_back();
    EXPECT_THROW(epilogue_forward(product, epilogue), std::invalid_argument);
}

TEST(CrossEntropy, GradientByFiniteDifferences) {
    const Matrix logits(4, 5, philox_normal(5, 0, 20));
    const std::vector<std::uint32_t> labels{0, 4, 2, 2};
    const CrossEntropy result = softmax_cross_entropy(logits, labels);
    const auto numeric = finite_difference_gradient(
        [&](const auto& v) { return softmax_cross_entropy(Matrix(4, 5, v), labels).loss; }, logits.data);
    EXPECT_EQ(first_mismatch(result.gradient.data, numeric, 1e-7, 1e-9), "");
    for (std::size_t b = 0; b < 4; ++b) {
        double sum = 0.0;
        for (const double g : result.gradient.row(b)) sum += g;
        EXPECT_NEAR(sum, 0.0, 1e-15);
    }
}

TEST(CrossEntropy, ValuesTiesAndExtremes) {
    const std::vector<std::uint32_t> labels{0, 1};
    const CrossEntropy flat = softmax_cross_entropy(Matrix(2, 4), labels);
    EXPECT_NEAR(flat.loss, std::log(4.0), 1e-15);
    EXPECT_EQ(flat.correct, 1u);  // the tie goes to class 0
    const CrossEntropy extreme = softmax_cross_entropy(Matrix(2, 2, {1e4, -1e4, 0, 1e4}), labels);
    EXPECT_EQ(extreme.loss, 0.0);
    EXPECT_EQ(extreme.correct, 2u);
    EXPECT_EQ(argmax(std::vector<double>{std::nan(""), -3.0, -2.0}), 2u);
    EXPECT_EQ(softmax_cross_entropy(Matrix(0, 3), {}).loss, 0.0);
    EXPECT_THROW(softmax_cross_entropy(Matrix(2, 1), labels), std::invalid_argument);
}

TEST(Sgd, WorkedSteps) {
    std::vector<double> p{1.0};
    Sgd plain({.learning_rate = 0.1, .weight_decay = 0.5});
    plain.step(p, std::vector<double>{2.0});
    EXPECT_DOUBLE_EQ(p[0], 1.0 - 0.1 * 2.5);

    p = {1.0};
    Sgd momentum({.learning_rate = 0.1, .momentum = 0.9, .dampening = 0.5});
    momentum.step(p, std::vector<double>{1.0});
    EXPECT_DOUBLE_EQ(p[0], 0.9);  // the first velocity is the undamped gradient
    momentum.step(p, std::vector<double>{2.0});
    EXPECT_DOUBLE_EQ(momentum.velocity()[0], 0.9 + 0.5 * 2.0);
    EXPECT_DOUBLE_EQ(p[0], 0.9 - 0.1 * 1.9);

    p = {1.0};
    Sgd nesterov({.learning_rate = 0.1, .momentum = 0.9, .nesterov = true});
    nesterov.step(p, std::vector<double>{1.0});
    EXPECT_DOUBLE_EQ(p[0], 1.0 - 0.1 * 1.9);
    nesterov.step(p, std::vector<double>{1.0});
    EXPECT_DOUBLE_EQ(p[0], 0.81 - 0.1 * (1.0 + 0.9 * 1.9));
    EXPECT_THROW(nesterov.step(p, std::vector<double>{1.0, 2.0}), std::invalid_argument);
}

TEST(AdamW, WorkedSteps) {
    std::vector<double> p{1.0, -1.0};
    AdamW adam({.learning_rate = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 0.0, .weight_decay = 0.2});
    // With bias correction and no epsilon the first step is the sign of the gradient, whatever its size.
    adam.step(p, std::vector<double>{1e-3, -50.0});
    EXPECT_DOUBLE_EQ(p[0], 0.98 - 0.1);
    EXPECT_DOUBLE_EQ(p[1], -0.98 + 0.1);
    adam.step(p, std::vector<double>{0.0, 0.0});
    const double m = 0.9 * 0.1 * 1e-3 / (1 - 0.81);
    const double v = 0.99 * 0.01 * 1e-6 / (1 - 0.99 * 0.99);
    EXPECT_NEAR(p[0], 0.88 * 0.98 - 0.1 * m / std::sqrt(v), 1e-12);
    EXPECT_EQ(adam.steps(), 2u);
}

TEST(AdamW, FrozenSecondMoment) {
    std::vector<double> p{0.0};
    AdamW adam({.learning_rate = 0.1, .beta1 = 0.0, .beta2 = 0.75, .epsilon = 0.0, .weight_decay = 0.0});
    adam.freeze_second_moment(true);
    adam.step(p, std::vector<double>{2.0});  // the first step fills v all the same
    EXPECT_DOUBLE_EQ(adam.second_moment()[0], 1.0);
    adam.step(p, std::vector<double>{6.0});
    EXPECT_DOUBLE_EQ(adam.second_moment()[0], 1.0);
    EXPECT_DOUBLE_EQ(p[0], -0.1 - 0.1 * 6.0 / 2.0);
    adam.freeze_second_moment(false);
    adam.step(p, std::vector<double>{6.0});
    EXPECT_DOUBLE_EQ(adam.second_moment()[0], 0.75 + 9.0);
    EXPECT_DOUBLE_EQ(p[0], -0.4 - 0.1 * 6.0 / std::sqrt(9.75 / (1 - 0.75 * 0.75)));
}

TEST(Lion, WorkedSteps) {
    std::vector<double> p{1.0, 1.0, 1.0};
    Lion lion({.learning_rate = 0.1, .beta1 = 0.5, .beta2 = 0.75, .weight_decay = 0.5});
    lion.step(p, std::vector<double>{4.0, -1e-9, 0.0});
    EXPECT_DOUBLE_EQ(p[0], 1.0 - 0.1 * 1.5);
    EXPECT_DOUBLE_EQ(p[1], 1.0 + 0.1 * 0.5);
    EXPECT_DOUBLE_EQ(p[2], 1.0 - 0.1 * 0.5);  // sign(0) = 0
    EXPECT_DOUBLE_EQ(lion.moment()[0], 1.0);
    lion.step(p, std::vector<double>{-1.0, 0.0, 0.0});
    EXPECT_DOUBLE_EQ(p[0], 0.85 * 0.95);  // ½ · 1 - ½ · 1
    EXPECT_DOUBLE_EQ(lion.moment()[0], 0.5);
}

TEST(Clipping, GlobalNorm) {
    std::vector<std::vector<double>> gradients{{3.0, 0.0}, {4.0}};
    EXPECT_EQ(clip_global_norm(gradients, 10.0), 5.0);
    EXPECT_EQ(gradients[1][0], 4.0);
    EXPECT_EQ(clip_global_norm(gradients, 1.0), 5.0);
    EXPECT_NEAR(global_norm(gradients), 1.0, 1e-6);
    EXPECT_NEAR(gradients[0][0], 0.6, 1e-6);
    EXPECT_TRUE(has_nonfinite(std::vector<double>{0.0, infinity}));
    EXPECT_TRUE(has_nonfinite(std::vector<double>{std::nan("")}));
    EXPECT_FALSE(has_nonfinite(std::vector<double>{0.0, -1e300}));
}

TEST(LossScale, GrowsAndBacksOff) {
    DynamicLossScale scale{.scale = 8.0, .growth_interval = 2};
    EXPECT_TRUE(scale.update(false));
    EXPECT_EQ(scale.scale, 8.0);
    EXPECT_TRUE(scale.update(false));
    EXPECT_EQ(scale.scale, 16.0);
    EXPECT_TRUE(scale.update(false));
    EXPECT_FALSE(scale.update(true));
    EXPECT_EQ(scale.scale, 8.0);
    EXPECT_EQ(scale.good_steps, 0u);
    DynamicLossScale largest{.scale = 0x1p127, .growth_interval = 1};
    largest.update(false);
    EXPECT_EQ(largest.scale, 0x1p127);
}

}  // namespace
}  // namespace danaus::reference
