// Safetensors files that are as they should be: read, loaded, written, replaced.
#include "safetensors_support.hpp"
#include "support/layout.hpp"

#include <danaus/runtime/layers.hpp>

#include <algorithm>
#include <ostream>
#include <stdexcept>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::file_of;
using test::text_of;

class Safetensors : public test::SafetensorsTest {
protected:
    Stream stream{device()};
};

std::string encoded(DataType type, const std::vector<float>& values) {
    return text_of(reference::encode(test::reference_type(type), values));
}

std::string words(const std::vector<std::uint32_t>& values) {
    std::string bytes;
    for (const std::uint32_t value : values)
        for (int i = 0; i < 4; ++i) bytes += static_cast<char>(value >> 8 * i & 255);
    return bytes;
}

// Every bit pattern that a type may have occurs somewhere: no value is read as a number on its way.
std::vector<std::byte> patterns(std::uint64_t count) {
    std::vector<std::byte> bytes(count);
    for (std::uint64_t i = 0; i < count; ++i) bytes[i] = static_cast<std::byte>(i * 167 + i / 256 * 13 + 5);
    return bytes;
}

TEST_F(Safetensors, ReadsAFileMadeByHand) {
    // Fields in any order, escapes, spaces, data in another order than the names, an empty tensor.
    write(file_of(
        R"({ "b" : {"shape":[3], "data_offsets":[8, 20], "dtype":"U32"},
  "__metadata__": {"format": "pt", "n\u00e4me": ""},
  "\ud83d\ude00/\"x\"": {"dtype":"F16","shape":[2,1,2],"data_offsets":[0,8]},
  "none":{"dtype":"BF16","shape":[4,0],"data_offsets":[8,8]},
  "":{"dtype":"I32","shape":[],"data_offsets":[20,24]}}   )",
        std::string("\x00\x3c\x00\xc0\x01\x00\xff\x7b", 8) + words({1, 2, 0xffffffffu, 0x80000000u})));
    const SafetensorsFile file(path);
    ASSERT_EQ(file.entries().size(), 4u);
    EXPECT_EQ(file.entries()[0].name, "\U0001F600/\"x\"");
    EXPECT_EQ(file.entries()[1].name, "none");
    EXPECT_EQ(file.entries()[2].name, "b");
    EXPECT_EQ(file.entries()[3].name, "");
    EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt"}, {"näme", ""}}));
    EXPECT_EQ(file.find("c"), nullptr);
    EXPECT_EQ(file.entry("b").shape, std::vector<std::uint64_t>{3});
    EXPECT_EQ(file.entry("b").type(), DataType::u32);
    EXPECT_EQ(file.entry("b").begin, 8u);

    const Tensor x = file.load(stream, "\U0001F600/\"x\"");
    EXPECT_EQ(x.type(), DataType::f16);
    EXPECT_EQ(x.shape(), (Shape{2, 1, 2}));
    EXPECT_EQ(download(stream, x), (std::vector<float>{1, -2, 0x1p-24f, 65504.0f}));
    EXPECT_EQ(download_u32(stream, file.load(stream, "b")), (std::vector<std::uint32_t>{1, 2, 0xffffffffu}));
    EXPECT_EQ(file.load(stream, "none").shape(), (Shape{4, 0}));
    EXPECT_EQ(file.load(stream, "").shape(), Shape());
    EXPECT_EQ(download_i32(stream, file.load(stream, "")), (std::vector<std::int32_t>{-2147483647 - 1}));
    EXPECT_EQ(file.load(stream, "b").strides(), (Shape{1}));
    EXPECT_EQ(text_of(file.read("b")), words({1, 2, 0xffffffffu}));
    expect_error(ErrorKind::invalid_argument, {"name", "x.safetensors", "\"c\""},
                 [&] { static_cast<void>(file.load(stream, "c")); });
}

TEST_F(Safetensors, WritesTheseBytes) {
    SafetensorsWriter writer;
    writer.add("b", upload(stream, std::vector<float>{1, 2, 3}, {3}, DataType::f16));
    writer.add("a.0", upload(stream, std::vector<float>{0, 1, 2, 3, 4, 5}, {1, 2, 3}));
    writer.add("a", upload(stream, std::vector<std::uint32_t>{7}, Shape{}));
    writer.add("\n\"ü", "I64", {0, 2}, {});
    writer.set_metadata("z", "1");
    writer.set_metadata("k\\", "first");
    writer.set_metadata("k\\", "ß\t");
    writer.save(stream, path);
    // Larger types first, then names; padded to eight bytes.
    std::string header =
        R"({"__metadata__":{"k\\":"ß\t","z":"1"},"\n\"ü":{"dtype":"I64","shape":[0,2],"data_offsets":[0,0]},)"
        R"("a.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]},)"
        R"("a":{"dtype":"U32","shape":[],"data_offsets":[24,28]},)"
        R"("b":{"dtype":"F16","shape":[3],"data_offsets":[28,34]}})";
    while (header.size() % 8 != 0) header += ' ';
    EXPECT_EQ(content(), file_of(header, encoded(DataType::f32, {0, 1, 2, 3, 4, 5}) + words({7}) +
                                             encoded(DataType::f16, {1, 2, 3})));
    EXPECT_EQ(files(), 1);

    SafetensorsWriter().save(stream, path);
    EXPECT_EQ(content(), file_of("{}      "));
    EXPECT_TRUE(SafetensorsFile(path).entries().empty());
    SafetensorsWriter only;
    only.set_metadata("framework", "pt");
    only.save(stream, path);
    EXPECT_EQ(content(), file_of(R"({"__metadata__":{"framework":"pt"}}     )"));
}

