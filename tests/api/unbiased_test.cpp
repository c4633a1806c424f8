// Unbiased 2:4 pruning of gradients: which entries are kept, that nothing is lost on average, and the weight
// gradient from what is kept.
#include "reference/unbiased.hpp"

#include "reference/matrix.hpp"
#include "reference/philox.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Group;
using reference::Kept;
using test::device;
using test::draw;
using test::expect_error;
using test::Placed;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
constexpr UnbiasedPruning prunings[] = {UnbiasedPruning::least_variance, UnbiasedPruning::one_of_two,
                                        UnbiasedPruning::two_draws};

double uniform_of(std::uint32_t word) {
    return (word >> 9) * 0x1p-23;
}

// What the oracle keeps of one group of a matrix with so many groups a line.
Kept expected(const Group& x, const UnbiasedOptions& options, std::uint64_t step, std::size_t line,
              std::size_t group, std::size_t groups) {
    const std::size_t words = (groups + 7) / 8;
    const bool one = options.pruning == UnbiasedPruning::least_variance;
    const std::uint64_t block =
        options.offset + (one ? 2 : 4) * (line * words + group / 8) + (one ? group % 8 / 4 : group % 8 / 2);
    const auto bits = reference::philox4x32(
        {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
         static_cast<std::uint32_t>(step), 0},
        {static_cast<std::uint32_t>(options.seed), static_cast<std::uint32_t>(options.seed >> 32)});
    if (one) return reference::least_variance(x, uniform_of(bits[group % 4]));
    const double u = uniform_of(bits[2 * (group % 2)]), v = uniform_of(bits[2 * (group % 2) + 1]);
    return options.pruning == UnbiasedPruning::one_of_two ? reference::one_of_two(x, u, v)
                                                          : reference::two_draws(x, u, v);
}

struct Stored {
    std::vector<float> values;
    std::vector<std::uint32_t> metadata;
};

Stored read(Stream& stream, const Sparse24& a) {
    return {download(stream, a.values()), download_u32(stream, a.metadata())};
}

std::array<std::size_t, 2> places_of(const Stored& stored, std::size_t line, std::size_t group,
                                     std::size_t groups) {
    const std::size_t words = (groups + 7) / 8;
    const std::uint32_t nibble = stored.metadata[line * words + group / 8] >> group % 8 * 4 & 15;
    return {nibble & 3, nibble >> 2};
}

// Rounding moves a step by a few units of 2^-23: nearer than that either side is right.
constexpr double least_margin = 0x1p-20;

// Empty, or what differs from the oracle. `judged` counts the groups that it decided.
std::string difference(const std::vector<float>& values, std::size_t cols, const UnbiasedOptions& options,
                       std::uint64_t step, const Stored& stored, DataType type,
                       std::size_t* judged = nullptr) {
    const std::size_t groups = (cols + 3) / 4, lines = values.size() / cols;
    const double tolerance = type == DataType::f32 ? 0x1p-20 : type == DataType::f16 ? 0x1p-10 : 0x1p-7;
    for (std::size_t line = 0; line < lines; ++line)
        for (std::size_t g = 0; g < groups; ++g) {
            const std::string place = " of group " + std::to_string(g) + " of line " + std::to_string(line);
            Group x{};
            for (std::size_t i = 0; i < 4 && 4 * g + i < cols; ++i) x[i] = values[line * cols + 4 * g + i];
            const auto places = places_of(stored, line, g, groups);
            if (places[0] >= places[1]) return "the places" + place + " do not ascend";
            for (std::size_t i = 0; i < 2; ++i)
                if (x[places[i]] == 0 && stored.values[(line * groups + g) * 2 + i] != 0)
                    return "a zero" + place + " has a value";
            const Kept kept = expected(x, options, step, line, g, groups);
            if (kept.margin < least_margin) continue;
            if (judged) ++*judged;
            if (places != kept.places) return "the places" + place + " differ";
            for (std::size_t i = 0; i < 2; ++i) {
                const double value = stored.values[(line * groups + g) * 2 + i];
                // Denormal results may be flushed.
                if (std::abs(value - kept.values[i]) > tolerance * std::abs(kept.values[i]) + 0x1p-24)
                    return "value " + std::to_string(i) + place + " is " + std::to_string(value) +
                           ", expected " + std::to_string(kept.values[i]);
            }
        }
    return {};
}

