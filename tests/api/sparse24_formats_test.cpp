// 2:4 matrices in the forms of other programs: PyTorch's and CUTLASS's, and safetensors files. What is
// expected comes from the formulas in the formats' descriptions, walked the other way round than the library
// does.
#include "support/layout.hpp"

#include <algorithm>
#include <map>
#include <random>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::bits_of;
using test::device;
using test::expect_error;

// Columns kept of each group of four, or of two, and what they are called.
const std::map<std::string, unsigned> nibbles{{"1100", 4},  {"1010", 8},  {"0110", 9},
                                              {"1001", 12}, {"0101", 13}, {"0011", 14}};

struct Dense {
    std::uint64_t rows, cols;
    std::vector<std::uint32_t> bits;  // of the elements
    std::vector<bool> kept;
};

std::uint64_t words_a_row(DataType type, std::uint64_t cols) {
    return type == DataType::f32 ? cols / 8 : cols / 16;
}

// Random bit patterns (infinities and NaN among them) under a random mask of the format.
Dense random_dense(DataType type, std::uint64_t rows, std::uint64_t cols, std::mt19937& engine) {
    Dense out{rows, cols, std::vector<std::uint32_t>(rows * cols), std::vector<bool>(rows * cols)};
    for (std::uint64_t first = 0; first < rows * cols; first += 4) {
        std::string mask = std::next(nibbles.begin(), static_cast<std::ptrdiff_t>(engine() % 6))->first;
        if (type == DataType::f32) {
            mask = engine() % 2 != 0 ? "10" : "01";
            mask += engine() % 2 != 0 ? "10" : "01";
        }
        for (std::uint64_t i = 0; i < 4; ++i) out.kept[first + i] = mask[i] == '1';
    }
    for (std::uint32_t& bits : out.bits)
        bits = static_cast<std::uint32_t>(engine()) >> (size_of(type) == 2 ? 16 : 0);
    return out;
}

std::vector<std::byte> kept_values(DataType type, const Dense& dense) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < dense.bits.size(); ++i)
        for (std::uint64_t byte = 0; dense.kept[i] && byte < size_of(type); ++byte)
            bytes.push_back(static_cast<std::byte>(dense.bits[i] >> 8 * byte));
    return bytes;
}

// The word of every place of the metadata, by searching for the row and column that belong there: reorder
// rows, exchange top right and bottom left of each square of two, store pairs of columns after each other.
std::vector<std::int16_t> oracle_metadata(DataType type, const Dense& dense) {
    const std::uint64_t words = words_a_row(type, dense.cols),
                        wide = dense.cols / std::max<std::uint64_t>(words, 1);
    std::vector<std::int16_t> out(dense.rows * words);
    std::vector<int> hits(out.size());
    for (std::uint64_t r = 0; r < dense.rows; ++r)
        for (std::uint64_t w = 0; w < words; ++w) {
            unsigned word = 0;
            for (unsigned i = 0; i < 4; ++i) {
                std::string mask;
                for (std::uint64_t c = 0; c < wide / 4; ++c) {
                    const char kept = dense.kept[r * dense.cols + w * wide + i * wide / 4 + c] ? '1' : '0';
                    mask += kept;
                    if (type == DataType::f32) mask += kept;  // as if it were two halves of a word
                }
                word |= nibbles.at(mask) << 4 * i;
            }
            constexpr std::uint64_t group = 32, interweave = 4;
            std::uint64_t row = r / group * group + r % 8 * interweave + r % group / 8, column = w;
            const bool top_right = row % 2 == 0 && column % 2 == 1,
                       bottom_left = row % 2 == 1 && column % 2 == 0;
            row = row + (top_right ? 1 : 0) - (bottom_left ? 1 : 0);
            column = column - (top_right ? 1 : 0) + (bottom_left ? 1 : 0);
            const std::uint64_t place = column / 2 * dense.rows * 2 + row * 2 + column % 2;
            out.at(place) = static_cast<std::int16_t>(word);
            ++hits[place];
        }
    EXPECT_EQ(std::count(hits.begin(), hits.end(), 1), static_cast<std::ptrdiff_t>(hits.size()));
    return out;
}

Tensor tensor_of(Stream& stream, DataType type, const Shape& shape, const std::vector<std::byte>& bytes) {
    const Tensor out(device(), type, shape);
    if (!bytes.empty()) stream.upload(out.buffer(), 0, bytes);
    return out;
}

