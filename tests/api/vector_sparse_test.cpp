// Selecting, compressing and expanding vector-wise N:M matrices, bit for bit against the oracle.
#include "reference/vector_sparse.hpp"

#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/masks.hpp"
#include "support/operands.hpp"

#include <algorithm>
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
using test::first_difference;
using test::mixed_values;
using test::Placed;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();

reference::VectorPattern oracle_pattern(const VectorPattern& p) {
    return {p.keep, p.of, p.rows};
}

std::vector<float> floats(const std::vector<double>& values) {
    return reference::to_float(values);
}

// What the device should hold of a batch, block by block.
struct Expected {
    std::vector<std::uint32_t> mask, indices;
    std::vector<float> values, dense;
};

Expected expected_of(const Shape& shape, const std::vector<float>& w, const VectorPattern& pattern) {
    const std::size_t r = shape.rank(), rows = shape[r - 2], cols = shape[r - 1];
    Expected all;
    for (std::size_t b = 0; b < (r == 3 ? shape[0] : 1); ++b) {
        const Matrix matrix(rows, cols, std::span<const float>(w).subspan(b * rows * cols, rows * cols));
        const Mask mask = reference::select_vector_mask(matrix, oracle_pattern(pattern));
        const auto sparse = reference::compress(matrix, mask, oracle_pattern(pattern));
        const std::vector<std::uint32_t> bits = test::packed(mask);
        const std::vector<float> values = floats(sparse.values),
                                 dense = floats(reference::apply_mask(matrix, mask).data);
        EXPECT_EQ(first_difference(floats(reference::decompress(sparse).data), dense), "");
        all.mask.insert(all.mask.end(), bits.begin(), bits.end());
        all.indices.insert(all.indices.end(), sparse.indices.begin(), sparse.indices.end());
        all.values.insert(all.values.end(), values.begin(), values.end());
        all.dense.insert(all.dense.end(), dense.begin(), dense.end());
    }
    return all;
}

// A compressed matrix in the middle of a buffer of sentinels.
class GuardedSparse {
public:
    GuardedSparse(Stream& stream, DataType type, const Shape& shape, const VectorPattern& pattern)
        : bytes_(VectorSparse::bytes(type, shape, pattern)), image_((bytes_ + 2 * guard) / 4, 0xfff5a3c7u) {
        const Buffer buffer = stream.device().allocate(image_.size() * 4);
        stream.upload(buffer, 0, std::as_bytes(std::span(image_)));
        sparse_ = VectorSparse(buffer, type, shape, pattern, guard);
    }
    [[nodiscard]] const VectorSparse& get() const { return sparse_; }
    // Empty, or what differs.
    [[nodiscard]] std::string difference(Stream& stream, const Expected& expected) const {
        std::vector<std::uint32_t> now(image_.size());
        stream.download(sparse_.values().buffer(), 0, std::as_writable_bytes(std::span(now)));
        for (std::size_t i = 0; i < now.size(); ++i)
            if ((i < guard / 4 || i >= (guard + bytes_) / 4) && now[i] != image_[i])
                return "the guard was overwritten at word " + std::to_string(i);
        const std::string values = first_difference(download(stream, sparse_.values()), expected.values);
        if (!values.empty()) return "values: " + values;
        return download_u32(stream, sparse_.indices()) == expected.indices ? "" : "the indices differ";
    }

private:
    static constexpr std::uint64_t guard = 256;
    std::uint64_t bytes_;
    std::vector<std::uint32_t> image_;
    VectorSparse sparse_;
};

