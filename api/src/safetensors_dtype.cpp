// The element types of safetensors files.
#include "safetensors_header.hpp"

#include <algorithm>
#include <iterator>
#include <limits>

#include <fmt/format.h>

namespace danaus::detail {
namespace {

struct Dtype {
    const char* name;
    std::uint32_t bits;
    std::optional<DataType> type = {};
};

// In the format's order, which files are written in backwards.
const Dtype dtypes[] = {
    {"BOOL", 8},
    {"F4", 4},
    {"F6_E2M3", 6},
    {"F6_E3M2", 6},
    {"U8", 8},
    {"I8", 8},
    {"F8_E5M2", 8},
    {"F8_E4M3", 8},
    {"F8_E8M0", 8},
    {"F8_E4M3FNUZ", 8},
    {"F8_E5M2FNUZ", 8},
    {"I16", 16},
    {"U16", 16},
    {"F16", 16, DataType::f16},
    {"BF16", 16, DataType::bf16},
    {"I32", 32, DataType::i32},
    {"U32", 32, DataType::u32},
    {"F32", 32, DataType::f32},
    {"C64", 64, DataType::complex64},
    {"F64", 64},
    {"I64", 64},
    {"U64", 64},
};

}  // namespace

std::optional<std::size_t> dtype_rank(const std::string& dtype) {
    const auto found = std::find_if(std::begin(dtypes), std::end(dtypes),
                                    [&](const Dtype& one) { return dtype == one.name; });
    if (found == std::end(dtypes)) return {};
    return static_cast<std::size_t>(found - std::begin(dtypes));
}

const char* dtype_of(DataType type) {
    return std::find_if(std::begin(dtypes), std::end(dtypes),
                        [&](const Dtype& one) { return one.type == type; })
        ->name;
}

ByteCount bytes_of(const std::string& dtype, std::span<const std::uint64_t> shape) {
    const std::uint64_t bits = dtypes[*dtype_rank(dtype)].bits;
    if (std::find(shape.begin(), shape.end(), 0u) != shape.end()) return {};
    // Elements of less than a byte are counted in halves of it, so that 2^64 bytes of any type are too many.
    std::uint64_t count = 1;
    for (const std::uint64_t size : shape) {
        if (count > std::numeric_limits<std::uint64_t>::max() / size / bits)
            return {0, "its shape has 2^64 bits or more"};
        count *= size;
    }
    if (count * bits % 8 != 0)
        return {0, fmt::format("{} elements of {} do not fill whole bytes", count, dtype)};
    return {count * bits / 8, {}};
}

}  // namespace danaus::detail

namespace danaus {

std::optional<DataType> SafetensorsEntry::type() const {
    const auto rank = detail::dtype_rank(dtype);
    return rank ? detail::dtypes[*rank].type : std::nullopt;
}

}  // namespace danaus
