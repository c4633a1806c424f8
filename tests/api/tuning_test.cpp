// Keys of problems, what a table does to plans, and measuring. Nothing here looks at a time.
#include "tuning.hpp"

#include "matmul_case.hpp"
#include "pack.hpp"
#include "tuning_support.hpp"

#include <atomic>
#include <bit>
#include <set>
#include <thread>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::Choice;
using detail::key_of;
using detail::MultiplyPlan;
using detail::MultiplyProblem;
using detail::ProblemKey;
using detail::Tile;
using test::KernelList;
using test::plain_problem;
using test::table_of;
using test::tuned_device;

TEST(TuningKey, SizesFallIntoClasses) {
    const auto key = [](std::uint64_t m, std::uint64_t n, std::uint64_t k) {
        return key_of(plain_problem(m, n, k), Access::address);
    };
    for (std::uint64_t size = 2; size <= 300; ++size) {
        const std::uint64_t top = std::bit_ceil(size);
        EXPECT_EQ(key(size, 8, 8), key(top, 8, 8)) << size;
        EXPECT_EQ(key(8, size, 8), key(8, top, 8)) << size;
        EXPECT_NE(key(size, 8, 8), key(top + 1, 8, 8)) << size;
        EXPECT_EQ(key(8, 8, size) == key(8, 8, top), size == top || size > 64) << size;
    }
    EXPECT_EQ(key(~0ull, 1, 1).m, 1ull << 62);
}

TEST(TuningKey, TellsApartWhatMattersAndNothingElse) {
    const MultiplyProblem p = plain_problem(8, 8, 8);
    std::vector<MultiplyProblem> others(10, p);
    others[0].a.type = others[0].b.type = others[0].c.type = DataType::f16;
    others[1] = plain_problem(8, 8, 8, DataType::bf16);
    others[1].c.type = DataType::f32;
    others[2].a = detail::transposed(p.a);
    others[3].b = detail::transposed(p.b);
    others[4].c = detail::transposed(p.c);
    others[5].inner = 4;
    others[6].weight = kernels::MatmulDirect::Weight::sparse24;
    others[7] = others[6];
    others[7].contract_columns = false;
    others[8].a_panel = 32;
    others[8].a_depth = 12;
    others[9] = others[8];
    others[9].picked_from = 16;
    std::set<ProblemKey> keys{key_of(p, Access::address), key_of(p, Access::descriptor)};
    for (const MultiplyProblem& other : others) keys.insert(key_of(other, Access::address));
    EXPECT_EQ(keys.size(), 2 + others.size());
    std::set<std::string> texts;
    for (const ProblemKey& key : keys) {
        texts.insert(to_string(key));
        EXPECT_EQ(detail::key_from(to_string(key)), key) << to_string(key);
    }
    EXPECT_EQ(texts.size(), keys.size());

    MultiplyProblem same = p;
    same.a.offset = 6;
    same.c.row = 10;
    same.has_bias = same.has_residual = true;
    same.activation = Activation::gelu;
    same.scale = 0.5f;
    EXPECT_EQ(key_of(same, Access::address), key_of(p, Access::address));
    MultiplyProblem batch = p;
    batch.outer = 4;
    EXPECT_EQ(key_of(batch, Access::address), key_of(others[5], Access::address));
}

TEST(TuningKey, OtherTextIsNone) {
    const std::string text = to_string(key_of(plain_problem(8, 8, 8), Access::address));
    EXPECT_EQ(text, "address f32>f32 dense a:rows b:columns c:rows m8 n8 k8 batch1");
    ASSERT_TRUE(detail::key_from(text));
    for (std::size_t i = 0; i < text.size(); ++i) {
        EXPECT_FALSE(detail::key_from(text.substr(0, i)));
        std::string other = text;
        other[i] = '~';
        EXPECT_FALSE(detail::key_from(other)) << other;
    }
    for (const char* wrong :
         {"", "          ", "address f32>f32 dense a:rows b:columns c:rows m9 n8 k8 batch1",
          "address f32>f32 dense a:rows b:columns c:rows m08 n8 k8 batch1",
          "address f32>f32 dense a:rows b:columns c:rows m8 n8 k65 batch1",
          "address f32>f32 dense a:rows b:columns c:rows m8 n8 k99999999999999999999999 batch1",
          "address i32>f32 dense a:rows b:columns c:rows m8 n8 k8 batch1",
          "address f32>f32 dense a:packed b:columns c:rows m8 n8 k8 batch1",
          "address f32>f32 dense a:rows32x12 b:columns c:rows m8 n8 k8 batch1"})
        EXPECT_FALSE(detail::key_from(wrong)) << wrong;
}