// Normal numbers, small whole ones with ties and zeros, and groups with one that outweighs the others.
std::vector<float> gradients(std::size_t count, DataType type, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) {
        const unsigned kind = engine() % 8;
        value = kind < 4   ? normal(engine)
                : kind < 7 ? static_cast<float>(static_cast<int>(engine() % 5) - 2)
                           : 16 * normal(engine);
    }
    return reference::round_to(test::float_type(type), std::span<const float>(values));
}

TEST(Unbiased, KeepsWhatTheOracleKeeps) {
    Stream stream(device());
    test::property(80, [&] {
        const std::uint64_t blocks = draw(0, 3), rows = draw(1, 40), cols = draw(1, 140);
        const Shape shape = blocks ? Shape{blocks, rows, cols} : Shape{rows, cols};
        const DataType type = types[draw(0, 2)];
        UnbiasedOptions options{prunings[draw(0, 2)], draw(0, 1ull << 40), draw(0, 1ull << 33), {}};
        const std::uint64_t step = draw(0, 1) ? draw(1, 1000) : 0;
        if (step)
            options.step = upload(stream, std::vector<std::uint32_t>{static_cast<std::uint32_t>(step)}, {1});
        const std::vector<float> values =
            gradients(shape.elements(), type, static_cast<unsigned>(draw(0, 1000000)));
        const Placed g(stream, type, shape, test::draw_layout(), values);
        const Stored stored = read(stream, compress_unbiased(stream, g, options));
        RC_ASSERT(difference(values, cols, options, step, stored, type) == "");
    });
}

// The number that decides takes 2^17 of its 2^23 values on one group, in order: every step from one pair of
// entries to the next lies where the oracle has it, to 2^-20. So the chance of each entry to be kept is right
// to that, and with the value that it is kept with, the expectation is the group.
TEST(Unbiased, EveryStepLiesWhereItShould) {
    Stream stream(device());
    const Group groups[] = {{1, 2, 3, 4},
                            {1, 1, 1, 1},
                            {-1, 1, 0, 0},
                            {5, 1, -2, 1},
                            {0.1, 0.7, 0.1, 0.1},
                            {0, 0, 7, 0},
                            {0, 3, 0, -3},
                            {1, 1, 2, 4},
                            {1e-3, 1, 1e3, 1e3},
                            {1e-30, 2e-30, 1e-30, 1e-30},
                            {3e37, 4e37, 5e37, 1e37}};
    constexpr std::size_t cols = 1024, rows = 512;
    for (const UnbiasedPruning pruning : prunings)
        for (const Group& group : groups) {
            std::vector<float> values(rows * cols);
            for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(group[i % 4]);
            const Tensor g = upload(stream, values, {rows, cols});
            const UnbiasedOptions options{pruning, 7, 0, {}};
            std::size_t judged = 0;
            const Stored stored = read(stream, compress_unbiased(stream, g, options));
            EXPECT_EQ(difference(values, cols, options, 0, stored, DataType::f32, &judged), "")
                << group[0] << " " << group[1] << " " << group[2] << " " << group[3];
            EXPECT_GT(judged, rows * cols / 4 * 999 / 1000);
        }
}

