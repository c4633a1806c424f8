// Both factors of a Monarch product in one dispatch, whatever rules would choose: against the oracle and
// against one factor after the other, which plans there are, and what a table does to them.
#include "monarch_fused.hpp"

#include "epilogue_case.hpp"
#include "monarch_case.hpp"
#include "tuning_support.hpp"

#include <set>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::MonarchPlan;
using detail::MonarchProblem;
using reference::DotRounding;
using reference::Matrix;
using test::draw;
using test::MonarchCase;
using test::MonarchOperands;
using test::orders;
using test::Placed;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

// A CPU can run what a GPU would be given, too.
Capabilities as_gpu() {
    Capabilities caps = test::device().capabilities();
    caps.type = DeviceType::discrete;
    caps.min_subgroup_size = 32;
    return caps;
}

MonarchProblem problem_of(const Tensor& out, const Tensor& x, const Monarch& w, bool transpose,
                          const Epilogue& epilogue = {}) {
    Tensor residual;
    MonarchProblem p = detail::monarch_problem(out, x, w, transpose, epilogue, residual);
    EXPECT_FALSE(residual);
    return p;
}

std::vector<MonarchPlan> ways_of(const MonarchProblem& problem) {
    std::vector<MonarchPlan> all;
    for (const Capabilities& caps : {test::device().capabilities(), as_gpu()})
        for (const MonarchPlan& one : detail::fused_candidates(problem, caps, test::access()))
            all.push_back(one);
    return all;
}

// Empty, or the first wrong element of y, or of dx, among some of the ways.
std::string mismatch(Stream& stream, const MonarchCase& one, unsigned seed) {
    const MonarchOperands o(stream, one);
    const DataType result = one.widen ? DataType::f32 : one.type;
    const DotRounding middle{.output = test::float_type(one.type)}, last{.output = test::float_type(result)};
    const std::vector<double> expected[] = {one.stored(reference::matmul(o.rx, o.oracle)).data,
                                            reference::matmul_transposed(o.rdy, o.oracle).data};
    const std::vector<double> bounds[] = {
        one.stored(reference::monarch_bound(o.rx, o.oracle, middle, last)).data,
        reference::chain_bound(o.rdy, test::transposed_chain(o.oracle), middle, last).data};
    for (const bool transpose : {false, true}) {
        std::size_t count = seed % 3 + 1;
        for (std::size_t i = seed % 3; i < count; i += 3) {
            const Placed out(stream, result, transpose ? o.tx.shape() : o.tdy.shape(),
                             transpose ? one.x : one.y);
            const auto ways = ways_of(problem_of(out, transpose ? o.tdy : o.tx, o.matrix, transpose));
            count = ways.size();
            if (i >= count) break;
            detail::record(stream, ways[i]);
            const Placed::Contents contents = out.read(stream);
            const std::string text = reference::first_mismatch(reference::to_double(contents.values),
                                                               expected[transpose], bounds[transpose]) +
                                     contents.damage;
            if (!text.empty()) return (transpose ? "dx, way " : "y, way ") + std::to_string(i) + ": " + text;
        }
    }
    return {};
}

TEST(MonarchFused, TypesOrdersAndLayouts) {
    Stream stream(test::device());
    unsigned seed = 0;
    for (const DataType type : types)
        for (const OutputOrder order : orders)
            for (const bool feature_major : {false, true}) {
                MonarchCase one{.k = 4, .q = 8, .p = 16, .l = 8, .s = 12, .tokens = 21, .type = type};
                one.order = order;
                one.widen = ++seed % 2 == 0;
                one.x.feature_major = one.y.feature_major = feature_major;
                EXPECT_EQ(mismatch(stream, one, seed), "");
            }
}

