// The 2:4 form of PyTorch and CUTLASS. A nibble means the same there and here; words are smaller and stand
// elsewhere, and f32 keeps one of two.
#include "check.hpp"
#include "sparse24_host.hpp"

#include <danaus/sparse24_formats.hpp>

#include <algorithm>

namespace danaus {
namespace {

using detail::HostSparse24;
using detail::require;

// What the sizes of a matrix say about its parts.
struct Parts {
    bool pairs;  // f32: a nibble is two columns
    std::uint64_t rows, words, value_bytes;
};

Parts parts_of(DataType type, std::uint64_t rows, std::uint64_t cols) {
    require(is_floating(type), "type: {}, one of f32, f16, bf16 is needed", to_string(type));
    const bool pairs = type == DataType::f32;
    const std::uint64_t step = pairs ? 16 : 32;
    require(rows % 32 == 0, "rows: {}, a multiple of 32 is needed", rows);
    require(cols % step == 0, "cols: {}, a multiple of {} is needed for {}", cols, step, to_string(type));
    const std::uint64_t elements = Shape{rows, cols}.elements();
    require(elements <= 1ull << 59, "rows and cols: {} by {} are more than 2^59 elements", rows, cols);
    return {pairs, rows, cols / (pairs ? 8 : 16), elements / 2 * size_of(type)};
}

// Where word w of row r stands.
std::uint64_t index_of(std::uint64_t rows, std::uint64_t r, std::uint64_t w) {
    std::uint64_t d = r - r % 32 + r % 8 * 4 + r % 32 / 8, c = w;
    if (d % 2 == 0 && c % 2 == 1) {
        ++d;
        --c;
    } else if (d % 2 == 1 && c % 2 == 0) {
        --d;
        ++c;
    }
    return c / 2 * 2 * rows + 2 * d + c % 2;
}

void check(const CutlassSparse24& matrix, const Parts& parts) {
    require(matrix.values.size() == parts.value_bytes, "values: {} bytes, {} by {} of {} take {}",
            matrix.values.size(), matrix.rows, matrix.cols, to_string(matrix.type), parts.value_bytes);
    require(matrix.metadata.size() == parts.rows * parts.words, "metadata: {} words, {} by {} of {} take {}",
            matrix.metadata.size(), matrix.rows, matrix.cols, to_string(matrix.type),
            parts.rows * parts.words);
}

// Nibbles of this format to those of Sparse24, four at a time in both.
std::uint32_t from_word(std::uint32_t word, bool pairs, std::uint64_t row, std::uint64_t w) {
    std::uint32_t out = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
        const std::uint32_t nibble = word >> 4 * i & 15;
        if (pairs) {
            require(nibble == 4 || nibble == 14, "metadata: row {}, pair {}: {}, one of 4 and 14 is needed",
                    row, 4 * w + i, nibble);
            // The place in its group of four, in two bits.
            out |= (i % 2 * 2 + (nibble == 14)) << 2 * i;
        } else {
            require((nibble & 3) < nibble >> 2,
                    "metadata: row {}, group {}: {}, one of 4, 8, 9, 12, 13, 14 is needed", row, 4 * w + i,
                    nibble);
            out |= nibble << 4 * i;
        }
    }
    return out;
}

// Word w of a row, of valid places.
std::uint32_t to_word(const HostSparse24& a, bool pairs, std::uint64_t row, std::uint64_t w) {
    std::uint32_t out = 0;
    for (std::uint32_t i = 0; i < 4; ++i) {
        const std::uint64_t group = pairs ? 2 * w + i / 2 : 4 * w + i;
        const std::uint32_t nibble = a.nibble(row, group), first = nibble & 3, second = nibble >> 2;
        if (!pairs) {
            out |= nibble << 4 * i;
            continue;
        }
        require(first < 2 && second >= 2, "a: {} keeps places {} and {}; this format keeps one of two of f32",
                a.place(row, group), first, second);
        out |= ((i % 2 == 0 ? first : second - 2) ? 14u : 4u) << 4 * i;
    }
    return out;
}

}  // namespace

Sparse24 import_cutlass(Stream& stream, const CutlassSparse24& matrix) {
    const Parts parts = parts_of(matrix.type, matrix.rows, matrix.cols);
    check(matrix, parts);
    HostSparse24 host{matrix.type, {matrix.rows, matrix.cols}, matrix.values, {}};
    host.metadata.resize(host.rows() * host.words());
    // Bits of a word here, and of what it becomes there.
    const std::uint64_t bits = parts.pairs ? 8 : 16;
    for (std::uint64_t row = 0; row < host.rows(); ++row)
        for (std::uint64_t w = 0; w < parts.words; ++w) {
            const auto word = static_cast<std::uint16_t>(matrix.metadata[index_of(parts.rows, row, w)]);
            host.metadata[row * host.words() + w * bits / 32] |= from_word(word, parts.pairs, row, w)
                                                                 << w * bits % 32;
        }
    const Sparse24 out(stream.device(), host.type, host.shape);
    detail::upload(stream, out, host);
    return out;
}

CutlassSparse24 export_cutlass(Stream& stream, const Sparse24& a) {
    require(static_cast<bool>(a), "a: a null matrix");
    detail::require_tensor(stream, "a", a.values());
    require(a.shape().rank() == 2, "a: shape {}, rank 2 is needed", to_string(a.shape()));
    const Parts parts = parts_of(a.type(), a.shape()[0], a.shape()[1]);
    HostSparse24 host = detail::download(stream, a);
    const std::string why = detail::invalid_places(host);
    require(why.empty(), "a: {}", why);
    CutlassSparse24 out{a.type(), a.shape()[0], a.shape()[1], {}, {}};
    out.metadata.resize(parts.rows * parts.words);
    for (std::uint64_t row = 0; row < host.rows(); ++row)
        for (std::uint64_t w = 0; w < parts.words; ++w)
            out.metadata[index_of(parts.rows, row, w)] =
                static_cast<std::int16_t>(to_word(host, parts.pairs, row, w));
    out.values = std::move(host.values);
    return out;
}

std::vector<std::byte> pack_cutlass(const CutlassSparse24& matrix) {
    check(matrix, parts_of(matrix.type, matrix.rows, matrix.cols));
    std::vector<std::byte> bytes = matrix.values;
    const auto metadata = std::as_bytes(std::span(matrix.metadata));
    bytes.insert(bytes.end(), metadata.begin(), metadata.end());
    return bytes;
}

CutlassSparse24 unpack_cutlass(DataType type, std::uint64_t rows, std::uint64_t cols,
                               std::span<const std::byte> bytes) {
    const Parts parts = parts_of(type, rows, cols);
    const std::uint64_t words = parts.rows * parts.words;
    require(bytes.size() == parts.value_bytes + 2 * words, "bytes: {} given, {} by {} of {} take {}",
            bytes.size(), rows, cols, to_string(type), parts.value_bytes + 2 * words);
    const auto values = bytes.first(parts.value_bytes), metadata = bytes.subspan(parts.value_bytes);
    CutlassSparse24 out{type, rows, cols, {values.begin(), values.end()}, {}};
    out.metadata.resize(words);
    std::copy(metadata.begin(), metadata.end(), std::as_writable_bytes(std::span(out.metadata)).begin());
    return out;
}

}  // namespace danaus
