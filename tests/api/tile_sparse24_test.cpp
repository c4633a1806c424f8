// Transposable 2:4 matrices tile by tile: compressed under masks and by search, expanded, and compressed both
// ways at once, bit for bit against the oracle.
#include "reference/tile_sparse24.hpp"

#include "support/guarded24.hpp"
#include "support/layout.hpp"
#include "support/masks.hpp"

#include <algorithm>
#include <bit>
#include <random>
#include <set>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Mask;
using reference::Matrix;
using test::bits_of;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Layout;
using test::packed;
using test::Placed;

std::uint64_t draw(std::uint64_t low, std::uint64_t high) {
    return *rc::gen::inRange<std::uint64_t>(low, high + 1);
}

std::vector<float> floats(const Matrix& m) {
    return reference::to_float(m.data);
}

// A batch as matrices.
struct Blocks {
    std::size_t count, rows, cols;
    explicit Blocks(const Shape& shape)
        : count(shape.rank() == 3 ? shape[0] : 1),
          rows(shape[shape.rank() - 2]),
          cols(shape[shape.rank() - 1]) {}
    template <typename Value>
    [[nodiscard]] std::span<const Value> member(const std::vector<Value>& all, std::size_t index) const {
        return std::span<const Value>(all).subspan(index * rows * cols, rows * cols);
    }
};

template <typename Value>
void append(std::vector<Value>& to, const std::vector<Value>& more) {
    to.insert(to.end(), more.begin(), more.end());
}

std::vector<std::uint32_t> packed_codes(const reference::TileSparse24& s) {
    const std::size_t words = (s.codes.cols + 3) / 4;
    std::vector<std::uint32_t> bytes(s.codes.rows * words);
    for (std::size_t band = 0; band < s.codes.rows; ++band)
        for (std::size_t tile = 0; tile < s.codes.cols; ++tile)
            bytes[band * words + tile / 4] |= std::uint32_t{s.codes(band, tile)} << tile % 4 * 8;
    return bytes;
}

Mask turned(const Mask& mask) {
    Mask out(mask.cols, mask.rows);
    for (std::size_t r = 0; r < mask.rows; ++r)
        for (std::size_t c = 0; c < mask.cols; ++c) out(c, r) = mask(r, c);
    return out;
}

// What the oracle says of a batch under masks.
struct Expected {
    std::vector<float> values, dense;
    std::vector<std::uint32_t> codes, mask, turned_mask;

    template <typename Choose>
    Expected(const Shape& shape, const std::vector<float>& w, const Choose& choose) {
        const Blocks blocks(shape);
        for (std::size_t b = 0; b < blocks.count; ++b) {
            const Matrix matrix(blocks.rows, blocks.cols, blocks.member(w, b));
            const Mask bits = choose(matrix);
            const reference::TileSparse24 sparse = reference::compress_tiles(matrix, bits);
            append(values, floats(sparse.values));
            append(dense, floats(reference::decompress(sparse)));
            append(codes, packed_codes(sparse));
            append(mask, packed(bits));
            append(turned_mask, packed(turned(bits)));
        }
    }
};

void expect_form(Stream& stream, const TileSparse24& actual, const Expected& expected,
                 const std::string& what) {
    EXPECT_EQ(first_difference(download(stream, actual.values()), expected.values), "") << what;
    EXPECT_EQ(download_u32(stream, actual.codes()), expected.codes) << what;
}

Shape turned(Shape shape) {
    std::swap(shape[shape.rank() - 2], shape[shape.rank() - 1]);
    return shape;
}

