// Layers that become dense or Monarch in training: the same products, and moments that go on as the formulas
// say.
#include "reference/error_bound.hpp"
#include "reference/monarch.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/danaus.hpp>

#include <cmath>

namespace danaus {
namespace {

using reference::Matrix;
using reference::Tensor3;
using test::device;
using test::expect_error;
using test::first_difference;

reference::Monarch oracle_of(Stream& stream, const Tensor& w1, const Tensor& w2) {
    const auto blocks = [&](const Tensor& w) {
        return Tensor3(w.size(0), w.size(1), w.size(2), download(stream, w));
    };
    return {blocks(w1), blocks(w2)};
}

// The corner of M(first, second) that a layer has.
std::vector<double> dense_of(const reference::Monarch& m, std::uint64_t out, std::uint64_t in) {
    const Matrix whole = reference::to_dense(m);
    std::vector<double> values;
    for (std::size_t r = 0; r < out; ++r)
        for (std::size_t c = 0; c < in; ++c) values.push_back(whole(r, c));
    return values;
}

struct Sizes {
    std::uint64_t in, out, blocks;
};
constexpr Sizes sizes[] = {{12, 12, 3}, {8, 20, 4}, {21, 6, 3}, {10, 7, 4}, {5, 9, 2}};

TEST(Restructure, DenseLayersMultiplyAsTheMonarchLayersDid) {
    Stream stream(device());
    for (const auto& [in, out, blocks] : sizes)
        for (const bool bias : {true, false})
            for (const DataType type : {DataType::f32, DataType::bf16}) {
                const MonarchLinear layer(stream, in, out, blocks, {.bias = bias, .type = type, .seed = 3});
                const auto dense = to_dense(stream, layer);
                EXPECT_EQ(dense->type(), type);
                EXPECT_EQ(dense->has_bias(), bias);
                const std::vector<Parameter>&from = layer.parameters(), &to = dense->parameters();
                const auto exact = dense_of(oracle_of(stream, from[0].master, from[1].master), out, in);
                EXPECT_EQ(reference::first_mismatch(download(stream, to[0].master), exact, 1e-5, 1e-6), "");
                EXPECT_EQ(first_difference(
                              download(stream, to[0].working),
                              reference::round_to(test::float_type(type),
                                                  std::span<const float>(download(stream, to[0].master)))),
                          "");
                if (bias) {
                    EXPECT_EQ(
                        first_difference(download(stream, to[1].master), download(stream, from[2].master)),
                        "");
                }
            }
}

TEST(Restructure, ProjectionFindsTheMonarchLayerAgain) {
    Stream stream(device());
    for (const auto& [in, out, blocks] : sizes) {
        const MonarchLinear layer(stream, in, out, blocks, {.seed = 4});
        const auto dense = to_dense(stream, layer);
        const auto again = to_monarch(stream, *dense, blocks);
        const Tensor x = upload(stream, test::random_values(6 * in, 5), {6, in});
        const auto y = download(stream, layer.forward(stream, x));
        EXPECT_EQ(reference::first_mismatch(download(stream, again->forward(stream, x)),
                                            reference::to_double(y), 1e-4, 1e-4),
                  "")
            << in << " to " << out;
    }
    // A dense weight that is none: no worse than the factors that it was made of and some noise.
    const DenseLinear dense(stream, 16, 16, {.seed = 6});
    const auto monarch = to_monarch(stream, dense, 4);
    const std::vector<Parameter>& w = monarch->parameters();
    const auto found = dense_of(oracle_of(stream, w[0].master, w[1].master), 16, 16);
    const auto given = download(stream, dense.parameters()[0].master);
    double error = 0.0, size = 0.0;
    for (std::size_t i = 0; i < given.size(); ++i) {
        error += std::pow(static_cast<double>(given[i]) - found[i], 2);
        size += std::pow(static_cast<double>(given[i]), 2);
    }
    EXPECT_LT(error, 0.6 * size);  // rank 1 of 4 x 4 blocks
    EXPECT_GT(error, 0.2 * size);
}

// A Monarch layer between a dense one and a masked one, with random gradients for a few steps.
struct Training {
    Training(Stream& stream, const Sizes& s, const auto& options)
        : first(stream, s.in, s.in, {.seed = 1}),
          monarch(stream, s.in, s.out, s.blocks, {.seed = 2}),
          last(stream, 8, 8, {.masked_decay = 0.25f}, {.bias = false, .seed = 3}) {
        std::vector<Parameter> parameters;
        for (const Linear* layer : {static_cast<const Linear*>(&first), static_cast<const Linear*>(&monarch),
                                    static_cast<const Linear*>(&last)})
            parameters.insert(parameters.end(), layer->parameters().begin(), layer->parameters().end());
        optimizer = Optimizer(stream, parameters, options);
        for (unsigned step = 0; step < 4; ++step) {
            for (std::size_t i = 0; i < parameters.size(); ++i) {
                const Tensor& gradient = parameters[i].gradient;
                upload_into(stream, gradient,
                            test::random_values(gradient.elements(), 100 * step + static_cast<unsigned>(i)));
            }
            optimizer.step(stream);
        }
    }
    // What follows the Monarch layer's parameters 2, 3 and 4 (bias).
    void expect_rest(Stream& stream, const Optimizer& next) const {
        EXPECT_EQ(next.parameters().size(), optimizer.parameters().size() - 1);
        const std::size_t from[] = {0, 1, 4, 5}, to[] = {0, 1, 3, 4};
        for (std::size_t i = 0; i < 4; ++i)
            for (std::size_t k = 0; k < optimizer.moments()[0].size(); ++k)
                EXPECT_EQ(first_difference(download(stream, next.moments()[to[i]][k]),
                                           download(stream, optimizer.moments()[from[i]][k])),
                          "");
        EXPECT_EQ(next.status(stream).steps, 4u);
        EXPECT_EQ(next.status(stream).learning_rate, optimizer.status(stream).learning_rate);
        const std::vector<std::uint32_t> words = download_u32(stream, next.state()),
                                         old = download_u32(stream, optimizer.state());
        EXPECT_EQ(words.back(), old.back());  // the mask's λ
        EXPECT_EQ(words.back(), std::bit_cast<std::uint32_t>(0.25f));
    }

