// N:M and transposable masks, bit for bit against the oracle; flips; what verification finds.
#include "support/masks.hpp"

#include "reference/transposable.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Mask;
using reference::Matrix;
using test::device;
using test::draw;
using test::expect_error;
using test::Placed;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
constexpr TransposableSearch searches[] = {TransposableSearch::exact, TransposableSearch::greedy,
                                           TransposableSearch::two_approximation};
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

std::vector<float> mixed_values(std::size_t count, DataType type, unsigned seed) {
    return test::mixed_values(count, test::float_type(type), seed);
}

// The oracle's masks of a batch, block after block.
template <typename Select>
std::vector<std::uint32_t> expected_bits(const Shape& shape, const std::vector<float>& values,
                                         const Select& select) {
    const std::size_t r = shape.rank(), rows = shape[r - 2], cols = shape[r - 1];
    std::vector<std::uint32_t> all;
    for (std::size_t b = 0; b < (r == 3 ? shape[0] : 1); ++b) {
        const Matrix w(rows, cols, std::span<const float>(values).subspan(b * rows * cols, rows * cols));
        const std::vector<std::uint32_t> bits = test::packed(select(w));
        all.insert(all.end(), bits.begin(), bits.end());
    }
    return all;
}

// A mask in the middle of sentinels, its words any distance apart.
class GuardedMask {
public:
    GuardedMask(Stream& stream, const Shape& shape) {
        Shape wide = mask_shape(shape);
        wide[wide.rank() - 1] += 2;
        all_ = upload(stream, std::vector<std::uint32_t>(wide.elements(), sentinel), wide);
        mask_ = all_.slice(wide.rank() - 1, 1, wide[wide.rank() - 1] - 1);
    }
    [[nodiscard]] const Tensor& get() const { return mask_; }
    [[nodiscard]] std::string difference(Stream& stream, const std::vector<std::uint32_t>& expected) const {
        const std::vector<std::uint32_t> around = download_u32(stream, all_);
        const std::size_t width = all_.size(all_.rank() - 1);
        std::vector<std::uint32_t> words;
        for (std::size_t i = 0; i < around.size(); ++i) {
            const bool inside = i % width != 0 && i % width != width - 1;
            if (inside) words.push_back(around[i]);
            if (!inside && around[i] != sentinel) return "a word beside the mask was overwritten";
        }
        return words == expected ? "" : "the mask differs";
    }

private:
    static constexpr std::uint32_t sentinel = 0xdeadbeef;
    Tensor all_, mask_;
};

reference::TransposableSearch oracle_search(TransposableSearch search) {
    return static_cast<reference::TransposableSearch>(search);
}

std::string transposable_difference(Stream& stream, DataType type, const Shape& shape,
                                    TransposableSearch search, const test::Layout& layout, unsigned seed) {
    const std::vector<float> values = mixed_values(shape.elements(), type, seed);
    const Placed w(stream, type, shape, layout, values);
    const GuardedMask mask(stream, shape);
    select_transposable_mask_into(stream, mask.get(), w, search);
    if (search == TransposableSearch::exact)
        verify_transposable_mask(stream, contiguous(stream, mask.get()), shape[shape.rank() - 1]);
    return mask.difference(stream, expected_bits(shape, values, [&](const Matrix& m) {
                               return reference::select_transposable_mask(m, oracle_search(search));
                           }));
}

TEST(Masks, TransposableOnesAgreeWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : types)
        for (const TransposableSearch search : searches)
            for (const Shape& shape : {Shape{1, 1}, Shape{4, 4}, Shape{3, 2}, Shape{5, 33}, Shape{6, 31},
                                       Shape{7, 66}, Shape{8, 64}, Shape{2, 9, 40}, Shape{3, 16, 96}})
                EXPECT_EQ(transposable_difference(stream, type, shape, search, {}, ++seed), "")
                    << to_string(shape) << " " << to_string(type) << ", search " << static_cast<int>(search);
}

TEST(Masks, TransposableOnesAgreeWithTheOracleForDrawnShapes) {
    Stream stream(device());
    test::property(60, [&] {
        const std::uint64_t blocks = draw(0, 3), rows = draw(1, 40), cols = draw(1, 140);
        const Shape shape = blocks ? Shape{blocks, rows, cols} : Shape{rows, cols};
        const DataType type = types[draw(0, 2)];
        const TransposableSearch search = searches[draw(0, 2)];
        RC_ASSERT(transposable_difference(stream, type, shape, search, test::draw_layout(),
                                          static_cast<unsigned>(draw(0, 1000000))) == "");
    });
}

