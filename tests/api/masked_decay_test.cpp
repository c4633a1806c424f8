// Decay of the weights that a mask leaves out, in every optimizer.
#include "api/masked_decay_trial.hpp"
#include "support/bits.hpp"

#include <cmath>
#include <limits>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using test::device;
using test::drawn;
using test::exact_step;
using test::expect_error;
using test::masked;
using test::Method;
using test::methods;
using test::OracleStep;
using test::Trial;
using test::TrialMask;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr std::array forms{DecayForm::before_moments, DecayForm::outside_moments};

void follow(Stream& stream, const Method& method, const Shape& shape, DataType working, DataType gradient,
            DecayForm form, unsigned seed) {
    Trial trial(stream, shape, working, gradient, seed, seed % 3);
    const TrialMask mask(stream, shape, seed);
    const Optimizer optimizer = method.create(stream, {masked(trial, mask.bits.tensor(), 0.25f, form)},
                                              {2.0f, {true, 4.0f, 2.0f, 0.5f, 0}});
    const OracleStep oracle = method.oracle();
    ProgramRecorder recorder(device());
    optimizer.step(recorder);
    const Program program(std::move(recorder));
    double factor = 0.25;
    for (unsigned i = 0; i < 12; ++i) {
        std::vector<std::vector<double>> g{trial.set_gradient(stream, 100 * seed + i, 4.0f)};
        if (i == 5 || i == 8 || i == 9) {
            factor = i == 8 ? 0.0 : 0.5 / i;
            factor = static_cast<double>(static_cast<float>(factor));
            optimizer.set_masked_decay(stream, static_cast<float>(factor));
        }
        program.emit(stream);
        (void)reference::clip_global_norm(g, 2.0);
        exact_step(method, oracle, trial.exact, g[0], mask.kept, factor, form);
    }
    EXPECT_EQ(trial.compare(stream, 2e-5), "")
        << method.name << " " << to_string(shape) << " " << to_string(working) << " " << to_string(gradient)
        << (form == DecayForm::before_moments ? " before" : " outside");
    mask.bits.check(stream, "mask");
}

TEST(MaskedDecay, FollowsTheOracleForAllRowLengths) {
    Stream stream(device());
    unsigned seed = 0;
    for (const Method& method : methods())
        for (const DecayForm form : forms)
            for (const Shape& shape : {Shape{3, 32}, Shape{2, 3, 64}, Shape{5, 33}, Shape{7, 5}, Shape{9, 1},
                                       Shape{2, 4, 7}, Shape{1, 31}, Shape{2, 2}, Shape{33, 100}})
                follow(stream, method, shape, DataType::f32, DataType::f32, form, ++seed);
}

TEST(MaskedDecay, FollowsTheOracleForAllTypes) {
    Stream stream(device());
    unsigned seed = 1000;
    for (const Method& method : methods())
        for (const DecayForm form : forms)
            for (const DataType working : test::float_types)
                for (const DataType gradient : test::float_types) {
                    ++seed;
                    follow(stream, method, seed % 2 != 0 ? Shape{6, 37} : Shape{2, 5, 32}, working, gradient,
                           form, seed);
                }
}

RC_GTEST_PROP(MaskedDecay, AnyShape, ()) {
    Stream stream(device());
    const Shape shape{*rc::gen::inRange<std::uint64_t>(1, 4), *rc::gen::inRange<std::uint64_t>(1, 40),
                      *rc::gen::inRange<std::uint64_t>(1, 140)};
    const Method& method = methods()[*rc::gen::inRange<std::size_t>(0, methods().size())];
    const unsigned seed = *rc::gen::inRange<unsigned>(0, 1 << 20);
    follow(stream, method, shape, test::float_types[seed % 3], DataType::f32, forms[seed / 3 % 2], seed);
}

