// Monarch products with lanes along features, whatever rules would choose: against the oracle, with tails,
// layouts and epilogues, and where there is such a plan at all.
#include "monarch_lanes.hpp"

#include "epilogue_case.hpp"
#include "monarch_case.hpp"

#include <functional>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::LanesPlan;
using detail::MonarchProblem;
using test::draw;
using test::MonarchCase;
using test::MonarchOperands;

MonarchProblem problem_of(const Tensor& out, const MonarchOperands& o, const Epilogue& epilogue = {}) {
    Tensor residual;
    return detail::monarch_problem(out, o.tx, o.matrix, false, epilogue, residual);
}

std::optional<LanesPlan> plan_of(const MonarchProblem& problem) {
    return detail::lanes_plan(problem, test::device().capabilities(), test::access());
}

// Empty, or the first wrong element of y.
std::string mismatch(Stream& stream, const MonarchCase& one) {
    const MonarchOperands o(stream, one);
    const test::Placed out(stream, DataType::f32, o.tdy.shape(), one.y);
    const auto plan = plan_of(problem_of(out, o));
    if (!plan) return "no plan";
    detail::record(stream, *plan);
    const test::Placed::Contents contents = out.read(stream);
    return reference::first_mismatch(reference::to_double(contents.values),
                                     reference::matmul(o.rx, o.oracle).data,
                                     reference::monarch_bound(o.rx, o.oracle, {}, {}).data) +
           contents.damage;
}

TEST(MonarchLanes, AnyTokensBlocksAndPitches) {
    Stream stream(test::device());
    test::property(12, [&] {
        MonarchCase one;
        one.l = 16 * draw(1, 2);
        one.q = 16 * draw(1, 3);
        const std::size_t least = one.l * 8;  // r is a multiple of 8
        one.k = 1;
        while (one.k * one.q % least) ++one.k;
        constexpr std::size_t depths[] = {16, 32, 64};
        one.p = depths[draw(0, 2)];
        one.s = draw(1, 5);
        one.tokens = draw(1, 75);
        one.batch = draw(0, 2);
        one.x.gap = draw(0, 1) ? 3 : 0;
        one.y.gap = draw(0, 1) ? 5 : 0;
        one.x.skew = draw(0, 3);
        one.y.skew = draw(0, 3);
        const std::string text = mismatch(stream, one);
        RC_ASSERT(text == "");
    });
}

TEST(MonarchLanes, BiasScaleAndActivation) {
    Stream stream(test::device());
    for (const Activation activation :
         {Activation::none, Activation::relu, Activation::gelu, Activation::gelu_erf})
        for (const bool bias : {false, true}) {
            const MonarchCase one{.k = 8, .q = 16, .p = 16, .l = 16, .s = 3, .tokens = 11};
            const MonarchOperands o(stream, one);
            test::EpilogueChoice choice;
            choice.bias = bias ? test::EpilogueChoice::Bias::f32 : test::EpilogueChoice::Bias::none;
            choice.activation = activation;
            choice.scale = -0.5f;
            const test::EpilogueCase epilogue(stream, choice, one.tokens, one.l * one.s);
            const auto plan = plan_of(problem_of(epilogue.out(), o, epilogue.epilogue()));
            ASSERT_TRUE(plan);
            detail::record(stream, *plan);
            EXPECT_EQ(epilogue.mismatch(stream, reference::matmul(o.rx, o.oracle),
                                        reference::monarch_bound(o.rx, o.oracle, {}, {})),
                      "");
        }
}

// A problem of 32 blocks of 32 × 32 that is never allocated.
MonarchProblem square() {
    constexpr std::uint64_t b = 32, n = b * b;
    constexpr DataType type = DataType::f32;
    MonarchProblem p;
    p.whole.m = 1024;
    p.whole.n = p.whole.k = n;
    p.whole.a = p.whole.c = {{}, type, 0, n, 1, 0, 0};
    p.whole.b.type = type;
    p.first = p.second = {b, b, b, {{}, type, 0, b, 1, 0, n}};
    p.y_interleaved = true;
    return p;
}

