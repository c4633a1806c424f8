// Safetensors files that are not as they should be: each is an error that says what is wrong and where.
#include "safetensors_header.hpp"
#include "safetensors_support.hpp"

#include <algorithm>
#include <random>

namespace danaus {
namespace {

using test::caught;
using test::device;
using test::expect_error;
using test::file_of;
using test::length_bytes;
using test::text_of;

class SafetensorsMalformed : public test::SafetensorsTest {
protected:
    void expect_refused(const std::string& bytes, std::vector<std::string> parts) {
        write(bytes);
        parts.emplace_back("safetensors file ");
        parts.emplace_back("x.safetensors: ");
        SCOPED_TRACE(bytes.size() < 300 ? bytes.substr(std::min<std::size_t>(8, bytes.size())) : parts[0]);
        expect_error(ErrorKind::file, parts, [&] { const SafetensorsFile file(path); });
        EXPECT_EQ(content(), bytes);
    }
    // One tensor "a" with these fields, and its data.
    void expect_tensor_refused(const std::string& fields, const std::vector<std::string>& parts,
                               std::size_t data = 8) {
        std::vector<std::string> all = parts;
        all.emplace_back("tensor \"a\"");
        expect_refused(file_of(R"({"a":{)" + fields + "}}", std::string(data, 'x')), all);
    }
};

const std::string good = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";

TEST_F(SafetensorsMalformed, Lengths) {
    expect_error(ErrorKind::file, {"x.safetensors", "no such file"},
                 [&] { const SafetensorsFile file(path); });
    expect_error(ErrorKind::file, {"cannot be read"}, [&] { const SafetensorsFile file(folder); });
    expect_refused("", {"cut", "0 bytes"});
    expect_refused("1234567", {"cut", "7 bytes"});
    expect_refused(length_bytes(0), {"does not start with {"});
    expect_refused(length_bytes(3) + "{}", {"cut", "3 bytes", "2 follow"});
    expect_refused(length_bytes(100'000'001) + "{}", {"100000001", "at most 100000000"});
    expect_refused(length_bytes(~0ull) + "{}", {"18446744073709551615"});
    expect_refused(length_bytes(~0ull - 7) + "{}", {"18446744073709551608"});
    expect_refused(file_of(good, "1234567"), {"cut", "\"a\"", "ends at byte 8", "the file has 7"});
    expect_refused(file_of(good), {"cut", "ends at byte 8"});
    expect_refused(file_of(good, "123456789"), {"1 bytes at its end belong to no tensor"});
    expect_refused(file_of("{}", "1"), {"1 bytes at its end"});
    write(file_of(good, "12345678"));
    EXPECT_EQ(text_of(SafetensorsFile(path).read("a")), "12345678");
}

TEST_F(SafetensorsMalformed, Text) {
    for (const char* header :
         {"{", "{\"__metadata__\":{}", "{\"a\"", "{}}", "{} x", "{'a':1}", "{\"a\":}", "{\"a\":nul}", "{,}",
          "{\"__metadata__\":{},}", "{\"a\\x\":{}}", "{\"\\ud800\":{}}"})
        expect_refused(file_of(header), {"not JSON at its byte "});
    expect_refused(file_of(std::string("{}\0\0", 4)), {"not JSON at its byte 3"});
    for (const char* header : {"{\"\xff\":{}}", "{\"\xc0\x80\":{}}", "{\"\xed\xa0\x80\":{}}",
                               "{\"a\xe4\":{}}", "{\"__metadata__\":{\"k\":\"\xf5\"}}"})
        expect_refused(file_of(header), {"not UTF-8 at its byte "});
    for (const char* header : {"[]", "1", "\"{\"", " {}", "\xef\xbb\xbf{}"})
        expect_refused(file_of(header), {"does not start with {"});
    expect_refused(file_of("{" + std::string(100000, '[')), {"not JSON"});
    expect_refused(file_of(R"({"a":)" + std::string(100000, '[')), {"\"a\" of the header is an array"});
    std::string deep = R"({"a":)";
    for (int i = 0; i < 50000; ++i) deep += R"({"shape":)";
    expect_refused(file_of(deep), {"tensor \"a\": shape is an object"});
}

TEST_F(SafetensorsMalformed, Structure) {
    expect_refused(file_of(R"({"a":1})"), {"\"a\" of the header is 1, an object is needed"});
    expect_refused(file_of(R"({"a":null})"), {"\"a\" of the header is null"});
    expect_refused(file_of(R"({"a":"F32"})"), {"\"a\" of the header is \"F32\""});
    expect_refused(file_of(R"({"__metadata__":[]})"), {"\"__metadata__\" of the header is an array"});
    expect_refused(file_of(R"({"__metadata__":{"k":1}})"), {"__metadata__ \"k\" is 1, a string is needed"});
    expect_refused(file_of(R"({"__metadata__":{"k":{"l":"m"}}})"), {"__metadata__ \"k\" is an object"});
    expect_refused(file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), {"__metadata__ \"k\" twice"});
    expect_refused(file_of(R"({"__metadata__":{},"__metadata__":{}})"), {"\"__metadata__\" occurs twice"});
    const std::string empty = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    expect_refused(file_of(R"({"a":)" + empty + R"(,"b":)" + empty + R"(,"a":)" + empty + "}"),
                   {"the name \"a\" occurs twice"});
    expect_refused(file_of(R"({"a":)" + empty + R"(,"\u0061":)" + empty + "}"), {"\"a\" occurs twice"});
    expect_refused(file_of(R"({"line\nbreak":1})"), {R"("line\nbreak" of the header)"});
    expect_refused(file_of("{\"" + std::string(5000, 'n') + "\":1}"),
                   {std::string(100, 'n') + "…\" of the header"});
}

TEST_F(SafetensorsMalformed, Fields) {
    expect_tensor_refused("", {"no dtype"});
    expect_tensor_refused(R"("dtype":"F32","data_offsets":[0,8])", {"no shape"});
    expect_tensor_refused(R"("dtype":"F32","shape":[2])", {"no data_offsets"});
    expect_tensor_refused(R"("dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8])", {"dtype twice"});
    expect_tensor_refused(R"("dtype":"F32","shape":[2],"data_offsets":[0,8],"stride":[1])",
                          {"field \"stride\"", "shape and data_offsets are known"});
    for (const char* dtype : {"\"f32\"", "\"\"", "\"FLOAT\"", "\"F32 \""})
        expect_tensor_refused("\"dtype\":" + std::string(dtype) + R"(,"shape":[2],"data_offsets":[0,8])",
                              {std::string("dtype ") + dtype + " is unknown"});
    for (const char* dtype : {"1", "null", "true"})
        expect_tensor_refused("\"dtype\":" + std::string(dtype),
                              {std::string("dtype is ") + dtype, "a string"});
    expect_tensor_refused(R"("dtype":["F32"])", {"dtype is an array", "a string"});
    expect_tensor_refused(R"("dtype":{})", {"dtype is an object", "a string"});
    const auto shape = [&](const std::string& text, const std::vector<std::string>& parts) {
        expect_tensor_refused(R"("dtype":"F32","data_offsets":[0,8],"shape":)" + text, parts);
    };
    shape("2", {"shape is 2", "an array of whole numbers"});
    shape("\"2\"", {"shape is \"2\""});
    shape("[1,-2]", {"shape[1] is -2", "whole number"});
    shape("[2.0]", {"shape[0] is 2.0"});
    shape("[1e3]", {"shape[0] is 1e3"});
    shape("[18446744073709551616]", {"shape[0] is 18446744073709551616", "below 2^64"});
    shape("[\"2\"]", {"shape[0] is \"2\""});
    shape("[null]", {"shape[0] is null"});
    shape("[[2]]", {"shape[0] is an array"});
    shape("[2,{}]", {"shape[1] is an object"});
    shape("[true]", {"shape[0] is true"});
    shape("[3]", {"[0, 8] hold 8 bytes", "F32 takes 12"});
    shape("[]", {"hold 8 bytes", "takes 4"});
    shape("[0]", {"hold 8 bytes", "takes 0"});
    shape("[4294967296,4294967296]", {"2^64 bits"});
    shape("[18446744073709551615,2]", {"2^64 bits"});
    shape("[2305843009213693952]", {"2^64 bits"});
    // 2^64 + 8 bytes would pass for 8.
    shape("[4611686018427387906]", {"2^64 bits"});
    expect_tensor_refused(R"("dtype":"F4","shape":[15],"data_offsets":[0,8])",
                          {"15 elements of F4", "whole bytes"});
    const auto offsets = [&](const std::string& text, const std::vector<std::string>& parts) {
        expect_tensor_refused(R"("dtype":"F32","shape":[2],"data_offsets":)" + text, parts);
    };
    offsets("[]", {"data_offsets has 0 numbers"});
    offsets("[8]", {"data_offsets has 1 numbers"});
    offsets("[0,8,8]", {"data_offsets has more than two"});
    offsets("8", {"data_offsets is 8"});
    offsets("[0,-8]", {"data_offsets[1] is -8"});
    offsets("[0.0,8]", {"data_offsets[0] is 0.0"});
    offsets("[8,0]", {"end at 0", "begin at 8"});
    offsets("[0,4]", {"[0, 4] hold 4 bytes", "takes 8"});
    offsets("[18446744073709551608,18446744073709551615]", {"hold 7 bytes"});
}

