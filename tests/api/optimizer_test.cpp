#include "api/optimizer_trial.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::drawn;
using test::expect_error;
using test::Trial;

constexpr float infinity = std::numeric_limits<float>::infinity();

TEST(Sgd, FollowsTheOracleForManySteps) {
    Stream stream(device());
    unsigned seed = 0;
    for (const SgdOptions& options :
         {SgdOptions{0.1f, 0.0f, 0.0f, 0.0f, false}, SgdOptions{0.05f, 0.9f, 0.0f, 0.0f, false},
          SgdOptions{0.05f, 0.9f, 0.3f, 0.01f, false}, SgdOptions{0.02f, 0.9f, 0.0f, 0.01f, true}})
        for (const DataType type : test::float_types)
            for (const std::uint64_t count : {1u, 2u, 7u, 1001u}) {
                Trial trial(stream, count, type, type, ++seed, count % 3);
                const Optimizer optimizer(stream, {trial.parameter()}, options);
                reference::Sgd oracle({static_cast<double>(options.learning_rate),
                                       static_cast<double>(options.momentum),
                                       static_cast<double>(options.dampening),
                                       static_cast<double>(options.weight_decay), options.nesterov});
                for (unsigned i = 0; i < 40; ++i) {
                    const auto g = trial.set_gradient(stream, 1000 + i);
                    optimizer.step(stream);
                    oracle.step(trial.exact, g);
                }
                EXPECT_EQ(trial.compare(stream, 2e-5), "") << to_string(type) << " " << count;
                EXPECT_EQ(optimizer.moments()[0].size(), options.momentum > 0.0f ? 1u : 0u);
                if (options.momentum > 0.0f) {
                    EXPECT_EQ(reference::first_mismatch(download(stream, optimizer.moments()[0][0]),
                                                        oracle.velocity(), 1e-5, 1e-5),
                              "");
                }
            }
}

TEST(AdamW, FollowsTheOracleForManySteps) {
    Stream stream(device());
    unsigned seed = 100;
    for (const AdamWOptions& options : {AdamWOptions{}, AdamWOptions{0.01f, 0.8, 0.99, 1e-6f, 0.1f}})
        for (const DataType type : test::float_types)
            for (const std::uint64_t count : {1u, 3u, 8u, 1001u}) {
                Trial trial(stream, count, type, type, ++seed, count % 2);
                const Optimizer optimizer(stream, {trial.parameter()}, options);
                reference::AdamW oracle({static_cast<double>(options.learning_rate), options.beta1,
                                         options.beta2, static_cast<double>(options.epsilon),
                                         static_cast<double>(options.weight_decay)});
                for (unsigned i = 0; i < 200; ++i) {
                    const auto g = trial.set_gradient(stream, 2000 + i);
                    optimizer.step(stream);
                    oracle.step(trial.exact, g);
                    if (i == 0 || i == 199) {
                        EXPECT_EQ(trial.compare(stream, i == 0 ? 1e-6 : 3e-5), "")
                            << to_string(type) << " " << count;
                    }
                }
                EXPECT_EQ(reference::first_mismatch(download(stream, optimizer.moments()[0][0]),
                                                    oracle.first_moment(), 1e-5, 1e-6),
                          "");
                EXPECT_EQ(reference::first_mismatch(download(stream, optimizer.moments()[0][1]),
                                                    oracle.second_moment(), 1e-5, 1e-6),
                          "");
                EXPECT_EQ(optimizer.status(stream).steps, 200u);
            }
}

