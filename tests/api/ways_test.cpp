// Every kernel family against the oracle, whatever the rules would choose.
#include "ways.hpp"

#include "epilogue_case.hpp"
#include "reference/transposable.hpp"

#include <danaus/runtime/kernel_support.hpp>

#include <algorithm>
#include <limits>
#include <utility>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::draw;
using test::EpilogueCase;
using test::EpilogueChoice;
using test::MatmulCase;
using test::Placed;
using test::Verb;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::gelu,
                                      Activation::gelu_erf};

// Empty, or what the first of some ways to compute `one` gets wrong.
std::string mismatch_of_ways(Stream& stream, const MatmulCase& one) {
    std::size_t count = 1;
    for (std::size_t i = 0; i < count; ++i) {
        std::string name;
        const std::string text =
            mismatch(stream, one, [&](const Tensor& out, const Tensor& a, const Tensor& b) {
                const auto ways = test::some_ways(test::problem_of(one.verb, out, a, b), one.seed);
                count = ways.size();
                name = test::name_of(ways[i]);
                detail::record(stream, ways[i]);
            });
        if (!text.empty()) return name + ": " + text;
    }
    return {};
}

MatmulCase draw_case() {
    MatmulCase one;
    one.verb = static_cast<Verb>(draw(0, 2));
    one.m = draw(0, 1) ? draw(1, 17) : draw(1, 70);
    one.n = draw(1, 70);
    one.k = draw(0, 3) ? draw(1, 150) : draw(1, 2100);
    one.batch = draw(0, 2);
    one.batched_a = draw(0, 1) == 1;
    one.batched_b = draw(0, 1) == 1;
    one.type = types[draw(0, 2)];
    one.widen = draw(0, 1) == 1;
    // Half of the operands lie as wide loads want them.
    if (draw(0, 1)) one.a = test::draw_layout();
    if (draw(0, 1)) one.b = test::draw_layout();
    if (draw(0, 1)) one.c = test::draw_layout();
    if (draw(0, 1)) one.k = (one.k + 7) / 8 * 8;
    one.whole = true;
    one.seed = static_cast<unsigned>(draw(1, 1000));
    return one;
}

TEST(Ways, RandomProductsComeOutBitForBit) {
    Stream stream(device());
    test::property(8, [&] {
        const MatmulCase one = draw_case();
        RC_ASSERT(mismatch_of_ways(stream, one) == "");
    });
}

TEST(Ways, FewTokensOfEveryDepth) {
    constexpr std::size_t depths[] = {1, 7, 32, 33, 64, 130, 521, 1030};
    Stream stream(device());
    for (const DataType type : types)
        for (std::size_t i = 0; i < std::size(depths); ++i) {
            // One and more rows of every depth, and of every type.
            const std::size_t m = (i + static_cast<std::size_t>(type)) % 2 ? 1 : 5;
            EXPECT_EQ(
                mismatch_of_ways(stream, {.m = m, .n = 11, .k = depths[i], .type = type, .whole = true}), "");
        }
}

TEST(Ways, LongSumsStayWithinTheBound) {
    Stream stream(device());
    for (const DataType type : types)
        for (const Verb verb : {Verb::forward, Verb::transposed})
            EXPECT_EQ(mismatch_of_ways(stream, {.verb = verb, .m = 3, .n = 40, .k = 5003, .type = type}), "");
}

// Several blocks of every size, whole and cut off, loaded by runs along k, along the other dimension, and by
// elements. A `share` of 3 takes every third one in turn, where each takes seconds to compile.
void expect_blocks(detail::Family family, std::initializer_list<DataType> served, std::size_t share = 1) {
    Stream stream(device());
    std::size_t turn = 0;
    for (const DataType type : served)
        for (const Verb verb : {Verb::forward, Verb::gradient})
            for (const MatmulCase& size :
                 {MatmulCase{.m = 256, .n = 128, .k = 48}, MatmulCase{.m = 130, .n = 70, .k = 37}}) {
                MatmulCase one = size;
                one.verb = verb;
                one.type = type;
                one.whole = true;
                one.widen = verb == Verb::gradient;
                std::size_t count = share;
                for (std::size_t i = turn++ % share; i < count; i += share) {
                    std::string name;
                    const std::string text =
                        mismatch(stream, one, [&](const Tensor& out, const Tensor& a, const Tensor& b) {
                            const auto ways = test::ways_of(family, test::problem_of(verb, out, a, b));
                            count = ways.size();
                            ASSERT_GT(count, 0u);
                            name = test::name_of(ways[i]);
                            detail::record(stream, ways[i]);
                        });
                    EXPECT_EQ(text, "") << name;
                }
            }
}