TEST(MonarchFused, AnyBlocksTailsAndStrides) {
    Stream stream(test::device());
    test::property(8, [&] {
        MonarchCase one;
        one.k = draw(1, 7);
        one.q = draw(1, 20);
        const std::size_t inner = one.k * one.q;
        do one.l = draw(1, inner);
        while (inner % one.l);
        one.p = draw(1, 20);
        one.s = draw(1, 20);
        one.tokens = draw(1, 40);
        one.batch = draw(0, 2);
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        one.order = orders[draw(0, 1)];
        if (draw(0, 1)) one.x = test::draw_layout();
        if (draw(0, 1)) one.y = test::draw_layout();
        const std::string text = mismatch(stream, one, static_cast<unsigned>(draw(0, 2)));
        RC_ASSERT(text == "");
    });
}

TEST(MonarchFused, EpiloguesOnTheLastFactor) {
    using Choice = test::EpilogueChoice;
    Stream stream(test::device());
    unsigned turn = 0;
    for (const DataType type : types)
        for (const auto residual : {Choice::Residual::none, Choice::Residual::same_layout,
                                    Choice::Residual::in_place, Choice::Residual::accumulate})
            for (const bool feature_major : {false, true}) {
                MonarchCase one{.k = 3, .q = 8, .p = 5, .l = 4, .s = 6, .tokens = 11, .type = type};
                one.order = orders[++turn % 2];
                const MonarchOperands o(stream, one);
                Choice choice;
                choice.type = type;
                choice.bias = turn % 3 ? Choice::Bias::f32 : Choice::Bias::operand_type;
                choice.activation = turn % 2 ? Activation::gelu_erf : Activation::relu;
                choice.residual = residual;
                choice.aux = turn % 4 != 0;
                choice.feature_major = feature_major;
                choice.scale = -0.5f;
                std::size_t count = turn % 3 + 1;
                for (std::size_t i = turn % 3; i < count; i += 3) {
                    const test::EpilogueCase epilogue(stream, choice, one.tokens, one.l * one.s);
                    const auto ways =
                        ways_of(problem_of(epilogue.out(), o.tx, o.matrix, false, epilogue.epilogue()));
                    count = ways.size();
                    if (i >= count) break;
                    detail::record(stream, ways[i]);
                    EXPECT_EQ(epilogue.mismatch(stream, one.stored(reference::matmul(o.rx, o.oracle)),
                                                one.stored(reference::monarch_bound(
                                                    o.rx, o.oracle, {.output = test::float_type(type)}, {}))),
                              "");
                }
            }
}

// What is between the factors is rounded alike: of whole numbers that 16 bits hold no bit differs.
TEST(MonarchFused, AgreesWithOneFactorAfterTheOther) {
    Stream stream(test::device());
    for (const DataType type : types) {
        const std::size_t b = 8, tokens = 19, n = b * b;
        const auto values = [&](std::size_t count, unsigned seed) {
            return test::whole_values(count, seed, 3);
        };
        const Monarch w(upload(stream, values(b * n, 1), {b, b, b}, type),
                        upload(stream, values(b * n, 2), {b, b, b}, type));
        const Tensor x = upload(stream, values(tokens * n, 3), {tokens, n}, type);
        const Tensor apart(test::device(), DataType::f32, {tokens, n});
        Tensor inner;  // whoever asks for it gets one factor after the other
        matmul_into(stream, apart, x, w, {}, &inner);
        const std::vector<float> expected = download(stream, apart);
        const Tensor out(test::device(), DataType::f32, {tokens, n});
        for (const MonarchPlan& one : ways_of(problem_of(out, x, w, false))) {
            fill_into(stream, out, -1.0);
            detail::record(stream, one);
            EXPECT_EQ(download(stream, out), expected) << to_string(type);
        }
    }
}

// A problem of square blocks that is never allocated.
MonarchProblem square(std::uint64_t tokens, std::uint64_t blocks, DataType type = DataType::f32) {
    MonarchProblem p;
    const std::uint64_t n = blocks * blocks;
    p.whole.m = tokens;
    p.whole.n = p.whole.k = n;
    p.whole.a = p.whole.c = {{}, type, 0, n, 1, 0, 0};
    p.whole.b.type = type;
    p.first = p.second = {blocks, blocks, blocks, {{}, type, 0, blocks, 1, 0, n}};
    p.y_interleaved = true;
    return p;
}

