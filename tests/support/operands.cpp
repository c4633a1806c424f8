#include "support/operands.hpp"

#include <algorithm>
#include <cstring>
#include <random>

#include <fmt/format.h>

namespace danaus::test {

reference::FloatType float_type(DataType type) {
    return type == DataType::f16    ? reference::FloatType::f16
           : type == DataType::bf16 ? reference::FloatType::bf16
                                    : reference::FloatType::f32;
}

std::vector<float> random_values(std::size_t count, unsigned seed, DataType type) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> any(-1.0f, 1.0f);
    std::vector<float> values(count);
    for (float& value : values) value = any(engine);
    return reference::round_to(float_type(type), std::span<const float>(values));
}

std::vector<float> whole_values(std::size_t count, unsigned seed, int limit) {
    std::mt19937 engine(seed);
    std::uniform_int_distribution<int> any(-limit, limit);
    std::vector<float> values(count);
    for (float& value : values) value = static_cast<float>(any(engine));
    return values;
}

Shape Layout::strides(const Shape& shape) const {
    Shape strides = shape.contiguous_strides();
    const std::size_t rank = shape.rank();
    if (rank < 2) return strides;
    const std::uint64_t rows = std::max<std::uint64_t>(1, shape[rank - 2]),
                        columns = std::max<std::uint64_t>(1, shape[rank - 1]);
    strides[rank - 1] = feature_major ? rows + gap : 1;
    strides[rank - 2] = broadcast ? 0 : feature_major ? 1 : columns + gap;
    std::uint64_t stride = (feature_major ? columns * (rows + gap) : rows * (columns + gap)) + batch_gap;
    for (std::size_t i = rank - 2; i-- > 0; stride *= std::max<std::uint64_t>(1, shape[i]))
        strides[i] = stride;
    return strides;
}

std::ostream& operator<<(std::ostream& out, const Layout& layout) {
    return out << fmt::format("{{{}, gap {}, batch gap {}, skew {}{}}}",
                              layout.feature_major ? "feature-major" : "token-major", layout.gap,
                              layout.batch_gap, layout.skew, layout.broadcast ? ", broadcast" : "");
}

void Placed::place(Stream& stream, DataType type, const Shape& shape, const Layout& layout) {
    const Shape strides = layout.strides(shape);
    std::uint64_t span = shape.elements() ? 1 : 0;
    for (std::size_t i = 0; i < shape.rank() && span; ++i) span += (shape[i] - 1) * strides[i];
    constexpr std::uint64_t around = 64;  // bytes, in front and behind
    const std::uint64_t first = around / size_of(type) + layout.skew;
    const std::uint64_t bytes = (2 * around + (layout.skew + span) * size_of(type) + 3) / 4 * 4;
    image_.resize(bytes);
    tensor_ = Tensor(stream.device().allocate(bytes), type, shape, strides, first);
}

std::vector<std::size_t> Placed::places() const {
    std::vector<std::size_t> places(tensor_.elements());
    for (std::size_t flat = 0; flat < places.size(); ++flat) {
        std::size_t rest = flat, element = tensor_.offset();
        for (std::size_t i = tensor_.rank(); i-- > 0; rest /= tensor_.size(i))
            element += rest % tensor_.size(i) * tensor_.strides()[i];
        places[flat] = element * size_of(tensor_.type());
    }
    return places;
}

Placed::Placed(Stream& stream, DataType type, const Shape& shape, const Layout& layout,
               std::span<const float> values) {
    place(stream, type, shape, layout);
    std::fill(image_.begin(), image_.end(), std::byte{0xff});
    const std::vector<std::byte> encoded = reference::encode(float_type(type), values);
    const std::vector<std::size_t> at = places();
    EXPECT_EQ(values.size(), at.size());
    for (std::size_t i = 0; i < at.size(); ++i)
        std::memcpy(&image_[at[i]], &encoded[i * size_of(type)], size_of(type));
    stream.upload(tensor_.buffer(), 0, image_);
}

Placed::Placed(Stream& stream, DataType type, const Shape& shape, const Layout& layout) {
    place(stream, type, shape, layout);
    for (std::size_t i = 0; i < image_.size(); i += 2) {
        image_[i] = std::byte{0x3c};
        image_[i + 1] = std::byte{0x5a};
    }
    for (const std::size_t at : places())
        std::fill_n(image_.begin() + static_cast<std::ptrdiff_t>(at), size_of(type), std::byte{0xff});
    stream.upload(tensor_.buffer(), 0, image_);
}

Placed::Contents Placed::read(Stream& stream) const {
    std::vector<std::byte> now(image_.size());
    stream.download(tensor_.buffer(), 0, now);
    Contents contents;
    const std::size_t size = size_of(tensor_.type());
    std::vector<std::byte> encoded;
    std::vector<bool> inside(now.size());
    for (const std::size_t at : places())
        for (std::size_t i = at; i < at + size; ++i) {
            encoded.push_back(now[i]);
            inside[i] = true;
        }
    contents.values = reference::decode(float_type(tensor_.type()), encoded);
    for (std::size_t i = 0; i < now.size(); ++i)
        if (!inside[i] && now[i] != image_[i]) {
            contents.damage =
                fmt::format("byte {} of {}, outside the elements, was overwritten", i, now.size());
            break;
        }
    return contents;
}

std::vector<float> Placed::values(Stream& stream) const {
    Contents contents = read(stream);
    EXPECT_EQ(contents.damage, "");
    return std::move(contents.values);
}

std::uint64_t draw(std::uint64_t low, std::uint64_t high) {
    return *rc::gen::inRange<std::uint64_t>(low, high + 1);
}

Layout draw_layout() {
    Layout layout;
    layout.feature_major = draw(0, 1) == 1;
    layout.gap = draw(0, 2);
    layout.batch_gap = draw(0, 1) * 3;
    layout.skew = draw(0, 3);
    return layout;
}

}  // namespace danaus::test