TEST(Ways, BlocksInSharedMemory) {
    expect_blocks(detail::Family::shared, {DataType::f32, DataType::f16});
}

TEST(Ways, BlocksOfMatrixUnits) {
    bool any = false;
    for (const auto& [type, element] : {std::pair{DataType::f16, kernels::MatmulCoopmat::Element::f16},
                                        {DataType::bf16, kernels::MatmulCoopmat::Element::bf16}}) {
        kernels::MatmulCoopmat kernel;
        kernel.element = element;
        if (!unusable_reason(kernel.kernel(), device().capabilities(), device().access()).empty()) continue;
        any = true;
        expect_blocks(detail::Family::coopmat, {type}, 3);
    }
    if (!any) GTEST_SKIP() << "no cooperative matrices on this device, or none in this build";
}

EpilogueChoice draw_choice() {
    EpilogueChoice choice;
    choice.type = types[draw(0, 2)];
    choice.widen = draw(0, 1) == 1;
    choice.bias = static_cast<EpilogueChoice::Bias>(draw(0, 2));
    choice.activation = activations[draw(0, 3)];
    constexpr EpilogueChoice::Residual residuals[] = {
        EpilogueChoice::Residual::none, EpilogueChoice::Residual::same_layout,
        EpilogueChoice::Residual::in_place, EpilogueChoice::Residual::accumulate};
    choice.residual = residuals[draw(0, 3)];
    choice.aux = draw(0, 1) == 1;
    choice.scale = draw(0, 1) ? 1.0f : -0.75f;
    choice.feature_major = draw(0, 1) == 1;
    choice.skew = static_cast<unsigned>(draw(0, 1));
    return choice;
}

// Every way to compute x·Wᵀ with an epilogue; `problem` makes it for a result.
template <typename Problem>
std::string mismatch_of_epilogues(Stream& stream, const EpilogueChoice& choice, const Matrix& sum,
                                  const Matrix& bound, unsigned seed, const Problem& problem) {
    std::size_t count = 1;
    for (std::size_t i = 0; i < count; ++i) {
        const EpilogueCase one(stream, choice, sum.rows, sum.cols);
        detail::MultiplyProblem p = problem(one.out());
        static_cast<void>(detail::set_epilogue(p, one.epilogue(), one.out(), 1, 0));
        const auto ways = test::some_ways(p, seed);
        count = ways.size();
        detail::record(stream, ways[i]);
        const std::string text = one.mismatch(stream, sum, bound);
        if (!text.empty()) return test::name_of(ways[i]) + ": " + text;
    }
    return {};
}

TEST(Ways, Epilogues) {
    Stream stream(device());
    test::property(8, [&] {
        const EpilogueChoice choice = draw_choice();
        const std::size_t m = draw(1, 20), n = draw(1, 50), k = draw(1, 100);
        const auto x = test::random_values(m * k, 1, choice.type),
                   w = test::random_values(n * k, 2, choice.type);
        const Placed tx(stream, choice.type, {m, k}, {}, x), tw(stream, choice.type, {n, k}, {}, w);
        const Matrix rx(m, k, x), rw(n, k, w), sum = reference::matmul(rx, rw);
        const Matrix bound = reference::dot_bound(k, {}, reference::absolute_product(rx, rw), sum);
        RC_ASSERT(mismatch_of_epilogues(
                      stream, choice, sum, bound, static_cast<unsigned>(draw(0, 999)),
                      [&](const Tensor& out) { return test::problem_of(Verb::forward, out, tx, tw); }) == "");
    });
}

// A compressed weight of either form, and what it stands for.
struct Compressed {
    detail::Stored24 stored;
    Matrix dense;
};

Compressed compressed(Stream& stream, const Tensor& w, const Matrix& dense, bool tiles) {
    if (tiles)
        return {compress_transposable(stream, w),
                reference::apply_mask(dense, reference::select_transposable_mask(dense))};
    return {compress_by_magnitude(stream, w), reference::apply_mask(dense, reference::select_mask(dense))};
}

