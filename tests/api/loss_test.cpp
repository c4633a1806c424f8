#include "reference/loss.hpp"

#include "api/training_support.hpp"
#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"

#include <cmath>
#include <limits>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::GuardedMatrix;

constexpr std::uint32_t ignore = 0xffffffffu;

std::vector<std::uint32_t> drawn_labels(std::size_t count, std::uint32_t classes, unsigned seed) {
    std::mt19937 engine(seed);
    std::vector<std::uint32_t> labels(count);
    for (auto& label : labels) label = static_cast<std::uint32_t>(engine() % classes);
    return labels;
}

struct Expected {
    double sum = 0.0;
    Matrix gradient;
    std::uint32_t correct = 0, counted = 0;
};

// The oracle over the rows whose label names a class; the others have a zero gradient.
Expected expected_of(const Matrix& logits, const std::vector<std::uint32_t>& labels) {
    std::vector<double> kept;
    std::vector<std::uint32_t> kept_labels;
    for (std::size_t r = 0; r < logits.rows; ++r)
        if (labels[r] < logits.cols) {
            kept.insert(kept.end(), logits.row(r).begin(), logits.row(r).end());
            kept_labels.push_back(labels[r]);
        }
    const auto result =
        reference::softmax_cross_entropy(Matrix(kept_labels.size(), logits.cols, kept), kept_labels);
    Expected expected{result.loss * static_cast<double>(kept_labels.size()), Matrix(logits.rows, logits.cols),
                      static_cast<std::uint32_t>(result.correct),
                      static_cast<std::uint32_t>(kept_labels.size())};
    for (std::size_t r = 0, k = 0; r < logits.rows; ++r) {
        if (labels[r] >= logits.cols) continue;
        for (std::size_t c = 0; c < logits.cols; ++c) expected.gradient(r, c) = result.gradient(k, c);
        ++k;
    }
    return expected;
}

std::string compare(DataType type, const LossSummary& summary, const std::vector<float>& gradient,
                    const Expected& expected, double scale = 1.0) {
    if (summary.correct != expected.correct || summary.counted != expected.counted)
        return "correct " + std::to_string(summary.correct) + " counted " + std::to_string(summary.counted);
    const double tolerance = 1e-5 * std::abs(expected.sum) + 2e-6 * (expected.counted + 1.0);
    if (!(std::abs(static_cast<double>(summary.loss_sum) - expected.sum) <= tolerance))
        return "loss " + std::to_string(summary.loss_sum) + " instead of " + std::to_string(expected.sum);
    const double mean = expected.sum / std::max(1.0, static_cast<double>(expected.counted));
    if (!(std::abs(static_cast<double>(summary.mean_loss) - mean) <= tolerance)) return "mean loss";
    const double u = reference::unit_roundoff(test::reference_type(type));
    const double unit = scale / std::max(1.0, static_cast<double>(expected.counted));
    Matrix scaled = expected.gradient, bound(scaled.rows, scaled.cols);
    for (std::size_t i = 0; i < scaled.data.size(); ++i) {
        scaled.data[i] *= scale;
        bound.data[i] = 1e-5 * std::abs(scaled.data[i]) + 1e-6 * unit + 2.0 * u * std::abs(scaled.data[i]) +
                        reference::smallest_subnormal(test::reference_type(type));
    }
    return gradient.empty() ? std::string{} : reference::first_mismatch(gradient, scaled, bound);
}

TEST(CrossEntropy, AgreesWithTheOracle) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const auto& [tokens, classes] : {std::pair{1u, 1u},
                                              {1u, 2u},
                                              {3u, 10u},
                                              {256u, 10u},
                                              {65u, 16u},
                                              {9u, 17u},
                                              {70u, 255u},
                                              {5u, 257u},
                                              {3u, 1000u},
                                              {2u, 4099u}})
            for (const test::Layout& layout : test::layouts) {
                const auto values = test::drawn(type, std::uint64_t{tokens} * classes, tokens, 4.0f);
                auto labels = drawn_labels(tokens, classes, classes);
                if (tokens > 4) labels[2] = ignore, labels[tokens - 1] = classes;
                const GuardedMatrix logits(stream, type, tokens, classes, layout, values);
                const GuardedMatrix gradient(stream, type, tokens, classes, layout);
                const Tensor label_tensor = upload(stream, labels, {tokens});
                const LossMetrics metrics(stream);
                const std::string what = std::string(to_string(type)) + " " + std::to_string(tokens) + " " +
                                         std::to_string(classes);
                softmax_cross_entropy_into(stream, metrics, gradient.tensor(), logits.tensor(), label_tensor);
                const auto expected = expected_of(Matrix(tokens, classes, values), labels);
                EXPECT_EQ(compare(type, metrics.read(stream), download(stream, gradient.tensor()), expected),
                          "")
                    << what;
                gradient.check(stream, what);
                logits.check(stream, what);
                const LossMetrics alone(stream);
                softmax_cross_entropy_into(stream, alone, {}, logits.tensor(), label_tensor);
                EXPECT_EQ(download_u32(stream, alone.words), download_u32(stream, metrics.words)) << what;
            }
}