TEST(MonarchLanesPlan, NoneWhereItDoesNotServe) {
    EXPECT_TRUE(plan_of(square()));
    const std::pair<const char*, std::function<void(MonarchProblem&)>> changes[] = {
        {"half floats", [](auto& p) { p.whole.b.type = DataType::f16; }},
        {"a half result", [](auto& p) { p.whole.c.type = DataType::f16; }},
        {"no tokens", [](auto& p) { p.whole.m = 0; }},
        {"batches apart", [](auto& p) { p.whole.outer = 2; }},
        {"features of x apart", [](auto& p) { p.whole.a.column = 2; }},
        {"features of y apart", [](auto& p) { p.whole.c.column = 2; }},
        {"blocked outputs", [](auto& p) { p.y_interleaved = false; }},
        {"transposed", [](auto& p) { p.x_interleaved = true; }},
        {"a residual", [](auto& p) { p.whole.has_residual = true; }},
        {"aux", [](auto& p) { p.whole.has_aux = true; }},
        {"a sum of 24", [](auto& p) { p.first.depth = 24; }},
        {"a sum of 20", [](auto& p) { p.second.depth = 20; }},
        {"an empty sum", [](auto& p) { p.second.depth = 0; }},
        {"rows of w1", [](auto& p) { p.first.rows = 24; }},
        {"blocks of w2", [](auto& p) { p.second.blocks = 24; }},
        {"beyond reach", [](auto& p) { p.whole.c.row = 1ull << 40; }},
    };
    for (const auto& [name, change] : changes) {
        MonarchProblem p = square();
        change(p);
        EXPECT_FALSE(plan_of(p)) << name;
    }
}

TEST(MonarchLanesPlan, RulesWantACpuAddressesAndTokens) {
    Capabilities caps = test::device().capabilities();
    caps.type = DeviceType::cpu;
    caps.subgroup_size = 8;
    MonarchProblem p = square();
    EXPECT_TRUE(detail::lanes_pay(p, caps, Access::address));
    EXPECT_FALSE(detail::lanes_pay(p, caps, Access::descriptor));
    caps.subgroup_size = 4;
    EXPECT_FALSE(detail::lanes_pay(p, caps, Access::address));
    caps.subgroup_size = 8;
    caps.type = DeviceType::discrete;
    EXPECT_FALSE(detail::lanes_pay(p, caps, Access::address));
    caps.type = DeviceType::cpu;
    p.whole.m = 64;
    EXPECT_FALSE(detail::lanes_pay(p, caps, Access::address)) << "few tokens";
}

// Passes packets on, and counts those of the second factor with lanes along features.
class Counter final : public Recorder {
public:
    explicit Counter(Stream& stream) : stream_(stream) {}
    [[nodiscard]] Device device() const override { return stream_.device(); }
    void record(const Packet& packet) override {
        kernels::MonarchLanes second;
        second.stage = kernels::MonarchLanes::Stage::second;
        packets += packet.kernel.module == second.kernel().module ? 1 : 0;
        stream_.record(packet);
    }
    void record(const Copy& copy) override { stream_.record(copy); }
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override { return stream_.allocate(bytes); }
    int packets = 0;

private:
    Stream& stream_;
};

// What a user calls: chosen or not, the result is right.
TEST(MonarchLanes, MatmulChoosesThemAndIsRight) {
    Stream stream(test::device());
    Counter counter(stream);
    const bool fits = detail::lanes_pay(square(), test::device().capabilities(), test::access());
    const auto check = [&](const MonarchCase& one, bool accumulate, bool chosen) {
        const MonarchOperands o(stream, one);
        const std::vector<float> before(o.tdy.elements(), 0.0f);
        const test::Placed out(stream, DataType::f32, o.tdy.shape(), one.y, before);
        Epilogue epilogue;
        epilogue.accumulate = accumulate;
        counter.packets = 0;
        matmul_into(counter, out, o.tx, o.matrix, epilogue);
        EXPECT_EQ(counter.packets > 0, chosen && fits) << one.tokens << ", " << one.batch;
        const test::Placed::Contents contents = out.read(stream);
        EXPECT_EQ(reference::first_mismatch(reference::to_double(contents.values),
                                            reference::matmul(o.rx, o.oracle).data,
                                            reference::monarch_bound(o.rx, o.oracle, {}, {}).data) +
                      contents.damage,
                  "");
    };
    MonarchCase one{.k = 8, .q = 16, .p = 16, .l = 16, .s = 3, .tokens = 130};
    check(one, false, true);
    check(one, true, false);
    one.batch = 2;
    check(one, false, true);
    one.y.gap = 3;
    check(one, false, true);
    one.batch = 0;
    one.tokens = 127;
    check(one, false, false);
}

}  // namespace
}  // namespace danaus