// Thousands of tiles of every kind that section 2 of the formulas names; no tile depends on its neighbours.
TEST(Masks, TransposableOnesAreTheBestOf90) {
    EXPECT_EQ(reference::transposable_patterns().size(), 90u);
    Stream stream(device());
    constexpr std::size_t rows = 128, cols = 512;
    std::mt19937 engine(3);
    std::normal_distribution<float> normal;
    const auto fill = [&](const auto& make) {
        std::vector<float> values(rows * cols);
        for (float& value : values) value = make();
        return values;
    };
    const std::vector<std::vector<float>> kinds{
        fill([&] { return normal(engine); }),
        fill([&] { return static_cast<float>(static_cast<int>(engine() % 3) - 1); }),
        fill([&] { return static_cast<float>(engine() % 2); }),
        fill([&] { return engine() % 4 == 0 ? -0.0f : 0.0f; }),
        fill([&] { return std::ldexp(normal(engine), static_cast<int>(engine() % 60) - 30); }),
        fill([&] { return std::ldexp(1.0f, -static_cast<int>(engine() % 40)); }),
        fill([&] {
            return std::bit_cast<float>(static_cast<std::uint32_t>(engine() % 0x1000000));
        }),                                                                                // denormal
        fill([&] { return std::bit_cast<float>(static_cast<std::uint32_t>(engine())); }),  // NaN, infinities
    };
    for (std::size_t i = 0; i < kinds.size(); ++i) {
        const Mask oracle = reference::select_transposable_mask(Matrix(rows, cols, kinds[i]));
        const Tensor w = upload(stream, kinds[i], {rows, cols});
        EXPECT_EQ(download_u32(stream, select_transposable_mask(stream, w)), test::packed(oracle)) << i;
    }
}

// Where the best pattern is the only one, the mask of the transpose is the transposed mask.
TEST(Masks, TransposingWeightsTransposesMasks) {
    Stream stream(device());
    constexpr std::size_t n = 64;
    std::mt19937 engine(11);
    std::normal_distribution<float> normal;
    std::vector<float> values(n * n);
    for (float& value : values) value = normal(engine);
    const Tensor w = upload(stream, values, {n, n});
    const Tensor masked = apply_mask(stream, w, select_transposable_mask(stream, w));
    const Tensor other = apply_mask(stream, w.transpose(), select_transposable_mask(stream, w.transpose()));
    std::size_t unique = 0;
    const std::vector<float> a = download(stream, masked), b = download(stream, other.transpose());
    for (std::size_t tile = 0; tile < n * n / 16; ++tile) {
        const auto at = [&](std::size_t i) {
            return (tile / (n / 4) * 4 + i / 4) * n + tile % (n / 4) * 4 + i % 4;
        };
        reference::Tile entries;
        for (std::size_t i = 0; i < 16; ++i) entries[i] = values[at(i)];
        const auto units = reference::tile_units(entries);
        const auto score = [&](std::uint32_t pattern) {
            std::uint64_t sum = 0;
            for (std::size_t i = 0; i < 16; ++i) sum += (pattern >> i & 1u) != 0 ? units[i] : 0;
            return sum;
        };
        const std::uint64_t best = score(reference::best_pattern(entries));
        const auto& all = reference::transposable_patterns();
        if (std::count_if(all.begin(), all.end(), [&](std::uint32_t p) { return score(p) == best; }) != 1)
            continue;
        ++unique;
        for (std::size_t i = 0; i < 16; ++i) ASSERT_EQ(a[at(i)], b[at(i)]) << tile << ", " << i;
    }
    EXPECT_GT(unique, n * n / 16 - 4);
    // Both ways it is 2:4 along rows.
    for (const Tensor& t : {w, w.transpose()}) {
        const Tensor mask = select_transposable_mask(stream, t);
        verify_mask(stream, mask, n);
        verify_transposable_mask(stream, mask, n);
    }
}