TEST(CrossEntropy, AccumulatesAnEpochAndScalesTheGradient) {
    Stream stream(device());
    const LossMetrics metrics(stream);
    const Tensor scale = upload(stream, std::vector<float>{1024.0f}, {1});
    Expected total;
    for (const std::uint32_t batch : {64u, 64u, 37u}) {
        const auto values = test::drawn(DataType::f16, batch * 10u, batch, 3.0f);
        const auto labels = drawn_labels(batch, 10, batch + 1);
        const auto expected = expected_of(Matrix(batch, 10, values), labels);
        const Tensor gradient =
            softmax_cross_entropy(stream, metrics, upload(stream, values, {batch, 10}, DataType::f16),
                                  upload(stream, labels, {batch}), {scale, true});
        total.sum += expected.sum;
        total.correct += expected.correct;
        total.counted += expected.counted;
        EXPECT_EQ(gradient.type(), DataType::f16);
        Expected own = total;
        own.gradient = expected.gradient;
        // The bound of compare() scales with all counted rows; the gradient is this batch's mean.
        const auto actual = download(stream, gradient);
        for (std::size_t i = 0; i < actual.size(); ++i)
            EXPECT_NEAR(static_cast<double>(actual[i]), 1024.0 * expected.gradient.data[i],
                        1024.0 / batch * 2e-3);
        EXPECT_EQ(compare(DataType::f16, metrics.read(stream), {}, own), "");
    }
    EXPECT_EQ(download(stream, metrics.mean_loss())[0], metrics.read(stream).mean_loss);
    EXPECT_EQ(download(stream, metrics.loss_sum())[0], metrics.read(stream).loss_sum);
    EXPECT_EQ(download_u32(stream, metrics.correct())[0], total.correct);
    EXPECT_EQ(download_u32(stream, metrics.counted())[0], total.counted);
    metrics.clear(stream);
    EXPECT_EQ(download_u32(stream, metrics.words), std::vector<std::uint32_t>(4, 0u));
}

TEST(CrossEntropy, IsStableAndHandlesSpecialLogits) {
    Stream stream(device());
    const float infinity = std::numeric_limits<float>::infinity(), nan = std::nanf("");
    const auto run = [&](const std::vector<float>& row, std::uint32_t label) {
        const LossMetrics metrics(stream);
        const Tensor gradient = softmax_cross_entropy(stream, metrics, upload(stream, row, {1, row.size()}),
                                                      upload(stream, std::vector{label}, {1}));
        return std::pair{metrics.read(stream), download(stream, gradient)};
    };
    {
        const auto [summary, gradient] = run({3e38f, -3e38f, 3e38f}, 0);
        EXPECT_NEAR(summary.mean_loss, std::log(2.0f), 1e-6);
        EXPECT_EQ(gradient, (std::vector<float>{-0.5f, 0.0f, 0.5f}));
        EXPECT_EQ(summary.correct, 1u);  // of equal logits the lowest class
    }
    {
        const auto [summary, gradient] = run({-1000.0f, 1000.0f}, 0);
        EXPECT_EQ(summary.mean_loss, 2000.0f);
        EXPECT_EQ(gradient, (std::vector<float>{-1.0f, 1.0f}));
    }
    {
        const auto [summary, gradient] = run({-infinity, 1.0f, 1.0f}, 2);  // a class ruled out
        EXPECT_NEAR(summary.mean_loss, std::log(2.0f), 1e-6);
        EXPECT_EQ(gradient[0], 0.0f);
        EXPECT_EQ(summary.correct, 0u);
    }
    EXPECT_EQ(run({0.0f, 100.0f}, 1).first.mean_loss, 0.0f);
    for (const std::size_t classes : {2u, 40u, 300u}) {  // each way of walking a row
        std::vector<float> row(classes, nan);
        row[1] = -5.0f;
        EXPECT_EQ(run(row, 1).first.correct, 1u) << classes;
        EXPECT_TRUE(std::isnan(run(row, 1).first.mean_loss)) << classes;
        EXPECT_EQ(run(std::vector<float>(classes, nan), 0).first.correct, 1u) << classes;
        EXPECT_EQ(run(std::vector<float>(classes, 7.0f), 0).first.correct, 1u) << classes;
        EXPECT_EQ(run(std::vector<float>(classes, 7.0f), 1).first.correct, 0u) << classes;
    }
}

