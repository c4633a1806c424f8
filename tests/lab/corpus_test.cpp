// The kernels that the laboratory compiles: all of the table, few, always the same, and every pair of
// constants.
#include "corpus.hpp"

#include "multiply.hpp"
#include "support/device.hpp"

#include <algorithm>
#include <random>
#include <set>
#include <stdexcept>
#include <unordered_set>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using detail::MatrixView;
using detail::MultiplyProblem;
using lab::Kernels;

// A graphics card's limits on whatever device the tests have.
void as_gpu(Capabilities& caps) {
    caps.type = DeviceType::discrete;
    caps.max_workgroup_invocations = std::min(caps.max_workgroup_invocations, 256u);
}
// About the least that Vulkan promises.
void as_phone(Capabilities& caps) {
    caps.type = DeviceType::integrated;
    caps.max_workgroup_invocations = caps.max_workgroup_size[0] = caps.max_workgroup_size[1] = 128;
    caps.max_storage_range = std::min<std::uint64_t>(caps.max_storage_range, 1u << 27);
    caps.max_workgroup_count = {65535, 65535, 65535};
}
// Too little for some modules.
void as_toy(Capabilities& caps) {
    caps.max_workgroup_invocations = caps.max_workgroup_size[0] = 16;
}

// All combinations of sizes and layouts take a minute on each device and know no other pair of constants
// (they were compared on lavapipe and with the limits of a GPU and of a phone);
// KnowsThePairsOfRandomMultiplies draws others.
constexpr std::uint64_t sample = 32;

// A device and what is chosen on it.
struct Chosen {
    explicit Chosen(const Device& on)
        : device(on), kernels(lab::multiply_kernels(on.capabilities(), on.access(), sample)) {
        const Kernels others = lab::operation_kernels(on);
        kernels.insert(kernels.end(), others.begin(), others.end());
        corpus = of(kernels);
    }
    [[nodiscard]] lab::Corpus of(const Kernels& list) const {
        return lab::corpus_of(list, device.capabilities(), device.access(), 2);
    }
    Device device;
    Kernels kernels;
    lab::Corpus corpus;
};

class Corpus : public ::testing::Test {
protected:
    static void SetUpTestSuite() {
        for (const Device& device :
             {test::device(), test::capped_device(as_gpu), test::capped_device(as_phone)})
            chosen.emplace_back(device);
    }
    static void TearDownTestSuite() { chosen.clear(); }
    static inline std::vector<Chosen> chosen;
};

std::set<kernels::Module> modules_of(const Kernels& list) {
    std::set<kernels::Module> modules;
    for (const auto& kernel : list) modules.insert(kernel.module);
    return modules;
}

// Module, two places and the values there.
using Pair = std::array<std::uint32_t, 5>;
struct Hash {
    std::size_t operator()(const Pair& pair) const {
        std::uint64_t hash = 0;
        for (const std::uint32_t word : pair) hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        return hash ^ hash >> 32;
    }
};
using Pairs = std::unordered_set<Pair, Hash>;
void insert_pairs(Pairs& pairs, const kernels::Kernel& kernel) {
    for (std::uint32_t i = 0; i < kernel.count; ++i)
        for (std::uint32_t j = 0; j < i; ++j)
            pairs.insert(
                {static_cast<std::uint32_t>(kernel.module), i, j, kernel.constants[i], kernel.constants[j]});
}
Pairs pairs_of(const Kernels& list) {
    Pairs pairs;
    for (const auto& kernel : list) insert_pairs(pairs, kernel);
    return pairs;
}

TEST_F(Corpus, HoldsEveryModuleOfTheTableInFewKernels) {
    for (const Chosen& choice : chosen) {
        const lab::Corpus& corpus = choice.corpus;
        for (const std::string& text : corpus.unusable)
            EXPECT_NE(text.find("_coopmat"), std::string::npos) << text;
        EXPECT_EQ(modules_of(corpus.kernels).size() + corpus.unusable.size(), kernels::module_count);
        EXPECT_LE(corpus.kernels.size(), lab::most_kernels);
        EXPECT_GT(corpus.chosen, corpus.kernels.size());
        std::set<std::string> names;
        for (const auto& kernel : corpus.kernels) {
            EXPECT_EQ(kernels::check(kernel), "");
            names.insert(lab::short_name(kernel));
        }
        EXPECT_EQ(names.size(), corpus.kernels.size());
    }
}

TEST_F(Corpus, LeavesOutWhatADeviceCannotRunAndSaysSo) {
    const lab::Corpus corpus = lab::corpus(test::capped_device(as_toy), 2, sample);
    EXPECT_FALSE(corpus.unusable.empty());
    EXPECT_EQ(modules_of(corpus.kernels).size() + corpus.unusable.size(), kernels::module_count);
    for (const std::string& text : corpus.unusable)
        EXPECT_TRUE(text.find("max_workgroup_invocations") != std::string::npos ||
                    text.find("_coopmat") != std::string::npos)
            << text;
}

TEST_F(Corpus, CoversEveryPairThatAPlanChooses) {
    for (const Chosen& choice : chosen) {
        const lab::Corpus& corpus = choice.corpus;
        EXPECT_EQ(pairs_of(choice.kernels), pairs_of(corpus.kernels));
        std::set<std::string> all;
        for (const auto& kernel : choice.kernels) all.insert(lab::short_name(kernel));
        for (const auto& kernel : corpus.kernels) EXPECT_TRUE(all.count(lab::short_name(kernel)));
    }
}