TEST_F(Safetensors, LayoutsTypesAndShapesComeBackAsTheyWere) {
    const Shape shapes[] = {{}, {1}, {7}, {0}, {3, 5}, {4, 0, 2}, {2, 3, 5}, {2, 1, 3, 9}, {129, 65}};
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16, DataType::i32, DataType::u32})
        for (const Shape& shape : shapes)
            for (const test::Layout layout : test::layouts) {
                const bool rows = shape.rank() == 2 || shape.rank() == 3;
                if (!rows && layout != test::Layout::contiguous) continue;
                SCOPED_TRACE(std::string(to_string(type)) + " " + to_string(shape) + " layout " +
                             std::to_string(static_cast<int>(layout)));
                const std::vector<std::byte> bytes = patterns(shape.elements() * size_of(type));
                const Tensor plain(device(), type, shape);
                if (!bytes.empty()) stream.upload(plain.buffer(), 0, bytes);
                Tensor source = plain;
                if (rows) {
                    const test::Placed placed(stream, type, shape, layout);
                    convert_into(stream, placed.tensor(), plain);
                    source = placed.tensor();
                }
                SafetensorsWriter writer;
                writer.add("x", source);
                writer.save(stream, path);
                const SafetensorsFile file(path);
                EXPECT_EQ(file.read("x"), bytes);
                EXPECT_EQ(file.entry("x").type(), type);
                const Tensor loaded = file.load(stream, "x");
                ASSERT_EQ(loaded.shape(), shape);
                ASSERT_EQ(loaded.type(), type);
                std::vector<std::byte> back(bytes.size());
                if (!back.empty()) stream.download(loaded.buffer(), 0, back);
                EXPECT_EQ(back, bytes);
                if (!rows) continue;
                const test::Placed into(stream, type, shape, layout);
                file.load_into(stream, into.tensor(), "x");
                into.check(stream, "load_into");
                const Tensor again = contiguous(stream, into.tensor());
                if (!back.empty()) stream.download(again.buffer(), again.offset() * size_of(type), back);
                EXPECT_EQ(back, bytes);
            }
}

TEST_F(Safetensors, LongTensorsTravelInPieces) {
    // 2^23 bytes are a piece: more than two, an odd rest, and a transposed one.
    const std::uint64_t count = (9ull << 20) + 1;
    const std::vector<std::byte> bytes = patterns(count * 2);
    const Tensor source(device(), DataType::bf16, {count});
    stream.upload(source.buffer(), 0, bytes);
    const Tensor table = source.slice(0, 0, 9ull << 20).reshape({9, 1ull << 20}).transpose();
    SafetensorsWriter writer;
    writer.add("long", source);
    writer.add("table", table);
    writer.save(stream, path);
    const SafetensorsFile file(path);
    EXPECT_TRUE(file.read("long") == bytes);
    const Tensor loaded = file.load(stream, "long");
    std::vector<std::byte> back(bytes.size());
    stream.download(loaded.buffer(), 0, back);
    EXPECT_TRUE(back == bytes);
    const std::vector<std::byte> turned = file.read("table");
    for (std::uint64_t r = 0; r < 1ull << 20; r += 4099)
        for (std::uint64_t c = 0; c < 9; ++c)
            ASSERT_EQ(turned[(r * 9 + c) * 2], bytes[(c << 20 | r) * 2]) << r << ", " << c;
}

