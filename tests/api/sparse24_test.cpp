// Selecting, applying, compressing and expanding 2:4 masks, bit for bit against the oracle.
#include "reference/sparse24.hpp"

#include "support/guarded24.hpp"
#include "support/layout.hpp"
#include "support/masks.hpp"

#include <algorithm>
#include <limits>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Mask;
using reference::Matrix;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Layout;
using test::packed;
using test::Placed;

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

// Small integers, so that ties are common, with signed zeros, infinities, NaN and denormals among them. All
// of them are values of every type.
std::vector<float> tied_values(std::size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::vector<float> values(count);
    for (float& value : values) {
        const unsigned draw = engine() % 64;
        value = static_cast<float>(static_cast<int>(draw % 7) - 3);
        if (draw == 60) value = -0.0f;
        if (draw == 61) value = (engine() & 1) != 0 ? infinity : -infinity;
        if (draw == 62) value = not_a_number;
        if (draw == 63) value = 0x1p-24f;
    }
    return values;
}

// The blocks of a batch, one below the other: the masks of the rows do not see each other.
Matrix stacked(const Shape& shape, const std::vector<float>& values) {
    const std::size_t cols = shape[shape.rank() - 1];
    return Matrix(cols ? values.size() / cols : 0, cols, values);
}

std::vector<std::uint32_t> packed_indices(const reference::Sparse24& s) {
    const std::size_t words = (s.groups() + 7) / 8;
    std::vector<std::uint32_t> bits(s.rows * words);
    for (std::size_t r = 0; r < s.rows; ++r)
        for (std::size_t g = 0; g < s.groups(); ++g)
            bits[r * words + g / 8] |= std::uint32_t{s.indices(r, g)} << g % 8 * 4;
    return bits;
}

std::vector<float> floats(const Matrix& m) {
    return reference::to_float(m.data);
}

using GuardedSparse = test::Guarded24<Sparse24>;

// Every operation on one W against the oracle.
void check_all(Stream& stream, DataType type, const Shape& shape, Layout from, Layout to, unsigned seed) {
    const std::string what = to_string(shape) + " " + to_string(type) + ", layouts " +
                             std::to_string(static_cast<int>(from)) + " and " +
                             std::to_string(static_cast<int>(to));
    const std::vector<float> values = tied_values(shape.elements(), seed);
    const Matrix w = stacked(shape, values);
    const Mask mask = reference::select_mask(w);
    const reference::Sparse24 sparse = reference::compress(w, mask);
    const std::vector<float> masked = floats(reference::apply_mask(w, mask));
    const Placed source(stream, type, shape, from, values);

    const Placed bits(stream, DataType::u32, mask_shape(shape), to);
    select_mask_into(stream, bits.tensor(), source.tensor());
    ASSERT_EQ(download_u32(stream, bits.tensor()), packed(mask)) << what;
    bits.check(stream, what);
    verify_mask(stream, bits.tensor(), shape[shape.rank() - 1]);

    const GuardedSparse out(stream, type, shape);
    compress_into(stream, out.get(), source.tensor(), bits.tensor());
    EXPECT_EQ(first_difference(download(stream, out.get().values()), floats(sparse.values)), "") << what;
    EXPECT_EQ(download_u32(stream, out.get().metadata()), packed_indices(sparse)) << what;
    out.check(stream, what);

    const GuardedSparse fused(stream, type, shape);
    const Placed fused_bits(stream, DataType::u32, mask_shape(shape), from);
    compress_by_magnitude_into(stream, fused.get(), source.tensor(), fused_bits.tensor());
    EXPECT_EQ(first_difference(download(stream, fused.get().values()), floats(sparse.values)), "") << what;
    EXPECT_EQ(download_u32(stream, fused.get().metadata()), packed_indices(sparse)) << what;
    EXPECT_EQ(download_u32(stream, fused_bits.tensor()), packed(mask)) << what;
    fused.check(stream, what);
    fused_bits.check(stream, what);

    const Placed dense(stream, type, shape, to);
    to_dense_into(stream, dense.tensor(), out.get());
    EXPECT_EQ(first_difference(download(stream, dense.tensor()), masked), "") << what;
    dense.check(stream, what);

    const Placed applied(stream, type, shape, to);
    apply_mask_into(stream, applied.tensor(), source.tensor(), bits.tensor());
    EXPECT_EQ(first_difference(download(stream, applied.tensor()), masked), "") << what;
    applied.check(stream, what);
    source.check(stream, what);
    apply_mask_into(stream, source.tensor(), source.tensor(), bits.tensor());
    EXPECT_EQ(first_difference(download(stream, source.tensor()), masked), "") << what;
    source.check(stream, what);
}

