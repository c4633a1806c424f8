// Shapes and views, on the host: what a view's elements are, and what is refused.
#include "check.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <numeric>
#include <set>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::draw;
using test::expect_error;
constexpr auto invalid = ErrorKind::invalid_argument;

// Offset of every element in the buffer, row-major.
std::vector<std::uint64_t> offsets(const Tensor& tensor) {
    std::vector<std::uint64_t> places(tensor.elements());
    for (std::size_t flat = 0; flat < places.size(); ++flat) {
        std::uint64_t rest = flat, element = tensor.offset();
        for (std::size_t i = tensor.rank(); i-- > 0; rest /= tensor.size(i))
            element += rest % tensor.size(i) * tensor.strides()[i];
        places[flat] = element;
    }
    return places;
}

TEST(Shape, CountsAndRefuses) {
    EXPECT_EQ(Shape{}.elements(), 1u);
    EXPECT_EQ((Shape{3, 0, 5}).elements(), 0u);
    EXPECT_EQ((Shape{2, 3, 4, 5}).elements(), 120u);
    EXPECT_EQ((Shape{2, 3, 4}).contiguous_strides(), (Shape{12, 4, 1}));
    EXPECT_EQ((Shape{2, 0, 4}).contiguous_strides(), (Shape{4, 4, 1}));
    EXPECT_EQ(to_string(Shape{256, 784}), "(256, 784)");
    EXPECT_EQ((Shape{1ull << 31, 1ull << 32}).elements(), 1ull << 63);
    expect_error(invalid, {"(4294967296, 4294967296)", "2^63"}, [] {
        static_cast<void>(Shape{1ull << 32, 1ull << 32}.elements());
    });
    expect_error(invalid, {"rank 5", "at most 4"}, [] { static_cast<void>(Shape{1, 2, 3, 4, 5}); });
}

TEST(Tensor, RefusesSizesThatCannotBe) {
    const Device device = test::device();
    expect_error(invalid, {"2^60"}, [&] { Tensor(device, DataType::f32, {1ull << 31, 1ull << 30}); });
    expect_error(invalid, {"2^63"}, [&] { Tensor(device, DataType::f32, {1ull << 40, 1ull << 40}); });
    Stream stream(device);
    expect_error(invalid, {"2^60"}, [&] { static_cast<void>(empty(stream, DataType::f16, {1ull << 61})); });
    expect_error(ErrorKind::out_of_memory, {}, [&] { Tensor(device, DataType::f32, {1ull << 45}); });
    EXPECT_EQ(Tensor(device, DataType::f32, {0, 1ull << 40, 1ull << 40}).elements(), 0u);
}

TEST(Tensor, ViewsStayInsideTheirBuffer) {
    const Buffer buffer = test::device().allocate(100);
    EXPECT_NO_THROW(Tensor(buffer, DataType::f32, {5, 5}));
    EXPECT_NO_THROW(Tensor(buffer, DataType::f16, {5, 10}));
    EXPECT_NO_THROW(Tensor(buffer, DataType::f32, {5, 4}, {5, 1}, 1));
    EXPECT_NO_THROW(Tensor(buffer, DataType::f32, {1, 25}, {UINT64_MAX, 1}));  // a stride never followed
    EXPECT_NO_THROW(Tensor(buffer, DataType::f32, {1ull << 40}, {0}));
    EXPECT_NO_THROW(Tensor(buffer, DataType::f32, {0, 7}, {UINT64_MAX, UINT64_MAX}, 25));
    const auto outside = [&](DataType type, const Shape& shape, const Shape& strides, std::uint64_t offset) {
        expect_error(invalid, {to_string(shape), to_string(strides), "outside its buffer"},
                     [&] { Tensor(buffer, type, shape, strides, offset); });
    };
    outside(DataType::f32, {5, 5}, {5, 1}, 1);
    outside(DataType::f32, {26}, {1}, 0);
    outside(DataType::f16, {51}, {1}, 0);
    outside(DataType::f32, {}, {}, 25);
    outside(DataType::f32, {0}, {1}, 26);
    outside(DataType::f32, {2}, {UINT64_MAX}, 0);
    outside(DataType::f32, {1ull << 31, 1ull << 31}, {1ull << 33, 1ull << 33}, 0);  // wraps to 0 in 64 bits
    outside(DataType::f32, {3}, {1ull << 63}, 0);
    expect_error(invalid, {"null buffer"}, [] { Tensor(Buffer(), DataType::f32, {1}); });
    expect_error(invalid, {"rank"}, [&] { Tensor(buffer, DataType::f32, {2, 2}, {1}); });
    const Tensor view(buffer, DataType::f32, {5}, {1}, 20);
    expect_error(invalid, {"as_strided", "offset"},
                 [&] { static_cast<void>(view.as_strided({1}, {1}, UINT64_MAX - 10)); });
}

