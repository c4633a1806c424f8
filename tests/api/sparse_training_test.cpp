// 2:4 training over the steps of a run: schedules, decay factors, and what layers make of both.
#include "linear_oracle.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <cmath>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::first_difference;

TEST(SparseSchedule, SaysWhenMasksChangeAndWhenTheyEnd) {
    const SparseSchedule schedule{.steps = 600};
    EXPECT_EQ(schedule.dense_from(), 500u);
    EXPECT_FALSE(schedule.refreshes_after(0));
    EXPECT_TRUE(schedule.refreshes_after(39));
    EXPECT_TRUE(schedule.refreshes_after(79));
    EXPECT_FALSE((SparseSchedule{.steps = 100, .refresh_every = 0}).refreshes_after(39));
    EXPECT_EQ((SparseSchedule{.steps = 100, .dense_fraction = 0.0}).dense_from(), 100u);
    EXPECT_EQ((SparseSchedule{.steps = 5}).dense_from(), 5u);
    for (const double fraction : {0.0, 0.5, 1.0})
        EXPECT_EQ((SparseSchedule{.dense_fraction = fraction}).dense_from(), UINT64_MAX) << "without end";
    EXPECT_EQ((SparseSchedule{.steps = 100, .dense_fraction = 1.0}).dense_from(), 0u);
    for (const double fraction : {-0.1, 1.5, std::nan("")})
        expect_error(ErrorKind::invalid_argument, {"dense_fraction"}, [&] {
            static_cast<void>(SparseSchedule{.steps = 100, .dense_fraction = fraction}.dense_from());
        });
}

TEST(ChooseDecay, TakesTheRatioNearestToTheMiddle) {
    const std::vector<DecayTrial> trials{{1e-6f, 0.0020}, {6e-6f, 0.0016}, {6e-5f, 0.0013}, {2e-4f, 0.0004}};
    EXPECT_EQ(choose_decay(trials, 0.0020), std::optional(6e-6f));  // 0.8 of 1, 0.8, 0.65, 0.2
    EXPECT_EQ(choose_decay(trials, 0.0018), std::optional(6e-5f));  // 0.72 is nearer to 0.775 than 0.89
    EXPECT_EQ(choose_decay(trials, 0.1), std::nullopt);
    EXPECT_EQ(choose_decay(std::vector<DecayTrial>{{2.0f, 0.75}, {1.0f, 0.75}}, 1.0), std::optional(1.0f));
    EXPECT_EQ(choose_decay({}, 1.0), std::nullopt);
    const auto fails = [](const std::vector<std::string>& parts, const std::vector<DecayTrial>& with,
                          double dense, double least, double most) {
        expect_error(ErrorKind::invalid_argument, parts,
                     [&] { static_cast<void>(choose_decay(with, dense, least, most)); });
    };
    fails({"dense_flip_rate: 0"}, trials, 0.0, 0.6, 0.95);
    fails({"least, most"}, trials, 1.0, 0.9, 0.5);
    fails({"trials[1].decay: -1"}, {{0.0f, 0.1}, {-1.0f, 0.1}}, 1.0, 0.6, 0.95);
    fails({"trials[0].flip_rate: nan"}, {{1.0f, std::nan("")}}, 1.0, 0.6, 0.95);
}

TEST(SparseLinear24, FollowsItsSchedule) {
    Stream stream(device());
    const SparseSchedule schedule{.steps = 12, .refresh_every = 3, .dense_fraction = 0.5};
    SparseLinear24 layer(stream, 16, 16, {.schedule = schedule}, {.seed = 1});
    const Tensor& master = layer.parameters()[0].master;
    const auto mask = [&] { return download_u32(stream, layer.weight().mask()); };
    for (std::uint64_t step = 0; step < 12; ++step) {
        EXPECT_EQ(layer.weight().sparse(), step < 6) << step;
        const auto before = mask();
        test::set_parameter(stream, layer, 0, test::random_values(256, 20 + static_cast<unsigned>(step)));
        layer.after_step(stream, step);
        EXPECT_EQ(mask() == before, (step + 1) % 3 != 0) << step;
        if (step + 1 >= 6) continue;
        EXPECT_EQ(first_difference(download(stream, to_dense(stream, layer.weight().compressed())),
                                   download(stream, apply_mask(stream, master, layer.weight().mask()))),
                  "");
    }
    const Tensor x = upload(stream, test::random_values(64, 1), {4, 16});
    EXPECT_EQ(
        first_difference(download(stream, layer.forward(stream, x)),
                         download(stream, matmul(stream, x, master, {.bias = layer.parameters()[1].master}))),
        "");
    const SparseLinear24 dense(stream, 8, 8, {.schedule = {.steps = 5, .dense_fraction = 1.0}});
    EXPECT_FALSE(dense.weight().sparse());
    // No dense steps: it is sparse to the end, and behind it.
    for (const SparseSchedule& none :
         {SparseSchedule{.steps = 9, .dense_fraction = 0.0}, SparseSchedule{.steps = 5}}) {
        SparseLinear24 sparse(stream, 8, 8, {.schedule = none});
        for (std::uint64_t step = 0; step < none.steps; ++step) {
            sparse.after_step(stream, step);
            EXPECT_TRUE(sparse.weight().sparse()) << step;
        }
    }
    SparseLinear24 endless(stream, 8, 8);
    endless.after_step(stream, 1000000);
    EXPECT_TRUE(endless.weight().sparse());
}

