// Masks and weights read back and looked through, for clear errors where a kernel could give none.
#include "masks.hpp"

#include <bit>
#include <cmath>

namespace danaus {

using namespace detail;

namespace {

// A mask's words on the host.
struct Bits {
    std::vector<std::uint32_t> words;
    std::uint64_t row_words, rows, in_features;  // of a block, but for row_words
    bool batch;

    [[nodiscard]] std::uint64_t all_rows() const { return row_words ? words.size() / row_words : 0; }
    [[nodiscard]] bool set(std::uint64_t row, std::uint64_t column) const {
        return (words[row * row_words + column / 32] >> column % 32 & 1) != 0;
    }
    [[nodiscard]] std::string block(std::uint64_t row) const {
        return batch ? fmt::format("block {}, ", row / rows) : "";
    }
};

Bits read_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features) {
    require_tensor(stream, "mask", mask);
    require_type("mask", mask, DataType::u32);
    require(mask.rank() == 2 || mask.rank() == 3, "mask: shape {}, rank 2 or 3 is needed",
            to_string(mask.shape()));
    const std::uint64_t words = divide_up(in_features, 32);
    require(mask.size(mask.rank() - 1) == words, "mask: shape {}, {} words a row are needed for {} columns",
            to_string(mask.shape()), words, in_features);
    Bits bits{download_u32(stream, mask), words, mask.size(mask.rank() - 2), in_features, mask.rank() == 3};
    for (std::uint64_t row = 0; row < bits.all_rows(); ++row)
        for (std::uint64_t c = in_features; c < words * 32; ++c)
            require(!bits.set(row, c),
                    "mask: {}row {}: a bit for column {} is set, the matrix has {} columns", bits.block(row),
                    row % bits.rows, c, in_features);
    return bits;
}

// Whether the bits of `tile` (4 · row + column) among `real` are those of one of the 90 patterns.
bool is_part_of_pattern(std::uint32_t tile, std::uint32_t real) {
    constexpr std::uint32_t pairs[] = {3, 5, 6, 9, 10, 12};
    for (const std::uint32_t a : pairs)
        for (const std::uint32_t b : pairs)
            for (const std::uint32_t c : pairs) {
                // What three rows keep leaves the fourth no choice: columns kept once.
                const std::uint32_t odd = a ^ b ^ c, all = a & b & c;
                const std::uint32_t pattern = a | b << 4 | c << 8 | odd << 12;
                const std::uint32_t none = ~(a | b | c) & 15;
                if (all == 0 && none == 0 && std::popcount(odd) == 2 && (pattern & real) == tile) return true;
            }
    return false;
}

// Whether no row and no column of `tile` keeps more than two.
bool keeps_at_most_two(std::uint32_t tile) {
    bool good = true;
    for (std::uint32_t i = 0; i < 4; ++i)
        good = good && std::popcount(tile >> 4 * i & 0xfu) <= 2 && std::popcount(tile >> i & 0x1111u) <= 2;
    return good;
}

}  // namespace

void verify_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features, const MaskPattern& pattern) {
    check_pattern(pattern);
    const Bits bits = read_mask(stream, mask, in_features);
    for (std::uint64_t row = 0; row < bits.all_rows(); ++row)
        for (std::uint64_t first = 0; first < in_features; first += pattern.of) {
            const std::uint64_t end = std::min<std::uint64_t>(first + pattern.of, in_features),
                                needed = std::min<std::uint64_t>(pattern.keep, end - first);
            std::uint64_t kept = 0;
            for (std::uint64_t c = first; c < end; ++c) kept += bits.set(row, c) ? 1u : 0u;
            require(kept == needed, "mask: {}row {}, columns {} to {}: keeps {}, {} are needed",
                    bits.block(row), row % bits.rows, first, end - 1, kept, needed);
        }
}

void verify_transposable_mask(Stream& stream, const Tensor& mask, std::uint64_t in_features) {
    verify_tiles(stream, mask, in_features, true);
}

void detail::verify_tiles(Stream& stream, const Tensor& mask, std::uint64_t in_features, bool exact) {
    const Bits bits = read_mask(stream, mask, in_features);
    for (std::uint64_t block = 0; bits.rows > 0 && block < bits.all_rows() / bits.rows; ++block)
        for (std::uint64_t top = 0; top < bits.rows; top += 4)
            for (std::uint64_t left = 0; left < in_features; left += 4) {
                const std::uint64_t height = std::min<std::uint64_t>(4, bits.rows - top),
                                    width = std::min<std::uint64_t>(4, in_features - left);
                std::uint32_t tile = 0, real = 0;
                for (std::uint64_t i = 0; i < height * width; ++i) {
                    const std::uint64_t r = i / width, c = i % width, row = block * bits.rows + top + r;
                    real |= 1u << (4 * r + c);
                    tile |= std::uint32_t{bits.set(row, left + c)} << (4 * r + c);
                }
                require(
                    exact ? is_part_of_pattern(tile, real) : keeps_at_most_two(tile),
                    "mask: {}rows {} to {}, columns {} to {}: keeps {:#06x} (bit 4 · row + column), two of "
                    "each row and column are needed",
                    bits.block(block * bits.rows), top, top + height - 1, left, left + width - 1, tile);
            }
}

void verify_finite(Stream& stream, const Tensor& tensor) {
    require_finite(stream, "tensor", tensor);
}

void detail::require_finite(Stream& stream, const char* name, const Tensor& tensor) {
    require_tensor(stream, name, tensor);
    require_floating(name, tensor);
    const std::vector<float> values = download(stream, tensor);
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (std::isfinite(values[i])) continue;
        std::string place;
        std::uint64_t rest = i;
        for (std::size_t d = tensor.rank(); d-- > 0; rest /= tensor.size(d))
            place = fmt::format("{}{}{}", rest % tensor.size(d), place.empty() ? "" : ", ", place);
        invalid("{}: element ({}) is {}, finite numbers are needed", name, place, values[i]);
    }
}

}  // namespace danaus
