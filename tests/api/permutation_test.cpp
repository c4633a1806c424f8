// Permutations by strides and by indices, element for element against the oracle.
#include "reference/permutation.hpp"

#include "support/layout.hpp"

#include <algorithm>
#include <numeric>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Layout;
using test::Placed;

// Distinct values that every type holds exactly; bf16 has eight bits.
std::vector<float> counted(std::size_t count) {
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = static_cast<float>(i % 256) - 127.0f;
    return values;
}

std::vector<std::uint32_t> shuffled(std::size_t size, unsigned seed) {
    std::vector<std::uint32_t> index(size);
    std::iota(index.begin(), index.end(), 0u);
    std::shuffle(index.begin(), index.end(), std::mt19937(seed));
    return index;
}

void check_permutation(Stream& stream, const Permutation& p, const reference::Permutation& oracle,
                       DataType type, const Shape& shape, Layout from, Layout to) {
    const std::string what = to_string(shape) + " " + to_string(type) + ", layouts " +
                             std::to_string(static_cast<int>(from)) + " and " +
                             std::to_string(static_cast<int>(to));
    const std::size_t features = shape[shape.rank() - 1];
    const std::vector<float> values = counted(shape.elements());
    const Matrix x(values.size() / features, features, values);
    const Placed source(stream, type, shape, from, values), y(stream, type, shape, to),
        dx(stream, type, shape, to), back(stream, type, shape, to);
    matmul_into(stream, y.tensor(), source.tensor(), p);
    matmul_transposed_into(stream, dx.tensor(), source.tensor(), p);
    matmul_into(stream, back.tensor(), y.tensor(), p.inverse());
    EXPECT_EQ(first_difference(download(stream, y.tensor()),
                               reference::to_float(reference::matmul(x, oracle).data)),
              "")
        << what;
    EXPECT_EQ(first_difference(download(stream, dx.tensor()),
                               reference::to_float(reference::matmul_transposed(x, oracle).data)),
              "")
        << what;
    EXPECT_EQ(first_difference(download(stream, back.tensor()), values), "") << what;
    for (const Placed* placed : {&source, &y, &dx, &back}) placed->check(stream, what);
}

TEST(Permutation, StridesAgreeWithTheOracle) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const Layout from : test::layouts)
            for (const Layout to : test::layouts)
                for (const auto& [a, b] : {std::pair{1u, 7u}, {7u, 1u}, {2u, 3u}, {4u, 4u}, {5u, 13u}}) {
                    const Permutation p = Permutation::stride(a, b);
                    const auto oracle = reference::stride_permutation(a, b);
                    check_permutation(stream, p, oracle, type, {3, a * b}, from, to);
                    check_permutation(stream, p, oracle, type, {2, 3, a * b}, from, to);
                }
}

TEST(Permutation, IndicesAgreeWithTheOracle) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const Layout from : test::layouts)
            for (const Layout to : test::layouts)
                for (const std::size_t size : {1u, 2u, 5u, 8u, 65u}) {
                    const std::vector<std::uint32_t> index = shuffled(size, 3);
                    const Permutation p = Permutation::from_indices(stream, index);
                    check_permutation(stream, p, reference::Permutation(index), type, {3, size}, from, to);
                    check_permutation(stream, p, reference::Permutation(index), type, {2, 70, size}, from,
                                      to);
                }
}

RC_GTEST_PROP(Permutation, AgreesWithTheOracleForDrawnShapes, ()) {
    Stream stream(device());
    const auto type =
        *rc::gen::elementOf(std::vector(std::begin(test::float_types), std::end(test::float_types)));
    const auto layout = rc::gen::elementOf(std::vector(std::begin(test::layouts), std::end(test::layouts)));
    const auto from = *layout, to = *layout;
    const auto a = *rc::gen::inRange<std::size_t>(1, 30), b = *rc::gen::inRange<std::size_t>(1, 30);
    const auto batch = *rc::gen::inRange<std::uint64_t>(0, 4),
               tokens = *rc::gen::inRange<std::uint64_t>(1, 20);
    const Shape shape = batch ? Shape{batch, tokens, a * b} : Shape{tokens, a * b};
    if (*rc::gen::arbitrary<bool>()) {
        check_permutation(stream, Permutation::stride(a, b), reference::stride_permutation(a, b), type, shape,
                          from, to);
    } else {
        const std::vector<std::uint32_t> index = shuffled(a * b, *rc::gen::inRange(0u, 1000000u));
        // Read from the device with a stride: the inverse is computed there.
        const Placed placed(stream, DataType::u32, {a * b, 1}, Layout::pitched);
        upload_into(stream, placed.tensor(), std::span<const std::uint32_t>(index));
        const Permutation p = Permutation::from_tensor(stream, placed.tensor().select(1, 0));
        check_permutation(stream, p, reference::Permutation(index), type, shape, from, to);
    }
    RC_ASSERT(!::testing::Test::HasFailure());
}