// Both orientations at once equal one after the other, bit for bit. The device of the test may be a limited
// one, which cannot reach what lies across the rows.
void check_both(Stream& stream, const Tensor& w, const Tensor& mask, const Expected& expected,
                const std::string& what) {
    const Shape across = turned(w.shape());
    const test::Guarded24<Sparse24> one(stream, w.type(), w.shape()), other(stream, w.type(), across);
    compress_both_into(stream, one.get(), other.get(), w, mask);
    Stream usual(device());
    const Tensor copy = upload(usual, download(stream, w), w.shape(), w.type());
    const Sparse24 alone = compress(usual, copy, upload(usual, expected.mask, mask_shape(w.shape()))),
                   turned_alone = compress(usual, copy.transpose(),
                                           upload(usual, expected.turned_mask, mask_shape(across)));
    for (const auto& [both, single] : {std::pair{one.get(), alone}, std::pair{other.get(), turned_alone}}) {
        EXPECT_EQ(bits_of(stream, both.values()), bits_of(usual, single.values())) << what;
        EXPECT_EQ(bits_of(stream, both.metadata()), bits_of(usual, single.metadata())) << what;
    }
    one.check(stream, what);
    other.check(stream, what);
}

// Compression under a mask, and the way back.
void check_masked(Stream& stream, const Placed& w, const Placed& mask, const Expected& expected, Layout to,
                  const std::string& what) {
    const DataType type = w.tensor().type();
    const Shape& shape = w.tensor().shape();
    const test::Guarded24<TileSparse24> out(stream, type, shape);
    compress_tiles_into(stream, out.get(), w.tensor(), mask.tensor());
    expect_form(stream, out.get(), expected, what);
    out.check(stream, what);
    const Placed dense(stream, type, shape, to);
    to_dense_into(stream, dense.tensor(), out.get());
    EXPECT_EQ(first_difference(download(stream, dense.tensor()), expected.dense), "") << what;
    dense.check(stream, what);
    check_both(stream, w.tensor(), mask.tensor(), expected, what);
    w.check(stream, what);
    mask.check(stream, what);
}

void check_all(Stream& stream, DataType type, const Shape& shape, Layout from, Layout to, unsigned seed) {
    const std::string what = to_string(shape) + " " + to_string(type) + ", layouts " +
                             std::to_string(static_cast<int>(from)) + " and " +
                             std::to_string(static_cast<int>(to)) + ", seed " + std::to_string(seed);
    const std::vector<float> values = test::mixed_values(shape.elements(), test::reference_type(type), seed);
    const Expected expected(shape, values,
                            [](const Matrix& m) { return reference::select_transposable_mask(m); });
    const Placed w(stream, type, shape, from, values);
    const test::Guarded24<TileSparse24> found(stream, type, shape), silent(stream, type, shape);
    const Placed mask(stream, DataType::u32, mask_shape(shape), to);
    compress_transposable_into(stream, found.get(), w.tensor(), mask.tensor());
    EXPECT_EQ(download_u32(stream, mask.tensor()), expected.mask) << what;
    compress_transposable_into(stream, silent.get(), w.tensor());
    for (const auto* one : {&found, &silent}) {
        expect_form(stream, one->get(), expected, what);
        one->check(stream, what);
    }
    check_masked(stream, w, mask, expected, to, what);
}

TEST(TileSparse24, AgreesWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : test::float_types)
        for (const Shape& shape :
             {Shape{1, 1}, Shape{2, 7}, Shape{3, 20}, Shape{4, 4}, Shape{5, 33}, Shape{6, 31}, Shape{8, 36},
              Shape{12, 64}, Shape{33, 66}, Shape{2, 9, 16}, Shape{7, 130}})
            for (int turn = 0; turn < 2; ++turn, ++seed)
                check_all(stream, type, shape, test::layouts[seed % 5], test::layouts[seed / 5 % 5], seed);
}

// What a GPU is given, where lanes share words: a CPU can run that too.
TEST(TileSparse24, LanesThatShareWords) {
    Stream stream(test::capped_device([](Capabilities& caps) { caps.type = DeviceType::discrete; }));
    unsigned seed = 1;
    for (const DataType type : test::float_types)
        for (const Shape& shape :
             {Shape{3, 20}, Shape{6, 31}, Shape{64, 96}, Shape{2, 33, 66}, Shape{40, 300}}) {
            check_all(stream, type, shape, test::layouts[seed % 5], test::layouts[seed / 5 % 5], seed);
            ++seed;
        }
}