TEST(CrossEntropy, RowsWithoutAClassContributeNothing) {
    Stream stream(device());
    for (const std::uint32_t classes : {3u, 100u, 300u}) {
        const std::vector<std::uint32_t> labels{classes, ignore, 0x80000000u};
        const GuardedMatrix gradient(stream, DataType::f16, 3, classes, {1, 1, false});
        const LossMetrics metrics(stream);
        const Tensor logits =
            upload(stream, std::vector<float>(3 * classes, std::nanf("")), {3, classes}, DataType::f16);
        softmax_cross_entropy_into(stream, metrics, gradient.tensor(), logits, upload(stream, labels, {3}));
        EXPECT_EQ(download_u32(stream, metrics.words), std::vector<std::uint32_t>(4, 0u));
        EXPECT_EQ(download(stream, gradient.tensor()), std::vector<float>(3 * classes, 0.0f));
        gradient.check(stream);
    }
}

TEST(CrossEntropy, EmptyInput) {
    Stream stream(device());
    const LossMetrics metrics(stream);
    fill_into(stream, metrics.words, 7);
    (void)softmax_cross_entropy(stream, metrics, empty(stream, DataType::f32, {0, 10}),
                                empty(stream, DataType::u32, {0}), {{}, true});
    EXPECT_EQ(metrics.read(stream).counted, 7u);
    (void)softmax_cross_entropy(stream, metrics, empty(stream, DataType::f32, {0, 10}),
                                empty(stream, DataType::u32, {0}));
    EXPECT_EQ(download_u32(stream, metrics.words), std::vector<std::uint32_t>(4, 0u));
    (void)softmax_cross_entropy(stream, metrics, empty(stream, DataType::f32, {3, 0}),
                                upload(stream, std::vector<std::uint32_t>{0, 1, 2}, {3}));
    EXPECT_EQ(metrics.read(stream).counted, 0u);
}

TEST(CrossEntropy, GradientMatchesFiniteDifferences) {
    Stream stream(device());
    const auto values = test::drawn(DataType::f32, 6 * 5, 4, 2.0f);
    const auto labels = drawn_labels(6, 5, 9);
    const auto loss = [&](const std::vector<double>& x) {
        return reference::softmax_cross_entropy(Matrix(6, 5, x), labels).loss;
    };
    const auto expected = reference::finite_difference_gradient(loss, reference::to_double(values));
    const LossMetrics metrics(stream);
    const auto gradient = download(
        stream,
        softmax_cross_entropy(stream, metrics, upload(stream, values, {6, 5}), upload(stream, labels, {6})));
    EXPECT_EQ(reference::first_mismatch(gradient, expected, 1e-5, 1e-6), "");
}

TEST(CrossEntropy, ManyRowsAndStridedLabels) {
    Stream stream(device());
    constexpr std::uint32_t rows = 150'000;  // more than the grid has room for at once
    const auto values = test::drawn(DataType::f32, rows * 2u, 3);
    const auto labels = drawn_labels(rows, 2, 4);
    const auto expected = expected_of(Matrix(rows, 2, values), labels);
    std::vector<std::uint32_t> doubled;
    for (const auto label : labels) doubled.insert(doubled.end(), {label, 1u});
    const Tensor strided = upload(stream, doubled, {rows, 2}).select(1, 0);
    const LossMetrics metrics(stream);
    const Tensor logits = upload(stream, values, {rows, 2});
    const Tensor gradient = softmax_cross_entropy(stream, metrics, logits, strided);
    EXPECT_EQ(compare(DataType::f32, metrics.read(stream), download(stream, gradient), expected), "");
    const auto words = download_u32(stream, metrics.words);
    (void)softmax_cross_entropy(stream, metrics, logits, strided);
    EXPECT_EQ(download_u32(stream, metrics.words), words);  // the order of a sum is fixed
}

