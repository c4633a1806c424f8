// Safetensors files: the way of the bytes between file, host and device.
#include "check.hpp"
#include "platform.hpp"
#include "safetensors_header.hpp"

#include <danaus/runtime/layers.hpp>
#include <danaus/safetensors.hpp>

#include <algorithm>
#include <array>
#include <fstream>
#include <mutex>
#include <ostream>

namespace danaus {
namespace {

using detail::in_quotes;
using detail::require;

// What travels at once between file and device.
constexpr std::uint64_t piece_bytes = 8ull << 20;

[[noreturn]] void fail(const std::string& label, const std::string& what) {
    throw Error(ErrorKind::file, fmt::format("safetensors file {}: {}", label, what));
}

std::string text_of(const std::vector<std::uint64_t>& shape) {
    return fmt::format("({})", fmt::join(shape, ", "));
}

bool same_shape(const Shape& shape, const std::vector<std::uint64_t>& other) {
    return std::equal(shape.begin(), shape.end(), other.begin(), other.end());
}

}  // namespace

// --- reading

class SafetensorsFile::State {
public:
    explicit State(const std::filesystem::path& path) : label(platform::utf8(path)) {
        std::error_code error;
        if (!std::filesystem::exists(path, error)) fail(label, "there is no such file");
        const std::uint64_t size = std::filesystem::file_size(path, error);
        file_.open(path, std::ios::binary);
        if (error || !file_) fail(label, "it cannot be read");
        if (size < 8) fail(label, fmt::format("it is cut: {} bytes, the length of its header takes 8", size));
        std::array<std::byte, 8> bytes{};
        read(0, bytes);
        std::uint64_t length = 0;
        for (std::size_t i = bytes.size(); i-- > 0;)
            length = length << 8 | std::to_integer<std::uint64_t>(bytes[i]);
        if (length > detail::most_header_bytes)
            fail(label, fmt::format("a header of {} bytes, at most {} are allowed", length,
                                    detail::most_header_bytes));
        if (length > size - 8)
            fail(label,
                 fmt::format("it is cut: a header of {} bytes, {} follow its length", length, size - 8));
        std::string text(length, '\0');
        read(8, std::as_writable_bytes(std::span(text)));
        data_start_ = 8 + length;
        header = detail::parse_safetensors(label, text, size - data_start_);
        for (const SafetensorsEntry& entry : header.entries) index.emplace(entry.name, &entry);
    }

    void read_data(std::uint64_t begin, std::span<std::byte> bytes) { read(data_start_ + begin, bytes); }

    const std::string label;
    detail::SafetensorsHeader header;
    std::map<std::string_view, const SafetensorsEntry*> index;

private:
    void read(std::uint64_t begin, std::span<std::byte> bytes) {
        if (bytes.empty()) return;
        const std::lock_guard lock(mutex_);
        file_.clear();
        file_.seekg(static_cast<std::streamoff>(begin));
        file_.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        if (!file_) fail(label, fmt::format("{} bytes from byte {} on cannot be read", bytes.size(), begin));
    }