// A greedy tile of a published implementation, and the fractions of the L1 norm that each search keeps of
// Gaussian weights: 0.7444 row-wise, 0.7025 exact, 0.6922 greedy, 0.6303 by 2-approximation.
TEST(Masks, KeepsThePublishedFractions) {
    Stream stream(device());
    const Tensor tile =
        upload(stream, std::vector<float>{4, 3, 2, 1, 0, 0, .5f, .5f, 1, 2, 3, 4, 10, 2, -1, 5}, {4, 4});
    EXPECT_EQ(download_u32(stream, select_transposable_mask(stream, tile, TransposableSearch::greedy)),
              (std::vector<std::uint32_t>{0b0011, 0b0110, 0b1100, 0b1001}));

    constexpr std::size_t n = 1024;
    const Tensor w = normal(stream, DataType::f32, {n, n}, 0.0f, 1.0f, 20240101);
    const auto norm = [&](const Tensor& t) {
        double sum = 0;
        for (const float value : download(stream, t)) sum += std::abs(value);
        return sum;
    };
    const double all = norm(w);
    const auto kept = [&](const Tensor& mask) { return norm(apply_mask(stream, w, mask)) / all; };
    EXPECT_NEAR(kept(select_mask(stream, w)), 0.7444, 5e-4);
    EXPECT_NEAR(kept(select_transposable_mask(stream, w)), 0.7025, 5e-4);
    EXPECT_NEAR(kept(select_transposable_mask(stream, w, TransposableSearch::greedy)), 0.6922, 5e-4);
    EXPECT_NEAR(kept(select_transposable_mask(stream, w, TransposableSearch::two_approximation)), 0.6303,
                5e-4);
}

// What the 2-approximation prunes is below twice what the best pattern prunes.
TEST(Masks, TwoApproximationKeepsItsPromise) {
    Stream stream(device());
    constexpr std::size_t n = 256;
    std::mt19937 engine(17);
    std::vector<float> values(n * n);
    for (float& value : values) value = std::ldexp(1.0f, -static_cast<int>(engine() % 12));
    const Tensor w = upload(stream, values, {n, n});
    const auto kept = [&](TransposableSearch search) {
        return download(stream, apply_mask(stream, w, select_transposable_mask(stream, w, search)));
    };
    const std::vector<float> best = kept(TransposableSearch::exact),
                             near = kept(TransposableSearch::two_approximation);
    for (std::size_t tile = 0; tile < n * n / 16; ++tile) {
        double pruned_best = 0, pruned_near = 0;
        for (std::size_t i = 0; i < 16; ++i) {
            const std::size_t at = (tile / (n / 4) * 4 + i / 4) * n + tile % (n / 4) * 4 + i % 4;
            pruned_best += values[at] - best[at];
            pruned_near += values[at] - near[at];
        }
        ASSERT_LT(pruned_near, 2 * pruned_best) << tile;
    }
}

TEST(Masks, RowWiseOnesOfAnyPatternAgreeWithTheOracle) {
    Stream stream(device());
    test::property(60, [&] {
        MaskPattern pattern;
        pattern.of = static_cast<std::uint32_t>(draw(1, 32));
        pattern.keep = static_cast<std::uint32_t>(draw(1, pattern.of));
        const std::uint64_t blocks = draw(0, 3), rows = draw(1, 20), cols = draw(1, 140);
        const Shape shape = blocks ? Shape{blocks, rows, cols} : Shape{rows, cols};
        const DataType type = types[draw(0, 2)];
        const std::vector<float> values =
            mixed_values(shape.elements(), type, static_cast<unsigned>(draw(0, 1000000)));
        const Placed w(stream, type, shape, test::draw_layout(), values);
        const GuardedMask mask(stream, shape);
        select_mask_into(stream, mask.get(), w, pattern);
        RC_ASSERT(mask.difference(stream, expected_bits(shape, values, [&](const Matrix& m) {
                                      return reference::select_mask(m, pattern.keep, pattern.of);
                                  })) == "");
        verify_mask(stream, contiguous(stream, mask.get()), cols, pattern);
    });
}