TEST(Sparse24, AgreesWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : test::float_types)
        for (const Layout layout : test::layouts)
            for (const std::uint64_t cols : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 31u, 33u, 66u, 131u}) {
                check_all(stream, type, {3, cols}, layout, test::layouts[seed % 5], seed);
                ++seed;
            }
}

TEST(Sparse24, WalksManyWordsAndBlocks) {
    Stream stream(device());
    for (const DataType type : test::float_types) {
        check_all(stream, type, {5, 7, 70}, Layout::contiguous, Layout::even_pitched, 7);
        check_all(stream, type, {3, 33, 259}, Layout::feature_major, Layout::pitched, 8);
        check_all(stream, type, {100, 784}, Layout::contiguous, Layout::contiguous, 9);
    }
}

RC_GTEST_PROP(Sparse24, AgreesWithTheOracleForDrawnShapes, ()) {
    Stream stream(device());
    const auto type =
        *rc::gen::elementOf(std::vector(std::begin(test::float_types), std::end(test::float_types)));
    const auto layout = rc::gen::elementOf(std::vector(std::begin(test::layouts), std::end(test::layouts)));
    const auto from = *layout, to = *layout;
    const auto cols = *rc::gen::inRange<std::uint64_t>(1, 140),
               rows = *rc::gen::inRange<std::uint64_t>(1, 20);
    const auto blocks = *rc::gen::inRange<std::uint64_t>(0, 4);
    check_all(stream, type, blocks ? Shape{blocks, rows, cols} : Shape{rows, cols}, from, to,
              *rc::gen::inRange(0u, 1000000u));
    RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Sparse24, RanksTiesZerosNanAndInfinity) {
    Stream stream(device());
    struct Case {
        std::vector<float> w;
        std::uint32_t mask;
    };
    const Case cases[] = {
        {{1, -1, 1, 1}, 0b0011},
        {{0, 2, -3, 2}, 0b0110},
        {{-0.0f, 0.0f, -0.0f, 0.0f}, 0b0011},
        {{0, 0, -0.0f, 0x1p-24f}, 0b1001},
        {{9, -infinity, 1, not_a_number}, 0b1010},
        {{-infinity, 1, infinity, not_a_number}, 0b1001},
        {{infinity, infinity, not_a_number, -not_a_number}, 0b1100},
        {{not_a_number, not_a_number, -not_a_number, infinity}, 0b0011},
        {{0}, 0b1},
        {{0, 0}, 0b11},
        {{0, 0, 5}, 0b101},
        {{1, 2, 3, 4, 0}, 0b11100},
    };
    for (const DataType type : test::float_types)
        for (const Case& c : cases) {
            const Tensor w = upload(stream, c.w, {1, c.w.size()}, type);
            EXPECT_EQ(download_u32(stream, select_mask(stream, w)), std::vector<std::uint32_t>{c.mask})
                << to_string(type) << " of " << c.w.size() << ", " << c.mask;
        }
    // NaNs are alike, whatever their payload.
    const Tensor words =
        upload(stream, std::vector<std::uint32_t>{0x7f800000, 0x7fc00000, 0xff800001, 0x7fffffff}, {1, 4});
    const Tensor payloads(words.buffer(), DataType::f32, {1, 4});
    EXPECT_EQ(download_u32(stream, select_mask(stream, payloads)), std::vector<std::uint32_t>{0b0110});
    const Tensor halves = upload(stream, std::vector<std::uint32_t>{0x7e007f80, 0xffff7fff}, {1, 2});
    for (const DataType type : {DataType::f16, DataType::bf16})  // infinity is 0x7c00, 0x7f80
        EXPECT_EQ(download_u32(stream, select_mask(stream, Tensor(halves.buffer(), type, {1, 4}))),
                  std::vector<std::uint32_t>{type == DataType::f16 ? 0b0011u : 0b1100u});
    // The denormals of f32 have a magnitude too, on devices that flush them as well.
    const Tensor tiny = upload(stream, std::vector<float>{0, 0x1p-149f, -0x1p-140f, 0x1p-148f}, {1, 4});
    EXPECT_EQ(download_u32(stream, select_mask(stream, tiny)), std::vector<std::uint32_t>{0b1100});
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, compress_by_magnitude(stream, tiny))),
                               std::vector<float>{0, 0, -0x1p-140f, 0x1p-148f}),
              "");
}