TEST_F(Corpus, IsTheSameEveryTime) {
    const lab::Corpus once = lab::corpus(chosen[0].device, 2, sample);
    Kernels shuffled = chosen[0].kernels;
    shuffled.insert(shuffled.end(), shuffled.begin(), shuffled.begin() + 100);
    std::shuffle(shuffled.begin(), shuffled.end(), std::mt19937(7));
    const lab::Corpus again = chosen[0].of(shuffled);
    for (const lab::Corpus* one : {&once, &again}) {
        EXPECT_EQ(one->chosen, chosen[0].corpus.chosen);
        EXPECT_TRUE(one->kernels == chosen[0].corpus.kernels);
    }
}

TEST_F(Corpus, NamesAModuleThatNothingReaches) {
    Kernels some = chosen[0].kernels;
    std::erase_if(some, [](const auto& kernel) { return kernel.module == kernels::Module::gather; });
    try {
        static_cast<void>(chosen[0].of(some));
        FAIL() << "a module without kernels went unnoticed";
    } catch (const std::logic_error& error) {
        EXPECT_NE(std::string(error.what()).find("module gather"), std::string::npos) << error.what();
    }
}

TEST_F(Corpus, NamesAChoiceThatTheTableDoesNotAdmit) {
    Kernels more = chosen[0].kernels;
    kernels::Fill wrong;
    wrong.local_size = 63;
    more.push_back(wrong.kernel());
    EXPECT_THROW(static_cast<void>(chosen[0].of(more)), std::logic_error);
}

TEST(Covering, KeepsCombinationsOfEveryStrength) {
    Kernels all;  // 3 × 2 × 2 × 2 × 2 choices
    for (std::uint32_t i = 0; i < 48; ++i)
        all.push_back({kernels::Module::copy, 5, {i % 3, i / 3 % 2, i / 6 % 2, i / 12 % 2, i / 24}});
    const std::size_t least[] = {3, 6, 12, 24, 48};
    for (unsigned strength = 1; strength <= 5; ++strength) {
        const Kernels some = lab::covering(all, strength);
        EXPECT_GE(some.size(), least[strength - 1]);
        EXPECT_LE(some.size(), std::min<std::size_t>(48, 2 * least[strength - 1])) << strength;
    }
    EXPECT_EQ(pairs_of(lab::covering(all, 2)), pairs_of(all));
    EXPECT_TRUE(lab::covering({}, 2).empty());
}

MatrixView random_view(std::mt19937& random, DataType type, std::uint64_t rows, std::uint64_t columns) {
    const auto draw = [&](std::uint64_t most) { return std::uint64_t{random()} % (most + 1); };
    MatrixView view;
    view.type = type;
    view.offset = draw(3);
    const std::uint64_t inner = 1 + (draw(7) == 0 ? draw(2) : 0);
    const bool turned = draw(2) == 0;
    const std::uint64_t pitch = (turned ? rows : columns) * inner + draw(2);
    view.row = turned ? inner : pitch;
    view.column = turned ? pitch : inner;
    view.outer = pitch * (turned ? columns : rows) + draw(2);
    view.inner = view.outer * 3 + draw(2);
    return view;
}

// The enumeration of features knows of no pair less than multiplies drawn at random do.
TEST_F(Corpus, KnowsThePairsOfRandomMultiplies) {
    constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
    std::mt19937 random(20240131);
    const auto draw = [&](std::uint64_t most) { return std::uint64_t{random()} % (most + 1); };
    const auto size = [&] { return 1 + draw((1ull << draw(12)) - 1); };
    for (const Chosen& choice : chosen) {
        const Capabilities& caps = choice.device.capabilities();
        const Access access = choice.device.access();
        const Pairs known = pairs_of(choice.kernels);
        for (int i = 0; i < 20000; ++i) {
            MultiplyProblem p;
            p.m = size();
            p.n = draw(2) ? size() : 64 * (1 + draw(7));
            p.k = size();
            p.outer = draw(3) ? 1 : 2;
            p.inner = draw(3) ? 1 : 3;
            const DataType type = types[draw(2)];
            p.a = random_view(random, type, p.m, p.k);
            p.c = random_view(random, draw(1) ? type : DataType::f32, p.m, p.n);
            p.contract_columns = draw(1) == 1;
            if (draw(3) == 0) {
                p.weight = kernels::MatmulDirect::Weight::sparse24;
                const std::uint64_t values = 2 * detail::divide_up(p.contract_columns ? p.k : p.n, 4);
                p.b = {{}, type, 0, 0, 0, 0, 0};
                (p.contract_columns ? p.b.column : p.b.row) = values;
                p.metadata_word = (p.contract_columns ? p.n : p.k) * values;
            } else {
                p.b = random_view(random, type, p.k, p.n);
            }
            p.has_bias = draw(1) == 1;
            if (p.has_bias) p.bias = {{}, draw(1) ? type : DataType::f32, 0, 0, 1, 0, 0};
            p.has_residual = draw(1) == 1;
            p.residual = p.c;
            p.residual.offset += draw(1);
            p.has_aux = draw(1) == 1;
            p.aux = p.c;
            p.aux.offset += draw(1);
            p.activation = static_cast<Activation>(draw(3));
            Pairs pairs;
            try {
                for (const auto& piece : detail::plan(p, caps, access)) insert_pairs(pairs, piece.kernel);
            } catch (const Error& error) {
                ASSERT_EQ(static_cast<int>(error.kind()), static_cast<int>(ErrorKind::unsupported));
            }
            for (const Pair& pair : pairs)
                ASSERT_TRUE(known.count(pair))
                    << "constants " << pair[1] << " = " << pair[3] << " and " << pair[2] << " = " << pair[4]
                    << " occur together at m = " << p.m << ", n = " << p.n << ", k = " << p.k;
        }
    }
}

}  // namespace
}  // namespace danaus