// Groups whose sums round so that a step of the cumulative sums seems to be left for an entry that is zero,
// or missing: neighbours of the first case that was found, in all orders.
TEST(Unbiased, NeverKeepsAnEntryWithoutAChance) {
    Stream stream(device());
    constexpr std::size_t groups = 1 << 20;
    std::vector<float> values(4 * groups);
    std::mt19937 engine(23);
    for (std::size_t g = 0; g < groups; ++g) {
        std::array<float, 4> x{1.0f + 0x1p-23f * static_cast<float>(engine() % 4),
                               1.0f + 0x1p-23f * static_cast<float>(engine() % 4),
                               0.5f + 0x1p-24f * static_cast<float>(engine() % 8), 0.0f};
        if (g % 3 == 0) x[2] = 0.0f;
        std::shuffle(x.begin(), x.end(), engine);
        std::copy(x.begin(), x.end(), values.begin() + static_cast<std::ptrdiff_t>(4 * g));
    }
    const Tensor g = upload(stream, values, {1024, 4096});
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
        const UnbiasedOptions options{UnbiasedPruning::least_variance, seed, 0, {}};
        EXPECT_EQ(difference(values, 4096, options, 0, read(stream, compress_unbiased(stream, g, options)),
                             DataType::f32),
                  "");
    }
}

// Averages over 131072 draws against the group itself and the closed forms of the variance.
TEST(Unbiased, AveragesToTheGroupWithTheLeastVariance) {
    Stream stream(device());
    constexpr std::size_t cols = 1024, rows = 512;
    constexpr double draws = rows * cols / 4;
    for (const Group& group : {Group{1, 2, 3, 4}, Group{-0.3, 1.5, 0.2, -0.1}, Group{1, -1, 1, 1}}) {
        std::vector<float> values(rows * cols);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(group[i % 4]);
        const Tensor g = upload(stream, values, {rows, cols});
        for (const UnbiasedPruning pruning : prunings) {
            const std::vector<float> kept =
                download(stream, to_dense(stream, compress_unbiased(stream, g, {pruning, 99, 5, {}})));
            Group mean{}, square{};
            for (std::size_t i = 0; i < kept.size(); ++i) {
                mean[i % 4] += kept[i] / draws;
                square[i % 4] += std::pow(kept[i] - group[i % 4], 2) / draws;
            }
            double variance = 0;
            for (std::size_t i = 0; i < 4; ++i) {
                variance += square[i];
                EXPECT_NEAR(mean[i], group[i], 5 * std::sqrt(square[i] / draws) + 1e-6);
            }
            const double least = reference::least_variance_of(group);
            if (pruning == UnbiasedPruning::one_of_two)
                EXPECT_GT(variance, 0.98 * least);
            else
                EXPECT_NEAR(variance,
                            pruning == UnbiasedPruning::least_variance
                                ? least
                                : reference::two_draws_variance_of(group),
                            0.02 * least);
        }
    }
}

// Any bits at all: two places in order, finite groups nothing but what the group allows, others as they are.
TEST(Unbiased, AnyBitsKeepExactlyTwo) {
    Stream stream(device());
    std::mt19937 engine(31);
    constexpr std::size_t rows = 64, cols = 4096;
    for (const DataType type : types) {
        std::vector<std::uint32_t> bits(rows * cols / (type == DataType::f32 ? 1 : 2));
        for (std::uint32_t& word : bits) word = static_cast<std::uint32_t>(engine());
        const Tensor words = upload(stream, bits, {bits.size()});
        const Tensor g(words.buffer(), type, {rows, cols});
        const std::vector<float> x = download(stream, g);
        for (const UnbiasedPruning pruning : prunings) {
            const Stored stored = read(stream, compress_unbiased(stream, g, {pruning, 1, 2, {}}));
            for (std::size_t group = 0; group < rows * cols / 4; ++group) {
                const auto places = places_of(stored, group / (cols / 4), group % (cols / 4), cols / 4);
                ASSERT_LT(places[0], places[1]) << group;
                const auto first = x.begin() + static_cast<std::ptrdiff_t>(4 * group);
                if (std::all_of(first, first + 4, [](float v) { return std::isfinite(v); })) {
                    for (std::size_t i = 0; i < 2; ++i)
                        ASSERT_FALSE(std::isnan(stored.values[2 * group + i])) << group;
                    continue;
                }
                const auto rank = [&](std::size_t i) {
                    return std::isnan(first[static_cast<std::ptrdiff_t>(i)])
                               ? std::numeric_limits<float>::infinity()
                               : std::abs(first[static_cast<std::ptrdiff_t>(i)]);
                };
                ASSERT_FALSE(std::isfinite(rank(places[0])) && std::isfinite(rank(places[1]))) << group;
                for (std::size_t i = 0; i < 2; ++i)
                    ASSERT_EQ(test::first_difference({&stored.values[2 * group + i], 1},
                                                     {&*(first + static_cast<std::ptrdiff_t>(places[i])), 1}),
                              "")
                        << group;
            }
        }
    }
}