TEST(Tensor, TransposeSliceSelect) {
    const Tensor t(test::device(), DataType::f32, {2, 3, 4});
    EXPECT_EQ(t.transpose().shape(), (Shape{2, 4, 3}));
    EXPECT_EQ(t.transpose().strides(), (Shape{12, 1, 4}));
    EXPECT_EQ(t.transpose(0, 2).strides(), (Shape{1, 4, 12}));
    EXPECT_FALSE(t.transpose().is_contiguous());
    EXPECT_EQ(t.slice(1, 1, 3).offset(), 4u);
    EXPECT_EQ(t.slice(1, 1, 3).shape(), (Shape{2, 2, 4}));
    EXPECT_EQ(t.slice(1, 1, 3).span(), 20u);
    EXPECT_EQ(t.slice(2, 4, 4).elements(), 0u);
    EXPECT_EQ(t.slice(2, 4, 4).span(), 0u);
    EXPECT_EQ(t.select(1, 2).shape(), (Shape{2, 4}));
    EXPECT_EQ(t.select(1, 2).strides(), (Shape{12, 1}));
    EXPECT_EQ(t.select(1, 2).offset(), 8u);
    EXPECT_EQ(t.select(0, 1).select(0, 1).select(0, 3).offset(), 19u);
    EXPECT_TRUE(t.slice(0, 1, 2).is_contiguous());
    expect_error(invalid, {"transpose", "3", "rank 3"}, [&] { static_cast<void>(t.transpose(0, 3)); });
    expect_error(invalid, {"transpose", "rank 1"}, [&] { static_cast<void>(t.reshape({24}).transpose()); });
    expect_error(invalid, {"slice", "2 to 4", "size 3"}, [&] { static_cast<void>(t.slice(1, 2, 4)); });
    expect_error(invalid, {"slice", "2 to 1"}, [&] { static_cast<void>(t.slice(1, 2, 1)); });
    expect_error(invalid, {"slice", "dimension 3"}, [&] { static_cast<void>(t.slice(3, 0, 0)); });
    expect_error(invalid, {"select", "index 4", "size 4"}, [&] { static_cast<void>(t.select(2, 4)); });
    expect_error(invalid, {"select", "dimension 5"}, [&] { static_cast<void>(t.select(5, 0)); });
}