// Along the other axis: the mask of the transposed view, applied through it.
TEST(Masks, AlongTheOtherAxisByTransposedViews) {
    Stream stream(device());
    const std::vector<float> values = mixed_values(37 * 50, DataType::f32, 9);
    const Tensor w = upload(stream, values, {37, 50});
    for (const MaskPattern pattern : {MaskPattern{}, MaskPattern{1, 4}, MaskPattern{3, 7}}) {
        const Tensor masked =
            apply_mask(stream, w.transpose(), select_mask(stream, w.transpose(), pattern)).transpose();
        const Matrix turned = reference::transpose(Matrix(37, 50, values));
        const Matrix expected = reference::transpose(
            reference::apply_mask(turned, reference::select_mask(turned, pattern.keep, pattern.of)));
        EXPECT_EQ(test::first_difference(download(stream, masked), reference::to_float(expected.data)), "");
    }
}

TEST(Masks, CountsFlips) {
    Stream stream(device());
    test::property(40, [&] {
        const std::uint64_t blocks = draw(0, 3), rows = draw(0, 40), words = draw(0, 70);
        const Shape shape = blocks ? Shape{blocks, rows, words} : Shape{rows, words};
        std::mt19937 engine(static_cast<unsigned>(draw(0, 1000000)));
        std::vector<std::uint32_t> a(shape.elements()), b(shape.elements());
        std::uint32_t flips = 0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            a[i] = static_cast<std::uint32_t>(engine());
            b[i] = engine() % 3 == 0 ? static_cast<std::uint32_t>(engine()) : a[i];
            flips += static_cast<std::uint32_t>(std::popcount(a[i] ^ b[i]));
        }
        const bool turned = draw(0, 1) != 0 && rows > 0 && words > 0;
        const Tensor on_device_a = upload(stream, a, shape);
        Tensor on_device_b = upload(stream, b, shape);
        if (turned) on_device_b = contiguous(stream, on_device_b.transpose()).transpose();
        const Tensor out = upload(stream, std::vector<std::uint32_t>{7, 77, 7}, {3});
        count_flips_into(stream, out.slice(0, 1, 2), on_device_a, on_device_b);
        RC_ASSERT(download_u32(stream, out) == (std::vector<std::uint32_t>{7, flips, 7}));
    });
    const Tensor w = normal(stream, DataType::f32, {100, 1000}, 0.0f, 1.0f, 5);
    const Tensor before = select_transposable_mask(stream, w), after = select_mask(stream, w);
    EXPECT_EQ(download_u32(stream, count_flips(stream, before, before)), (std::vector<std::uint32_t>{0}));
    const double rate = download_u32(stream, count_flips(stream, before, after))[0] / 100000.0;
    EXPECT_GT(rate, 0.05);
    EXPECT_LT(rate, 0.5);
}

TEST(Masks, EmptyMatricesAreNoWork) {
    Stream stream(device());
    for (const Shape& shape : {Shape{0, 8}, Shape{3, 0}, Shape{0, 3, 8}, Shape{2, 0, 0}}) {
        const Tensor w(device(), DataType::f16, shape);
        const Tensor mask = select_transposable_mask(stream, w);
        EXPECT_EQ(mask.elements(), 0u);
        EXPECT_EQ(select_mask(stream, w, {3, 5}).elements(), 0u);
        verify_transposable_mask(stream, mask, shape[shape.rank() - 1]);
        EXPECT_EQ(download_u32(stream, count_flips(stream, mask, mask)), (std::vector<std::uint32_t>{0}));
        verify_finite(stream, w);
    }
}

// Few workgroups and short storage ranges: grids are walked several times, matrices cut between tiles.
TEST(Masks, StayWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {3, 3, 3};
        caps.max_storage_range = 8192;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    const Shape shape{7, 30, 129};
    const std::vector<float> values = mixed_values(shape.elements(), DataType::f32, 21);
    const Tensor w = upload(stream, values, shape);
    for (const TransposableSearch search : searches)
        EXPECT_EQ(download_u32(stream, select_transposable_mask(stream, w, search)),
                  expected_bits(shape, values, [&](const Matrix& m) {
                      return reference::select_transposable_mask(m, oracle_search(search));
                  }));
    EXPECT_EQ(download_u32(stream, select_mask(stream, w, {2, 7})),
              expected_bits(shape, values, [](const Matrix& m) { return reference::select_mask(m, 2, 7); }));
    const std::vector<std::uint32_t> ones(300 * 300, 0xffffffffu);
    const Tensor a = upload(stream, ones, {300, 300});
    const Tensor none(small, DataType::u32, {300, 300});
    fill_into(stream, none, 0.0);
    EXPECT_EQ(download_u32(stream, count_flips(stream, a, none)),
              (std::vector<std::uint32_t>{300 * 300 * 32}));
}