TEST(SparseLinear24, PrunesGradientsByNumbersOfItsOwn) {
    Stream stream(device());
    SparseLinear24 layer(stream, 12, 8, {.weight = {.gradient = {.seed = 5}}, .masked_decay = 1e-3f},
                         {.seed = 6});
    EXPECT_EQ(layer.weight().options().gradient.seed, 5 ^ ~std::uint64_t{6});
    EXPECT_EQ(layer.parameters()[0].masked_decay.factor, 1e-3f);
    EXPECT_TRUE(layer.parameters()[0].masked_decay.mask.buffer() == layer.weight().mask().buffer());
    const Tensor x = upload(stream, test::random_values(40 * 12, 1), {40, 12}),
                 dy = upload(stream, test::random_values(40 * 8, 2), {40, 8});
    Linear::Saved saved;
    static_cast<void>(layer.forward(stream, x, {}, &saved));
    const auto gradient = [&](std::uint64_t draw) {
        layer.backward_into(stream, {}, dy, saved, {.draw = draw});
        return download(stream, layer.parameters()[0].gradient);
    };
    const auto by_hand = [&](const UnbiasedOptions& options) {
        return download(stream,
                        weight_gradient(stream, compress_unbiased(stream, dy.transpose(), options), x));
    };
    UnbiasedOptions numbers = layer.weight().options().gradient;
    const auto first = gradient(0);
    EXPECT_EQ(first_difference(first, by_hand(numbers)), "");
    numbers.offset = std::uint64_t{3} << 40;
    EXPECT_EQ(first_difference(gradient(3), by_hand(numbers)), "");
    EXPECT_NE(first_difference(gradient(3), first), "");
    // And they change with an optimizer's steps, while the layer's own offset stays.
    const Optimizer optimizer(stream, layer.parameters(), AdamWOptions{});
    layer.follow(optimizer);
    EXPECT_EQ(first_difference(gradient(0), first), "");
    optimizer.step(stream);
    EXPECT_NE(first_difference(gradient(0), first), "");
}

// Micro-batches of one step need not be of one size.
TEST(SparseLinear24, DrawsOfDifferentSizesShareNoNumbers) {
    Stream stream(device());
    const SparseLinear24 layer(stream, 8, 4, {}, {.seed = 6});
    // Whole numbers, so that sums are exact in any order, and nothing behind the first 32 tokens.
    std::vector<float> dy = test::whole_values(64 * 4, 2, 3);
    std::fill(dy.begin() + 32 * 4, dy.end(), 0.0f);
    const Tensor x = upload(stream, test::whole_values(64 * 8, 1, 3), {64, 8}),
                 tdy = upload(stream, dy, {64, 4});
    const auto gradient = [&](std::uint64_t tokens, std::uint64_t draw) {
        layer.backward_into(stream, {}, tdy.slice(0, 0, tokens), {.x = x.slice(0, 0, tokens)},
                            {.draw = draw});
        std::vector<float> first = download(stream, layer.parameters()[0].gradient);
        first.resize(8);
        return first;
    };
    // The first row of dWs; the first draw of either size has the same numbers there.
    EXPECT_EQ(first_difference(gradient(64, 0), gradient(32, 0)), "");
    for (std::uint64_t draw = 1; draw < 5; ++draw)
        for (std::uint64_t other = 1; other < 9; ++other) {
            if (draw == other) continue;
            EXPECT_NE(first_difference(gradient(64, draw), gradient(32, other)), "") << draw << other;
        }
}

}  // namespace
}  // namespace danaus
