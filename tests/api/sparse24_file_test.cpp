// 2:4 matrices in safetensors files: what is written is read, and nothing else is believed.
#include "safetensors_support.hpp"
#include "support/layout.hpp"

#include <random>

namespace danaus {
namespace {

using test::bits_of;
using test::device;
using test::expect_error;

class Sparse24Files : public test::SafetensorsTest {
protected:
    void refused(const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    }
    Stream stream{device()};
};

TEST_F(Sparse24Files, FilesRoundTrip) {
    const Shape shapes[] = {{3, 5}, {2, 3, 30}, {7, 64},   {1, 1},   {4, 33},
                            {0, 8}, {5, 0},     {2, 0, 4}, {3, 2, 7}};
    for (const DataType type : test::float_types)
        for (const Shape& shape : shapes) {
            SCOPED_TRACE(std::string(to_string(type)) + " " + to_string(shape));
            std::mt19937 engine(static_cast<unsigned>(shape.elements()));
            std::vector<float> values(shape.elements());
            for (float& value : values) value = static_cast<float>(engine() % 255) - 127;
            const Sparse24 a = compress_by_magnitude(stream, upload(stream, values, shape, type));
            SafetensorsWriter writer;
            add_sparse24(writer, "layer.w", a);
            writer.save(stream, path);
            const SafetensorsFile file(path);
            EXPECT_EQ(file.entries().size(), 2u);
            EXPECT_EQ(file.metadata().at("layer.w.columns"), std::to_string(shape[shape.rank() - 1]));
            EXPECT_EQ(file.read("layer.w.values").size() + file.read("layer.w.metadata").size(), a.bytes());
            const Sparse24 into(device(), type, shape);
            load_sparse24_into(stream, into, file, "layer.w");
            for (const Sparse24& b : {load_sparse24(stream, file, "layer.w"), into}) {
                EXPECT_EQ(b.shape(), shape);
                EXPECT_EQ(b.type(), type);
                EXPECT_EQ(bits_of(stream, b.values()), bits_of(stream, a.values()));
                EXPECT_EQ(bits_of(stream, b.metadata()), bits_of(stream, a.metadata()));
            }
        }
}

TEST_F(Sparse24Files, FilesThatAreNotRightAreRefused) {
    // (2, 2, 6): two groups a row, the second with two columns.
    const std::vector<std::uint32_t> places{0x49, 0x4e, 0x48, 0x44};
    const std::vector<float> values{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    const auto file_with = [&](const std::vector<std::uint32_t>& words, const std::vector<float>& kept,
                               const std::string& columns, const Shape& words_shape = {2, 2, 1},
                               DataType type = DataType::f16) {
        SafetensorsWriter writer;
        writer.add("w.values", upload(stream, kept, {2, 2, 4}, type));
        writer.add("w.metadata", upload(stream, words, words_shape));
        if (columns != "none") writer.set_metadata("w.columns", columns);
        writer.save(stream, path);
        return SafetensorsFile(path);
    };
    const Sparse24 out(device(), DataType::f16, {2, 2, 6});
    const std::vector<float> before(16, 77);
    upload_into(stream, out.values(), before);
    const auto wrong = [&](const SafetensorsFile& file, const std::vector<std::string>& parts,
                           ErrorKind kind = ErrorKind::file) {
        std::vector<std::string> all = parts;
        all.emplace_back("x.safetensors");
        expect_error(kind, all, [&] { static_cast<void>(load_sparse24(stream, file, "w")); });
        expect_error(kind, all, [&] { load_sparse24_into(stream, out, file, "w"); });
        EXPECT_EQ(download(stream, out.values()), before);
    };
    const SafetensorsFile good = file_with(places, values, "6");
    EXPECT_EQ(load_sparse24(stream, good, "w").shape(), (Shape{2, 2, 6}));
    const auto changed = [&](std::size_t row, std::uint32_t word) {
        std::vector<std::uint32_t> words = places;
        words[row] = word;
        return file_with(words, values, "6");
    };
    wrong(changed(2, 0x45), {"matrix \"w\"", "block 1, row 0, group 0", "places 1 and 1", "ascend"});
    wrong(changed(3, 0x14), {"block 1, row 1, group 1", "places 1 and 0"});
    wrong(changed(1, 0x14e), {"block 0, row 1, group 2", "1 where there are only 2 groups"});
    wrong(changed(1, 0x1000004e), {"group 7", "1 where"});
    wrong(changed(0, 0x89), {"block 0, row 0, group 1", "a value for column 6", "has 6"});
    std::vector<float> padded = values;
    padded[3] = 0;
    EXPECT_EQ(load_sparse24(stream, file_with({0x89, 0x4e, 0x48, 0x44}, padded, "6"), "w").shape(),
              (Shape{2, 2, 6}));
    EXPECT_EQ(load_sparse24(stream, file_with(places, values, "8"), "w").shape(), (Shape{2, 2, 8}));
    for (const char* columns : {"", "-6", "6 ", "6.0", "x", "99999999999999999999", "0x6"})
        wrong(file_with(places, values, columns), {"columns \"", "a number"});
    for (const char* columns : {"4", "9", "0", "576460752303423488"})
        wrong(file_with(places, values, columns), {"values of 4 a row", std::string(columns) + " columns"});
    wrong(file_with(places, values, "none"), {"\"w.columns\""}, ErrorKind::invalid_argument);
    wrong(file_with(places, values, "6", {4}), {"metadata of shape (4)", "(2, 2, 1)"});
    SafetensorsWriter writer;
    writer.add("w.values", upload(stream, places, {2, 2}));
    writer.add("w.metadata", upload(stream, places, {4}));
    writer.set_metadata("w.columns", "3");
    writer.save(stream, path);
    wrong(SafetensorsFile(path), {"values are U32"});
    SafetensorsWriter flat;
    flat.add("w.values", upload(stream, values, {16}));
    flat.add("w.metadata", upload(stream, places, {4}));
    flat.set_metadata("w.columns", "3");
    flat.save(stream, path);
    wrong(SafetensorsFile(path), {"rank 1"});
    flat.add("v.values", upload(stream, values, {4, 4}));
    flat.add("v.metadata", upload(stream, values, {4, 4}));
    flat.set_metadata("v.columns", "6");
    flat.save(stream, path);
    expect_error(ErrorKind::file, {"matrix \"v\"", "metadata are F32", "U32"},
                 [&] { static_cast<void>(load_sparse24(stream, SafetensorsFile(path), "v")); });
    wrong(SafetensorsFile(path), {"rank 1"});
    expect_error(ErrorKind::invalid_argument, {"\"u.values\""},
                 [&] { static_cast<void>(load_sparse24(stream, SafetensorsFile(path), "u")); });

    // A destination that does not fit, names that are taken.
    file_with(places, values, "6");
    const SafetensorsFile file(path);
    refused({"out: shape (2, 2, 7)", "(2, 2, 6)"}, [&] {
        load_sparse24_into(stream, Sparse24(device(), DataType::f16, {2, 2, 7}), file, "w");
    });
    refused({"out: type bf16", "f16"}, [&] {
        load_sparse24_into(stream, Sparse24(device(), DataType::bf16, {2, 2, 6}), file, "w");
    });
    refused({"out", "null"}, [&] { load_sparse24_into(stream, Sparse24(), file, "w"); });
    SafetensorsWriter taken;
    taken.add("w.metadata", upload(stream, places, {4}));
    refused({"name", "\"w.metadata\""}, [&] { add_sparse24(taken, "w", out); });
    EXPECT_FALSE(taken.contains("w.values"));
    refused({"a", "null"}, [&] { add_sparse24(taken, "x", Sparse24()); });
}

}  // namespace
}  // namespace danaus