TEST(MonarchFusedPlan, FitsSharedMemoryOrIsNone) {
    Capabilities gpu = as_gpu();
    gpu.max_shared_memory = 16384;
    gpu.max_workgroup_invocations = gpu.max_workgroup_size[0] = 1024;
    std::size_t last = ~std::size_t{0};
    for (const std::uint64_t blocks : {16u, 24u, 32u, 48u, 64u, 128u}) {
        const auto ways = detail::fused_candidates(square(4096, blocks), gpu, Access::address);
        EXPECT_LE(ways.size(), last) << "larger intermediates fit no better";
        last = ways.size();
        for (const MonarchPlan& one : ways) {
            EXPECT_EQ(kernels::check(one.kernel), "");
            EXPECT_LE(kernels::shared_bytes(one.kernel), gpu.max_shared_memory);
            EXPECT_EQ(one.tile.family, detail::Family::fused);
        }
    }
    EXPECT_EQ(last, 0u);
    const std::size_t small = detail::fused_candidates(square(4096, 32), gpu, Access::address).size();
    EXPECT_LT(small, detail::fused_candidates(square(4096, 32, DataType::f16), gpu, Access::address).size())
        << "16-bit intermediates are half as large";
    gpu.max_shared_memory = 65536;
    EXPECT_LT(small, detail::fused_candidates(square(4096, 32), gpu, Access::address).size());
    gpu.max_workgroup_invocations = 32;
    EXPECT_TRUE(detail::fused_candidates(square(4096, 32), gpu, Access::address).empty());
}

TEST(MonarchFusedPlan, NoneBeyondADispatchsReach) {
    const Capabilities gpu = as_gpu();
    const auto none = [&](const MonarchProblem& p) {
        return detail::fused_candidates(p, gpu, Access::descriptor).empty();
    };
    EXPECT_FALSE(none(square(64, 32)));
    MonarchProblem p = square(64, 32);
    p.whole.a.row = 1ull << 40;
    EXPECT_TRUE(none(p)) << "x";
    p = square(64, 32);
    p.whole.c.row = 1ull << 40;
    EXPECT_TRUE(none(p)) << "y";
    p = square(64, 32);
    p.second.weight.inner = 1ull << 40;
    EXPECT_TRUE(none(p)) << "w2";
    p = square(64, 32);
    p.first.depth = 0;
    EXPECT_TRUE(none(p)) << "an empty sum";
    p = square(64, 2);
    p.first.depth = 70000;
    EXPECT_TRUE(none(p)) << "sizes are halves of a word";
    p = square(64, 32);
    p.whole.outer = std::uint64_t{gpu.max_workgroup_count[1]} + 1;
    EXPECT_TRUE(none(p)) << "batches are workgroups";
}

TEST(MonarchFusedPlan, RulesWantSmallBlocks) {
    Capabilities gpu = as_gpu();
    gpu.max_shared_memory = 49152;
    const auto chosen = [&](const MonarchProblem& p) {
        return detail::fused_by_rules(p, gpu, Access::address).has_value();
    };
    EXPECT_TRUE(chosen(square(1024, 32)));
    EXPECT_FALSE(chosen(square(16, 32))) << "few workgroups";
    EXPECT_FALSE(chosen(square(1024, 128))) << "large blocks";
    gpu.type = DeviceType::cpu;
    EXPECT_FALSE(chosen(square(1024, 32)));
    gpu.max_shared_memory = 32768;
    EXPECT_TRUE(chosen(square(64, 32))) << "few tokens on a CPU";
    EXPECT_FALSE(chosen(square(64, 32, DataType::f16)));
    EXPECT_FALSE(chosen(square(64, 40))) << "that do not fit";
}

std::vector<kernels::Kernel> kernels_of(const Device& device, const Tensor& x, const Monarch& w,
                                        Tensor* inner = nullptr) {
    test::KernelList list(device);
    static_cast<void>(matmul(list, x, w, {}, inner));
    return list.kernels;
}