TEST(Unbiased, IsReproducibleHoweverAMatrixIsCut) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {3, 3, 3};
        caps.max_storage_range = 8192;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    const Shape shape{7, 30, 129};
    const std::vector<float> values = gradients(shape.elements(), DataType::f32, 3);
    Stream whole(device()), cut(small);
    for (const UnbiasedPruning pruning : prunings) {
        const UnbiasedOptions options{pruning, 11, 0xfffffff0, {}};
        const Stored a = read(whole, compress_unbiased(whole, upload(whole, values, shape), options));
        const Stored b = read(cut, compress_unbiased(cut, upload(cut, values, shape), options));
        EXPECT_EQ(a.metadata, b.metadata);
        EXPECT_EQ(test::first_difference(a.values, b.values), "");
        EXPECT_EQ(difference(values, 129, options, 0, a, DataType::f32), "");
    }
}

TEST(Unbiased, DrawsAnewForEverySeedOffsetAndStep) {
    Stream stream(device());
    const Shape shape{16, 256};
    const Tensor g = upload(stream, gradients(shape.elements(), DataType::f32, 5), shape);
    const Tensor step = upload(stream, std::vector<std::uint32_t>{9}, {1});
    const auto metadata = [&](std::uint64_t seed, std::uint64_t offset, const Tensor& at) {
        return read(stream, compress_unbiased(stream, g, {UnbiasedPruning::least_variance, seed, offset, at}))
            .metadata;
    };
    const auto base = metadata(1, 0, {});
    EXPECT_EQ(base, metadata(1, 0, {}));
    EXPECT_NE(base, metadata(2, 0, {}));
    EXPECT_NE(base, metadata(1, unbiased_blocks(shape, UnbiasedPruning::least_variance), {}));
    EXPECT_NE(base, metadata(1, 0, step));
    EXPECT_EQ(unbiased_blocks({3, 5, 33}, UnbiasedPruning::least_variance), 2u * 15 * 2);
    EXPECT_EQ(unbiased_blocks({5, 33}, UnbiasedPruning::two_draws), 4u * 5 * 2);
}