// Every operation on one W against the oracle; empty, or what differs.
std::string difference(Stream& stream, DataType type, const Shape& shape, const VectorPattern& pattern,
                       const test::Layout& from, const test::Layout& to, unsigned seed) {
    const std::vector<float> values = mixed_values(shape.elements(), test::float_type(type), seed);
    const Expected expected = expected_of(shape, values, pattern);
    const Placed source(stream, type, shape, from, values);

    const Tensor mask = select_vector_mask(stream, source, pattern);
    if (download_u32(stream, mask) != expected.mask) return "the selected mask differs";
    verify_vector_mask(stream, mask, shape[shape.rank() - 1], pattern);

    const GuardedSparse by_mask(stream, type, shape, pattern), by_magnitude(stream, type, shape, pattern);
    compress_into(stream, by_mask.get(), source, mask);
    std::string text = by_mask.difference(stream, expected);
    if (!text.empty()) return "by mask: " + text;

    // The mask may lie anyhow, too.
    const Shape words = mask_shape(shape);
    Shape pitched = words;
    pitched[shape.rank() - 1] += 2;
    const Tensor wide = upload(stream, std::vector<std::uint32_t>(pitched.elements(), 0xdeadbeef), pitched);
    const Tensor written = wide.slice(shape.rank() - 1, 1, words[shape.rank() - 1] + 1);
    compress_by_magnitude_into(stream, by_magnitude.get(), source, written);
    text = by_magnitude.difference(stream, expected);
    if (!text.empty()) return "by magnitude: " + text;
    if (download_u32(stream, contiguous(stream, written)) != expected.mask) return "the written mask differs";
    const std::vector<std::uint32_t> around = download_u32(stream, wide);
    const std::size_t width = pitched[shape.rank() - 1];
    for (std::size_t i = 0; i < around.size(); ++i)
        if ((i % width == 0 || i % width == width - 1) && around[i] != 0xdeadbeef)
            return "a word beside the mask was overwritten";

    const Placed dense(stream, type, shape, to);
    to_dense_into(stream, dense, by_mask.get());
    const auto contents = dense.read(stream);
    if (!contents.damage.empty()) return contents.damage;
    return first_difference(contents.values, expected.dense);
}

TEST(VectorSparse, AgreesWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : types)
        for (const VectorPattern& pattern :
             {VectorPattern{2, 4, 4}, VectorPattern{1, 4, 16}, VectorPattern{1, 1, 8},
              VectorPattern{3, 5, 32}, VectorPattern{31, 32, 4}, VectorPattern{7, 31, 8},
              VectorPattern{2, 4, 128}})
            for (const Shape& shape :
                 {Shape{1, 1}, Shape{4, 31}, Shape{9, 66}, Shape{130, 5}, Shape{2, 17, 40}})
                EXPECT_EQ(difference(stream, type, shape, pattern, {}, {}, ++seed), "")
                    << to_string(shape) << " " << to_string(type) << ", " << pattern.keep << " of "
                    << pattern.of << " by " << pattern.rows << ", seed " << seed;
}

TEST(VectorSparse, AgreesWithTheOracleForDrawnShapes) {
    Stream stream(device());
    test::property(60, [&] {
        VectorPattern pattern;
        pattern.of = static_cast<std::uint32_t>(draw(1, 32));
        pattern.keep = static_cast<std::uint32_t>(draw(1, pattern.of));
        pattern.rows = 4u << draw(0, 5);
        const std::uint64_t blocks = draw(0, 3), rows = draw(1, 150), cols = draw(1, 200);
        const Shape shape = blocks ? Shape{blocks, rows, cols} : Shape{rows, cols};
        const DataType type = types[draw(0, 2)];
        RC_ASSERT(difference(stream, type, shape, pattern, test::draw_layout(), test::draw_layout(),
                             static_cast<unsigned>(draw(0, 1000000))) == "");
    });
}

// Several workgroups' chunks in a row, also of groups that do not fit into words of the mask.
TEST(VectorSparse, WalksManyChunks) {
    Stream stream(device());
    for (const VectorPattern& pattern :
         {VectorPattern{2, 4, 64}, VectorPattern{5, 31, 16}, VectorPattern{3, 12, 8}})
        EXPECT_EQ(
            difference(stream, DataType::f32, {70, 2100}, pattern, {.gap = 1}, {.feature_major = true}, 7),
            "");
}