TEST(Sparse24, KeepsTheMostMagnitudeOfEveryGroup) {
    Stream stream(device());
    std::mt19937 engine(5);
    std::normal_distribution<float> normal;
    std::vector<float> values(40 * 103);
    for (float& value : values) value = normal(engine);
    const Tensor w = upload(stream, values, {40, 103});
    const std::vector<float> kept = download(stream, apply_mask(stream, w, select_mask(stream, w)));
    const Matrix before(40, 103, values), after(40, 103, kept);
    for (std::size_t r = 0; r < 40; ++r)
        for (std::size_t c = 0; c < 103; c += 4) {
            const std::size_t size = std::min<std::size_t>(4, 103 - c);
            double sum = 0;
            for (std::size_t i = 0; i < size; ++i) sum += std::abs(after(r, c + i));
            ASSERT_EQ(sum, reference::best_group_magnitude(before.row(r).subspan(c, size), 2))
                << r << ", " << c;
        }
}

TEST(Sparse24, RefreshesValuesUnderAnOldMask) {
    Stream stream(device());
    const Tensor first = upload(stream, tied_values(6 * 50, 1), {6, 50});
    const Tensor mask = select_mask(stream, first);
    const Sparse24 sparse = compress(stream, first, mask);
    const std::vector<float> later = tied_values(6 * 50, 2);
    compress_into(stream, sparse, upload(stream, later, {6, 50}), mask);
    const Mask old = reference::select_mask(Matrix(6, 50, tied_values(6 * 50, 1)));
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, sparse)),
                               floats(reference::apply_mask(Matrix(6, 50, later), old))),
              "");
}

// What a mask that is not 2:4 does: the first two kept entries of a group stay, nothing else changes.
RC_GTEST_PROP(Sparse24, AnyMaskKeepsAtMostTheFirstTwoOfAGroup, ()) {
    Stream stream(device());
    const auto type =
        *rc::gen::elementOf(std::vector(std::begin(test::float_types), std::end(test::float_types)));
    const auto cols = *rc::gen::inRange<std::size_t>(1, 70), rows = *rc::gen::inRange<std::size_t>(1, 9);
    const std::size_t words = (cols + 31) / 32;
    std::mt19937 engine(*rc::gen::inRange(0u, 1000000u));
    std::vector<std::uint32_t> bits(rows * words);
    for (std::uint32_t& word : bits)
        word = static_cast<std::uint32_t>(engine());  // bits behind the last column too
    const std::vector<float> values = tied_values(rows * cols, static_cast<unsigned>(engine()));
    std::vector<float> all(values.size()), two(values.size());
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t first = 0; first < cols; first += 4)
            for (std::size_t i = 0, kept = 0; i < 4 && first + i < cols; ++i) {
                const std::size_t c = first + i;
                if (!(bits[r * words + c / 32] >> c % 32 & 1)) continue;
                all[r * cols + c] = values[r * cols + c];
                if (kept++ < 2) two[r * cols + c] = values[r * cols + c];
            }
    const Tensor w = upload(stream, values, {rows, cols}, type);
    const Tensor mask = upload(stream, bits, {rows, words});
    const Sparse24 sparse = compress(stream, w, mask);
    RC_ASSERT(first_difference(download(stream, to_dense(stream, sparse)), two) == "");
    RC_ASSERT(first_difference(download(stream, apply_mask(stream, w, mask)), all) == "");
    const std::vector<std::uint32_t> meta = download_u32(stream, sparse.metadata());
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t g = 0; g < (cols + 3) / 4; ++g) {
            const std::uint32_t nibble = meta[r * words + g / 8] >> g % 8 * 4 & 15;
            RC_ASSERT((nibble & 3) < nibble >> 2);
        }
}