TEST(TileSparse24, WalksManyWordsAndBlocks) {
    Stream stream(device());
    for (const DataType type : test::float_types) {
        check_all(stream, type, {5, 7, 70}, Layout::contiguous, Layout::even_pitched, 7);
        check_all(stream, type, {3, 66, 259}, Layout::feature_major, Layout::pitched, 8);
        check_all(stream, type, {64, 512}, Layout::contiguous, Layout::contiguous, 9);
        check_all(stream, type, {2, 100, 784}, Layout::contiguous, Layout::contiguous, 10);
    }
}

RC_GTEST_PROP(TileSparse24, AgreesWithTheOracleForDrawnShapes, ()) {
    Stream stream(device());
    const std::uint64_t blocks = draw(0, 3), rows = draw(1, 70), cols = draw(1, 140);
    check_all(stream, test::float_types[draw(0, 2)], blocks ? Shape{blocks, rows, cols} : Shape{rows, cols},
              test::layouts[draw(0, 4)], test::layouts[draw(0, 4)], static_cast<unsigned>(draw(0, 1000000)));
    RC_ASSERT(!::testing::Test::HasFailure());
}

// A tile for each pattern, whole and cut to every size: the code is that of the lowest pattern that agrees.
TEST(TileSparse24, HasACodeForEachOfThe90Patterns) {
    Stream stream(device());
    const auto& patterns = reference::transposable_patterns();
    std::set<std::uint32_t> codes;
    for (const std::uint32_t pattern : patterns) {
        codes.insert(reference::code_of_pattern(pattern));
        EXPECT_EQ(reference::pattern_of_code(reference::code_of_pattern(pattern)), pattern);
    }
    EXPECT_EQ(codes.size(), 90u);
    EXPECT_LT(*codes.rbegin(), 216u);
    for (const DataType type : test::float_types)
        for (std::uint64_t rows = 1; rows <= 4; ++rows)
            for (std::uint64_t cols = 1; cols <= 4; ++cols) {
                const Shape shape{90, rows, cols};
                const std::vector<float> values =
                    test::mixed_values(shape.elements(), test::reference_type(type), 2);
                std::size_t next = 0;
                const Expected expected(shape, values, [&](const Matrix& m) {
                    Mask mask(m.rows, m.cols);
                    for (std::size_t r = 0; r < m.rows; ++r)
                        for (std::size_t c = 0; c < m.cols; ++c)
                            mask(r, c) = static_cast<std::uint8_t>(patterns[next] >> (4 * r + c) & 1u);
                    ++next;
                    return mask;
                });
                const Placed w(stream, type, shape, Layout::contiguous, values);
                const Placed mask(stream, DataType::u32, mask_shape(shape), Layout::contiguous);
                upload_into(stream, mask.tensor(), std::span<const std::uint32_t>(expected.mask));
                verify_transposable_mask(stream, mask.tensor(), cols);
                const Tensor masked = apply_mask(stream, w.tensor(), mask.tensor());
                EXPECT_EQ(first_difference(expected.dense, download(stream, masked)), "");
                check_masked(stream, w, mask, expected, Layout::contiguous, to_string(shape));
            }
}