TEST(MaskedDecay, NoDecayAndFullMasksChangeNoBit) {
    Stream stream(device());
    for (const Method& method : methods())
        for (const DecayForm form : forms)
            for (const DataType type : test::float_types)
                for (const bool full : {false, true}) {
                    const Shape shape{9, 45};
                    Trial plain(stream, shape, type, type, 3, 1), decayed(stream, shape, type, type, 3, 1);
                    // What 0 · w would show: signed zeros and infinity.
                    auto weights = plain.values;
                    weights[0] = -0.0f, weights[1] = 0.0f, weights[2] = infinity, weights[3] = -infinity;
                    for (Trial* trial : {&plain, &decayed})
                        upload_into(stream, trial->master.tensor(), weights);
                    const TrialMask mask(stream, shape, 7, full);
                    const std::array optimizers{
                        method.create(stream, {plain.parameter()}, {}),
                        method.create(stream, {masked(decayed, mask.bits.tensor(), full ? 0.5f : 0.0f, form)},
                                      {})};
                    for (unsigned i = 0; i < 4; ++i)
                        for (std::size_t k = 0; k < 2; ++k) {
                            Trial& trial = k == 0 ? plain : decayed;
                            (void)trial.set_gradient(stream, i, i == 1 ? -0.0f : 1.0f);
                            optimizers[k].step(stream);
                        }
                    const auto same = [&](const Tensor& a, const Tensor& b) {
                        EXPECT_EQ(test::first_difference(download(stream, a), download(stream, b)), "")
                            << method.name << " " << to_string(type) << (full ? " full mask" : " no decay");
                    };
                    same(decayed.master.tensor(), plain.master.tensor());
                    same(decayed.copy.tensor(), plain.copy.tensor());
                    for (std::size_t m = 0; m < optimizers[0].moments()[0].size(); ++m)
                        same(optimizers[1].moments()[0][m], optimizers[0].moments()[0][m]);
                }
}

TEST(MaskedDecay, EveryParameterHasItsOwn) {
    Stream stream(device());
    for (const Method& method : methods()) {
        const Shape shape{6, 35};
        Trial a(stream, shape, DataType::f16, DataType::f32, 1),
            b(stream, shape, DataType::f32, DataType::f16, 2), c(stream, 50, DataType::f32, DataType::f32, 3),
            d(stream, {2, 64}, DataType::f32, DataType::f32, 4);
        const TrialMask one(stream, shape, 5), other(stream, {2, 64}, 6);
        const reference::Mask all(1, 50, 1);
        const Optimizer optimizer =
            method.create(stream,
                          {masked(a, one.bits.tensor(), 0.5f),
                           masked(b, one.bits.tensor(), 0.0f, DecayForm::outside_moments), c.parameter(),
                           masked(d, other.bits.tensor(), 0.125f)},
                          {1.0f, {}});
        struct Row {
            Trial& trial;
            OracleStep oracle;
            const reference::Mask& kept;
            double factor;
            DecayForm form;
        };
        std::array rows{Row{a, method.oracle(), one.kept, 0.5, DecayForm::before_moments},
                        Row{b, method.oracle(), one.kept, 0.0, DecayForm::outside_moments},
                        Row{c, method.oracle(), all, 0.0, DecayForm::before_moments},
                        Row{d, method.oracle(), other.kept, 0.125, DecayForm::before_moments}};
        for (unsigned i = 0; i < 9; ++i) {
            std::vector<std::vector<double>> g;
            for (Row& row : rows)
                g.push_back(row.trial.set_gradient(stream, 10 * i + static_cast<unsigned>(g.size())));
            if (i == 3) optimizer.set_masked_decay(stream, 1, 0.25f), rows[1].factor = 0.25;
            if (i == 6) {
                optimizer.set_masked_decay(stream, 0.0625f);
                for (Row& row : rows) row.factor = 0.0625;
            }
            optimizer.step(stream);
            (void)reference::clip_global_norm(g, 1.0);
            for (std::size_t k = 0; k < rows.size(); ++k)
                exact_step(method, rows[k].oracle, rows[k].trial.exact, g[k], rows[k].kept, rows[k].factor,
                           rows[k].form);
        }
        for (const Row& row : rows) EXPECT_EQ(row.trial.compare(stream, 2e-5), "") << method.name;
    }
}