TEST(VectorSparse, RanksTiesZerosNanAndInfinity) {
    Stream stream(device());
    struct Case {
        std::vector<float> w;  // four rows of four columns
        std::uint32_t mask;    // of two that are kept
    };
    const float big = 0x1.fffffep127f;
    const Case cases[] = {
        {{1, 2, 3, 0, 1, 1, 0, 3, 1, 0, 0, 0, 1, 1, 1, 1}, 0b0011},          // all scores are 4
        {{1, 2, 3, 0, 1, 1, 0, -3, 1, 0, 0, 0, 1, 1, 2, 1.5f}, 0b1100},      // 4, 4, 5, 4.5
        {{-0.0f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, -0.0f}, 0b0011},  //
        {{9, 0, 0, 9, 9, 0, -infinity, 9, 9, 0, 0, 9, 9, not_a_number, 0, 9}, 0b0110},
        {{0, 0, 0, infinity, 0, 0, infinity, 0, 0, 0, 0, infinity, not_a_number, 0, 0, 0}, 0b0101},
        {{big, big, 1, big, big, big, 1, big, big, 1, 1, big, big, 1, 1, big}, 0b1001},
        // What lies below a unit of a column's own largest does not count, however many there are.
        {{0x1p24f, 0x1p24f, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0}, 0b0011},
        {{0, 0x1p-149f, 0x1p-148f, 0, 0, 0x1p-149f, 0, 0x1p-147f, 0, 0x1p-149f, 0, 0, 0, 0, 0, 0}, 0b1010},
    };
    const VectorPattern pattern{2, 4, 4};
    for (const Case& one : cases) {
        const Tensor w = upload(stream, one.w, {4, 4});
        EXPECT_EQ(download_u32(stream, select_vector_mask(stream, w, pattern)),
                  std::vector<std::uint32_t>(4, one.mask))
            << one.mask;
        EXPECT_EQ(
            first_difference(download(stream, to_dense(stream, compress_by_magnitude(stream, w, pattern))),
                             expected_of({4, 4}, one.w, pattern).dense),
            "");
    }
}

TEST(VectorSparse, KeepsTheMostMagnitudeOfEveryGroup) {
    Stream stream(device());
    const auto values = test::random_values(50 * 67, 5);
    const Matrix w(50, 67, values);
    for (const VectorPattern& pattern :
         {VectorPattern{2, 4, 16}, VectorPattern{3, 8, 32}, VectorPattern{1, 5, 4}}) {
        const Tensor mask = select_vector_mask(stream, upload(stream, values, {50, 67}), pattern);
        const std::vector<std::uint32_t> bits = download_u32(stream, mask);
        for (std::size_t p = 0; p * pattern.rows < 50; ++p)
            for (std::size_t g = 0; g * pattern.of < 67; ++g) {
                const std::size_t top = p * pattern.rows,
                                  bottom = std::min<std::size_t>(top + pattern.rows, 50);
                double kept = 0.0;
                for (std::size_t c = g * pattern.of; c < std::min<std::size_t>((g + 1) * pattern.of, 67);
                     ++c) {
                    if (!(bits[top * 3 + c / 32] >> c % 32 & 1)) continue;
                    std::vector<double> column;
                    for (std::size_t r = top; r < bottom; ++r) column.push_back(w(r, c));
                    kept += reference::column_score(column);
                }
                // The scores are whole numbers of units, so that their sums in double are exact.
                ASSERT_EQ(kept, reference::best_vector_score(w, oracle_pattern(pattern), p, g))
                    << p << ", " << g;
            }
    }
}

