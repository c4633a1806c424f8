// Matrices of tiles in safetensors files: what is written is read, and nothing else is believed.
#include "reference/tile_sparse24.hpp"
#include "safetensors_support.hpp"
#include "support/layout.hpp"

#include <random>

namespace danaus {
namespace {

using test::bits_of;
using test::device;
using test::expect_error;

class TileSparse24Files : public test::SafetensorsTest {
protected:
    Stream stream{device()};
};

TEST_F(TileSparse24Files, FilesRoundTrip) {
    const Shape shapes[] = {{3, 5}, {2, 3, 30}, {7, 64},   {1, 1},    {9, 70},
                            {0, 8}, {5, 0},     {2, 0, 4}, {3, 5, 18}};
    for (const DataType type : test::float_types)
        for (const Shape& shape : shapes) {
            SCOPED_TRACE(std::string(to_string(type)) + " " + to_string(shape));
            std::mt19937 engine(static_cast<unsigned>(shape.elements()));
            std::vector<float> values(shape.elements());
            for (float& value : values) value = static_cast<float>(engine() % 255) - 127;
            const TileSparse24 a = compress_transposable(stream, upload(stream, values, shape, type));
            SafetensorsWriter writer;
            add_tile_sparse24(writer, "layer.w", a);
            writer.save(stream, path);
            const SafetensorsFile file(path);
            EXPECT_EQ(file.entries().size(), 2u);
            EXPECT_EQ(file.metadata().at("layer.w.columns"), std::to_string(shape[shape.rank() - 1]));
            EXPECT_EQ(file.read("layer.w.values").size() + file.read("layer.w.codes").size(), a.bytes());
            const TileSparse24 into(device(), type, shape);
            load_tile_sparse24_into(stream, into, file, "layer.w");
            for (const TileSparse24& b : {load_tile_sparse24(stream, file, "layer.w"), into}) {
                EXPECT_EQ(b.shape(), shape);
                EXPECT_EQ(b.type(), type);
                EXPECT_EQ(bits_of(stream, b.values()), bits_of(stream, a.values()));
                EXPECT_EQ(bits_of(stream, b.codes()), bits_of(stream, a.codes()));
            }
        }
}

// Of all bytes, the 90 codes are believed.
TEST_F(TileSparse24Files, EveryCodeIsChecked) {
    const Tensor values = upload(stream, std::vector<float>(8, 1.0f), {4, 2});
    for (std::uint32_t code = 0; code < 256; ++code) {
        SafetensorsWriter writer;
        writer.add("w.values", values);
        writer.add("w.codes", upload(stream, std::vector<std::uint32_t>{code}, {1, 1}));
        writer.set_metadata("w.columns", "4");
        writer.save(stream, path);
        const SafetensorsFile file(path);
        const auto load = [&] { return load_tile_sparse24(stream, file, "w"); };
        if (const std::uint32_t pattern = reference::pattern_of_code(code)) {
            const std::vector<float> dense = download(stream, to_dense(stream, load()));
            for (std::size_t i = 0; i < 16; ++i)
                EXPECT_EQ(dense[i], static_cast<float>(pattern >> i & 1u)) << code << ", " << i;
        } else {
            expect_error(ErrorKind::file,
                         {"matrix \"w\"", "band 0, tile 0", std::to_string(code) + " is none of the 90"},
                         [&] { static_cast<void>(load()); });
        }
    }
}

TEST_F(TileSparse24Files, FilesThatAreNotRightAreRefused) {
    // (2, 5, 6): two bands of two tiles in each block.
    const std::uint32_t low = reference::code_of_pattern(0x33cc), both = low | low << 8;
    const std::vector<std::uint32_t> codes{both, both, both, both};
    std::vector<float> values(2 * 5 * 4, 0.0f);
    const auto file_with = [&](const std::vector<std::uint32_t>& words, const std::vector<float>& kept,
                               const std::string& columns, const Shape& words_shape = {2, 2, 1}) {
        SafetensorsWriter writer;
        writer.add("w.values", upload(stream, kept, {2, 5, 4}, DataType::f16));
        writer.add("w.codes", upload(stream, words, words_shape));
        if (columns != "none") writer.set_metadata("w.columns", columns);
        writer.save(stream, path);
        return SafetensorsFile(path);
    };
    const TileSparse24 out(device(), DataType::f16, {2, 5, 6});
    const std::vector<float> before(40, 77);
    upload_into(stream, out.values(), before);
    const auto wrong = [&](const SafetensorsFile& file, const std::vector<std::string>& parts,
                           ErrorKind kind = ErrorKind::file) {
        std::vector<std::string> all = parts;
        all.emplace_back("x.safetensors");
        expect_error(kind, all, [&] { static_cast<void>(load_tile_sparse24(stream, file, "w")); });
        expect_error(kind, all, [&] { load_tile_sparse24_into(stream, out, file, "w"); });
        EXPECT_EQ(download(stream, out.values()), before);
    };
    EXPECT_EQ(load_tile_sparse24(stream, file_with(codes, values, "6"), "w").shape(), (Shape{2, 5, 6}));
    const auto changed = [&](std::size_t word, std::uint32_t bits) {
        std::vector<std::uint32_t> words = codes;
        words[word] = bits;
        return file_with(words, values, "6");
    };
    wrong(changed(2, 0 | low << 8), {"matrix \"w\"", "block 1, band 0, tile 0", "0 is none of the 90"});
    wrong(changed(1, low | 255u << 8), {"block 0, band 1, tile 1", "255 is none"});
    wrong(changed(3, both | 1u << 16), {"block 1, band 1, tile 2", "1 where there are only 2 tiles"});
    wrong(changed(0, both | low << 24), {"block 0, band 0, tile 3", "only 2 tiles"});
    // Rows 0 and 1 of 0x33cc keep columns 2 and 3 of their tile, of which a matrix of 6 has none in its
    // second.
    std::vector<float> beyond = values;
    beyond[4 * (5 + 1) + 2] = 1;
    wrong(file_with(codes, beyond, "6"), {"block 1, band 0, tile 1", "a value for column 6", "has 6"});
    EXPECT_EQ(load_tile_sparse24(stream, file_with(codes, beyond, "8"), "w").shape(), (Shape{2, 5, 8}));
    for (const char* columns : {"", "-6", "6.0", "99999999999999999999"})
        wrong(file_with(codes, values, columns), {"columns \"", "a number"});
    for (const char* columns : {"4", "9", "0"})
        wrong(file_with(codes, values, columns), {"values of 4 a row", std::string(columns) + " columns"});
    wrong(file_with(codes, values, "none"), {"\"w.columns\""}, ErrorKind::invalid_argument);
    wrong(file_with(codes, values, "6", {4}), {"codes of shape (4)", "(2, 2, 1)"});

    // A form is not the other; a destination that does not fit, names that are taken.
    const SafetensorsFile file = file_with(codes, values, "6");
    expect_error(ErrorKind::invalid_argument, {"\"w.metadata\""},
                 [&] { static_cast<void>(load_sparse24(stream, file, "w")); });
    expect_error(ErrorKind::invalid_argument, {"out: shape (2, 5, 7)", "(2, 5, 6)"}, [&] {
        load_tile_sparse24_into(stream, TileSparse24(device(), DataType::f16, {2, 5, 7}), file, "w");
    });
    expect_error(ErrorKind::invalid_argument, {"out: type bf16", "f16"}, [&] {
        load_tile_sparse24_into(stream, TileSparse24(device(), DataType::bf16, {2, 5, 6}), file, "w");
    });
    expect_error(ErrorKind::invalid_argument, {"out", "null"},
                 [&] { load_tile_sparse24_into(stream, TileSparse24(), file, "w"); });
    SafetensorsWriter taken;
    taken.add("w.codes", upload(stream, codes, {4}));
    expect_error(ErrorKind::invalid_argument, {"name", "\"w.codes\""},
                 [&] { add_tile_sparse24(taken, "w", out); });
    EXPECT_FALSE(taken.contains("w.values"));
    expect_error(ErrorKind::invalid_argument, {"a", "null"},
                 [&] { add_tile_sparse24(taken, "x", TileSparse24()); });
}

}  // namespace
}  // namespace danaus