TEST(MaskedDecay, SkippedStepsChangeNothing) {
    Stream stream(device());
    for (const Method& method : methods())
        for (const DecayForm form : forms) {
            Trial trial(stream, {4, 40}, DataType::bf16, DataType::f32, 5, 1);
            const TrialMask mask(stream, {4, 40}, 9);
            const Optimizer optimizer = method.create(stream, {masked(trial, mask.bits.tensor(), 0.5f, form)},
                                                      {0.0f, {true, 1.0f, 2.0f, 0.5f, 0}});
            (void)trial.set_gradient(stream, 1);
            optimizer.step(stream);
            const auto everything = [&] {
                std::vector all{download(stream, trial.master.tensor()),
                                download(stream, trial.copy.tensor())};
                for (const Tensor& t : optimizer.moments()[0]) all.push_back(download(stream, t));
                return all;
            };
            const auto before = everything();
            auto gradient = drawn(DataType::f32, 160, 2);
            gradient[77] = std::nanf("");
            upload_into(stream, trial.gradient.tensor(), gradient);
            optimizer.step(stream);
            EXPECT_EQ(everything(), before) << method.name;
            EXPECT_EQ(optimizer.status(stream).skipped, 1u);
            (void)trial.set_gradient(stream, 3);
            optimizer.step(stream);
            EXPECT_NE(everything(), before) << method.name;
        }
}

TEST(MaskedDecay, LargeParametersAreSplit) {
    // Pieces of 4100 elements, which are neither rows nor words of a mask.
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 16400; });
    Stream stream(small);
    for (const Shape& shape : {Shape{200, 101}, Shape{2, 110, 96}, Shape{9000, 1}, Shape{3, 7001}}) {
        const Parameter parameter = new_parameter(small, shape);
        const std::uint64_t count = shape.elements();
        const auto values = drawn(DataType::f32, count, 1), g = drawn(DataType::f32, count, 2);
        upload_into(stream, parameter.master, values);
        upload_into(stream, parameter.gradient, g);
        const TrialMask mask(stream, shape, 3);
        Parameter decayed = parameter;
        decayed.masked_decay = {mask.bits.tensor(), 0.5f, DecayForm::before_moments};
        const Method& method = methods()[1];
        const Optimizer optimizer = method.create(stream, {decayed}, {});
        optimizer.step(stream);
        std::vector<double> exact = reference::to_double(values);
        exact_step(method, method.oracle(), exact, reference::to_double(g), mask.kept, 0.5,
                   DecayForm::before_moments);
        EXPECT_EQ(reference::first_mismatch(download(stream, parameter.master), exact, 2e-6, 2e-6), "")
            << to_string(shape);
    }
}

TEST(MaskedDecay, PlacesOfLongRowsAreExact) {
    // No memory is behind it: only what the shader would compute with the fields of the dispatches is.
    for (const std::uint64_t columns : {1ull, 2ull, 3ull, 31ull, 33ull, 1000ull, 65537ull, (1ull << 28) + 1,
                                        (1ull << 29) - 1, (1ull << 30) - 1}) {
        test::Capture capture(device());
        const Shape shape{1 + (1ull << 30) / columns, columns};
        Parameter parameter{capture.tensor(DataType::f32, shape), {}, capture.tensor(DataType::f16, shape)};
        parameter.masked_decay = {capture.tensor(DataType::u32, mask_shape(shape)), 1.0f, {}};
        const Optimizer optimizer(capture, {parameter}, SgdOptions{});
        capture.packets.clear();
        optimizer.step(capture);
        std::uint64_t first = 0;
        const std::uint64_t words = (columns + 31) / 32;
        for (const Packet& packet : capture.packets) {
            if (std::string(packet.label) != "sgd") continue;
            const auto field = [&](std::size_t i) { return std::uint64_t{test::Capture::field(packet, i)}; };
            const std::uint64_t count = field(0), skipped = field(2), factor = field(5), shift = field(6);
            EXPECT_EQ(skipped, first % columns);
            EXPECT_EQ(field(3), columns);
            EXPECT_EQ(field(4), words);
            const auto check = [&](std::uint64_t i) {
                if (i >= count) return;
                const std::uint64_t place = skipped + i;
                ASSERT_LT(place, 1ull << 31);
                ASSERT_EQ(2 * place * factor >> 32 >> shift, place / columns) << columns << " " << place;
            };
            for (std::uint64_t row = 1; row <= count / columns + 1; row += 1 + count / columns / 5000)
                check(row * columns - skipped - 1), check(row * columns - skipped);
            check(count - 1);
            const Operand& mask = packet.operands[5];
            EXPECT_EQ(mask.offset, first / columns * words * 4);
            EXPECT_EQ(mask.bytes, ((skipped + count - 1) / columns + 1) * words * 4);
            first += count;
        }
        EXPECT_EQ(first, shape.elements());
    }
}

