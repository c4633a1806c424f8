// Monarch layers as published checkpoints have them: shapes, counts, first values, files, padding.
#include "reference/error_bound.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"
#include "support/temporary_file.hpp"

#include <danaus/danaus.hpp>

#include <cmath>

namespace danaus {
namespace {

using test::device;
using test::expect_error;

std::uint64_t count(Stream& stream, std::uint64_t in, std::uint64_t out) {
    const MonarchLinear layer(stream, in, out, 4);
    std::uint64_t sum = 0;
    for (const Parameter& parameter : layer.parameters()) sum += parameter.master.elements();
    return sum;
}

// Of whole models with four blocks in attention's four projections and in both layers of the MLP, as the
// paper counts them: everything else, which stays dense, is added by hand.
TEST(MonarchLinear, ModelsHaveThePublishedCounts) {
    Stream stream(device());
    const auto blocks = [&](std::uint64_t d, std::uint64_t layers) {
        const std::uint64_t norms = 2 * 2 * d;
        return layers * (4 * count(stream, d, d) + count(stream, d, 4 * d) + count(stream, 4 * d, d) + norms);
    };
    const auto gpt2 = [&](std::uint64_t d, std::uint64_t layers) {
        return (50257 + 1024) * d + blocks(d, layers) + 2 * d;
    };
    EXPECT_EQ(gpt2(768, 12), 71355648u);
    EXPECT_EQ(gpt2(1024, 24), 166079488u);
    const auto bert = [&](std::uint64_t d, std::uint64_t layers) {
        return (30522 + 512 + 2) * d + 2 * d + blocks(d, layers) + d * d + d;
    };
    EXPECT_EQ(bert(768, 12), 56398080u);
    EXPECT_EQ(bert(1024, 24), 146398208u);
    constexpr std::uint64_t d = 768;
    const std::uint64_t embedding = 16 * 16 * 3 * d + d + d + 197 * d, head = 1000 * d + 1000;
    EXPECT_EQ(embedding + blocks(d, 12) + 2 * d + head, 33483496u);
}

TEST(MonarchLinear, HasThePublishedShapes) {
    Stream stream(device());
    struct Case {
        std::uint64_t in, out, blocks;
        Shape first, second;
    };
    for (const Case& c :
         {Case{768, 768, 4, {4, 192, 192}, {4, 192, 192}}, Case{768, 3072, 4, {4, 192, 192}, {4, 768, 192}},
          Case{3072, 768, 4, {4, 192, 768}, {4, 192, 192}}, Case{10, 7, 4, {4, 2, 3}, {4, 2, 2}},
          Case{7, 10, 4, {4, 2, 2}, {4, 3, 2}}, Case{3, 2, 5, {5, 1, 1}, {5, 1, 1}}}) {
        const MonarchLinear layer(stream, c.in, c.out, c.blocks);
        EXPECT_EQ(layer.parameters()[0].master.shape(), c.first);
        EXPECT_EQ(layer.parameters()[1].master.shape(), c.second);
        EXPECT_EQ(layer.parameters()[2].master.shape(), Shape{c.out});
    }
}

TEST(MonarchLinear, FirstValuesKeepTheVarianceWhenAsked) {
    Stream stream(device());
    constexpr std::uint64_t in = 1024, out = 512, tokens = 64;
    const Tensor x = normal(stream, DataType::f32, {tokens, in}, 0.0f, 1.0f, 5);
    const auto variance = [&](const LinearOptions& options, std::uint64_t blocks) {
        const auto y = download(stream, MonarchLinear(stream, in, out, blocks, options).forward(stream, x));
        double sum = 0.0;
        for (const float value : y) sum += static_cast<double>(value) * static_cast<double>(value);
        return sum / static_cast<double>(y.size());
    };
    for (const std::uint64_t blocks : {4u, 32u}) {
        LinearOptions options{.bias = false, .seed = 3, .initialization = Initialization::unit_variance};
        EXPECT_NEAR(variance(options, blocks), 1.0, 0.05);
        options.gain = 2.0f;
        EXPECT_NEAR(variance(options, blocks), 4.0, 0.2);
        EXPECT_NEAR(variance({.bias = false, .seed = 3}, blocks), 1.0 / 9, 0.006);
        // Uniform up to ±1/√n of both factors.
        const MonarchLinear layer(stream, in, out, blocks, {.seed = 4});
        for (std::size_t i = 0; i < 2; ++i) {
            const Tensor& w = layer.parameters()[i].master;
            const double bound = 1.0 / std::sqrt(static_cast<double>(w.size(2)));
            double most = 0.0;
            for (const float value : download(stream, w))
                most = std::max(most, std::abs(static_cast<double>(value)));
            EXPECT_LE(most, bound * (1 + 1e-6));
            EXPECT_GE(most, 0.999 * bound);
        }
    }
}

// A file with tensors of a published layer, in f32 and in the 16-bit types.
TEST(MonarchLinear, ReadsPublishedTensors) {
    Stream stream(device());
    const test::TemporaryFile temporary;
    const auto& path = temporary.path;
    constexpr std::size_t in = 10, out = 7, blocks = 4, p = 3, s = 2, q = 2, tokens = 5;
    const auto w1 = test::random_values(blocks * q * p, 1, DataType::bf16),
               w2 = test::random_values(blocks * s * q, 2, DataType::bf16),
               bias = test::random_values(out, 3, DataType::bf16), x = test::random_values(tokens * in, 4);
    // By the formulas, with two features of padding before and one behind.
    std::vector<double> expected(tokens * out);
    for (std::size_t token = 0; token < tokens; ++token)
        for (std::size_t feature = 0; feature < out; ++feature) {
            const std::size_t L = feature % blocks, S = feature / blocks;
            double sum = static_cast<double>(bias[feature]);
            for (std::size_t R = 0; R < q; ++R) {
                const std::size_t t = R * blocks + L, K = t / q, Q = t % q;
                double inner = 0.0;
                for (std::size_t c = 0; c < p && K * p + c < in; ++c)
                    inner += static_cast<double>(w1[(K * q + Q) * p + c]) *
                             static_cast<double>(x[token * in + K * p + c]);
                sum += static_cast<double>(w2[(L * s + S) * q + R]) * inner;
            }
            expected[token * out + feature] = sum;
        }
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
        SafetensorsWriter writer;
        writer.add("h.0.fc.blkdiag1", upload(stream, w1, {blocks, q, p}, type));
        writer.add("h.0.fc.blkdiag2", upload(stream, w2, {blocks, s, q}, type));
        writer.add("h.0.fc.bias", upload(stream, bias, {out}, type));
        writer.save(stream, path);
        MonarchLinear layer(stream, in, out, blocks, {.seed = 9});
        layer.load_from(stream, SafetensorsFile(path), "h.0.fc");
        const auto y = download(stream, layer.forward(stream, upload(stream, x, {tokens, in})));
        EXPECT_EQ(reference::first_mismatch(y, expected, 1e-5, 1e-5), "") << to_string(type);
    }
    SafetensorsWriter wrong;
    wrong.add("fc.blkdiag1", upload(stream, w1, {blocks, p, q}));
    wrong.save(stream, path);
    MonarchLinear layer(stream, in, out, blocks);
    expect_error(ErrorKind::invalid_argument, {"fc.blkdiag1", "(4, 2, 3)"},
                 [&] { layer.load_from(stream, SafetensorsFile(path), "fc"); });
}

// What a layer that pads writes and reads must lie apart like that of one that does not.
TEST(MonarchLinear, PaddingHidesNoOverlap) {
    Stream stream(device());
    for (const std::uint64_t n : {8u, 9u}) {
        const MonarchLinear layer(stream, n, n, 4);
        const Tensor x(device(), DataType::f32, {5, n}), y(device(), DataType::f32, {5, n});
        expect_error(ErrorKind::invalid_argument, {"out", "overlaps x"},
                     [&] { layer.forward_into(stream, x, x); });
        expect_error(ErrorKind::invalid_argument, {"aux", "overlaps x"},
                     [&] { layer.forward_into(stream, y, x, {.activation = Activation::relu, .aux = x}); });
    }
}

}  // namespace
}  // namespace danaus