// What a mask that no pattern extends does, with bits behind the last column set too.
RC_GTEST_PROP(TileSparse24, AnyMaskIsHarmless, ()) {
    Stream stream(device());
    const DataType type = test::float_types[draw(0, 2)];
    const std::uint64_t rows = draw(1, 40), cols = draw(1, 70), words = (cols + 31) / 32;
    std::mt19937 engine(static_cast<unsigned>(draw(0, 1000000)));
    std::vector<std::uint32_t> bits(rows * words);
    for (std::uint32_t& word : bits) word = static_cast<std::uint32_t>(engine());
    const std::vector<float> values = test::mixed_values(rows * cols, test::reference_type(type), 4);
    const Expected expected({rows, cols}, values, [&](const Matrix& m) {
        Mask mask(m.rows, m.cols);
        for (std::size_t r = 0; r < m.rows; ++r)
            for (std::size_t c = 0; c < m.cols; ++c)
                mask(r, c) = static_cast<std::uint8_t>(bits[r * words + c / 32] >> c % 32 & 1u);
        return mask;
    });
    const Placed w(stream, type, {rows, cols}, Layout::contiguous, values);
    const Placed mask(stream, DataType::u32, {rows, words}, Layout::contiguous);
    upload_into(stream, mask.tensor(), std::span<const std::uint32_t>(bits));
    check_masked(stream, w, mask, expected, Layout::contiguous,
                 to_string(Shape{rows, cols}) + " " + to_string(type));
    RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(TileSparse24, EmptyMatricesAreNoWork) {
    Stream stream(device());
    for (const Shape& shape : {Shape{0, 8}, Shape{3, 0}, Shape{0, 3, 8}, Shape{2, 0, 0}}) {
        const Tensor w(device(), DataType::f16, shape), mask = select_transposable_mask(stream, w);
        const TileSparse24 sparse = compress_tiles(stream, w, mask);
        EXPECT_EQ(sparse.bytes(), 0u);
        EXPECT_EQ(to_dense(stream, sparse).elements(), 0u);
        EXPECT_EQ(to_dense(stream, compress_transposable(stream, w)).shape(), shape);
        compress_both_into(stream, Sparse24(device(), DataType::f16, shape),
                           Sparse24(device(), DataType::f16, turned(shape)), w, mask);
    }
    EXPECT_EQ(TileSparse24().bytes(), 0u);
}

// Few workgroups and short storage ranges: grids are walked several times, matrices cut along blocks and
// bands.
TEST(TileSparse24, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {2, 3, 3};
        caps.max_storage_range = 16384;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    for (const Shape& shape : {Shape{7, 30, 129}, Shape{130, 60}, Shape{5, 68, 100}})
        check_all(stream, DataType::f32, shape, Layout::contiguous, Layout::contiguous, 3);
    if (test::access() != Access::descriptor) return;
    const Tensor wide(small, DataType::f32, {8, 2000});
    expect_error(ErrorKind::unsupported, {"compress_transposable", "8000 elements of f32"},
                 [&] { (void)compress_transposable(stream, wide); });
    const Tensor tall(small, DataType::f32, {2048, 40}), mask = select_transposable_mask(stream, tall);
    expect_error(ErrorKind::unsupported, {"compress_both", "elements of f32"}, [&] {
        compress_both_into(stream, Sparse24(small, DataType::f32, {2048, 40}),
                           Sparse24(small, DataType::f32, {40, 2048}), tall, mask);
    });
}

TEST(TileSparse24, TakesTheStatedBytes) {
    EXPECT_EQ(TileSparse24::bytes(DataType::f32, {64, 512}), 64u * 256 * 4 + 16 * 128);
    EXPECT_EQ(TileSparse24::bytes(DataType::f16, {64, 512}), 64u * 512 / 16 * 17);
    EXPECT_EQ(TileSparse24::bytes(DataType::bf16, {3, 5, 33}), 3u * (5 * 18 * 2 + 2 * 3 * 4));
}

TEST(TileSparse24, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const auto make = [](DataType type, const Shape& shape) { return Tensor(device(), type, shape); };
    const Tensor w = make(DataType::f32, {4, 40}), mask = make(DataType::u32, {4, 2});
    const TileSparse24 tiles(device(), DataType::f32, {4, 40}), half(device(), DataType::f16, {4, 40});
    refuses({"w", "null"}, [&] { (void)compress_tiles(stream, {}, mask); });
    refuses({"w", "i32", "f32, f16, bf16"}, [&] {
        (void)compress_transposable(stream, make(DataType::i32, {4, 40}));
    });
    refuses({"w", "(4)", "rank 2 or 3"},
            [&] { (void)compress_transposable(stream, make(DataType::f32, {4})); });
    refuses({"mask", "(4, 1)", "(4, 2)"}, [&] {
        (void)compress_tiles(stream, w, make(DataType::u32, {4, 1}));
    });
    refuses({"mask", "i32", "u32"}, [&] { (void)compress_tiles(stream, w, make(DataType::i32, {4, 2})); });
    refuses({"mask", "null"}, [&] { (void)compress_tiles(stream, w, {}); });
    refuses({"out", "(4, 44)", "(4, 40)"}, [&] {
        compress_tiles_into(stream, TileSparse24(device(), DataType::f32, {4, 44}), w, mask);
    });
    refuses({"out", "null"}, [&] { compress_tiles_into(stream, TileSparse24(), w, mask); });
    refuses({"out", "overlaps w"}, [&] {
        compress_transposable_into(stream, TileSparse24(w.buffer(), DataType::f32, {4, 40}), w);
    });
    refuses({"mask", "more than once"}, [&] {
        compress_transposable_into(stream, tiles, w, mask.as_strided({4, 2}, {0, 1}));
    });
    for (const Tensor& part : {tiles.values(), tiles.codes()})
        refuses({"out", "overlaps mask"}, [&] {
            const std::uint64_t word = part.offset() * size_of(part.type()) / 4;
            compress_tiles_into(stream, tiles, w, Tensor(part.buffer(), DataType::u32, {4, 2}, {0, 1}, word));
        });
    refuses({"a", "null"}, [&] { (void)to_dense(stream, TileSparse24()); });
    refuses({"out", "(4, 44)", "(4, 40)"}, [&] {
        to_dense_into(stream, make(DataType::f32, {4, 44}), tiles);
    });
    refuses({"out", "f16", "f32"}, [&] { to_dense_into(stream, make(DataType::f16, {4, 40}), tiles); });
    refuses({"out", "overlaps a"}, [&] {
        const TileSparse24 all(device().allocate(4096), DataType::f32, {4, 40});
        to_dense_into(stream, Tensor(all.values().buffer(), DataType::f32, {4, 40}), all);
    });
    refuses({"out", "overlaps a"}, [&] {
        const TileSparse24 all(device().allocate(4096), DataType::f32, {4, 40});
        to_dense_into(stream, Tensor(all.codes().buffer(), DataType::f32, {4, 40}, all.codes().offset()),
                      all);
    });
    refuses({"tile_sparse24", "u32"}, [&] { TileSparse24(device(), DataType::u32, {4, 40}); });
    refuses({"tile_sparse24", "(40)", "rank 2 or 3"}, [&] { TileSparse24(device(), DataType::f32, {40}); });
    refuses({"byte_offset", "4"}, [&] { TileSparse24(w.buffer(), DataType::f32, {4, 40}, 4); });
    refuses({"(4, 40)", "332 bytes", "64"}, [&] {
        TileSparse24(device().allocate(64), DataType::f32, {4, 40});
    });

    const Sparse24 rows(device(), DataType::f32, {4, 40}), columns(device(), DataType::f32, {40, 4});
    refuses({"out_transposed", "(4, 40)", "(40, 4)"},
            [&] { compress_both_into(stream, rows, rows, w, mask); });
    refuses({"out_transposed", "null"}, [&] { compress_both_into(stream, rows, {}, w, mask); });
    refuses({"out", "overlaps out_transposed"}, [&] {
        const Buffer buffer = device().allocate(4096);
        compress_both_into(stream, Sparse24(buffer, DataType::f32, {4, 40}),
                           Sparse24(buffer, DataType::f32, {40, 4}), w, mask);
    });
    refuses({"mask", "(4, 1)"}, [&] {
        compress_both_into(stream, rows, columns, w, make(DataType::u32, {4, 1}));
    });
    for (const Sparse24& one : {rows, columns})
        for (const Tensor& part : {one.values(), one.metadata()})
            refuses({"out", "overlaps mask"}, [&] {
                compress_both_into(stream, rows, columns, w,
                                   Tensor(part.buffer(), DataType::u32, {4, 2}, {0, 1}, part.offset()));
            });
    const Device elsewhere = Device::open(test::device_options());
    refuses({"w", "another device"}, [&] {
        (void)compress_transposable(stream, Tensor(elsewhere, DataType::f32, {4, 40}));
    });
}

}  // namespace
}  // namespace danaus