TEST(Sparse24, VerifyNamesTheFirstWrongGroup) {
    Stream stream(device());
    const auto verify = [&](std::vector<std::uint32_t> bits, const Shape& shape, std::uint64_t cols) {
        verify_mask(stream, upload(stream, bits, shape), cols);
    };
    const auto fails = [&](const std::vector<std::string>& parts, const std::vector<std::uint32_t>& bits,
                           const Shape& shape, std::uint64_t cols) {
        expect_error(ErrorKind::invalid_argument, parts, [&] { verify(bits, shape, cols); });
    };
    verify({0x133, 0x1a5}, {2, 1}, 9);
    fails({"row 1", "columns 4 to 7", "keeps 3", "2 are needed"}, {0x33, 0x73}, {2, 1}, 8);
    fails({"row 0", "columns 0 to 3", "keeps 0"}, {0, 0x33}, {2, 1}, 8);
    fails({"row 0", "columns 8 to 8", "keeps 0, 1 are needed"}, {0x33}, {1, 1}, 9);
    fails({"block 1, row 0", "columns 32 to 35"}, {0x33333333, 0x3, 0x33333333, 0x1}, {2, 1, 2}, 36);
    fails({"row 0", "column 9", "9 columns"}, {0x333}, {1, 1}, 9);
    fails({"mask: shape (1, 1)", "2 words", "33 columns"}, {0x33333333}, {1, 1}, 33);
}

TEST(Sparse24, EmptyMatricesAreNoWork) {
    Stream stream(device());
    for (const Shape& shape : {Shape{0, 8}, Shape{3, 0}, Shape{0, 3, 8}, Shape{2, 0, 0}}) {
        const Tensor w(device(), DataType::f16, shape);
        const Tensor mask = select_mask(stream, w);
        EXPECT_EQ(mask.elements(), 0u);
        const Sparse24 sparse = compress(stream, w, mask);
        EXPECT_EQ(sparse.bytes(), 0u);
        EXPECT_EQ(to_dense(stream, sparse).elements(), 0u);
        EXPECT_EQ(to_dense(stream, compress_by_magnitude(stream, w)).elements(), 0u);
        EXPECT_EQ(apply_mask(stream, w, mask).elements(), 0u);
        verify_mask(stream, mask, shape[shape.rank() - 1]);
    }
}

// Few workgroups and short storage ranges: grids are walked several times, matrices cut along blocks and
// rows.
TEST(Sparse24, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {3, 3, 3};
        caps.max_storage_range = 8192;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    const Shape shape{7, 30, 129};
    const std::vector<float> values = tied_values(shape.elements(), 3);
    const Matrix w = stacked(shape, values);
    const Mask mask = reference::select_mask(w);
    const std::vector<float> masked = floats(reference::apply_mask(w, mask));
    const Tensor source = upload(stream, values, shape);
    const Tensor bits = select_mask(stream, source);
    EXPECT_EQ(download_u32(stream, bits), packed(mask));
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, compress(stream, source, bits))), masked),
              "");
    EXPECT_EQ(first_difference(download(stream, apply_mask(stream, source, bits)), masked), "");
    if (test::access() != Access::descriptor) return;
    const Tensor wide(small, DataType::f32, {2, 4000});
    expect_error(ErrorKind::unsupported, {"select_mask", "4000 elements of f32"},
                 [&] { (void)select_mask(stream, wide); });
}