// Of each panel the first row's mask counts; groups that keep too many or too few lose or gain.
TEST(VectorSparse, AnyMaskKeepsAtMostTheFirstOfAGroup) {
    Stream stream(device());
    const std::size_t rows = 7, cols = 37;
    const VectorPattern pattern{2, 5, 4};
    std::mt19937 engine(3);
    std::vector<std::uint32_t> bits(rows * 2);
    for (std::uint32_t& word : bits) word = static_cast<std::uint32_t>(engine());
    const auto values = test::random_values(rows * cols, 4);
    std::vector<float> expected(values.size());
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t first = 0; first < cols; first += 5)
            for (std::size_t c = first, kept = 0; c < std::min(first + 5, cols); ++c)
                if ((bits[r / 4 * 4 * 2 + c / 32] >> c % 32 & 1) != 0 && kept++ < 2)
                    expected[r * cols + c] = values[r * cols + c];
    const VectorSparse sparse =
        compress(stream, upload(stream, values, {rows, cols}), upload(stream, bits, {rows, 2}), pattern);
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, sparse)), expected), "");
    const std::vector<std::uint32_t> list = download_u32(stream, sparse.indices());
    ASSERT_EQ(list.size(), 2 * sparse.kept());
    for (std::size_t i = 0; i + 1 < list.size(); ++i) {
        EXPECT_LT(list[i], cols);
        EXPECT_TRUE(i + 1 == sparse.kept() || list[i] < list[i + 1]) << i;
    }
}

TEST(VectorSparse, VerifyNamesWhatIsWrong) {
    Stream stream(device());
    const auto fails = [&](const std::vector<std::string>& parts, const std::vector<std::uint32_t>& bits,
                           const Shape& shape, std::uint64_t cols) {
        expect_error(ErrorKind::invalid_argument, parts, [&] {
            verify_vector_mask(stream, upload(stream, bits, shape), cols, {2, 4, 4});
        });
    };
    verify_vector_mask(stream, upload(stream, std::vector<std::uint32_t>{3, 3, 3, 3, 12}, {5, 1}), 4,
                       {2, 4, 4});
    fails({"row 1", "columns 0 to 3", "keeps 3", "2 are needed"}, {3, 7, 3, 3}, {4, 1}, 4);
    fails({"block 1, row 1", "column 0", "row 0", "4 rows"}, {3, 3, 3, 12}, {2, 2, 1}, 4);
    fails({"row 0", "column 4", "4 columns"}, {19, 19}, {2, 1}, 4);
    fails({"mask: shape (1, 1)", "2 words", "33 columns"}, {0x33333333}, {1, 1}, 33);
}

TEST(VectorSparse, EmptyMatricesAreNoWork) {
    Stream stream(device());
    for (const Shape& shape : {Shape{0, 8}, Shape{3, 0}, Shape{0, 3, 8}, Shape{2, 0, 0}}) {
        const Tensor w(device(), DataType::f16, shape);
        const Tensor mask = select_vector_mask(stream, w, {});
        EXPECT_EQ(mask.elements(), 0u);
        const VectorSparse sparse = compress(stream, w, mask, {});
        EXPECT_EQ(sparse.bytes(), 0u);
        EXPECT_EQ(to_dense(stream, sparse).elements(), 0u);
        EXPECT_EQ(to_dense(stream, compress_by_magnitude(stream, w, {})).elements(), 0u);
        verify_vector_mask(stream, mask, shape[shape.rank() - 1], {});
    }
}

// Few workgroups and short storage ranges: grids are walked several times, matrices cut along blocks and
// panels.
TEST(VectorSparse, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {3, 3, 3};
        caps.max_storage_range = 8192;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    EXPECT_EQ(difference(stream, DataType::f32, {7, 30, 129}, {2, 4, 8}, {}, {}, 3), "");
    if (test::access() != Access::descriptor) return;
    const Tensor wide(small, DataType::f32, {4, 4000});
    expect_error(ErrorKind::unsupported, {"select_vector_mask", "16000 elements of f32", "one dispatch"},
                 [&] { (void)select_vector_mask(stream, wide, {}); });
}

