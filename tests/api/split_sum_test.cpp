// Sums computed in parts: against the oracle, with every epilogue, and when rules cut them.
#include "split_sum.hpp"

#include "epilogue_case.hpp"
#include "ways.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::MultiplyProblem;
using reference::Matrix;
using test::device;
using test::draw;
using test::EpilogueCase;
using test::EpilogueChoice;
using test::MatmulCase;
using test::Placed;
using test::Verb;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

std::string mismatch_of_parts(Stream& stream, const MatmulCase& one, std::uint64_t parts) {
    return mismatch(stream, one, [&](const Tensor& out, const Tensor& a, const Tensor& b) {
        const MultiplyProblem p = test::problem_of(one.verb, out, a, b);
        RC_ASSERT(detail::may_split_sum(p));
        detail::SplitSum(stream, p, parts).record(stream);
    });
}

TEST(SplitSum, RandomProductsComeOutBitForBit) {
    Stream stream(device());
    test::property(12, [&] {
        MatmulCase one;
        one.verb = static_cast<Verb>(draw(0, 2));
        one.m = draw(1, 40);
        one.n = draw(1, 40);
        one.k = draw(17, 700);
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        if (draw(0, 1)) one.a = test::draw_layout();
        if (draw(0, 1)) one.b = test::draw_layout();
        if (draw(0, 1)) one.c = test::draw_layout();
        one.whole = true;
        one.seed = static_cast<unsigned>(draw(1, 1000));
        RC_ASSERT(mismatch_of_parts(stream, one, draw(2, 9)) == "");
    });
}

// A last part that is shorter, parts that are only one run of steps long, fewer parts than asked for.
TEST(SplitSum, PartsOfEveryLength) {
    Stream stream(device());
    for (const std::size_t k : {17u, 31u, 32u, 33u, 64u, 65u, 100u})
        for (const std::uint64_t parts : {2u, 3u, 32u})
            EXPECT_EQ(mismatch_of_parts(stream, {.m = 3, .n = 9, .k = k, .whole = true}, parts), "");
}

TEST(SplitSum, LongSumsStayWithinTheBound) {
    Stream stream(device());
    for (const DataType type : types)
        EXPECT_EQ(mismatch_of_parts(stream, {.m = 5, .n = 11, .k = 5003, .type = type}, 7), "");
}

TEST(SplitSum, Epilogues) {
    constexpr EpilogueChoice::Residual residuals[] = {
        EpilogueChoice::Residual::none, EpilogueChoice::Residual::same_layout,
        EpilogueChoice::Residual::in_place, EpilogueChoice::Residual::accumulate};
    Stream stream(device());
    test::property(10, [&] {
        EpilogueChoice choice;
        choice.type = types[draw(0, 2)];
        choice.widen = draw(0, 1) == 1;
        choice.bias = static_cast<EpilogueChoice::Bias>(draw(0, 2));
        choice.activation = draw(0, 1) ? Activation::relu : Activation::gelu;
        choice.residual = residuals[draw(0, 3)];
        choice.aux = draw(0, 1) == 1;
        choice.scale = draw(0, 1) ? 1.0f : -0.75f;
        choice.feature_major = draw(0, 1) == 1;
        choice.skew = static_cast<unsigned>(draw(0, 1));
        const std::size_t m = draw(1, 20), n = draw(1, 30), k = draw(17, 200);
        const auto x = test::random_values(m * k, 1, choice.type),
                   w = test::random_values(n * k, 2, choice.type);
        const Placed tx(stream, choice.type, {m, k}, {}, x), tw(stream, choice.type, {n, k}, {}, w);
        const Matrix rx(m, k, x), rw(n, k, w), sum = reference::matmul(rx, rw);
        const EpilogueCase one(stream, choice, m, n);
        MultiplyProblem p = test::problem_of(Verb::forward, one.out(), tx, tw);
        static_cast<void>(detail::set_epilogue(p, one.epilogue(), one.out(), 1, 0));
        detail::SplitSum(stream, p, draw(2, 5)).record(stream);
        RC_ASSERT(one.mismatch(stream, sum,
                               reference::dot_bound(k, {}, reference::absolute_product(rx, rw), sum)) == "");
    });
}

std::uint64_t parts_by_rules(DeviceType type, std::uint64_t m, std::uint64_t n, std::uint64_t k,
                             std::uint64_t batch = 1) {
    Capabilities caps;
    caps.type = type;
    caps.subgroup_size = caps.min_subgroup_size = 32;
    caps.subgroup_arithmetic = true;
    MultiplyProblem p;
    p.m = m;
    p.n = n;
    p.k = k;
    p.outer = batch;
    p.a = {{}, DataType::f32, 0, 1, m, m * k, 0};  // as a weight's gradient has them
    p.b = {{}, DataType::f32, 0, n, 1, k * n, 0};
    p.c = {{}, DataType::f32, 0, n, 1, m * n, 0};
    return detail::parts_of_sum(detail::plan(p, caps, Access::address), caps);
}

TEST(SplitSum, RulesCutLongSumsOfSmallResultsOnGpus) {
    EXPECT_GT(parts_by_rules(DeviceType::discrete, 32, 32, 65536), 8u);
    EXPECT_GT(parts_by_rules(DeviceType::integrated, 64, 64, 4096), 1u);
    EXPECT_EQ(parts_by_rules(DeviceType::discrete, 1024, 1024, 65536), 1u);
    EXPECT_EQ(parts_by_rules(DeviceType::discrete, 64, 64, 2047), 1u);
    EXPECT_EQ(parts_by_rules(DeviceType::discrete, 64, 64, 65536, 2), 1u);
    EXPECT_EQ(parts_by_rules(DeviceType::cpu, 64, 64, 65536), 1u);
}

}  // namespace
}  // namespace danaus
