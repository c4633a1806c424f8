// Tensors in every memory layout a test wants to see, with guards around them, and comparison by bits.
#pragma once

#include "reference/float_types.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace danaus::test {

/// How the last two dimensions lie in memory.
enum class Layout {
    contiguous,
    pitched,          ///< rows three elements further apart, starting at an odd element
    even_pitched,     ///< rows an even number of elements apart, starting at an even element
    feature_major,    ///< the last two dimensions exchanged
    feature_pitched,  ///< likewise, with gaps, starting at an odd element
};
inline constexpr Layout layouts[] = {Layout::contiguous, Layout::pitched, Layout::even_pitched,
                                     Layout::feature_major, Layout::feature_pitched};
inline constexpr DataType float_types[] = {DataType::f32, DataType::f16, DataType::bf16};

inline reference::FloatType reference_type(DataType type) {
    return type == DataType::f32   ? reference::FloatType::f32
           : type == DataType::f16 ? reference::FloatType::f16
                                   : reference::FloatType::bf16;
}

/// A guarded, poisoned tensor of rank 2 or 3 in some layout.
class Placed {
public:
    Placed(Stream& stream, DataType type, const Shape& shape, Layout layout)
        : guarded_(stream, type, stored(shape, layout), pitch(stored(shape, layout), layout),
                   layout == Layout::pitched || layout == Layout::feature_pitched ? 1 : 0),
          tensor_(swapped(layout) ? guarded_.tensor().transpose() : guarded_.tensor()) {}
    /// Holding `values`, row-major.
    Placed(Stream& stream, DataType type, const Shape& shape, Layout layout, std::span<const float> values)
        : Placed(stream, type, shape, layout) {
        upload_into(stream, tensor_, values);
    }

    [[nodiscard]] const Tensor& tensor() const { return tensor_; }
    void check(Stream& stream, const std::string& what) const { guarded_.check(stream, what); }

private:
    static bool swapped(Layout layout) {
        return layout == Layout::feature_major || layout == Layout::feature_pitched;
    }
    static Shape stored(Shape shape, Layout layout) {
        if (swapped(layout)) std::swap(shape[shape.rank() - 2], shape[shape.rank() - 1]);
        return shape;
    }
    static std::uint64_t pitch(const Shape& stored, Layout layout) {
        const std::uint64_t width = stored[stored.rank() - 1];
        if (layout == Layout::even_pitched) return (width + 3) / 2 * 2;
        return layout == Layout::pitched || layout == Layout::feature_pitched ? width + 3 : 0;
    }

    Guarded guarded_;
    Tensor tensor_;
};

/// The bits of a contiguous tensor's elements, row-major.
inline std::vector<std::uint32_t> bits_of(Stream& stream, const Tensor& tensor) {
    const std::uint64_t size = size_of(tensor.type());
    std::vector<std::byte> bytes(tensor.elements() * size);
    if (!bytes.empty()) stream.download(tensor.buffer(), tensor.offset() * size, bytes);
    std::vector<std::uint32_t> out(tensor.elements());
    for (std::size_t i = 0; i < bytes.size(); ++i)
        out[i / size] |= std::to_integer<std::uint32_t>(bytes[i]) << 8 * (i % size);
    return out;
}

}  // namespace danaus::test