TEST(TunedPlan, TakesTheWantedTileIfItIsACandidate) {
    const Device device = test::device();
    for (const auto& [m, n, k] : {std::array{64, 64, 64}, {5, 700, 33}, {300, 3, 1000}, {1, 4096, 8}}) {
        const auto p = plain_problem(static_cast<std::uint64_t>(m), static_cast<std::uint64_t>(n),
                                     static_cast<std::uint64_t>(k));
        const auto rules = detail::plan(p, device.capabilities(), device.access());
        const auto all = detail::candidates(p, device.capabilities(), device.access());
        for (const MultiplyPlan& one : all) {
            const auto plans = detail::plan(p, device.capabilities(), device.access(), &one.tile);
            ASSERT_EQ(plans.size(), 1u);
            EXPECT_EQ(plans[0].kernel, one.kernel);
        }
        Tile none = all[0].tile;
        none.rows = 77;
        const auto plans = detail::plan(p, device.capabilities(), device.access(), &none);
        ASSERT_EQ(plans.size(), 1u);
        EXPECT_EQ(plans[0].kernel, rules[0].kernel);
    }
}

std::vector<kernels::Kernel> kernels_of(const Device& device, const Tensor& x, const Tensor& w) {
    KernelList list(device);
    static_cast<void>(matmul(list, x, w));
    return list.kernels;
}

TEST(TunedPlan, RecordingObeysTheTableInUse) {
    const Device device = tuned_device();
    const Tensor x(device, DataType::f32, {60, 64}), w(device, DataType::f32, {50, 64});
    const MultiplyProblem p = plain_problem(60, 50, 64);
    const auto by_rules = kernels_of(device, x, w);
    const auto all = detail::candidates(p, device.capabilities(), device.access());
    const MultiplyPlan& other = all.back();
    ASSERT_EQ(by_rules.size(), 1u);
    ASSERT_NE(other.kernel, by_rules[0]);

    ProgramRecorder recorder(device);
    static_cast<void>(matmul(recorder, x, w));
    const Program program(std::move(recorder));

    use_tuning(device, table_of(device, p, {other.tile, false}));
    EXPECT_EQ(tuning_in_use(device).size(), 1u);
    EXPECT_EQ(kernels_of(device, x, w), std::vector{other.kernel});
    KernelList kept(device);
    program.emit(kept);
    EXPECT_EQ(kept.kernels, by_rules) << "a program keeps its plans";

    Tile none = other.tile;
    none.lanes = 3;
    use_tuning(device, table_of(device, p, {none, false}));
    EXPECT_EQ(kernels_of(device, x, w), by_rules);
    use_tuning(device, table_of(device, plain_problem(60, 50, 65), {other.tile, false}));
    EXPECT_EQ(kernels_of(device, x, w), by_rules) << "another problem";
    use_tuning(device, {});
    EXPECT_EQ(tuning_in_use(device), TuningTable());
    EXPECT_EQ(kernels_of(device, x, w), by_rules);
}

TEST(TunedPlan, PackingIsAChoiceToo) {
    const Device device = tuned_device();
    const Tensor x(device, DataType::f32, {60, 64}), w(device, DataType::f32, {50, 64});
    const auto p = plain_problem(60, 50, 64);
    const auto layout = detail::pack_layout(device.capabilities(), DataType::f32, 50, 64);
    const Tensor data(device, DataType::f32, {layout.elements(50, 64)});
    const auto packed =
        detail::candidates(detail::with_packed(p, data, layout), device.capabilities(), device.access());
    const Tensor xs(device, DataType::f32, {3, 60, 64}), ws(device, DataType::f32, {3, 50, 64});
    const auto by_rules = kernels_of(device, xs, ws);
    use_tuning(device, table_of(device, p, {packed.back().tile, true}));
    const auto kernels = kernels_of(device, x, w);
    ASSERT_EQ(kernels.size(), 2u);
    EXPECT_EQ(kernels[0].module, kernels::Pack().kernel().module);
    EXPECT_EQ(kernels[1], packed.back().kernel);

    // A weight for each member of a batch is never packed: the same key, but rules.
    auto batch = p;
    batch.outer = 3;
    use_tuning(device, table_of(device, batch, {packed.back().tile, true}));
    EXPECT_EQ(kernels_of(device, xs, ws), by_rules);
}