TEST_F(SafetensorsMalformed, Offsets) {
    const auto two = [](const std::string& a, const std::string& b) {
        return R"({"b":{"dtype":"U8","shape":[4],"data_offsets":[)" + b +
               R"(]},"a":{"dtype":"U8","shape":[4],"data_offsets":[)" + a + "]}}";
    };
    expect_refused(file_of(two("0,4", "3,7"), "1234567"),
                   {"\"b\" begins at byte 3", "inside tensor \"a\"", "ends at 4"});
    expect_refused(file_of(two("0,4", "0,4"), "1234"), {"inside tensor"});
    expect_refused(file_of(two("0,4", "5,9"), "123456789"), {"\"b\" begins at byte 5", "from 4 on"});
    expect_refused(file_of(two("1,5", "5,9"), "123456789"), {"\"a\" begins at byte 1", "from 0 on"});
    expect_refused(file_of(two("0,4", "4,8"), "1234567"), {"cut", "\"b\" ends at byte 8", "has 7"});
    expect_refused(file_of(two("4,8", "0,4"), "123456789"), {"1 bytes at its end"});
    // An empty one inside another.
    expect_refused(file_of(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},
                               "e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})",
                           "1234"),
                   {"\"e\" begins at byte 2", "inside tensor \"a\""});
    expect_refused(file_of(R"({"e":{"dtype":"U8","shape":[0],"data_offsets":[2,2]}})"),
                   {"\"e\" begins at byte 2"});
    write(file_of(two("4,8", "0,4"), "12345678"));
    EXPECT_EQ(text_of(SafetensorsFile(path).read("a")), "5678");
    // Types need no alignment.
    write(file_of(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},
                      "f":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                  std::string("x\0\0\x80\x3f", 5)));
    Stream stream(device());
    const SafetensorsFile file(path);
    EXPECT_EQ(download(stream, file.load(stream, "f")), std::vector<float>{1});
}

