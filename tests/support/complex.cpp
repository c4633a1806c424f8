#include "support/complex.hpp"

#include <cstring>
#include <limits>

namespace danaus::test {
namespace {

constexpr float sentinel = 77.25f;
constexpr float poison = std::numeric_limits<float>::quiet_NaN();

template <typename T>
std::vector<double> parts_of(std::span<const std::complex<T>> values) {
    std::vector<double> parts;
    for (const std::complex<T>& value : values)
        parts.insert(parts.end(), {static_cast<double>(value.real()), static_cast<double>(value.imag())});
    return parts;
}

}  // namespace

ComplexValues complex_values(std::size_t count, unsigned seed, bool whole) {
    const auto parts = whole ? whole_values(2 * count, seed, 3) : random_values(2 * count, seed);
    ComplexValues values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = {parts[2 * i], parts[2 * i + 1]};
    return values;
}

std::vector<double> flat(std::span<const std::complex<float>> values) {
    return parts_of(values);
}
std::vector<double> flat(std::span<const reference::Complex> values) {
    return parts_of(values);
}
std::vector<double> twice(std::span<const double> bounds) {
    std::vector<double> all;
    for (const double bound : bounds) all.insert(all.end(), {bound, bound});
    return all;
}

void PlacedComplex::place(Stream& stream, const Shape& shape, const Layout& layout, float around) {
    const Shape strides = layout.strides(shape);
    std::uint64_t span = shape.elements() ? 1 : 0;
    for (std::size_t i = 0; i < shape.rank() && span; ++i) span += (shape[i] - 1) * strides[i];
    const std::uint64_t first = 8 + layout.skew;
    image_.assign(2 * (first + span + 8), around);
    tensor_ = Tensor(stream.device().allocate(image_.size() * sizeof(float)), DataType::complex64, shape,
                     strides, first);
}

std::vector<std::size_t> PlacedComplex::places() const {
    std::vector<std::size_t> places(tensor_.elements());
    for (std::size_t index = 0; index < places.size(); ++index) {
        std::size_t rest = index, element = tensor_.offset();
        for (std::size_t i = tensor_.rank(); i-- > 0; rest /= tensor_.size(i))
            element += rest % tensor_.size(i) * tensor_.strides()[i];
        places[index] = 2 * element;
    }
    return places;
}

PlacedComplex::PlacedComplex(Stream& stream, const Shape& shape, const Layout& layout,
                             std::span<const std::complex<float>> values) {
    place(stream, shape, layout, poison);
    const std::vector<std::size_t> at = places();
    EXPECT_EQ(values.size(), at.size());
    for (std::size_t i = 0; i < at.size(); ++i) {
        image_[at[i]] = values[i].real();
        image_[at[i] + 1] = values[i].imag();
    }
    stream.upload(tensor_.buffer(), 0, std::as_bytes(std::span(image_)));
}

PlacedComplex::PlacedComplex(Stream& stream, const Shape& shape, const Layout& layout) {
    place(stream, shape, layout, sentinel);
    for (const std::size_t at : places()) image_[at] = image_[at + 1] = poison;
    stream.upload(tensor_.buffer(), 0, std::as_bytes(std::span(image_)));
}

PlacedComplex::Contents PlacedComplex::read(Stream& stream) const {
    std::vector<float> now(image_.size());
    stream.download(tensor_.buffer(), 0, std::as_writable_bytes(std::span(now)));
    Contents contents;
    std::vector<float> rest = now;
    for (const std::size_t at : places()) {
        contents.values.emplace_back(now[at], now[at + 1]);
        rest[at] = image_[at];
        rest[at + 1] = image_[at + 1];
    }
    if (std::memcmp(rest.data(), image_.data(), rest.size() * sizeof(float)) != 0)
        contents.damage = "memory outside the elements was overwritten";
    return contents;
}

std::string PlacedComplex::mismatch(Stream& stream, std::span<const reference::Complex> expected,
                                    std::span<const double> bound) const {
    const Contents contents = read(stream);
    return reference::first_mismatch(flat(contents.values), flat(expected), twice(bound)) + contents.damage;
}

}  // namespace danaus::test