TEST(VectorSparse, TakesTheStatedBytes) {
    EXPECT_EQ(VectorSparse::bytes(DataType::f32, {64, 512}, {2, 4, 64}), 256u * (64 * 4 + 4));
    EXPECT_EQ(VectorSparse::bytes(DataType::f16, {65, 10}, {2, 4, 64}), 2u * 6 * (64 * 2 + 4));
    EXPECT_EQ(VectorSparse::bytes(DataType::bf16, {3, 5, 33}, {1, 32, 4}), 3u * 2 * 2 * (4 * 2 + 4));
}

TEST(VectorSparse, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const VectorPattern pattern{2, 4, 4};
    const Tensor w(device(), DataType::f32, {4, 40}), whole(device(), DataType::i32, {4, 40});
    const Tensor mask(device(), DataType::u32, {4, 2}), short_mask(device(), DataType::u32, {4, 1});
    const VectorSparse sparse(device(), DataType::f32, {4, 40}, pattern),
        half(device(), DataType::f16, {4, 40}, pattern), other(device(), DataType::f32, {4, 44}, pattern);
    refuses({"w", "null"}, [&] { (void)select_vector_mask(stream, {}, pattern); });
    refuses({"w", "i32", "f32, f16, bf16"}, [&] { (void)select_vector_mask(stream, whole, pattern); });
    refuses({"pattern", "5 of 4", "1 to 4"}, [&] { (void)select_vector_mask(stream, w, {5, 4, 4}); });
    refuses({"pattern", "0 of 4"}, [&] { (void)compress_by_magnitude(stream, w, {0, 4, 4}); });
    refuses({"pattern", "33 columns", "1 to 32"}, [&] { (void)compress(stream, w, mask, {1, 33, 4}); });
    refuses({"pattern", "0 columns"}, [&] { (void)compress(stream, w, mask, {0, 0, 4}); });
    for (const std::uint32_t rows : {0u, 2u, 12u, 256u})
        refuses({"pattern", std::to_string(rows) + " rows", "4 to 128"}, [&] {
            VectorSparse(device(), DataType::f32, {4, 40}, {2, 4, rows});
        });
    refuses({"out", "(4, 1)", "(4, 2)"}, [&] { select_vector_mask_into(stream, short_mask, w, pattern); });
    refuses({"mask", "(4, 1)", "(4, 2)"}, [&] { (void)compress(stream, w, short_mask, pattern); });
    refuses({"mask", "null"}, [&] { (void)compress(stream, w, {}, pattern); });
    refuses({"out", "(4, 44)", "(4, 40)"}, [&] { compress_into(stream, other, w, mask); });
    refuses({"out", "f16", "f32"}, [&] { compress_into(stream, half, w, mask); });
    refuses({"out", "null"}, [&] { compress_into(stream, VectorSparse(), w, mask); });
    refuses({"out", "overlaps w"}, [&] {
        compress_into(stream, VectorSparse(w.buffer(), DataType::f32, {4, 24}, {1, 1, 4}), w.slice(1, 0, 24),
                      mask.slice(1, 0, 1));
    });
    refuses({"a", "null"}, [&] { (void)to_dense(stream, VectorSparse()); });
    refuses({"out", "(4, 44)", "(4, 40)"}, [&] {
        to_dense_into(stream, Tensor(device(), DataType::f32, {4, 44}), sparse);
    });
    refuses({"out", "more than once"}, [&] { to_dense_into(stream, w.as_strided({4, 40}, {0, 1}), sparse); });
    refuses({"vector_sparse", "u32"}, [&] { VectorSparse(device(), DataType::u32, {4, 40}, pattern); });
    refuses({"vector_sparse", "(40)", "rank 2 or 3"},
            [&] { VectorSparse(device(), DataType::f32, {40}, pattern); });
    refuses({"byte_offset", "4"}, [&] { VectorSparse(w.buffer(), DataType::f32, {4, 40}, pattern, 4); });
    refuses({"(4, 40)", "400 bytes", "64"}, [&] {
        VectorSparse(device().allocate(64), DataType::f32, {4, 40}, pattern);
    });
}

}  // namespace
}  // namespace danaus