TEST(Optimizer, ClipsByTheGlobalNormOfAllParameters) {
    Stream stream(device());
    for (const float max_norm : {0.5f, 1e6f}) {
        Trial a(stream, 5000, DataType::f16, DataType::f32, 1),
            b(stream, 33, DataType::f32, DataType::bf16, 2);
        const Tensor wide = empty(stream, DataType::f32, {9, 8});
        Trial c(stream, 72, DataType::f32, DataType::f32, 3);  // its gradient lies transposed
        Parameter pc{c.master.tensor().reshape({8, 9}), c.master.tensor().reshape({8, 9}), wide.transpose()};
        const Optimizer optimizer(stream, {a.parameter(), b.parameter(), pc},
                                  SgdOptions{0.1f, 0.9f, 0, 0, false}, {max_norm, {}});
        reference::Sgd oracles[3] = {reference::Sgd({0.1f, 0.9f, 0, 0, false}),
                                     reference::Sgd({0.1f, 0.9f, 0, 0, false}),
                                     reference::Sgd({0.1f, 0.9f, 0, 0, false})};
        for (unsigned i = 0; i < 10; ++i) {
            std::vector<std::vector<double>> g{a.set_gradient(stream, i), b.set_gradient(stream, 50 + i),
                                               c.set_gradient(stream, 90 + i)};
            convert_into(stream, wide.transpose(), c.gradient.tensor().reshape({8, 9}));
            optimizer.step(stream);
            const double norm = reference::clip_global_norm(g, static_cast<double>(max_norm));
            oracles[0].step(a.exact, g[0]);
            oracles[1].step(b.exact, g[1]);
            oracles[2].step(c.exact, g[2]);
            EXPECT_NEAR(static_cast<double>(optimizer.status(stream).norm), norm, 1e-5 * norm);
        }
        EXPECT_EQ(a.compare(stream, 1e-5), "");
        EXPECT_EQ(b.compare(stream, 1e-5), "");
        EXPECT_EQ(reference::first_mismatch(download(stream, c.master.tensor()), c.exact, 1e-5, 1e-5), "");
    }
}

TEST(Optimizer, NonFiniteGradientsChangeNothing) {
    Stream stream(device());
    const StepOptions scaling{0.0f, {true, 1024.0f, 2.0f, 0.5f, 3}};
    for (const bool adam : {false, true})
        for (const DataType type : test::float_types)
            for (const float bad : {infinity, -infinity, std::nanf("")}) {
                Trial a(stream, 4099, type, type, 5, 1), b(stream, 3, type, type, 6);
                const std::vector parameters{a.parameter(), b.parameter()};
                const Optimizer optimizer =
                    adam ? Optimizer(stream, parameters, AdamWOptions{}, scaling)
                         : Optimizer(stream, parameters, SgdOptions{0.1f, 0.9f, 0, 0.1f, false}, scaling);
                (void)a.set_gradient(stream, 1), (void)b.set_gradient(stream, 2);
                optimizer.step(stream);
                const auto everything = [&] {
                    std::vector<std::vector<float>> all;
                    for (const Parameter& p : parameters)
                        for (const Tensor& t : {p.master, p.working}) all.push_back(download(stream, t));
                    for (const auto& moments : optimizer.moments())
                        for (const Tensor& t : moments) all.push_back(download(stream, t));
                    return all;
                };
                const auto before = everything();
                const auto step = optimizer.status(stream);
                EXPECT_EQ(step.steps, 1u);
                std::vector<float> gradient(4099, 1.0f);
                gradient[adam ? 4098 : 0] = bad;
                upload_into(stream, a.gradient.tensor(), gradient);
                optimizer.step(stream);
                EXPECT_EQ(everything(), before);
                const auto status = optimizer.status(stream);
                EXPECT_TRUE(status.found_inf);
                EXPECT_EQ(status.steps, 1u);
                EXPECT_EQ(status.skipped, 1u);
                EXPECT_EQ(status.loss_scale, 512.0f);
                EXPECT_EQ(status.good_steps, 0u);
                EXPECT_TRUE(std::isnan(status.norm));
                (void)a.set_gradient(stream, 3);
                optimizer.step(stream);
                EXPECT_NE(everything(), before);
                EXPECT_FALSE(optimizer.status(stream).found_inf);
            }
}