TEST(Permutation, MovesIntegersAndEveryRank) {
    Stream stream(device());
    const std::vector<std::uint32_t> index{2, 0, 3, 1, 5, 4};
    const Permutation by_index = Permutation::from_indices(stream, index),
                      by_stride = Permutation::stride(2, 3);
    std::vector<std::uint32_t> words(2 * 3 * 4 * 6);
    for (std::size_t i = 0; i < words.size(); ++i)
        words[i] = 0xfff00000u + static_cast<std::uint32_t>(i);  // NaN as f32
    for (const auto& [p, oracle] : {std::pair{by_index, reference::Permutation(index)},
                                    std::pair{by_stride, reference::stride_permutation(2, 3)}})
        for (const Shape& shape : {Shape{6}, Shape{4, 6}, Shape{3, 4, 6}, Shape{2, 3, 4, 6}}) {
            const std::size_t count = shape.elements();
            std::vector<std::uint32_t> expected(count);
            for (std::size_t i = 0; i < count; ++i) expected[i] = words[i / 6 * 6 + oracle.index[i % 6]];
            const Tensor x = upload(stream, std::span<const std::uint32_t>(words).first(count), shape);
            EXPECT_EQ(download_u32(stream, matmul(stream, x, p)), expected) << to_string(shape);
            EXPECT_EQ(download_u32(stream, matmul_transposed(stream, matmul(stream, x, p), p)),
                      std::vector(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(count)));
        }
    // Four dimensions of which none joins its neighbour.
    const Tensor wide = upload(stream, words, {2, 3, 4, 6}).slice(0, 0, 2).slice(1, 0, 2).slice(2, 1, 4);
    const Tensor narrow = wide.transpose(0, 2);
    const std::vector<std::uint32_t> before = download_u32(stream, contiguous(stream, narrow)),
                                     after = download_u32(stream, matmul(stream, narrow, by_index));
    for (std::size_t i = 0; i < before.size(); ++i)
        ASSERT_EQ(after[i], before[i / 6 * 6 + index[i % 6]]) << i;
    const Tensor integers = upload(stream, std::vector<std::int32_t>{-1, -2, -3, -4, -5, -6}, {1, 6});
    EXPECT_EQ(download_i32(stream, matmul(stream, integers, by_index)),
              (std::vector<std::int32_t>{-3, -1, -4, -2, -6, -5}));
}

TEST(Permutation, ToDense) {
    Stream stream(device());
    const std::vector<std::uint32_t> index = shuffled(13, 9);
    for (const DataType type : test::float_types) {
        EXPECT_EQ(download(stream, to_dense(stream, Permutation::from_indices(stream, index), type)),
                  reference::to_float(reference::to_dense(reference::Permutation(index)).data));
        const Placed out(stream, type, {12, 12}, Layout::pitched);
        to_dense_into(stream, out.tensor(), Permutation::stride(3, 4));
        EXPECT_EQ(download(stream, out.tensor()),
                  reference::to_float(reference::to_dense(reference::stride_permutation(3, 4)).data));
        out.check(stream, "to_dense");
    }
}

// Indices that are no permutation: too large ones give 0, unnamed features get 0, nothing outside is read or
// written.
TEST(Permutation, WrongIndicesOnTheDeviceStayInside) {
    Stream stream(device());
    const Tensor index = upload(stream, std::vector<std::uint32_t>{3, 0xffffffffu, 0, 4, 0x80000000u}, {5});
    const Permutation p = Permutation::from_tensor(stream, index);
    for (const DataType type : test::float_types)
        for (const Layout layout : test::layouts) {
            const Placed x(stream, type, {2, 5}, layout, std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),
                y(stream, type, {2, 5}, layout), dx(stream, type, {2, 5}, layout);
            matmul_into(stream, y.tensor(), x.tensor(), p);
            matmul_transposed_into(stream, dx.tensor(), x.tensor(), p);
            EXPECT_EQ(download(stream, y.tensor()), (std::vector<float>{4, 0, 1, 5, 0, 9, 0, 6, 10, 0}));
            EXPECT_EQ(download(stream, dx.tensor()), (std::vector<float>{3, 0, 0, 1, 4, 8, 0, 0, 6, 9}));
            y.check(stream, "y");
            dx.check(stream, "dx");
        }
}