TEST_F(Safetensors, EveryTypeOfTheFormatIsListedAndRead) {
    const std::vector<std::pair<std::string, std::uint64_t>> types{
        {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
        {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
        {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
        {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};
    SafetensorsWriter writer;
    for (const auto& [dtype, bits] : types) writer.add(dtype, dtype, {2, 1, 1, 1, 4}, patterns(bits));
    writer.save(stream, path);
    const SafetensorsFile file(path);
    ASSERT_EQ(file.entries().size(), types.size());
    for (std::size_t i = 0; i < types.size(); ++i) {
        // Written backwards: what is aligned most comes first.
        const SafetensorsEntry& entry = file.entries()[types.size() - 1 - i];
        EXPECT_EQ(entry.dtype, types[i].first);
        EXPECT_EQ(file.read(entry.name), patterns(types[i].second));
        const bool known = entry.type().has_value();
        expect_error(ErrorKind::unsupported,
                     {"x.safetensors", "\"" + entry.dtype + "\"",
                      known ? "has 5 dimensions" : "is " + entry.dtype, "read()"},
                     [&] { static_cast<void>(file.load(stream, entry.name)); });
    }
}

TEST_F(Safetensors, WrongArgumentsChangeNothing) {
    SafetensorsWriter writer;
    const std::vector<float> values{1, 2, 3, 4, 5, 6};
    writer.add("x", upload(stream, values, {2, 3}, DataType::bf16));
    const auto refused = [&](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    refused({"tensor", "\"y\"", "null"}, [&] { writer.add("y", Tensor()); });
    refused({"name", "\"x\"", "before"}, [&] { writer.add("x", upload(stream, values, {6})); });
    refused({"name", "__metadata__"}, [&] { writer.add("__metadata__", upload(stream, values, {6})); });
    refused({"name", "UTF-8"}, [&] { writer.add("a\xff", upload(stream, values, {6})); });
    refused({"key", "UTF-8"}, [&] { writer.set_metadata("\xc0\x80", ""); });
    refused({"value", "UTF-8", "\"k\""}, [&] { writer.set_metadata("k", "\xed\xa0\x80"); });
    refused({"dtype", "\"F5\""}, [&] { writer.add("y", "F5", {1}, patterns(4)); });
    refused({"bytes: 4", "(1, 2)", "F32", "8"}, [&] { writer.add("y", "F32", {1, 2}, patterns(4)); });
    refused({"shape", "2^64"}, [&] { writer.add("y", "U8", {1ull << 32, 1ull << 32}, {}); });
    refused({"shape", "3 elements of F4"}, [&] { writer.add("y", "F4", {3}, patterns(2)); });
    writer.save(stream, path);
    const SafetensorsFile file(path);
    ASSERT_EQ(file.entries().size(), 1u);
    EXPECT_TRUE(file.metadata().empty());

    const Tensor other(device(), DataType::bf16, {3, 2});
    const std::vector<std::byte> before = patterns(12);
    stream.upload(other.buffer(), 0, before);
    refused({"out: shape (3, 2)", "(2, 3)"}, [&] { file.load_into(stream, other, "x"); });
    refused({"out: type f16", "BF16"}, [&] {
        file.load_into(stream, Tensor(other.buffer(), DataType::f16, {2, 3}), "x");
    });
    refused({"out"}, [&] { file.load_into(stream, other.as_strided({2, 3}, {0, 1}), "x"); });
    refused({"out"}, [&] { file.load_into(stream, Tensor(), "x"); });
    refused({"\"y\""}, [&] { file.load_into(stream, other, "y"); });
    std::vector<std::byte> after(12);
    stream.download(other.buffer(), 0, after);
    EXPECT_EQ(after, before);
}

TEST_F(Safetensors, AFailedWriteLeavesTheOldFile) {
    SafetensorsWriter writer;
    writer.add("x", upload(stream, std::vector<float>{1, 2}, {2}));
    writer.save(stream, path);
    const std::string before = content();
    // The tensor of another device, and one of a device that is gone.
    Device second = test::capped_device([](Capabilities&) {});
    Stream there(second);
    SafetensorsWriter foreign;
    foreign.add("y", upload(there, std::vector<float>{1}, {1}));
    expect_error(ErrorKind::invalid_argument, {"\"y\""}, [&] { foreign.save(stream, path); });
    second.close();
    EXPECT_TRUE(test::caught([&] { foreign.save(there, path); }).thrown);
    // What fails in the middle.
    EXPECT_EQ(runtime::replace_file(path,
                                    [](std::ostream& file) {
                                        file << "half of it";
                                        file.setstate(std::ios::failbit);
                                    }),
              "cannot be written");
    EXPECT_THROW(static_cast<void>(runtime::replace_file(path,
                                                         [](std::ostream& file) {
                                                             file << "half of it";
                                                             throw std::runtime_error("lost");
                                                         })),
                 std::runtime_error);
    EXPECT_EQ(content(), before);
    EXPECT_EQ(files(), 1);
    // A place that cannot be written to.
    std::filesystem::create_directories(folder / "taken" / "inside");
    expect_error(ErrorKind::file, {"taken", "cannot be written"},
                 [&] { writer.save(stream, folder / "taken"); });
    expect_error(ErrorKind::file, {"cannot be written"}, [&] { writer.save(stream, path / "below"); });
    EXPECT_EQ(files(), 2) << "no temporary file is left";
    EXPECT_EQ(content(), before);
}

#ifndef _WIN32
TEST_F(Safetensors, AnOpenFileStaysReadableWhenReplaced) {
    SafetensorsWriter first, second;
    first.add("x", upload(stream, std::vector<float>{1, 2}, {2}));
    second.add("a", upload(stream, std::vector<float>{3, 4, 5}, {3}));
    first.save(stream, path);
    const SafetensorsFile open(path);
    second.save(stream, path);
    EXPECT_EQ(download(stream, open.load(stream, "x")), (std::vector<float>{1, 2}));
    EXPECT_EQ(SafetensorsFile(path).entries()[0].name, "a");
    // One that is overwritten in place is noticed when it became too short.
    const SafetensorsFile cut(path);
    write("");
    expect_error(ErrorKind::file, {"x.safetensors", "cannot be read"},
                 [&] { static_cast<void>(cut.load(stream, "a")); });
}
#endif

}  // namespace
}  // namespace danaus