TEST(Optimizer, ClippingAloneSkipsNonFiniteGradientsToo) {
    Stream stream(device());
    Trial trial(stream, 10, DataType::f32, DataType::f32, 5);
    const Optimizer optimizer(stream, {trial.parameter()}, SgdOptions{}, {1.0f, {}});
    for (const float bad : {infinity, 1e30f}) {  // squares of the second leave f32
        fill_into(stream, trial.gradient.tensor(), bad);
        optimizer.step(stream);
        EXPECT_EQ(trial.compare(stream, 0.0), "");
        EXPECT_TRUE(optimizer.status(stream).found_inf);
    }
    EXPECT_EQ(optimizer.status(stream).loss_scale, 1.0f);
    EXPECT_EQ(optimizer.status(stream).skipped, 2u);
}

TEST(Optimizer, LossScaleFollowsTheOracle) {
    Stream stream(device());
    Trial trial(stream, 100, DataType::f16, DataType::f32, 7);
    const StepOptions options{0.5f, {true, 0x1p125f, 2.0f, 0.25f, 4}};
    const Optimizer optimizer(stream, {trial.parameter()}, AdamWOptions{}, options);
    reference::DynamicLossScale scale{0x1p125, 2.0, 0.25, 4, 0};
    reference::AdamW oracle(
        {static_cast<double>(1e-3f), 0.9, 0.999, static_cast<double>(1e-8f), static_cast<double>(1e-2f)});
    for (unsigned i = 0; i < 60; ++i) {
        const bool bad = i == 13 || i == 14 || i == 40;
        const float now = download(stream, optimizer.loss_scale())[0];
        EXPECT_EQ(static_cast<double>(now), scale.scale) << i;
        const auto draw = drawn(DataType::f32, 100, i, 0.1f);
        auto scaled = draw;
        for (float& g : scaled) g *= now;
        for (const float g : scaled) ASSERT_TRUE(std::isfinite(g));
        if (bad) scaled[i] = std::nanf("");
        upload_into(stream, trial.gradient.tensor(), scaled);
        optimizer.step(stream);
        if (scale.update(bad)) {
            std::vector<std::vector<double>> g{reference::to_double(draw)};
            (void)reference::clip_global_norm(g, 0.5);
            oracle.step(trial.exact, g[0]);
        }
        scale.scale = std::min(scale.scale, 0x1p126);  // the device's own limit
        EXPECT_EQ(optimizer.status(stream).good_steps, scale.good_steps) << i;
    }
    EXPECT_EQ(trial.compare(stream, 1e-5), "");
    EXPECT_EQ(optimizer.status(stream).skipped, 3u);
    EXPECT_EQ(optimizer.status(stream).steps, 57u);
}

TEST(Optimizer, FirstGoodStepAfterASkippedOneStartsTheVelocity) {
    Stream stream(device());
    Trial trial(stream, 5, DataType::f32, DataType::f32, 7);
    const Optimizer optimizer(stream, {trial.parameter()}, SgdOptions{0.1f, 0.9f, 0.5f, 0, false},
                              {0.0f, {true, 1.0f, 2.0f, 0.5f, 0}});
    fill_into(stream, trial.gradient.tensor(), static_cast<double>(infinity));
    optimizer.step(stream);
    EXPECT_EQ(optimizer.status(stream).loss_scale, 1.0f);  // growth_interval 0: a fixed scale
    const auto g = trial.set_gradient(stream, 3);
    optimizer.step(stream);
    reference::Sgd oracle({0.1f, 0.9f, 0.5f, 0, false});
    oracle.step(trial.exact, g);
    EXPECT_EQ(trial.compare(stream, 1e-6), "");
}

TEST(Optimizer, LearningRateChangesBesideAProgram) {
    Stream stream(device());
    Trial trial(stream, 301, DataType::bf16, DataType::f32, 8);
    const Optimizer optimizer(stream, {trial.parameter()}, SgdOptions{0.1f, 0.9f, 0, 0, false});
    ProgramRecorder recorder(device());
    optimizer.step(recorder);
    const Program program(std::move(recorder));
    double velocity_rate = 0.1;
    std::vector<double> velocity(301);
    for (unsigned i = 0; i < 12; ++i) {
        const auto g = trial.set_gradient(stream, i);
        velocity_rate = 0.1 / (1.0 + i);
        if (i % 2 == 0) {
            optimizer.set_learning_rate(stream, static_cast<float>(velocity_rate));
            program.emit(stream);
        } else {
            optimizer.step(stream, static_cast<float>(velocity_rate));
        }
        for (std::size_t j = 0; j < g.size(); ++j) {
            velocity[j] = 0.9 * velocity[j] + g[j];
            trial.exact[j] -= velocity_rate * velocity[j];
        }
    }
    EXPECT_EQ(trial.compare(stream, 1e-5), "");
    EXPECT_EQ(optimizer.status(stream).learning_rate, static_cast<float>(velocity_rate));
}