// What is right by the rules, found once more without the reader's code.
void expect_tiled(const std::vector<SafetensorsEntry>& entries, std::uint64_t size) {
    std::uint64_t at = 0;
    for (const SafetensorsEntry& entry : entries) {
        ASSERT_EQ(entry.begin, at);
        at = entry.end;
        double elements = 1;
        for (const std::uint64_t dimension : entry.shape) elements *= static_cast<double>(dimension);
        const std::size_t digits = entry.dtype.find_first_of("0123456789");
        const double bits = digits == std::string::npos ? 8 : std::stod(entry.dtype.substr(digits));
        ASSERT_EQ(elements * bits, 8 * static_cast<double>(entry.bytes())) << entry.name;
    }
    ASSERT_EQ(at, size);
}

// Thousands of damaged files: each is an error, or a file that is right by the rules, read as it is.
TEST_F(SafetensorsMalformed, DamageNeverPasses) {
    const std::string header =
        R"({"__metadata__":{"format":"pt","k":"vä"},"w.0":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
        R"("w.1":{"dtype":"F16","shape":[5],"data_offsets":[24,34]},"e":{"dtype":"BF16","shape":[0,9],)"
        R"("data_offsets":[34,34]},"ü":{"dtype":"I8","shape":[],"data_offsets":[34,35]}})";
    std::string data;
    for (char c = 0; c < 35; ++c) data += c;
    const std::string base = file_of(header, data);
    const std::string pieces[] = {"0",          "9",       "-1",      "24",
                                  "34",         "{",       "}",       "[",
                                  "]",          ",",       ":",       "\"",
                                  "\\",         "\\u0000", "\"w.0\"", "\"dtype\"",
                                  "\"F64\"",    "\"U8\"",  "\"e\"",   "null",
                                  "1e9",        "\xff",    "\xc3",    "18446744073709551615",
                                  "4294967296", " ",       "\n",      "\"__metadata__\":{}",
                                  "[0,0]"};
    std::mt19937 engine(20240131);
    const auto below = [&](std::size_t n) { return static_cast<std::size_t>(engine() % n); };
    std::size_t loaded = 0, refused = 0;
    for (int round = 0; round < 30000; ++round) {
        std::string head = header;
        const std::size_t changes = 1 + below(3);
        for (std::size_t i = 0; i < changes; ++i) {
            const std::size_t at = below(head.size());
            switch (below(6)) {
                case 0:
                    head[at] = static_cast<char>(engine());
                    break;
                case 1:
                    head.erase(at, 1 + below(8));
                    break;
                case 2:
                    head.insert(at, pieces[below(std::size(pieces))]);
                    break;
                case 3:
                    head.insert(at, head.substr(below(head.size()), below(60)));
                    break;
                case 4: {  // a digit changes
                    const std::size_t digit = head.find_first_of("0123456789", at);
                    if (digit != std::string::npos) head[digit] = static_cast<char>('0' + below(10));
                    break;
                }
                default:
                    head[at] = pieces[below(std::size(pieces))][0];
            }
        }
        // Files are slow: most headers are parsed from memory.
        SCOPED_TRACE(head);
        const test::Caught error = caught([&] {
            std::vector<SafetensorsEntry> entries;
            if (round % 16 != 0) {
                entries = detail::parse_safetensors("x.safetensors", head, data.size()).entries;
                expect_tiled(entries, data.size());
                return;
            }
            std::string bytes = file_of(head, data);
            if (below(8) == 0) bytes.resize(below(bytes.size() + 1));
            if (below(16) == 0) bytes += 'x';
            if (below(16) == 0 && bytes.size() >= 8) bytes[below(8)] = static_cast<char>(engine());
            write(bytes);
            const SafetensorsFile file(path);
            const std::size_t start = 8 + head.size();
            expect_tiled(file.entries(), bytes.size() - start);
            for (const SafetensorsEntry& entry : file.entries()) {
                ASSERT_EQ(text_of(file.read(entry.name)), bytes.substr(start + entry.begin, entry.bytes()));
                ASSERT_EQ(file.find(entry.name), &entry);
            }
        });
        ++(error.thrown ? refused : loaded);
        if (!error.thrown) continue;
        ASSERT_EQ(error.kind, ErrorKind::file) << error.text;
        ASSERT_NE(error.text.find("x.safetensors: "), std::string::npos) << error.text;
        ASSERT_EQ(error.text.find('\n'), std::string::npos) << error.text;
    }
    EXPECT_GT(loaded, 500u);
    EXPECT_GT(refused, 10000u);
    write(base);
    EXPECT_EQ(SafetensorsFile(path).entries().size(), 4u);
}

}  // namespace
}  // namespace danaus