TEST(Tensor, ReshapeKeepsElementsOrRefuses) {
    const Tensor t(test::device(), DataType::f32, {4, 6});
    EXPECT_EQ(t.reshape({2, 2, 6}).strides(), (Shape{12, 6, 1}));
    EXPECT_EQ(t.slice(1, 0, 4).reshape({2, 2, 4}).strides(), (Shape{12, 6, 1}));
    EXPECT_EQ(t.slice(1, 0, 4).reshape({4, 2, 2}).strides(), (Shape{6, 2, 1}));
    EXPECT_EQ(t.slice(1, 0, 4).reshape({1, 4, 1, 4}).select(0, 0).select(1, 0).strides(), (Shape{6, 1}));
    EXPECT_EQ(t.transpose().reshape({2, 3, 2, 2}).strides(), (Shape{3, 1, 12, 6}));
    expect_error(invalid, {"reshape", "(4, 4)", "(16)", "contiguous()"},
                 [&] { static_cast<void>(t.slice(1, 0, 4).reshape({16})); });
    expect_error(invalid, {"reshape", "(6, 4)"}, [&] { static_cast<void>(t.transpose().reshape({4, 6})); });
    expect_error(invalid, {"reshape", "24", "25"}, [&] { static_cast<void>(t.reshape({5, 5})); });
    EXPECT_EQ(t.slice(0, 2, 2).reshape({3, 0}).elements(), 0u);
    EXPECT_EQ(t.slice(0, 0, 1).slice(1, 2, 3).reshape({}).offset(), 2u);
}

// A view of random sizes and strides, within `buffer`.
Tensor draw_view(const Buffer& buffer, DataType type) {
    const std::uint64_t available = buffer.size() / size_of(type);
    const std::size_t rank = draw(0, 4);
    std::vector<std::uint64_t> sizes(rank), strides(rank);
    std::uint64_t span = 1;
    const bool nested = draw(0, 2) > 0;
    for (std::size_t i = rank; i-- > 0;) {
        sizes[i] = draw(1, 4);
        strides[i] = nested ? span + draw(0, 3) : draw(0, 12);
        if (span + (sizes[i] - 1) * strides[i] > available) sizes[i] = 1;
        span += (sizes[i] - 1) * strides[i];
    }
    for (std::size_t i = rank; i > 1; --i) {
        const std::size_t other = draw(0, i - 1);
        std::swap(sizes[i - 1], sizes[other]);
        std::swap(strides[i - 1], strides[other]);
    }
    return {buffer, type, Shape(sizes), Shape(strides), draw(0, available - span)};
}

TEST(Tensor, ReshapeOfRandomViews) {
    const Buffer buffer = test::device().allocate(4 * 256);
    test::property(2000, [&] {
        const Tensor view = draw_view(buffer, DataType::f32);
        // Sizes of the same product: the view's, cut into primes and put together again.
        std::vector<std::uint64_t> sizes;
        std::uint64_t rest = view.elements();
        while (sizes.size() < 3) {
            std::uint64_t size = 1;
            for (const std::uint64_t prime : {2u, 3u, 2u, 2u})
                if (rest % prime == 0 && draw(0, 1)) {
                    size *= prime;
                    rest /= prime;
                }
            sizes.push_back(size);
        }
        sizes.push_back(rest);
        const Shape shape{std::span<const std::uint64_t>(sizes)};
        Tensor reshaped;
        const test::Caught error = test::caught([&] { reshaped = view.reshape(shape); });
        if (!error.thrown) {
            RC_ASSERT(reshaped.shape() == shape);
            RC_ASSERT(offsets(reshaped) == offsets(view));
            return;
        }
        // A refusal is right only when no strides could do it: they would follow from the first elements.
        const std::vector<std::uint64_t> places = offsets(view);
        const Shape steps = shape.contiguous_strides();
        bool possible = true;
        for (std::size_t flat = 0; flat < places.size() && possible; ++flat) {
            std::int64_t expected = static_cast<std::int64_t>(places[0]);
            for (std::size_t i = 0; i < 4; ++i)
                if (shape[i] > 1)
                    expected +=
                        static_cast<std::int64_t>(flat / steps[i] % shape[i]) *
                        (static_cast<std::int64_t>(places[steps[i]]) - static_cast<std::int64_t>(places[0]));
            possible = expected == static_cast<std::int64_t>(places[flat]);
        }
        RC_ASSERT(!possible);
    });
}