TEST(MaskedDecay, WrongInput) {
    Stream stream(device());
    constexpr auto invalid = ErrorKind::invalid_argument;
    const auto tensor = [&](DataType type, const Shape& shape) { return empty(stream, type, shape); };
    const Parameter good = new_parameter(device(), {4, 40}, DataType::f16);
    const Tensor mask = tensor(DataType::u32, {4, 2});
    const auto with = [&](const MaskedDecay& decay, Parameter parameter) {
        parameter.masked_decay = decay;
        return [&stream, parameter] { (void)Optimizer(stream, {parameter}, LionOptions{}); };
    };
    expect_error(invalid, {"parameters[0].masked_decay.factor", "-0.5"}, with({mask, -0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.factor", "inf"}, with({mask, infinity, {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.factor", "nan"},
                 with({mask, std::nanf(""), {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.factor", "0.5", "without a mask"},
                 with({{}, 0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.form", "2"},
                 with({mask, 0.5f, static_cast<DecayForm>(2)}, good));
    expect_error(invalid, {"parameters[0].masked_decay.mask", "(4, 1)", "(4, 2)", "(4, 40)"},
                 with({tensor(DataType::u32, {4, 1}), 0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.mask", "i32", "u32"},
                 with({tensor(DataType::i32, {4, 2}), 0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.mask", "contiguous"},
                 with({tensor(DataType::u32, {2, 4}).transpose(), 0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].masked_decay.mask", "(40)", "rank 2 or 3"},
                 with({tensor(DataType::u32, {2}), 0.5f, {}}, new_parameter(device(), {40})));
    expect_error(
        invalid, {"parameters[0].masked_decay.mask", "rank 2 or 3"},
        with({tensor(DataType::u32, {1, 1, 1, 2}), 0.5f, {}}, new_parameter(device(), {1, 1, 1, 40})));
    const auto inside = [](const Tensor& t) { return Tensor(t.buffer(), DataType::u32, {4, 2}, 1); };
    expect_error(invalid, {"parameters[0].master", "overlaps", "masked_decay.mask"},
                 with({inside(good.master), 0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].working", "overlaps", "masked_decay.mask"},
                 with({inside(good.working), 0.5f, {}}, good));
    expect_error(invalid, {"parameters[0].gradient", "overlaps", "masked_decay.mask"},
                 with({inside(good.gradient), 0.5f, {}}, good));
    Parameter decayed = new_parameter(device(), {4, 40});
    decayed.masked_decay = {inside(good.master), 0.5f, {}};
    expect_error(invalid, {"parameters[0].master", "overlaps", "parameters[1].masked_decay.mask"}, [&] {
        (void)Optimizer(stream, {good, decayed}, SgdOptions{});
    });
    const Device other = test::capped_device([](Capabilities&) {});
    expect_error(invalid, {"parameters[0].masked_decay.mask", "another device"},
                 with({Tensor(other, DataType::u32, {4, 2}), 0.5f, {}}, good));
    decayed.masked_decay = {mask, 0.5f, {}};
    const Optimizer plain(stream, {good}, AdamWOptions{}), both(stream, {good, decayed}, AdamWOptions{});
    expect_error(invalid, {"masked_decay", "0.5", "no parameter has a mask"},
                 [&] { plain.set_masked_decay(stream, 0.5f); });
    expect_error(invalid, {"masked_decay", "parameters[0] has no mask"},
                 [&] { both.set_masked_decay(stream, 0, 0.5f); });
    expect_error(invalid, {"parameter", "2"}, [&] { both.set_masked_decay(stream, 2, 0.5f); });
    expect_error(invalid, {"masked_decay", "-1"}, [&] { both.set_masked_decay(stream, -1.0f); });
    expect_error(invalid, {"masked_decay", "nan"}, [&] { both.set_masked_decay(stream, 1, std::nanf("")); });
    expect_error(invalid, {"optimizer"}, [&] { Optimizer().set_masked_decay(stream, 0.5f); });
}

}  // namespace
}  // namespace danaus