    DenseLinear first;
    MonarchLinear monarch;
    SparseLinear24 last;
    Optimizer optimizer;
};

// M(u1, w2) + M(w1, u2).
std::vector<double> tangent(Stream& stream, const MonarchLinear& layer, const std::vector<double>& u1,
                            const std::vector<double>& u2) {
    const reference::Monarch w =
        oracle_of(stream, layer.parameters()[0].master, layer.parameters()[1].master);
    reference::Monarch one = w, two = w;
    one.w1.data = u1;
    two.w2.data = u2;
    std::vector<double> sum = dense_of(one, layer.out(), layer.in());
    const std::vector<double> other = dense_of(two, layer.out(), layer.in());
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    return sum;
}

double sum_of_squares(const std::vector<double>& values) {
    double sum = 0.0;
    for (const double value : values) sum += value * value;
    return sum;
}

TEST(Restructure, MomentumMovesTheDenseWeightAsItMovedTheFactors) {
    Stream stream(device());
    for (const Sizes& s : sizes) {
        const Training run(stream, s, SgdOptions{.momentum = 0.9f});
        const auto dense = to_dense(stream, run.monarch);
        const Densified pair{&run.monarch, dense.get()};
        const Optimizer next = carry_over(stream, run.optimizer, {&pair, 1});
        run.expect_rest(stream, next);
        const auto old = [&](std::size_t i) {
            return reference::to_double(download(stream, run.optimizer.moments()[i][0]));
        };
        const auto expected = tangent(stream, run.monarch, old(2), old(3));
        EXPECT_EQ(reference::first_mismatch(download(stream, next.moments()[2][0]), expected, 1e-5, 1e-5),
                  "");
    }
}

TEST(Restructure, AdamWTakesTheStepThatTheFactorsWereAboutToTake) {
    Stream stream(device());
    const AdamWOptions options{.learning_rate = 1e-3f, .epsilon = 1e-3f, .weight_decay = 0.0f};
    for (const Sizes& s : sizes) {
        const Training run(stream, s, options);
        const auto dense = to_dense(stream, run.monarch);
        const Densified pair{&run.monarch, dense.get()};
        const Optimizer next = carry_over(stream, run.optimizer, {&pair, 1});
        run.expect_rest(stream, next);
        const double c1 = 1 - std::pow(options.beta1, 4), c2 = 1 - std::pow(options.beta2, 4);
        const double epsilon = static_cast<double>(options.epsilon);
        std::vector<double> steps[2];
        double mean[2] = {};
        for (const std::size_t i : {0u, 1u}) {
            const auto m = reference::to_double(download(stream, run.optimizer.moments()[2 + i][0])),
                       v = reference::to_double(download(stream, run.optimizer.moments()[2 + i][1]));
            for (std::size_t k = 0; k < m.size(); ++k) {
                steps[i].push_back(m[k] / c1 / (std::sqrt(v[k] / c2) + epsilon));
                mean[i] += v[k] / c2 / static_cast<double>(v.size());
            }
        }
        const auto expected = tangent(stream, run.monarch, steps[0], steps[1]);
        const auto w =
            oracle_of(stream, run.monarch.parameters()[0].master, run.monarch.parameters()[1].master);
        const auto inner = static_cast<double>(w.intermediate_features());
        const double c = std::sqrt(std::sqrt(mean[0] * mean[1] * inner / sum_of_squares(w.w2.data) * inner /
                                             sum_of_squares(w.w1.data)));
        const auto m = download(stream, next.moments()[2][0]), v = download(stream, next.moments()[2][1]);
        std::vector<float> taken;
        for (std::size_t k = 0; k < m.size(); ++k) {
            EXPECT_NEAR(static_cast<double>(v[k]) / c2, c * c, 1e-4 * c * c);
            taken.push_back(static_cast<float>(static_cast<double>(m[k]) / c1 /
                                               (std::sqrt(static_cast<double>(v[k]) / c2) + epsilon)));
        }
        EXPECT_EQ(reference::first_mismatch(taken, expected, 1e-4, 1e-5), "") << s.in << " to " << s.out;
    }
    // Before the first step there is nothing to carry.
    const MonarchLinear fresh(stream, 6, 6, 2);
    const Optimizer optimizer(stream, fresh.parameters(), options);
    const auto dense = to_dense(stream, fresh);
    const Densified pair{&fresh, dense.get()};
    const Optimizer next = carry_over(stream, optimizer, {&pair, 1});
    for (const auto& moments : next.moments())
        for (const Tensor& moment : moments)
            EXPECT_EQ(first_difference(download(stream, moment), std::vector<float>(moment.elements())), "");
}

// What the dense weight's second moment is guessed to be, from the factors' alone, is that of a gradient
// whose entries are independent.
TEST(Restructure, TheSecondMomentIsThatOfIndependentGradients) {
    Stream stream(device());
    constexpr std::uint64_t n = 256;
    const MonarchLinear layer(stream, n, n, 16, {.bias = false, .seed = 1});
    const Optimizer optimizer(stream, layer.parameters(), AdamWOptions{.learning_rate = 0.0f});
    // Tokens that are the unit vectors have the gradient dyᵀ for W.
    std::vector<float> unit(n * n);
    for (std::size_t i = 0; i < n; ++i) unit[i * n + i] = 1.0f;
    const Tensor x = upload(stream, unit, {n, n}), dy = upload(stream, test::random_values(n * n, 2), {n, n});
    Linear::Saved saved;
    static_cast<void>(layer.forward(stream, x, {}, &saved));
    layer.backward_into(stream, {}, dy, saved);
    optimizer.step(stream);
    const auto dense = to_dense(stream, layer);
    const Densified pair{&layer, dense.get()};
    const Optimizer next = carry_over(stream, optimizer, {&pair, 1});
    const double correction = static_cast<double>(download(stream, next.bias_corrections())[1]);
    const double second = static_cast<double>(download(stream, next.moments()[0][1])[0]) / correction;
    EXPECT_NEAR(second, 1.0 / 3, 0.05 / 3);  // the mean square of numbers in [-1, 1]
}

TEST(Restructure, LionsMomentHasTheSizeOfAGradient) {
    Stream stream(device());
    for (const Sizes& s : sizes) {
        const Training run(stream, s, LionOptions{});
        const auto dense = to_dense(stream, run.monarch);
        const Densified pair{&run.monarch, dense.get()};
        const Optimizer next = carry_over(stream, run.optimizer, {&pair, 1});
        run.expect_rest(stream, next);
        const auto old = [&](std::size_t i) {
            return reference::to_double(download(stream, run.optimizer.moments()[i][0]));
        };
        auto expected = tangent(stream, run.monarch, old(2), old(3));
        const auto w =
            oracle_of(stream, run.monarch.parameters()[0].master, run.monarch.parameters()[1].master);
        const double scale = static_cast<double>(w.intermediate_features()) /
                             (sum_of_squares(w.w1.data) + sum_of_squares(w.w2.data));
        for (double& value : expected) value *= scale;
        EXPECT_EQ(reference::first_mismatch(download(stream, next.moments()[2][0]), expected, 1e-5, 1e-5),
                  "");
    }
}

TEST(Restructure, SeveralLayersInAnyOrder) {
    Stream stream(device());
    const MonarchLinear one(stream, 6, 6, 2, {.seed = 1}), two(stream, 6, 8, 2, {.bias = false, .seed = 2});
    const DenseLinear between(stream, 6, 6, {.seed = 3});
    std::vector<Parameter> all;
    for (const Linear* layer : {static_cast<const Linear*>(&one), static_cast<const Linear*>(&between),
                                static_cast<const Linear*>(&two)})
        all.insert(all.end(), layer->parameters().begin(), layer->parameters().end());
    const Optimizer optimizer(stream, all, SgdOptions{.momentum = 0.5f});
    for (std::size_t i = 0; i < all.size(); ++i)
        upload_into(stream, all[i].gradient,
                    test::random_values(all[i].gradient.elements(), static_cast<unsigned>(i)));
    optimizer.step(stream);
    const auto first = to_dense(stream, one), second = to_dense(stream, two);
    const std::vector<Densified> layers{{&two, second.get()}, {&one, first.get()}};
    const Optimizer next = carry_over(stream, optimizer, layers);
    ASSERT_EQ(next.parameters().size(), 5u);
    const auto moment = [&](const Optimizer& of, std::size_t i) {
        return download(stream, of.moments()[i][0]);
    };
    const auto old = [&](std::size_t i) { return reference::to_double(moment(optimizer, i)); };
    EXPECT_EQ(reference::first_mismatch(moment(next, 0), tangent(stream, one, old(0), old(1)), 1e-5, 1e-5),
              "");
    EXPECT_EQ(first_difference(moment(next, 1), moment(optimizer, 2)), "");
    EXPECT_EQ(first_difference(moment(next, 2), moment(optimizer, 3)), "");
    EXPECT_EQ(first_difference(moment(next, 3), moment(optimizer, 4)), "");
    EXPECT_EQ(reference::first_mismatch(moment(next, 4), tangent(stream, two, old(5), old(6)), 1e-5, 1e-5),
              "");
    EXPECT_EQ(next.parameters()[0].master.buffer(), first->parameters()[0].master.buffer());
    EXPECT_EQ(next.parameters()[4].master.buffer(), second->parameters()[0].master.buffer());
    // Without momentum there is nothing to carry.
    const Optimizer plain(stream, all, SgdOptions{});
    EXPECT_TRUE(carry_over(stream, plain, layers).moments()[0].empty());
}

TEST(Restructure, RefusesLayersThatDoNotFit) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const MonarchLinear layer(stream, 6, 6, 2), other(stream, 6, 6, 2),
        bare(stream, 6, 6, 2, {.bias = false});
    const auto dense = to_dense(stream, layer);
    const DenseLinear small(stream, 6, 4);
    const Optimizer optimizer(stream, layer.parameters(), AdamWOptions{});
    const auto carry = [&](const std::vector<Densified>& layers) {
        return [&, layers] { static_cast<void>(carry_over(stream, optimizer, layers)); };
    };
    refuses({"layers[0]", "null"}, carry({{}}));
    refuses({"layers[0].to", "6 to 4", "6 to 6"}, carry({{&layer, &small}}));
    refuses({"layers[0].to", "bias"}, carry({{&bare, dense.get()}}));
    refuses({"layers[0].from", "not in the optimizer"}, carry({{&other, dense.get()}}));
    refuses({"layers[1].from", "layers[0].from"}, carry({{&layer, dense.get()}, {&layer, dense.get()}}));
    const Optimizer both(
        stream,
        [&] {
            std::vector<Parameter> all = layer.parameters();
            all.insert(all.end(), other.parameters().begin(), other.parameters().end());
            return all;
        }(),
        AdamWOptions{});
    const std::vector<Densified> same{{&layer, dense.get()}, {&other, dense.get()}};
    refuses({"layers[1].to", "layers[0].to"}, [&] { static_cast<void>(carry_over(stream, both, same)); });
    refuses({"sweeps: 0"}, [&] { static_cast<void>(to_monarch(stream, *dense, 2, {.sweeps = 0})); });
    refuses({"default"}, [&] { static_cast<void>(Optimizer().with_parameters(stream, layer.parameters())); });
    refuses({"blocks: 0"}, [&] { static_cast<void>(to_monarch(stream, *dense, 0)); });
}

}  // namespace
}  // namespace danaus