TEST(Tensor, ContiguousMeansRowMajorWithoutGaps) {
    const Buffer buffer = test::device().allocate(4 * 256);
    test::property(1000, [&] {
        const Tensor view = draw_view(buffer, DataType::f32);
        const std::vector<std::uint64_t> places = offsets(view);
        bool expected = true;
        for (std::size_t i = 0; i < places.size(); ++i) expected = expected && places[i] == view.offset() + i;
        RC_ASSERT(view.is_contiguous() == expected);
        RC_ASSERT(*std::max_element(places.begin(), places.end()) - view.offset() + 1 == view.span());
    });
}

std::set<std::uint64_t> bytes_of(const Tensor& tensor) {
    std::set<std::uint64_t> bytes;
    for (const std::uint64_t place : offsets(tensor))
        for (std::uint64_t i = 0; i < size_of(tensor.type()); ++i)
            bytes.insert(place * size_of(tensor.type()) + i);
    return bytes;
}

bool share(const Tensor& a, const Tensor& b) {
    const auto first = bytes_of(a), second = bytes_of(b);
    return std::any_of(first.begin(), first.end(), [&](std::uint64_t byte) { return second.contains(byte); });
}

TEST(Overlap, NeverMissedAndExactForInterleavedViews) {
    const Buffer buffer = test::device().allocate(4 * 100), other = test::device().allocate(400);
    int told_apart = 0;
    test::property(3000, [&] {
        const DataType types[] = {DataType::f32, DataType::f16};
        const Tensor a = draw_view(buffer, types[draw(0, 1)]);
        Tensor b = draw_view(buffer, types[draw(0, 1)]);
        if (share(a, b)) RC_ASSERT(detail::may_overlap(a, b));
        RC_ASSERT(detail::may_overlap(a, b) == detail::may_overlap(b, a));
        // Two windows of one matrix are told apart exactly.
        const std::uint64_t rows = draw(1, 6), columns = draw(2, 8);
        const Tensor whole(buffer, DataType::f16, {rows, columns}, draw(0, 20));
        const auto window = [&] {
            const std::uint64_t r = draw(0, rows), c = draw(0, columns);
            return whole.slice(0, r, draw(r, rows)).slice(1, c, draw(c, columns));
        };
        const Tensor first = window(), second = window().transpose();
        RC_ASSERT(detail::may_overlap(first, second) == share(first, second));
        if (first.elements() && second.elements() && !share(first, second)) ++told_apart;
    });
    EXPECT_GT(told_apart, 20) << "the drawn windows say nothing";
    const Tensor left(buffer, DataType::f32, {10}), far(other, DataType::f32, {10});
    EXPECT_FALSE(detail::may_overlap(left, far));
    EXPECT_FALSE(detail::may_overlap(left, Tensor()));
    EXPECT_TRUE(detail::may_overlap(left, left));
}

TEST(Overlap, OfAViewWithItself) {
    const Buffer buffer = test::device().allocate(4 * 256);
    int accepted = 0;
    test::property(2000, [&] {
        const Tensor view = draw_view(buffer, DataType::f32);
        std::vector<std::uint64_t> places = offsets(view);
        std::sort(places.begin(), places.end());
        const bool twice = std::adjacent_find(places.begin(), places.end()) != places.end();
        const bool thrown = test::caught([&] { detail::require_no_self_overlap("out", view); }).thrown;
        if (twice) RC_ASSERT(thrown);
        if (!thrown) ++accepted;
    });
    EXPECT_GT(accepted, 500);
    const Tensor matrix(buffer, DataType::f32, {8, 8});
    EXPECT_NO_THROW(detail::require_no_self_overlap("out", matrix.transpose().slice(0, 1, 5)));
    expect_error(invalid, {"out", "(2, 4)", "(0, 1)", "more than once"}, [&] {
        detail::require_no_self_overlap("out", matrix.as_strided({2, 4}, {0, 1}));
    });
}

}  // namespace
}  // namespace danaus