TEST(Tune, FindsAWayThatComputesTheSame) {
    const Device device = tuned_device();
    const Tensor x(device, DataType::f32, {5, 33}), w(device, DataType::f32, {7, 33});
    const Tensor xh(device, DataType::f16, {4, 16}), yh(device, DataType::f16, {4, 8});
    const Sparse24 a(device, DataType::f16, {8, 16});
    const BlockDiagonal blocks{Tensor(device, DataType::f32, {3, 2, 11})};
    const auto record = [&](Recorder& r) {
        static_cast<void>(matmul(r, x, w));
        static_cast<void>(matmul(r, x, w));
        static_cast<void>(matmul(r, x, blocks));
        static_cast<void>(matmul(r, x, pack(r, w)));
        static_cast<void>(matmul_transposed(r, yh, a));
        Epilogue epilogue;
        epilogue.accumulate = true;
        matmul_into(r, yh, xh, a, epilogue);
    };
    const std::uint64_t before = device.allocated_bytes();
    std::size_t reported = 0;
    TuneOptions options;
    options.rounds = 5;
    options.on_problem = [&](const TunedProblem&) { ++reported; };
    const TuneResult result = tune(device, record, options);
    EXPECT_EQ(device.allocated_bytes(), before);
    EXPECT_EQ(result.problems.size(), 5u);
    EXPECT_EQ(reported, 5u);
    EXPECT_EQ(result.table.size(), 5u);
    EXPECT_EQ(tuning_in_use(device), result.table);
    for (const TunedProblem& one : result.problems) {
        EXPECT_EQ(one.skipped, "") << one.problem;
        EXPECT_GE(one.candidates, 1u) << one.problem;
        EXPECT_EQ(one.refused, 0u) << one.problem;
    }
    for (const auto& [key, entry] : result.table.data()->entries) {
        EXPECT_GE(entry.measured[entry.chosen].nanoseconds.size(), 5u);
        EXPECT_EQ(entry.rules, 0u);
    }
    const TuneResult again = tune(device, record, options);
    EXPECT_EQ(again.table, result.table);
    for (const TunedProblem& one : again.problems) EXPECT_NE(one.skipped, "") << one.problem;

    Stream stream(device);
    EXPECT_EQ(test::mismatch(stream, {.m = 5, .n = 7, .k = 33}), "");
    options.rounds = 4;
    test::expect_error(ErrorKind::invalid_argument, {"rounds 4", "5"},
                       [&] { static_cast<void>(tune(device, record, options)); });
}

TEST(Tune, NeedsNoTimestamps) {
    const Device device = test::capped_device([](Capabilities& caps) { caps.timestamp_bits = 0; });
    const Tensor x(device, DataType::f32, {5, 9}), w(device, DataType::f32, {7, 9});
    const auto result = tune(device, [&](Recorder& r) { static_cast<void>(matmul(r, x, w)); });
    EXPECT_EQ(result.table.size(), 1u);
}

TEST(TuningThreads, RecordingWhileTablesChange) {
    const Device device = tuned_device();
    const MultiplyProblem p = plain_problem(20, 24, 16);
    std::vector<TuningTable> tables{{}};
    for (const MultiplyPlan& one : detail::candidates(p, device.capabilities(), device.access()))
        if (tables.size() < 4) tables.push_back(table_of(device, p, {one.tile, false}));
    std::atomic<int> running{3};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < 3; ++i)
        threads.emplace_back([&, i] {
            Stream stream(device);
            for (unsigned turn = 0; turn < 12; ++turn)
                if (!test::mismatch(stream, {.m = 20, .n = 24, .k = 16, .seed = 16 * i + turn}).empty())
                    ++wrong;
            --running;
        });
    for (std::size_t turn = 0; running > 0; ++turn) use_tuning(device, tables[turn % tables.size()]);
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, 0);
}

TEST(TuningThreads, TwoTunersLoseNothing) {
    const Device device = tuned_device();
    std::vector<std::thread> threads;
    for (const std::uint64_t n : {3u, 9u})
        threads.emplace_back([&device, n] {
            const Tensor x(device, DataType::f32, {2, 4}), w(device, DataType::f32, {n, 4});
            static_cast<void>(tune(device, [&](Recorder& r) { static_cast<void>(matmul(r, x, w)); }));
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(tuning_in_use(device).size(), 2u);
}

}  // namespace
}  // namespace danaus