TEST(Masks, VerificationNamesWhatIsWrong) {
    Stream stream(device());
    const auto fails = [&](const std::vector<std::string>& parts, const std::vector<std::uint32_t>& bits,
                           const Shape& shape, std::uint64_t cols) {
        expect_error(ErrorKind::invalid_argument, parts,
                     [&] { verify_transposable_mask(stream, upload(stream, bits, shape), cols); });
    };
    verify_transposable_mask(stream, upload(stream, std::vector<std::uint32_t>{3, 3, 12, 12}, {4, 1}), 4);
    verify_transposable_mask(stream, upload(stream, std::vector<std::uint32_t>{1, 0, 0, 1}, {4, 1}), 1);
    fails({"rows 0 to 3", "columns 0 to 3", "0x3333"}, {3, 3, 3, 3}, {4, 1}, 4);
    fails({"rows 4 to 7", "columns 4 to 7"}, {0x33, 0x33, 0xcc, 0xcc, 0x33, 0x33, 0xcc, 0x5c}, {8, 1}, 8);
    fails({"rows 0 to 3", "columns 0 to 0"}, {1, 1, 1, 0}, {4, 1}, 1);
    fails({"block 1, rows 0 to 0"}, {3, 7}, {2, 1, 1}, 4);
    fails({"row 0", "column 4", "4 columns"}, {0x13}, {1, 1}, 4);
    expect_error(ErrorKind::invalid_argument, {"row 0", "columns 5 to 9", "keeps 2, 3 are needed"}, [&] {
        verify_mask(stream, upload(stream, std::vector<std::uint32_t>{0b0001100111}, {1, 1}), 10, {3, 5});
    });
    const Tensor w = upload(stream, std::vector<float>{1, 2, 3, 4, infinity, 6}, {2, 3}, DataType::f16);
    expect_error(ErrorKind::invalid_argument, {"element (1, 1)", "inf"}, [&] { verify_finite(stream, w); });
    const Tensor wrong = upload(stream, std::vector<float>{1, not_a_number}, {1, 1, 2});
    expect_error(ErrorKind::invalid_argument, {"element (0, 0, 1)", "nan"},
                 [&] { verify_finite(stream, wrong); });
}

TEST(Masks, RefusesWrongArguments) {
    Stream stream(device());
    const Tensor w(device(), DataType::f32, {8, 8}), mask(device(), DataType::u32, {8, 1});
    const auto fails = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    fails({"pattern.of: 33", "32"}, [&] { static_cast<void>(select_mask(stream, w, {2, 33})); });
    fails({"pattern.of: 0"}, [&] { static_cast<void>(select_mask(stream, w, {1, 0})); });
    fails({"pattern.keep: 5", "1 to 4"}, [&] { static_cast<void>(select_mask(stream, w, {5, 4})); });
    fails({"pattern.keep: 0"}, [&] { static_cast<void>(select_mask(stream, w, {0, 4})); });
    fails({"search: 3"}, [&] {
        static_cast<void>(select_transposable_mask(stream, w, static_cast<TransposableSearch>(3)));
    });
    fails({"out: shape (8, 2)", "(8, 1)"}, [&] {
        select_transposable_mask_into(stream, Tensor(device(), DataType::u32, {8, 2}), w);
    });
    fails({"out", "type"}, [&] { select_transposable_mask_into(stream, w.slice(1, 0, 1), w); });
    fails({"w", "rank 2 or 3"},
          [&] { static_cast<void>(select_transposable_mask(stream, w.reshape({64}))); });
    fails({"w", "u32"}, [&] { static_cast<void>(select_transposable_mask(stream, mask)); });
    fails({"b: shape (8, 2)"}, [&] {
        static_cast<void>(count_flips(stream, mask, Tensor(device(), DataType::u32, {8, 2})));
    });
    fails({"out", "a"}, [&] { count_flips_into(stream, mask.slice(0, 0, 1).reshape({1}), mask, mask); });
    fails({"a", "u32"}, [&] { static_cast<void>(count_flips(stream, w, w)); });
}

}  // namespace
}  // namespace danaus