TEST(Permutation, EmptyIsNoWork) {
    Stream stream(device());
    const Permutation none = Permutation::from_indices(stream, {});
    EXPECT_EQ(none.size(), 0u);
    EXPECT_EQ(matmul(stream, Tensor(device(), DataType::f32, {3, 0}), none).elements(), 0u);
    EXPECT_EQ(matmul(stream, Tensor(device(), DataType::f32, {3, 0}), Permutation::stride(0, 5)).elements(),
              0u);
    EXPECT_EQ(matmul(stream, Tensor(device(), DataType::f32, {0, 6}), Permutation::stride(2, 3)).elements(),
              0u);
    EXPECT_EQ(to_dense(stream, Permutation()).elements(), 0u);
    const Permutation device_made = Permutation::from_tensor(stream, Tensor(device(), DataType::u32, {0}));
    EXPECT_EQ(matmul(stream, Tensor(device(), DataType::f16, {3, 0}), device_made).elements(), 0u);
}

// Few workgroups and short storage ranges: boxes are walked several times and cut along tokens and results.
TEST(Permutation, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {2, 2, 2};
        caps.max_storage_range = 2048;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    const std::vector<std::uint32_t> index = shuffled(300, 1);
    const Permutation p = Permutation::from_indices(stream, index);
    const std::vector<float> values = counted(9 * 300);
    const Tensor x = upload(stream, values, {9, 300});
    EXPECT_EQ(
        download(stream, matmul(stream, x, p)),
        reference::to_float(reference::matmul(Matrix(9, 300, values), reference::Permutation(index)).data));
    // A result with its features far apart is cut along them too.
    const Tensor row = upload(stream, std::span<const float>(values).first(300), {1, 300});
    const Tensor spread = Tensor(small, DataType::f32, {300, 8}).select(1, 3).reshape({1, 300});
    matmul_into(stream, spread, row, p);
    const Tensor again = matmul(stream, row, p);
    if (test::access() == Access::descriptor)
        expect_error(ErrorKind::unsupported, {"x", "2393 elements of f32"},
                     [&] { (void)matmul(stream, spread, p); });
    // Read back by pieces that a descriptor can span.
    for (std::uint64_t i = 0; i < 300; i += 60)
        EXPECT_EQ(download(stream, spread.slice(1, i, i + 60)), download(stream, again.slice(1, i, i + 60)));
}

TEST(Permutation, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const auto make = [](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device(), type, shape);
    };
    const auto from = [&](std::vector<std::uint32_t> index) {
        (void)Permutation::from_indices(stream, index);
    };
    refuses({"index[2]: 3", "below 3"}, [&] { from({0, 2, 3}); });
    refuses({"index[3]: 2", "index[1]"}, [&] { from({0, 2, 1, 2}); });
    refuses({"index", "i32", "u32"},
            [&] { (void)Permutation::from_tensor(stream, make({4}, DataType::i32)); });
    refuses({"index", "(2, 2)", "rank 1"}, [&] {
        (void)Permutation::from_tensor(stream, make({2, 2}, DataType::u32));
    });
    refuses({"index", "null"}, [&] { (void)Permutation::from_tensor(stream, {}); });
    const Permutation p = Permutation::stride(2, 3);
    refuses({"x", "(4, 5)", "6"}, [&] { (void)matmul(stream, make({4, 5}), p); });
    refuses({"dy", "(4, 5)", "6"}, [&] { (void)matmul_transposed(stream, make({4, 5}), p); });
    refuses({"x", "null"}, [&] { (void)matmul(stream, Tensor(), p); });
    refuses({"x", "rank 0"}, [&] { (void)matmul(stream, make({}), p); });
    refuses({"out", "(3, 6)", "(4, 6)"}, [&] { matmul_into(stream, make({3, 6}), make({4, 6}), p); });
    refuses({"out", "f16", "f32"}, [&] {
        matmul_into(stream, make({4, 6}, DataType::f16), make({4, 6}), p);
    });
    const Tensor x = make({4, 6});
    refuses({"out", "overlaps x"}, [&] { matmul_into(stream, x, x, p); });
    refuses({"out", "(6, 5)", "(6, 6)"}, [&] { to_dense_into(stream, make({6, 5}), p); });
    const Device elsewhere = Device::open(test::device_options());
    Stream other(elsewhere);
    const Permutation foreign = Permutation::from_indices(other, std::vector<std::uint32_t>{1, 0});
    refuses({"p", "another device"}, [&] { (void)matmul(stream, make({4, 2}), foreign); });
}

}  // namespace
}  // namespace danaus