RC_GTEST_PROP(CrossEntropy, AgreesForAnyShape, ()) {
    Stream stream(device());
    const auto tokens = *rc::gen::inRange<std::uint32_t>(1, 150),
               classes = *rc::gen::inRange<std::uint32_t>(1, 400);
    const test::Layout layout{*rc::gen::inRange<std::uint64_t>(0, 3), *rc::gen::inRange<std::uint64_t>(0, 3),
                              *rc::gen::arbitrary<bool>()};
    const DataType type =
        *rc::gen::elementOf(std::vector(test::float_types.begin(), test::float_types.end()));
    const auto seed = *rc::gen::arbitrary<unsigned>();
    const auto values = test::drawn(type, std::uint64_t{tokens} * classes, seed, 5.0f);
    const auto labels = drawn_labels(tokens, classes + 1, seed);  // some name no class
    const GuardedMatrix logits(stream, type, tokens, classes, layout, values);
    const GuardedMatrix gradient(stream, type, tokens, classes,
                                 {layout.skew, layout.pad, !layout.transposed});
    const LossMetrics metrics(stream);
    softmax_cross_entropy_into(stream, metrics, gradient.tensor(), logits.tensor(),
                               upload(stream, labels, {tokens}));
    RC_ASSERT(compare(type, metrics.read(stream), download(stream, gradient.tensor()),
                      expected_of(Matrix(tokens, classes, values), labels)) == "");
    gradient.check(stream);
}

TEST(CrossEntropy, LargeLogitsAreSplitOrRefused) {
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 1 << 15; });
    Stream stream(small);
    const auto values = test::drawn(DataType::f32, 2000 * 40, 8);
    const auto labels = drawn_labels(2000, 40, 4);
    const LossMetrics metrics(stream);
    const Tensor gradient = softmax_cross_entropy(stream, metrics, upload(stream, values, {2000, 40}),
                                                  upload(stream, labels, {2000}));
    EXPECT_EQ(compare(DataType::f32, metrics.read(stream), download(stream, gradient),
                      expected_of(Matrix(2000, 40, values), labels)),
              "");
    test::Capture capture(device());
    const LossMetrics captured(capture);
    (void)softmax_cross_entropy(capture, captured, capture.tensor(DataType::bf16, {1 << 18, 1 << 15}),
                                capture.tensor(DataType::u32, {1 << 18}));
    EXPECT_GE(capture.packets.size(), 6u);
    for (const Packet& packet : capture.packets)
        for (const Operand& operand : packet.operands) EXPECT_LE(operand.bytes, 1ull << 32);
    const std::size_t before = capture.packets.size();
    expect_error(ErrorKind::unsupported, {"logits", "spans"}, [&] {
        softmax_cross_entropy_into(capture, captured, {},
                                   capture.tensor(DataType::f32, {1ull << 20, 1 << 12})
                                       .transpose()
                                       .transpose()
                                       .as_strided({2, 1 << 12}, {1, 1 << 20}),
                                   capture.tensor(DataType::u32, {2}));
    });
    EXPECT_EQ(capture.packets.size(), before);
}

TEST(CrossEntropy, WrongInput) {
    Stream stream(device());
    const LossMetrics metrics(stream);
    const Tensor logits = empty(stream, DataType::f32, {4, 3}), labels = empty(stream, DataType::u32, {4});
    const Tensor gradient = empty(stream, DataType::f32, {4, 3});
    const auto invalid = ErrorKind::invalid_argument;
    const auto call = [&](const Tensor& g, const Tensor& x, const Tensor& l,
                          const CrossEntropyOptions& o = {}) {
        return [&stream, &metrics, g, x, l, o] { softmax_cross_entropy_into(stream, metrics, g, x, l, o); };
    };
    expect_error(invalid, {"labels", "(5)", "(4)"},
                 call(gradient, logits, empty(stream, DataType::u32, {5})));
    expect_error(invalid, {"labels", "i32", "u32"},
                 call(gradient, logits, empty(stream, DataType::i32, {4})));
    expect_error(invalid, {"labels", "null"}, call(gradient, logits, {}));
    expect_error(invalid, {"logits", "u32"}, call({}, empty(stream, DataType::u32, {4, 3}), labels));
    expect_error(invalid, {"logits", "rank 2"}, call({}, empty(stream, DataType::f32, {4}), labels));
    expect_error(invalid, {"gradient", "(3, 4)"}, call(empty(stream, DataType::f32, {3, 4}), logits, labels));
    expect_error(invalid, {"gradient", "f16", "f32"},
                 call(empty(stream, DataType::f16, {4, 3}), logits, labels));
    expect_error(invalid, {"gradient", "overlaps logits"}, call(logits, logits, labels));
    expect_error(invalid, {"loss_scale", "one element"},
                 call(gradient, logits, labels, {empty(stream, DataType::f32, {2}), false}));
    expect_error(invalid, {"loss_scale", "f16"},
                 call(gradient, logits, labels, {empty(stream, DataType::f16, {1}), false}));
    expect_error(invalid, {"metrics", "null"},
                 [&] { softmax_cross_entropy_into(stream, LossMetrics{}, gradient, logits, labels); });
}

}  // namespace
}  // namespace danaus