TEST(Optimizer, NewParametersAndEmptyOnes) {
    Stream stream(device());
    const Parameter f32 = new_parameter(device(), {3, 4});
    EXPECT_EQ(f32.master.buffer(), f32.working.buffer());
    const Parameter none = new_parameter(device(), {0, 4}, DataType::f16);
    const Optimizer optimizer(stream, {none, f32}, AdamWOptions{}, {1.0f, {true}});
    fill_into(stream, f32.master, 1.0);
    fill_into(stream, f32.gradient, 3.0);
    optimizer.zero_gradients(stream);
    EXPECT_EQ(download(stream, f32.gradient), std::vector<float>(12, 0.0f));
    optimizer.step(stream);
    EXPECT_EQ(download(stream, f32.master), std::vector<float>(12, 1.0f - 1e-5f));
    const Optimizer nothing(stream, {}, SgdOptions{});
    nothing.step(stream);
    EXPECT_EQ(nothing.status(stream).steps, 1u);
}

RC_GTEST_PROP(Optimizer, OneStepOfAnySize, ()) {
    Stream stream(device());
    const auto type = [] {
        return *rc::gen::elementOf(std::vector(test::float_types.begin(), test::float_types.end()));
    };
    Trial trial(stream, *rc::gen::inRange<std::uint64_t>(1, 5000), type(), type(),
                *rc::gen::arbitrary<unsigned>(), *rc::gen::inRange<std::uint64_t>(0, 4));
    const Optimizer optimizer(stream, {trial.parameter()}, AdamWOptions{}, {2.0f, {true, 8.0f}});
    std::vector<std::vector<double>> g{trial.set_gradient(stream, *rc::gen::arbitrary<unsigned>(), 8.0f)};
    optimizer.step(stream);
    (void)reference::clip_global_norm(g, 2.0);
    reference::AdamW oracle(
        {static_cast<double>(1e-3f), 0.9, 0.999, static_cast<double>(1e-8f), static_cast<double>(1e-2f)});
    oracle.step(trial.exact, g[0]);
    RC_ASSERT(trial.compare(stream, 2e-6) == "");
}

