#include "safetensors_header.hpp"

#include "check.hpp"

#include <algorithm>
#include <set>
#include <tuple>

#include <nlohmann/json.hpp>

namespace danaus::detail {
namespace {

using Json = nlohmann::json;

// The text as JSON; what is not UTF-8 is replaced.
std::string json_string(const std::string& text) {
    return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Walks the header without keeping it as a tree: a tree would keep only the last of two equal names.
class HeaderParser final : public nlohmann::json_sax<Json> {
public:
    explicit HeaderParser(std::string label) : label_(std::move(label)) {}

    SafetensorsHeader take() { return std::move(header_); }

    [[noreturn]] void fail(const std::string& what) const {
        throw Error(ErrorKind::file, fmt::format("safetensors file {}: {}", label_, what));
    }

    bool null() override { misfit("null"); }
    bool boolean(bool value) override { misfit(value ? "true" : "false"); }
    bool number_integer(number_integer_t value) override {
        if (value < 0) misfit(std::to_string(value));
        return number(static_cast<std::uint64_t>(value));
    }
    bool number_unsigned(number_unsigned_t value) override { return number(value); }
    bool number_float(number_float_t, const string_t& text) override { misfit(text.substr(0, 40)); }
    bool binary(binary_t&) override { misfit("binary data"); }
    bool string(string_t& value) override {
        if (place_ == Place::metadata) {
            header_.metadata.emplace(key_, value);
        } else if (place_ == Place::tensor && key_ == "dtype") {
            entry_.dtype = value;
        } else {
            misfit(in_quotes(value));
        }
        return true;
    }
    bool start_object(std::size_t) override {
        if (place_ == Place::outside) {
            place_ = Place::file;
        } else if (place_ == Place::file && key_ == "__metadata__") {
            place_ = Place::metadata;
            keys_.clear();
        } else if (place_ == Place::file) {
            place_ = Place::tensor;
            entry_ = {};
            entry_.name = key_;
            offsets_.clear();
            keys_.clear();
        } else {
            misfit("an object");
        }
        return true;
    }
    bool key(string_t& name) override {
        key_ = name;
        if (!(place_ == Place::file ? names_ : keys_).insert(name).second)
            fail(place_ == Place::file ? fmt::format("the name {} occurs twice", in_quotes(name))
                                       : fmt::format("{} twice", where()));
        if (place_ == Place::tensor && key_ != "dtype" && key_ != "shape" && key_ != "data_offsets")
            fail(fmt::format("tensor {} has a field {}; dtype, shape and data_offsets are known",
                             in_quotes(entry_.name), in_quotes(key_)));
        return true;
    }
    bool end_object() override {
        if (place_ == Place::tensor) finish_tensor();
        place_ = place_ == Place::file ? Place::outside : Place::file;
        return true;
    }
    bool start_array(std::size_t) override {
        if (place_ != Place::tensor || key_ == "dtype") misfit("an array");
        place_ = key_ == "shape" ? Place::shape : Place::offsets;
        return true;
    }
    bool end_array() override {
        place_ = Place::tensor;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const Json::exception& error) override {
        // Of the library's text only the reason, which names no tokens of the file.
        const bool utf8 = std::string_view(error.what()).find("UTF-8") != std::string_view::npos;
        fail(fmt::format("the header is not {} at its byte {}", utf8 ? "UTF-8" : "JSON", position));
    }

private:
    enum class Place { outside, file, metadata, tensor, shape, offsets };

    [[nodiscard]] std::string where() const {
        switch (place_) {
            case Place::outside:
                break;
            case Place::file:
                return fmt::format("{} of the header", in_quotes(key_));
            case Place::metadata:
                return fmt::format("__metadata__ {}", in_quotes(key_));
            case Place::shape:
                return fmt::format("tensor {}: shape[{}]", in_quotes(entry_.name), entry_.shape.size());
            case Place::offsets:
                return fmt::format("tensor {}: data_offsets[{}]", in_quotes(entry_.name), offsets_.size());
            case Place::tensor:
                return fmt::format("tensor {}: {}", in_quotes(entry_.name), key_);
        }
        return "the header";
    }
    [[noreturn]] void misfit(const std::string& what) const {
        const bool numbers = place_ == Place::shape || place_ == Place::offsets;
        const bool text = place_ == Place::metadata || key_ == "dtype";
        fail(fmt::format("{} is {}, {} is needed", where(), what,
                         numbers                    ? "a whole number below 2^64"
                         : place_ == Place::outside ? "an object"
                         : place_ == Place::file    ? "an object"
                         : text                     ? "a string"
                                                    : "an array of whole numbers"));
    }
    bool number(std::uint64_t value) {
        if (place_ == Place::shape)
            entry_.shape.push_back(value);
        else if (place_ == Place::offsets && offsets_.size() < 2)
            offsets_.push_back(value);
        else if (place_ == Place::offsets)
            fail(fmt::format("tensor {}: data_offsets has more than two numbers", in_quotes(entry_.name)));
        else
            misfit(std::to_string(value));
        return true;
    }
    void finish_tensor() {
        const std::string tensor = "tensor " + in_quotes(entry_.name);
        for (const char* field : {"dtype", "shape", "data_offsets"})
            if (!keys_.contains(field)) fail(fmt::format("{} has no {}", tensor, field));
        if (!dtype_rank(entry_.dtype))
            fail(fmt::format("{}: dtype {} is unknown", tensor, in_quotes(entry_.dtype)));
        if (offsets_.size() != 2)
            fail(fmt::format("{}: data_offsets has {} numbers, 2 are needed", tensor, offsets_.size()));
        entry_.begin = offsets_[0];
        entry_.end = offsets_[1];
        if (entry_.end < entry_.begin)
            fail(fmt::format("{}: data_offsets end at {}, before they begin at {}", tensor, entry_.end,
                             entry_.begin));
        const ByteCount count = bytes_of(entry_.dtype, entry_.shape);
        if (!count.why.empty()) fail(fmt::format("{}: {}", tensor, count.why));
        if (count.bytes != entry_.bytes())
            fail(fmt::format("{}: data_offsets [{}, {}] hold {} bytes, its shape of {} takes {}", tensor,
                             entry_.begin, entry_.end, entry_.bytes(), entry_.dtype, count.bytes));
        header_.entries.push_back(std::move(entry_));
    }

    std::string label_;
    SafetensorsHeader header_;
    Place place_ = Place::outside;
    std::string key_;
    std::set<std::string> names_, keys_;
    SafetensorsEntry entry_;
    std::vector<std::uint64_t> offsets_;
};

// The entries, in the order of their bytes, must fill [0, data_bytes).
void check_tiling(const HeaderParser& parser, const std::vector<SafetensorsEntry>& entries,
                  std::uint64_t data_bytes) {
    const SafetensorsEntry* last = nullptr;
    for (const SafetensorsEntry& entry : entries) {
        const std::uint64_t reached = last ? last->end : 0;
        if (entry.begin > reached)
            parser.fail(
                fmt::format("tensor {} begins at byte {} of the data, bytes from {} on belong to no tensor",
                            in_quotes(entry.name), entry.begin, reached));
        if (entry.begin < reached)
            parser.fail(
                fmt::format("tensor {} begins at byte {} of the data, inside tensor {} that ends at {}",
                            in_quotes(entry.name), entry.begin, in_quotes(last->name), reached));
        last = &entry;
    }
    const std::uint64_t reached = last ? last->end : 0;
    if (reached > data_bytes)
        parser.fail(fmt::format("it is cut: tensor {} ends at byte {} of the data, the file has {}",
                                in_quotes(last->name), reached, data_bytes));
    if (reached < data_bytes)
        parser.fail(fmt::format("{} bytes at its end belong to no tensor", data_bytes - reached));
}

}  // namespace

SafetensorsHeader parse_safetensors(const std::string& label, const std::string& text,
                                    std::uint64_t data_bytes) {
    HeaderParser parser(label);
    // JSON may start with spaces, this format may not.
    if (text.empty() || text.front() != '{') parser.fail("the header does not start with {");
    // The parser takes a zero byte for the end of the text, whatever follows.
    if (const std::size_t zero = text.find('\0'); zero != std::string::npos)
        parser.fail(fmt::format("the header is not JSON at its byte {}", zero + 1));
    Json::sax_parse(text, &parser);
    SafetensorsHeader header = parser.take();
    std::sort(header.entries.begin(), header.entries.end(), [](const auto& a, const auto& b) {
        return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    check_tiling(parser, header.entries, data_bytes);
    return header;
}

std::string format_safetensors(std::span<const SafetensorsEntry* const> entries,
                               const std::map<std::string, std::string>& metadata) {
    std::string text;
    for (const auto& [key, value] : metadata)
        text += fmt::format("{}{}:{}", text.empty() ? "\"__metadata__\":{" : ",", json_string(key),
                            json_string(value));
    if (!text.empty()) text += '}';
    std::uint64_t begin = 0;
    for (const SafetensorsEntry* entry : entries) {
        text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[", text.empty() ? "" : ",",
                            json_string(entry->name), entry->dtype);
        for (std::size_t i = 0; i < entry->shape.size(); ++i)
            text += fmt::format("{}{}", i ? "," : "", entry->shape[i]);
        text += fmt::format("],\"data_offsets\":[{},{}]}}", begin, begin + entry->bytes());
        begin += entry->bytes();
    }
    text = '{' + text + '}';
    text.resize(divide_up(text.size(), 8) * 8, ' ');
    require(text.size() <= most_header_bytes, "safetensors: a header of {} bytes, at most {} are allowed",
            text.size(), most_header_bytes);
    std::string length;
    for (unsigned shift = 0; shift < 64; shift += 8) length += static_cast<char>(text.size() >> shift & 255);
    return length + text;
}

std::string in_quotes(const std::string& text) {
    constexpr std::size_t most = 100;
    return text.size() > most ? json_string(text.substr(0, most) + "…") : json_string(text);
}

bool is_utf8(const std::string& text) {
    try {
        static_cast<void>(Json(text).dump());
    } catch (const Json::type_error&) {
        return false;
    }
    return true;
}

}  // namespace danaus::detail