TEST(MonarchTuning, KeysAreTextAndBack) {
    std::set<std::string> texts;
    for (const bool blocked : {false, true})
        for (const bool transposed : {false, true}) {
            MonarchProblem p = square(300, 32);
            p.transposed = transposed;
            p.x_interleaved = transposed && !blocked;
            p.y_interleaved = !transposed && !blocked;
            const auto key = detail::key_of(p, Access::address);
            EXPECT_EQ(detail::key_from(to_string(key)), key);
            texts.insert(to_string(key));
            p.second.blocks = 100;
            texts.insert(to_string(detail::key_of(p, Access::address)));
        }
    EXPECT_EQ(texts.size(), 8u);
    const std::string text =
        "address f32>f32 monarch a:rows b:rows c:rows m512 n32 k32 batch32 n32 k32 batch32";
    EXPECT_TRUE(texts.contains(text)) << *texts.begin();
    for (std::size_t i = 0; i < text.size(); ++i) EXPECT_FALSE(detail::key_from(text.substr(0, i)));
    for (const char* wrong :
         {"address f32>f32 dense a:rows b:rows c:rows m512 n32 k32 batch32 n32 k32 batch32",
          "address f32>f32 monarch a:rows b:rows c:rows m512 n32 k32 batch32",
          "address f32>f32 monarch a:rows b:rows c:rows m512 n32 k32 batch32 n33 k32 batch32",
          "address f32>f32 monarch a:packed8x4 b:rows c:rows m512 n32 k32 batch32 n32 k32 batch32"})
        EXPECT_FALSE(detail::key_from(wrong)) << wrong;
}

TEST(MonarchTuning, MeasuresOneDispatchAgainstTwo) {
    const Device device = test::tuned_device();
    const Tensor x(device, DataType::f32, {70, 24});
    const Monarch w(Tensor(device, DataType::f32, {4, 8, 6}), Tensor(device, DataType::f32, {8, 5, 4}));
    const Tensor dy(device, DataType::f32, {70, 40});
    const auto by_rules = kernels_of(device, x, w);
    const TuneResult result = tune(device, [&](Recorder& r) {
        static_cast<void>(matmul(r, x, w));
        static_cast<void>(matmul_transposed(r, dy, w));
    });
    std::size_t products = 0;
    for (const TunedProblem& one : result.problems) {
        EXPECT_EQ(one.skipped, "") << one.problem;
        EXPECT_EQ(one.refused, 0u) << one.problem;
        if (one.problem.find("monarch") == std::string::npos) continue;
        ++products;
        EXPECT_EQ(one.rules, "one factor after the other");
        EXPECT_GE(one.candidates, 2u);
    }
    EXPECT_EQ(products, 2u);

    // Whatever was found, a table is obeyed.
    Tensor residual;
    const Tensor y(device, DataType::f32, {70, 40});
    const MonarchProblem p = detail::monarch_problem(y, x, w, false, {}, residual);
    const auto ways = detail::fused_candidates(p, device.capabilities(), device.access());
    ASSERT_FALSE(ways.empty());
    const detail::Choice apart{{detail::Family::factors, 0, 0, 0, 0, false}, false};
    const auto key = detail::key_of(p, device.access());
    const auto use = [&](const detail::Tile& tile) {
        use_tuning(device, test::table_of(device, {{key, test::entry_of(apart, {tile, false})}}));
    };
    use(ways.back().tile);
    EXPECT_EQ(kernels_of(device, x, w), std::vector{ways.back().kernel});
    Tensor inner;
    EXPECT_EQ(kernels_of(device, x, w, &inner), by_rules) << "what is between the factors was asked for";
    detail::Tile none = ways.back().tile;
    none.lanes = 3;
    for (const detail::Tile& tile : {apart.tile, none}) {
        use(tile);
        EXPECT_EQ(kernels_of(device, x, w), by_rules);
    }
}

}  // namespace
}  // namespace danaus
