// Lion, and AdamW with its second moment frozen.
#include "api/optimizer_trial.hpp"
#include "support/bits.hpp"

#include <cmath>
#include <limits>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::Trial;

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(Lion, FollowsTheOracleForManySteps) {
    Stream stream(device());
    unsigned seed = 0;
    for (const LionOptions& options : {LionOptions{}, LionOptions{0.01f, 0.8, 0.95, 0.1f}})
        for (const DataType type : test::float_types)
            for (const std::uint64_t count : {1u, 2u, 7u, 1001u}) {
                Trial trial(stream, count, type, type, ++seed, count % 3);
                const Optimizer optimizer(stream, {trial.parameter()}, options);
                reference::Lion oracle({static_cast<double>(options.learning_rate), options.beta1,
                                        options.beta2, static_cast<double>(options.weight_decay)});
                for (unsigned i = 0; i < 60; ++i) {
                    const auto g = trial.set_gradient(stream, 1000 + i);
                    optimizer.step(stream);
                    oracle.step(trial.exact, g);
                }
                EXPECT_EQ(trial.compare(stream, 2e-5), "") << to_string(type) << " " << count;
                ASSERT_EQ(optimizer.moments()[0].size(), 1u);
                EXPECT_EQ(reference::first_mismatch(download(stream, optimizer.moments()[0][0]),
                                                    oracle.moment(), 1e-5, 1e-6),
                          "");
                EXPECT_EQ(optimizer.status(stream).steps, 60u);
            }
}

TEST(Lion, Signs) {
    Stream stream(device());
    const std::vector<float> first{0.0f, -0.0f, 1.0f, -1.0f, 0x1p-100f, -0x1p-100f, 1e30f, -infinity, 2.0f},
        second{0.0f, 0.0f, -0.5f, 0.5f, 0.0f, -0.0f, -0x1p-60f, 1.0f, -1.0f};
    const Trial trial(stream, first.size(), DataType::f32, DataType::f32, 1);
    // Powers of two: every product is exact, and a sum of zero is zero.
    const Optimizer optimizer(stream, {trial.parameter()}, LionOptions{0.5f, 0.5, 0.5, 0.0f});
    fill_into(stream, trial.master.tensor(), 1.0);
    upload_into(stream, trial.gradient.tensor(), first);
    optimizer.step(stream);
    EXPECT_EQ(download(stream, trial.master.tensor()),
              (std::vector<float>{1.0f, 1.0f, 0.5f, 1.5f, 0.5f, 1.5f, 0.5f, 1.5f, 0.5f}));
    EXPECT_EQ(download(stream, optimizer.moments()[0][0]),
              (std::vector<float>{0.0f, 0.0f, 0.5f, -0.5f, 0x1p-101f, -0x1p-101f, 5e29f, -infinity, 1.0f}));
    upload_into(stream, trial.gradient.tensor(), second);
    optimizer.step(stream);
    EXPECT_EQ(download(stream, trial.master.tensor()),
              (std::vector<float>{1.0f, 1.0f, 0.5f, 1.5f, 0.0f, 2.0f, 0.0f, 2.0f, 0.5f}));
    trial.master.check(stream);
    trial.copy.check(stream);
}

TEST(Lion, BetasOfZeroAndOne) {
    Stream stream(device());
    const Trial trial(stream, 2, DataType::f32, DataType::f32, 1);
    const Optimizer optimizer(stream, {trial.parameter()}, LionOptions{0.5f, 0.0, 1.0, 0.0f});
    fill_into(stream, trial.master.tensor(), 0.0);
    upload_into(stream, trial.gradient.tensor(), std::vector<float>{3.0f, -3.0f});
    optimizer.step(stream);
    EXPECT_EQ(download(stream, trial.master.tensor()), (std::vector<float>{-0.5f, 0.5f}));
    EXPECT_EQ(download(stream, optimizer.moments()[0][0]), (std::vector<float>{0.0f, 0.0f}));
}

RC_GTEST_PROP(Lion, OneStepOfAnySize, ()) {
    Stream stream(device());
    const auto type = [] {
        return *rc::gen::elementOf(std::vector(test::float_types.begin(), test::float_types.end()));
    };
    Trial trial(stream, *rc::gen::inRange<std::uint64_t>(1, 5000), type(), type(),
                *rc::gen::arbitrary<unsigned>(), *rc::gen::inRange<std::uint64_t>(0, 4));
    const LionOptions options{0.125f, 0.9, 0.99, 0.25f};
    const Optimizer optimizer(stream, {trial.parameter()}, options, {2.0f, {true, 8.0f}});
    std::vector<std::vector<double>> g{trial.set_gradient(stream, *rc::gen::arbitrary<unsigned>(), 8.0f)};
    optimizer.step(stream);
    (void)reference::clip_global_norm(g, 2.0);
    reference::Lion oracle({0.125, 0.9, 0.99, 0.25});
    oracle.step(trial.exact, g[0]);
    RC_ASSERT(trial.compare(stream, 2e-6) == "");
}