void expect_compressed_with_epilogues(bool tiles) {
    Stream stream(device());
    test::property(8, [&] {
        const EpilogueChoice choice = draw_choice();
        const bool transpose = draw(0, 3) == 3;
        const std::size_t m = draw(1, 20), n = draw(1, 40), k = draw(0, 3) ? draw(1, 140) : draw(1, 1100);
        const std::size_t rows = transpose ? k : n, columns = transpose ? n : k;
        const auto x = test::random_values(m * k, 1, choice.type),
                   w = test::random_values(rows * columns, 2, choice.type);
        const Placed tx(stream, choice.type, {m, k}, {.skew = draw(0, 1)}, x),
            tw(stream, choice.type, {rows, columns}, {}, w);
        const auto [a, rw] = compressed(stream, tw, Matrix(rows, columns, w), tiles);
        const Matrix rx(m, k, x);
        const auto product = [&](const Matrix& left, const Matrix& right) {
            return transpose ? reference::matmul_transposed(left, right) : reference::matmul(left, right);
        };
        const Matrix sum = product(rx, rw);
        const Matrix bound =
            reference::dot_bound(k + 1, {}, product(reference::absolute(rx), reference::absolute(rw)), sum);
        RC_ASSERT(mismatch_of_epilogues(stream, choice, sum, bound, static_cast<unsigned>(draw(0, 999)),
                                        [&, &form = a](const Tensor& out) {
                                            return test::problem_of(out, tx, form, transpose);
                                        }) == "");
    });
}

TEST(Ways, Sparse24WithEpilogues) {
    expect_compressed_with_epilogues(false);
}

TEST(Ways, TileSparse24WithEpilogues) {
    expect_compressed_with_epilogues(true);
}

void expect_compressed_batches(bool tiles) {
    Stream stream(device());
    for (const DataType type : types)
        for (const std::size_t k : {37u, 64u, 256u}) {
            const std::size_t blocks = 3, m = 2, n = 10;
            const auto x = test::random_values(blocks * m * k, 1, type),
                       w = test::random_values(blocks * n * k, 2, type);
            const Placed tx(stream, type, {blocks, m, k}, {}, x), tw(stream, type, {blocks, n, k}, {}, w);
            const detail::Stored24 a = tiles ? detail::Stored24(compress_transposable(stream, tw))
                                             : detail::Stored24(compress_by_magnitude(stream, tw));
            std::size_t count = 1;
            for (std::size_t i = 0; i < count; ++i) {
                const Placed out(stream, DataType::f32, {blocks, m, n});
                const auto ways = test::some_ways(test::problem_of(out, tx, a), 5);
                count = ways.size();
                detail::record(stream, ways[i]);
                const std::vector<float> got = out.values(stream);
                for (std::size_t b = 0; b < blocks; ++b) {
                    const auto part = [&](const std::vector<float>& all, std::size_t size) {
                        return std::span<const float>(all).subspan(b * size, size);
                    };
                    const Matrix rx(m, k, part(x, m * k)), dense(n, k, part(w, n * k));
                    const Matrix rw =
                        reference::apply_mask(dense, tiles ? reference::select_transposable_mask(dense)
                                                           : reference::select_mask(dense));
                    const Matrix sum = reference::matmul(rx, rw);
                    EXPECT_EQ(reference::first_mismatch(
                                  part(got, m * n), sum,
                                  reference::dot_bound(k + 1, {}, reference::absolute_product(rx, rw), sum)),
                              "")
                        << test::name_of(ways[i]) << ", block " << b;
                }
            }
        }
}

TEST(Ways, Sparse24Batches) {
    expect_compressed_batches(false);
}

TEST(Ways, TileSparse24Batches) {
    expect_compressed_batches(true);
}

// What lies in memory behind a sum's last term, or in a clamped neighbour, is not in the sum.
TEST(Ways, InfinityBesideTheSumStaysOutside) {
    Stream stream(device());
    const float inf = std::numeric_limits<float>::infinity();
    for (const DataType type : types) {
        // The sum's terms are zero but for an infinite one, each in its own place.
        const std::size_t k = 37, n = 5;
        std::vector<float> x(k, 1.0f), w(n * k, 0.0f);
        w[2 * k + k - 1] = inf;
        const Placed tx(stream, type, {1, k}, {}, x), tw(stream, type, {n, k}, {}, w);
        std::size_t count = 1;
        for (std::size_t i = 0; i < count; ++i) {
            const Placed out(stream, DataType::f32, {1, n});
            const auto ways = test::some_ways(test::problem_of(Verb::forward, out, tx, tw), 1);
            count = ways.size();
            detail::record(stream, ways[i]);
            EXPECT_EQ(out.values(stream), (std::vector<float>{0, 0, inf, 0, 0})) << test::name_of(ways[i]);
        }
    }
}

}  // namespace
}  // namespace danaus