// dW = S·x against the product of the dense form, whole numbers bit for bit, for token-major dZ and x.
TEST(Unbiased, WeightGradientIsTheProductOfWhatWasKept) {
    Stream stream(device());
    test::property(30, [&] {
        const std::uint64_t blocks = draw(0, 2), tokens = draw(0, 70), in = draw(1, 40), out = draw(1, 40);
        const auto shaped = [&](std::uint64_t rows, std::uint64_t cols) {
            return blocks ? Shape{blocks, rows, cols} : Shape{rows, cols};
        };
        const DataType type = types[draw(0, 2)];
        const unsigned seed = static_cast<unsigned>(draw(0, 1000000));
        const std::vector<float> z = test::whole_values(shaped(tokens, out).elements(), seed, 1),
                                 x = test::whole_values(shaped(tokens, in).elements(), seed + 1, 2);
        const Placed dz(stream, type, shaped(tokens, out), test::draw_layout(), z),
            on_device(stream, type, shaped(tokens, in), test::draw_layout(), x);
        const Sparse24 s = compress_unbiased(stream, dz.tensor().transpose(), {{}, seed, 0, {}});
        const std::vector<float> dense = download(stream, to_dense(stream, s));
        const bool accumulate = draw(0, 1) != 0, widen = type == DataType::f32 || draw(0, 1) != 0;
        const std::vector<float> before(shaped(out, in).elements(), 3.0f);
        const Placed dw(stream, widen ? DataType::f32 : type, shaped(out, in), test::draw_layout(), before);
        weight_gradient_into(stream, dw, s, on_device, {.scale = 2.0f, .accumulate = accumulate});
        const auto contents = dw.read(stream);
        RC_ASSERT(contents.damage == "");
        std::vector<float> exact(before.size());
        for (std::uint64_t b = 0; b < std::max<std::uint64_t>(blocks, 1); ++b)
            for (std::uint64_t o = 0; o < out; ++o)
                for (std::uint64_t i = 0; i < in; ++i) {
                    double sum = 0;
                    for (std::uint64_t t = 0; t < tokens; ++t)
                        sum += static_cast<double>(dense[(b * out + o) * tokens + t]) *
                               x[(b * tokens + t) * in + i];
                    exact[(b * out + o) * in + i] = static_cast<float>(2 * sum + (accumulate ? 3 : 0));
                }
        // Sums of multiples of 1/2 below 2^11: exact in f32, rounded once by 16-bit results.
        const std::vector<float> rounded =
            reference::round_to(test::float_type(dw.tensor().type()), std::span<const float>(exact));
        RC_ASSERT(test::first_difference(contents.values, rounded) == "");
    });
    const Tensor g = upload(stream, gradients(64, DataType::f32, 1), {8, 8});
    const Sparse24 s = compress_unbiased(stream, g, {});
    EXPECT_EQ(weight_gradient(stream, s, g).shape(), (Shape{8, 8}));
}

TEST(Unbiased, EmptyMatricesAreNoWork) {
    Stream stream(device());
    for (const Shape& shape : {Shape{0, 8}, Shape{3, 0}, Shape{0, 3, 8}, Shape{2, 0, 0}})
        EXPECT_EQ(compress_unbiased(stream, Tensor(device(), DataType::f16, shape), {}).bytes(), 0u);
}

TEST(Unbiased, RefusesWrongArguments) {
    Stream stream(device());
    const Tensor g(device(), DataType::f32, {8, 8});
    const Sparse24 out(device(), DataType::f32, {8, 8});
    const auto fails = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const auto compress = [&](const UnbiasedOptions& options) {
        return [&, options] { compress_unbiased_into(stream, out, g, options); };
    };
    fails({"pruning: 3"}, compress({static_cast<UnbiasedPruning>(3), 0, 0, {}}));
    fails({"options.step", "u32"}, compress({{}, 0, 0, g}));
    fails({"options.step", "(2)", "(1)"}, compress({{}, 0, 0, Tensor(device(), DataType::u32, {2})}));
    fails({"out: shape (8, 8)", "(8, 4)"},
          [&] { compress_unbiased_into(stream, out, g.slice(1, 0, 4), {}); });
    fails({"out", "f32", "f16"}, [&] {
        compress_unbiased_into(stream, out, Tensor(device(), DataType::f16, {8, 8}), {});
    });
    fails({"g", "rank 2 or 3"}, [&] { static_cast<void>(compress_unbiased(stream, g.reshape({64}), {})); });
    fails({"x: shape (4, 8)", "8 tokens"},
          [&] { static_cast<void>(weight_gradient(stream, out, g.slice(0, 0, 4))); });
    fails({"x", "f16"}, [&] {
        static_cast<void>(weight_gradient(stream, out, Tensor(device(), DataType::f16, {8, 8})));
    });
    fails({"out: shape (8, 4)"}, [&] { weight_gradient_into(stream, g.slice(1, 0, 4), out, g); });
    fails({"accumulate"},
          [&] { static_cast<void>(weight_gradient(stream, out, g, GradientOptions{.accumulate = true})); });
}

}  // namespace
}  // namespace danaus