TEST(Lion, WrongInput) {
    Stream stream(device());
    constexpr auto invalid = ErrorKind::invalid_argument;
    const Parameter good = new_parameter(device(), {4, 3});
    const auto options = [&](const LionOptions& lion) {
        return [&stream, &good, lion] { (void)Optimizer(stream, {good}, lion); };
    };
    expect_error(invalid, {"learning_rate", "-1"}, options({-1.0f}));
    expect_error(invalid, {"beta1", "1.5"}, options({1e-4f, 1.5}));
    expect_error(invalid, {"beta2", "-0.5"}, options({1e-4f, 0.9, -0.5}));
    expect_error(invalid, {"weight_decay", "inf"}, options({1e-4f, 0.9, 0.99, infinity}));
    expect_error(invalid, {"freeze_second_moment", "true", "AdamW"},
                 [&] { Optimizer(stream, {good}, LionOptions{}).freeze_second_moment(stream, true); });
    expect_error(invalid, {"freeze_second_moment", "false", "AdamW"},
                 [&] { Optimizer(stream, {good}, SgdOptions{}).freeze_second_moment(stream, false); });
    expect_error(invalid, {"optimizer"}, [] {
        Stream other(device());
        Optimizer().freeze_second_moment(other, true);
    });
}

// AdamW whose v is held from one step on and let go again, against the oracle; a bad gradient in between.
TEST(FrozenSecondMoment, FollowsTheOracle) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const std::uint64_t count : {1u, 6u, 1001u}) {
            Trial trial(stream, count, type, DataType::f32, 3, count % 2);
            const Optimizer optimizer(stream, {trial.parameter()},
                                      AdamWOptions{0.01f, 0.75, 0.875, 1e-6f, 0.1f},
                                      {0.0f, {true, 1.0f, 2.0f, 0.5f, 0}});
            reference::AdamW oracle({static_cast<double>(0.01f), 0.75, 0.875, static_cast<double>(1e-6f),
                                     static_cast<double>(0.1f)});
            ProgramRecorder recorder(device());
            optimizer.step(recorder);
            const Program program(std::move(recorder));
            std::vector<float> held;
            for (unsigned i = 0; i < 30; ++i) {
                if (i == 10 || i == 20) {
                    optimizer.freeze_second_moment(stream, i == 10);
                    oracle.freeze_second_moment(i == 10);
                    held = download(stream, optimizer.moments()[0][1]);
                    EXPECT_EQ(optimizer.status(stream).second_moment_frozen, i == 10);
                }
                const auto g = trial.set_gradient(stream, 50 + i);
                if (i == 15) {
                    fill_into(stream, trial.gradient.tensor(), static_cast<double>(infinity));
                    program.emit(stream);
                    upload_into(stream, trial.gradient.tensor(), reference::to_float(g));
                }
                program.emit(stream);
                oracle.step(trial.exact, g);
                if (i >= 10 && i < 20) {
                    EXPECT_EQ(test::first_difference(download(stream, optimizer.moments()[0][1]), held), "")
                        << i;
                }
            }
            EXPECT_EQ(trial.compare(stream, 2e-5), "") << to_string(type) << " " << count;
            EXPECT_NE(download(stream, optimizer.moments()[0][1]), held);
            EXPECT_EQ(reference::first_mismatch(download(stream, optimizer.moments()[0][1]),
                                                oracle.second_moment(), 1e-5, 1e-6),
                      "");
            EXPECT_EQ(optimizer.status(stream).skipped, 1u);
        }
}

TEST(FrozenSecondMoment, FirstUpdateFillsItInAnyCase) {
    Stream stream(device());
    Trial trial(stream, 100, DataType::f32, DataType::f32, 3);
    const Optimizer optimizer(stream, {trial.parameter()}, AdamWOptions{0.01f, 0.75, 0.875, 1e-6f, 0.0f},
                              {0.0f, {true, 1.0f, 2.0f, 0.5f, 0}});
    reference::AdamW oracle({static_cast<double>(0.01f), 0.75, 0.875, static_cast<double>(1e-6f), 0.0});
    optimizer.freeze_second_moment(stream, true);
    oracle.freeze_second_moment(true);
    fill_into(stream, trial.gradient.tensor(), static_cast<double>(infinity));
    optimizer.step(stream);
    for (unsigned i = 0; i < 5; ++i) {
        const auto g = trial.set_gradient(stream, i);
        optimizer.step(stream);
        oracle.step(trial.exact, g);
    }
    EXPECT_EQ(trial.compare(stream, 1e-5), "");
}

TEST(FrozenSecondMoment, NotFrozenIsAsItWas) {
    Stream stream(device());
    Trial a(stream, 77, DataType::f16, DataType::f32, 3), b(stream, 77, DataType::f16, DataType::f32, 3);
    const Optimizer plain(stream, {a.parameter()}, AdamWOptions{}),
        thawed(stream, {b.parameter()}, AdamWOptions{});
    thawed.freeze_second_moment(stream, true);
    thawed.freeze_second_moment(stream, false);
    for (unsigned i = 0; i < 5; ++i) {
        (void)a.set_gradient(stream, i), (void)b.set_gradient(stream, i);
        plain.step(stream), thawed.step(stream);
    }
    EXPECT_EQ(
        test::first_difference(download(stream, a.master.tensor()), download(stream, b.master.tensor())), "");
}

}  // namespace
}  // namespace danaus