TEST(Sparse24, TakesTheStatedBytes) {
    EXPECT_EQ(Sparse24::bytes(DataType::f32, {64, 512}), 64u * (256 * 4 + 16 * 4));
    EXPECT_EQ(Sparse24::bytes(DataType::f16, {64, 512}), 64u * (256 * 2 + 16 * 4));
    EXPECT_EQ(Sparse24::bytes(DataType::bf16, {3, 5, 33}), 15u * (18 * 2 + 2 * 4));
}

TEST(Sparse24, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const Tensor w(device(), DataType::f32, {4, 40}), whole(device(), DataType::i32, {4, 40});
    const Tensor mask(device(), DataType::u32, {4, 2}), short_mask(device(), DataType::u32, {4, 1});
    const Tensor signed_mask(device(), DataType::i32, {4, 2});
    const Sparse24 sparse(device(), DataType::f32, {4, 40}), half(device(), DataType::f16, {4, 40});
    const Sparse24 other(device(), DataType::f32, {4, 44});
    refuses({"w", "null"}, [&] { (void)select_mask(stream, {}); });
    refuses({"w", "i32", "f32, f16, bf16"}, [&] { (void)select_mask(stream, whole); });
    refuses({"w", "(4)", "rank 2 or 3"},
            [&] { (void)select_mask(stream, Tensor(device(), DataType::f32, {4})); });
    refuses({"out", "(4, 1)", "(4, 2)"}, [&] { select_mask_into(stream, short_mask, w); });
    refuses({"out", "i32", "u32"}, [&] { select_mask_into(stream, signed_mask, w); });
    refuses({"mask", "(4, 1)", "(4, 2)"}, [&] { (void)compress(stream, w, short_mask); });
    refuses({"mask", "i32", "u32"}, [&] { (void)compress(stream, w, signed_mask); });
    refuses({"mask", "null"}, [&] { (void)compress(stream, w, {}); });
    refuses({"out", "(4, 44)", "(4, 40)"}, [&] { compress_into(stream, other, w, mask); });
    refuses({"out", "null"}, [&] { compress_into(stream, Sparse24(), w, mask); });
    refuses({"out", "overlaps w"}, [&] {
        compress_into(stream, Sparse24(w.buffer(), DataType::f32, {4, 40}), w, mask);
    });
    refuses({"a", "null"}, [&] { (void)to_dense(stream, Sparse24()); });
    refuses({"out", "(4, 44)", "(4, 40)"}, [&] {
        to_dense_into(stream, Tensor(device(), DataType::f32, {4, 44}), sparse);
    });
    refuses({"out", "f16", "f32"}, [&] {
        to_dense_into(stream, Tensor(device(), DataType::f16, {4, 40}), sparse);
    });
    refuses({"out", "more than once"}, [&] { to_dense_into(stream, w.as_strided({4, 40}, {0, 1}), sparse); });
    refuses({"out", "overlaps w"}, [&] {
        const Tensor all(device(), DataType::f32, {5, 40});
        apply_mask_into(stream, all.slice(0, 1, 5), all.slice(0, 0, 4), mask);
    });
    refuses({"sparse24", "u32"}, [&] { Sparse24(device(), DataType::u32, {4, 40}); });
    refuses({"sparse24", "(40)", "rank 2 or 3"}, [&] { Sparse24(device(), DataType::f32, {40}); });
    refuses({"byte_offset", "4"}, [&] { Sparse24(w.buffer(), DataType::f32, {4, 40}, 4); });
    refuses({"(4, 40)", "352 bytes", "64"}, [&] { Sparse24(device().allocate(64), DataType::f32, {4, 40}); });
    const Device elsewhere = Device::open(test::device_options());
    const Tensor foreign(elsewhere, DataType::f32, {4, 40});
    refuses({"w", "another device"}, [&] { (void)select_mask(stream, foreign); });
}

}  // namespace
}  // namespace danaus