TEST(Optimizer, LargeParametersAreSplit) {
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 1 << 14; });
    Stream stream(small);
    const Parameter parameter = new_parameter(small, {20'001});
    const auto values = drawn(DataType::f32, 20'001, 1), g = drawn(DataType::f32, 20'001, 2);
    upload_into(stream, parameter.master, values);
    upload_into(stream, parameter.gradient, g);
    const Optimizer optimizer(stream, {parameter}, AdamWOptions{}, {1.0f, {}});
    optimizer.step(stream);
    std::vector<double> exact = reference::to_double(values);
    std::vector<std::vector<double>> clipped{reference::to_double(g)};
    (void)reference::clip_global_norm(clipped, 1.0);
    reference::AdamW oracle(
        {static_cast<double>(1e-3f), 0.9, 0.999, static_cast<double>(1e-8f), static_cast<double>(1e-2f)});
    oracle.step(exact, clipped[0]);
    EXPECT_EQ(reference::first_mismatch(download(stream, parameter.master), exact, 2e-6, 2e-6), "");
}

TEST(Optimizer, WrongInput) {
    Stream stream(device());
    const auto invalid = ErrorKind::invalid_argument;
    const Parameter good = new_parameter(device(), {4, 3}, DataType::f16);
    const auto with = [&](const auto& change) {
        Parameter parameter = good;
        change(parameter);
        return [&stream, parameter] { (void)Optimizer(stream, {parameter}, SgdOptions{}); };
    };
    const auto options = [&](const auto& chosen, const StepOptions& step = {}) {
        return [&stream, &good, chosen, step] { (void)Optimizer(stream, {good}, chosen, step); };
    };
    const auto tensor = [&](DataType type, const Shape& shape) { return Tensor(device(), type, shape); };
    expect_error(invalid, {"parameters[0].master", "f16", "f32"}, with([&](Parameter& p) {
                     p.master = tensor(DataType::f16, {4, 3});
                 }));
    expect_error(invalid, {"parameters[0].master", "contiguous"}, with([&](Parameter& p) {
                     p.master = tensor(DataType::f32, {3, 4}).transpose();
                 }));
    expect_error(invalid, {"parameters[0].master", "null"}, with([](Parameter& p) { p.master = {}; }));
    expect_error(invalid, {"parameters[0].gradient", "(3, 4)", "(4, 3)"}, with([&](Parameter& p) {
                     p.gradient = tensor(DataType::f32, {3, 4});
                 }));
    expect_error(invalid, {"parameters[0].gradient", "u32"}, with([&](Parameter& p) {
                     p.gradient = tensor(DataType::u32, {4, 3});
                 }));
    expect_error(invalid, {"parameters[0].master", "overlaps"},
                 with([](Parameter& p) { p.gradient = p.master; }));
    expect_error(invalid, {"parameters[0].working", "(2)"},
                 with([&](Parameter& p) { p.working = tensor(DataType::f16, {2}); }));
    expect_error(invalid, {"parameters[0].master", "parameters[1]"}, [&] {
        (void)Optimizer(stream, {good, good}, SgdOptions{});
    });
    expect_error(invalid, {"learning_rate", "-1"}, options(SgdOptions{-1.0f}));
    expect_error(invalid, {"nesterov", "momentum 0"}, options(SgdOptions{0.1f, 0, 0, 0, true}));
    expect_error(invalid, {"weight_decay", "inf"}, options(SgdOptions{0.1f, 0, 0, infinity, false}));
    expect_error(invalid, {"beta1", "1"}, options(AdamWOptions{1e-3f, 1.0}));
    expect_error(invalid, {"beta2", "-0.5"}, options(AdamWOptions{1e-3f, 0.9, -0.5}));
    expect_error(invalid, {"epsilon"}, options(AdamWOptions{1e-3f, 0.9, 0.99, -1.0f}));
    expect_error(invalid, {"max_norm", "-2"}, options(SgdOptions{}, {-2.0f, {}}));
    expect_error(invalid, {"loss_scaling.initial", "0"}, options(SgdOptions{}, {0.0f, {true, 0.0f}}));
    expect_error(invalid, {"loss_scaling.initial", "2^126"}, options(SgdOptions{}, {0.0f, {true, 0x1p127f}}));
    expect_error(invalid, {"loss_scaling.growth", "0.5"}, options(SgdOptions{}, {0.0f, {true, 1.0f, 0.5f}}));
    expect_error(invalid, {"loss_scaling.backoff", "2"},
                 options(SgdOptions{}, {0.0f, {true, 1.0f, 2.0f, 2.0f}}));
    expect_error(invalid, {"working", "i32"}, [&] { (void)new_parameter(device(), {2}, DataType::i32); });
    const Optimizer optimizer(stream, {good}, SgdOptions{});
    expect_error(invalid, {"learning_rate", "nan"}, [&] { optimizer.step(stream, std::nanf("")); });
    expect_error(invalid, {"optimizer"}, [&] { Optimizer().step(stream); });
    const Device other = test::capped_device([](Capabilities&) {});
    Stream elsewhere(other);
    expect_error(invalid, {"another device"}, [&] { optimizer.step(elsewhere); });
    expect_error(invalid, {"parameters[0].master", "another device"},
                 [&] { (void)Optimizer(elsewhere, {good}, SgdOptions{}); });
}

}  // namespace
}  // namespace danaus