    std::mutex mutex_;
    std::ifstream file_;
    std::uint64_t data_start_ = 0;
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& file) : state_(std::make_shared<State>(file)) {}

const std::vector<SafetensorsEntry>& SafetensorsFile::entries() const noexcept {
    return state_->header.entries;
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const noexcept {
    const auto found = state_->index.find(name);
    return found == state_->index.end() ? nullptr : found->second;
}

const SafetensorsEntry& SafetensorsFile::entry(std::string_view name) const {
    const SafetensorsEntry* found = find(name);
    require(found, "name: safetensors file {} has no tensor {}", label(), in_quotes(std::string(name)));
    return *found;
}

const std::map<std::string, std::string>& SafetensorsFile::metadata() const noexcept {
    return state_->header.metadata;
}

const std::string& SafetensorsFile::label() const noexcept {
    return state_->label;
}

std::vector<std::byte> SafetensorsFile::read(std::string_view name) const {
    const SafetensorsEntry& from = entry(name);
    std::vector<std::byte> bytes(from.bytes());
    state_->read_data(from.begin, bytes);
    return bytes;
}

Tensor SafetensorsFile::load(Stream& stream, std::string_view name) const {
    const SafetensorsEntry& from = entry(name);
    const auto refuse = [&](const std::string& why) {
        throw Error(ErrorKind::unsupported,
                    fmt::format("safetensors file {}: tensor {} {}", label(), in_quotes(from.name), why));
    };
    if (!from.type())
        refuse(fmt::format("is {}, which no tensor is made of; read() gives its bytes", from.dtype));
    if (from.shape.size() > Shape::max_rank)
        refuse(fmt::format("has {} dimensions, tensors have at most {}; read() gives its bytes",
                           from.shape.size(), Shape::max_rank));
    const Tensor out(stream.device(), *from.type(), Shape(from.shape));
    std::vector<std::byte> piece(std::min(piece_bytes, from.bytes()));
    for (std::uint64_t done = 0; done < from.bytes(); done += piece.size()) {
        piece.resize(std::min(piece_bytes, from.bytes() - done));
        state_->read_data(from.begin + done, piece);
        stream.upload(out.buffer(), done, piece);
    }
    return out;
}

void SafetensorsFile::load_into(Stream& stream, const Tensor& out, std::string_view name) const {
    const SafetensorsEntry& from = entry(name);
    detail::require_tensor(stream, "out", out);
    detail::require_no_self_overlap("out", out);
    require(same_shape(out.shape(), from.shape), "out: shape {}, tensor {} of safetensors file {} has {}",
            to_string(out.shape()), in_quotes(from.name), label(), text_of(from.shape));
    require(from.type() == out.type(), "out: type {}, tensor {} of safetensors file {} is {}",
            to_string(out.type()), in_quotes(from.name), label(), from.dtype);
    if (out.is_contiguous())
        stream.upload(out.buffer(), out.offset() * size_of(out.type()), read(name));
    else
        convert_into(stream, out, load(stream, name));
}

// --- writing

void SafetensorsWriter::insert(Item item) {
    const std::string& name = item.entry.name;
    require(detail::is_utf8(name), "name: {} is not UTF-8", in_quotes(name));
    require(name != "__metadata__", "name: \"__metadata__\" is no name for a tensor");
    require(!contains(name), "name: {} was added before", in_quotes(name));
    items_.emplace(name, std::move(item));
}

void SafetensorsWriter::add(const std::string& name, const Tensor& tensor) {
    require(static_cast<bool>(tensor), "tensor: {} is a null tensor", in_quotes(name));
    const std::uint64_t bytes = tensor.elements() * size_of(tensor.type());
    insert({{name, detail::dtype_of(tensor.type()), {tensor.shape().begin(), tensor.shape().end()}, 0, bytes},
            tensor,
            {}});
}

void SafetensorsWriter::add(const std::string& name, const std::string& dtype,
                            const std::vector<std::uint64_t>& shape, std::vector<std::byte> bytes) {
    require(detail::dtype_rank(dtype).has_value(), "dtype: {} of {} is none of the format's types",
            in_quotes(dtype), in_quotes(name));
    const detail::ByteCount count = detail::bytes_of(dtype, shape);
    require(count.why.empty(), "shape: {} of {}: {}", text_of(shape), in_quotes(name), count.why);
    require(count.bytes == bytes.size(), "bytes: {} given for {}, shape {} of {} takes {}", bytes.size(),
            in_quotes(name), text_of(shape), dtype, count.bytes);
    insert({{name, dtype, shape, 0, count.bytes}, {}, std::move(bytes)});
}

void SafetensorsWriter::set_metadata(const std::string& key, const std::string& value) {
    require(detail::is_utf8(key), "key: {} is not UTF-8", in_quotes(key));
    require(detail::is_utf8(value), "value: {} of {} is not UTF-8", in_quotes(value), in_quotes(key));
    metadata_[key] = value;
}

void SafetensorsWriter::save(Stream& stream, const std::filesystem::path& path) const {
    std::vector<const Item*> items;
    items.reserve(items_.size());
    for (const auto& [name, item] : items_) {
        if (item.tensor) detail::require_tensor(stream, in_quotes(name).c_str(), item.tensor);
        items.push_back(&item);
    }
    // They are in the order of their names already.
    std::stable_sort(items.begin(), items.end(), [](const Item* a, const Item* b) {
        return detail::dtype_rank(a->entry.dtype) > detail::dtype_rank(b->entry.dtype);
    });
    std::vector<const SafetensorsEntry*> entries;
    entries.reserve(items.size());
    for (const Item* item : items) entries.push_back(&item->entry);
    const std::string header = detail::format_safetensors(entries, metadata_);

    const auto write = [&](std::ostream& file, std::span<const std::byte> bytes) {
        file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    };
    const std::string failure = runtime::replace_file(path, [&](std::ostream& file) {
        write(file, std::as_bytes(std::span(header)));
        std::vector<std::byte> piece;
        for (const Item* item : items) {
            write(file, item->bytes);
            if (!item->tensor || item->entry.bytes() == 0) continue;
            const Tensor plain =
                item->tensor.is_contiguous() ? item->tensor : contiguous(stream, item->tensor);
            const std::uint64_t start = plain.offset() * size_of(plain.type());
            for (std::uint64_t done = 0; file && done < item->entry.bytes(); done += piece.size()) {
                piece.resize(std::min(piece_bytes, item->entry.bytes() - done));
                stream.download(plain.buffer(), start + done, piece);
                write(file, piece);
            }
        }
    });
    if (!failure.empty()) fail(platform::utf8(path), "it " + failure);
}

}  // namespace danaus