Tensor dense_tensor(Stream& stream, DataType type, const Dense& dense) {
    std::vector<std::byte> bytes;
    for (const std::uint32_t bits : dense.bits)
        for (std::uint64_t byte = 0; byte < size_of(type); ++byte)
            bytes.push_back(static_cast<std::byte>(bits >> 8 * byte));
    return tensor_of(stream, type, {dense.rows, dense.cols}, bytes);
}

Sparse24 compressed(Stream& stream, DataType type, const Dense& dense) {
    std::vector<std::uint32_t> mask(dense.rows * ((dense.cols + 31) / 32));
    for (std::uint64_t i = 0; i < dense.kept.size(); ++i)
        if (dense.kept[i])
            mask[i / dense.cols * ((dense.cols + 31) / 32) + i % dense.cols / 32] |= 1u
                                                                                     << i % dense.cols % 32;
    return compress(stream, dense_tensor(stream, type, dense),
                    upload(stream, mask, mask_shape({dense.rows, dense.cols})));
}

class Sparse24Formats : public ::testing::Test {
protected:
    void refused(const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    }
    Stream stream{device()};
};

TEST_F(Sparse24Formats, PublishedWords) {
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const auto& [mask, word] : {std::pair<std::string, int>{"0011", -4370}, {"1100", 17476}}) {
            Dense dense{
                128, 128, std::vector<std::uint32_t>(128 * 128, type == DataType::f16 ? 0x3c00 : 0x3f80), {}};
            for (std::size_t i = 0; i < dense.bits.size(); ++i) dense.kept.push_back(mask[i % 4] == '1');
            const CutlassSparse24 out = export_cutlass(stream, compressed(stream, type, dense));
            ASSERT_EQ(out.metadata.size(), 128u * 8);
            for (const std::int16_t got : out.metadata) ASSERT_EQ(got, word);
        }
    // One group of 1010 at row r, word w, in a field of 0011.
    const auto place_of_odd_word = [&](std::uint64_t r, std::uint64_t w) {
        Dense dense{64, 64, std::vector<std::uint32_t>(64 * 64, 0x3c00), {}};
        for (std::size_t i = 0; i < dense.bits.size(); ++i) dense.kept.push_back(i % 4 >= 2);
        for (std::uint64_t i = 0; i < 4; ++i) dense.kept[r * 64 + w * 16 + i] = i % 2 == 0;
        const CutlassSparse24 out = export_cutlass(stream, compressed(stream, DataType::f16, dense));
        const auto found =
            std::find_if(out.metadata.begin(), out.metadata.end(), [](auto one) { return one != -4370; });
        EXPECT_EQ(static_cast<std::uint16_t>(*found), 0xeee8);
        return found - out.metadata.begin();
    };
    // By hand: row 1 of 32 goes to row 4; (4, 0) stays; (0, 1) is exchanged with (1, 0), which row 8 stands
    // in.
    EXPECT_EQ(place_of_odd_word(0, 0), 0);
    EXPECT_EQ(place_of_odd_word(1, 0), 8);
    EXPECT_EQ(place_of_odd_word(0, 1), 2);
    EXPECT_EQ(place_of_odd_word(8, 0), 1);
    EXPECT_EQ(place_of_odd_word(8, 1), 3);
    EXPECT_EQ(place_of_odd_word(33, 2), 128 + 2 * 36);
}

TEST_F(Sparse24Formats, CutlassRoundTrips) {
    std::mt19937 engine(24);
    for (const DataType type : test::float_types)
        for (const auto& [rows, cols] : {std::pair<std::uint64_t, std::uint64_t>{32, 32},
                                         {64, 96},
                                         {96, 64},
                                         {32, 352},
                                         {0, 64},
                                         {32, 0},
                                         {256, 32},
                                         {160, 16},
                                         {32, 48}}) {
            if (type != DataType::f32 && cols % 32 != 0) continue;
            SCOPED_TRACE(std::string(to_string(type)) + " " + to_string(Shape{rows, cols}));
            const Dense dense = random_dense(type, rows, cols, engine);
            CutlassSparse24 theirs{type, rows, cols, kept_values(type, dense), oracle_metadata(type, dense)};
            const Sparse24 ours = compressed(stream, type, dense);
            EXPECT_EQ(export_cutlass(stream, ours), theirs);
            const Sparse24 imported = import_cutlass(stream, theirs);
            EXPECT_EQ(imported.shape(), (Shape{rows, cols}));
            EXPECT_EQ(bits_of(stream, imported.values()), bits_of(stream, ours.values()));
            EXPECT_EQ(bits_of(stream, imported.metadata()), bits_of(stream, ours.metadata()));
            EXPECT_EQ(export_cutlass(stream, imported), theirs);
            const std::vector<std::uint32_t> expanded = bits_of(stream, to_dense(stream, imported));
            for (std::size_t i = 0; i < expanded.size(); ++i)
                ASSERT_EQ(expanded[i], dense.kept[i] ? dense.bits[i] : 0) << i;

            const std::vector<std::byte> packed = pack_cutlass(theirs);
            EXPECT_EQ(packed.size(), rows * cols * 9 / 16 * size_of(type));
            EXPECT_EQ(unpack_cutlass(type, rows, cols, packed), theirs);
        }
}

TEST_F(Sparse24Formats, CutlassErrorsNameWhatIsWrong) {
    std::mt19937 engine(25);
    const auto matrix = [&](DataType type) {
        const Dense dense = random_dense(type, 64, 64, engine);
        return CutlassSparse24{type, 64, 64, kept_values(type, dense), oracle_metadata(type, dense)};
    };
    const CutlassSparse24 half = matrix(DataType::f16), full = matrix(DataType::f32);
    const auto bad = [&](CutlassSparse24 wrong, const auto& change, const std::vector<std::string>& parts) {
        change(wrong);
        refused(parts, [&] { static_cast<void>(import_cutlass(stream, wrong)); });
    };
    bad(half, [](auto& m) { m.type = DataType::u32; }, {"type: u32", "f32, f16, bf16"});
    bad(half, [](auto& m) { m.rows = 48; }, {"rows: 48", "32"});
    bad(half, [](auto& m) { m.cols = 48; }, {"cols: 48", "32", "f16"});
    bad(full, [](auto& m) { m.cols = 40; }, {"cols: 40", "16", "f32"});
    bad(half, [](auto& m) { m.rows = 1ull << 40, m.cols = 1ull << 40; }, {"2^63"});
    bad(half, [](auto& m) { m.values.pop_back(); }, {"values: 4095 bytes", "4096"});
    bad(half, [](auto& m) { m.metadata.push_back(0); }, {"metadata: 257 words", "256"});
    bad(half, [](auto& m) { m.type = DataType::f32; }, {"values: 4096 bytes", "f32", "8192"});
    for (unsigned nibble = 0; nibble < 16; ++nibble) {
        const bool known = std::any_of(nibbles.begin(), nibbles.end(),
                                       [&](const auto& one) { return one.second == nibble; });
        // Word (33, 2) stands at 128 + 72, found by hand above; f32: 2 * 64 + 72 too.
        const auto put = [&](auto& m) {
            m.metadata[200] =
                static_cast<std::int16_t>((m.metadata[200] & ~0xf00) | static_cast<int>(nibble << 8));
        };
        if (!known)
            bad(half, put,
                {"metadata: row 33, group 10: " + std::to_string(nibble) + ",", "4, 8, 9, 12, 13, 14"});
        if (nibble != 4 && nibble != 14)
            bad(full, put, {"metadata: row 33, pair 10: " + std::to_string(nibble) + ",", "4 and 14"});
    }
    refused({"bytes: 3", "4608"},
            [&] { static_cast<void>(unpack_cutlass(DataType::f16, 64, 64, std::vector<std::byte>(3))); });
    refused({"metadata"}, [&] { static_cast<void>(pack_cutlass({DataType::f16, 64, 64, half.values, {}})); });

    refused({"a", "null"}, [&] { static_cast<void>(export_cutlass(stream, Sparse24())); });
    refused({"a: shape (2, 32, 32)", "rank 2"}, [&] {
        static_cast<void>(export_cutlass(stream, Sparse24(device(), DataType::f16, {2, 32, 32})));
    });
    refused({"rows: 31"}, [&] {
        static_cast<void>(export_cutlass(stream, Sparse24(device(), DataType::f16, {31, 32})));
    });
    refused({"cols: 30"}, [&] {
        static_cast<void>(export_cutlass(stream, Sparse24(device(), DataType::f16, {32, 30})));
    });
    const Sparse24 a = import_cutlass(stream, full);
    std::vector<std::uint32_t> words = download_u32(stream, a.metadata());
    words[5 * 2 + 1] = (words[5 * 2 + 1] & ~0xf0u) | 4u << 4;  // row 5, group 9: columns 0 and 1
    upload_into(stream, a.metadata(), words);
    refused({"a: row 5, group 9", "places 0 and 1", "one of two"},
            [&] { static_cast<void>(export_cutlass(stream, a)); });
    words[5 * 2 + 1] |= 15u << 4;
    upload_into(stream, a.metadata(), words);
    refused({"a: row 5, group 9", "places 3 and 3", "ascend"},
            [&] { static_cast<void>(export_cutlass(stream, a)); });
}

}  // namespace
}  // namespace danaus
