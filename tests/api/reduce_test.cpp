#include "api/training_support.hpp"
#include "reference/epilogue.hpp"
#include "reference/error_bound.hpp"
#include "reference/optimizers.hpp"

#include <cmath>
#include <limits>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;

std::string compare_sums(const std::vector<float>& actual, const Matrix& x, double scale = 1.0,
                         std::span<const float> before = {}) {
    auto sums = reference::column_sums(x);
    auto magnitude = reference::column_sums(reference::absolute(x));
    for (std::size_t c = 0; c < sums.size(); ++c) {
        const double old = before.empty() ? 0.0 : static_cast<double>(before[c]);
        sums[c] = scale * sums[c] + old;
        magnitude[c] =
            reference::dot_bound(x.rows + 2, {}, std::abs(scale) * magnitude[c] + std::abs(old), sums[c]);
    }
    const auto values = reference::to_double(actual);
    return reference::first_mismatch(std::span<const double>(values), sums, magnitude);
}

TEST(ColumnSums, AgreeWithTheOracle) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const auto& [rows, columns] : {std::pair{1u, 1u},
                                            {1u, 33u},
                                            {5u, 3u},
                                            {31u, 32u},
                                            {257u, 10u},
                                            {513u, 65u},
                                            {5000u, 7u},
                                            {20'011u, 3u},
                                            {3u, 5000u}})
            for (const test::Layout& layout : test::layouts) {
                const auto values = test::drawn(type, std::uint64_t{rows} * columns, rows + columns);
                const test::GuardedMatrix x(stream, type, rows, columns, layout, values);
                const test::Guarded out(stream, DataType::f32, {columns});
                column_sums_into(stream, out.tensor(), x.tensor());
                const auto sums = download(stream, out.tensor());
                EXPECT_EQ(compare_sums(sums, Matrix(rows, columns, values)), "")
                    << to_string(type) << " " << rows << " " << columns;
                out.check(stream);
                x.check(stream);
                column_sums_into(stream, out.tensor(), x.tensor(), true, -0.5f);
                EXPECT_EQ(
                    compare_sums(download(stream, out.tensor()), Matrix(rows, columns, values), -0.5, sums),
                    "");
            }
}

TEST(ColumnSums, WholeNumbersAreExactAndRunsAreEqual) {
    Stream stream(device());
    std::vector<float> values(3001 * 17);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 29) - 14.0f;
    const Tensor x = upload(stream, values, {3001, 17});
    const auto exact = reference::to_float(reference::column_sums(Matrix(3001, 17, values)));
    EXPECT_EQ(download(stream, column_sums(stream, x)), exact);

    const Tensor y = upload(stream, test::drawn(DataType::f32, 40'000, 3), {4000, 10});
    const auto first = download(stream, column_sums(stream, y));
    for (int i = 0; i < 5; ++i) EXPECT_EQ(download(stream, column_sums(stream, y)), first);
}

TEST(ColumnSums, EmptyAndStridedOutputs) {
    Stream stream(device());
    const test::Guarded out(stream, DataType::f32, {3, 1}, 5);
    const Tensor column = out.tensor().select(1, 0);
    column_sums_into(stream, column, Tensor(device(), DataType::f32, {0, 3}));
    EXPECT_EQ(download(stream, column), std::vector<float>(3, 0.0f));
    column_sums_into(stream, column, upload(stream, std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3}), true);
    EXPECT_EQ(download(stream, column), (std::vector<float>{5, 7, 9}));
    column_sums_into(stream, column, Tensor(device(), DataType::f32, {0, 3}), true);
    EXPECT_EQ(download(stream, column), (std::vector<float>{5, 7, 9}));
    out.check(stream);
    EXPECT_TRUE(download(stream, column_sums(stream, Tensor(device(), DataType::f16, {4, 0}))).empty());
    // A broadcast row: stride 0.
    const Tensor row = upload(stream, std::vector<float>{1, 2}, {2});
    EXPECT_EQ(download(stream, column_sums(stream, row.as_strided({1000, 2}, {0, 1}))),
              (std::vector<float>{1000, 2000}));
}

RC_GTEST_PROP(ColumnSums, AgreeForAnyShapeAndStride, ()) {
    Stream stream(device());
    const auto rows = *rc::gen::inRange<std::uint64_t>(1, 900),
               columns = *rc::gen::inRange<std::uint64_t>(1, 70);
    const test::Layout layout{*rc::gen::inRange<std::uint64_t>(0, 4), *rc::gen::inRange<std::uint64_t>(0, 3),
                              *rc::gen::arbitrary<bool>()};
    const DataType type =
        *rc::gen::elementOf(std::vector(test::float_types.begin(), test::float_types.end()));
    const auto values = test::drawn(type, rows * columns, *rc::gen::arbitrary<unsigned>());
    const test::GuardedMatrix x(stream, type, rows, columns, layout, values);
    RC_ASSERT(
        compare_sums(download(stream, column_sums(stream, x.tensor())), Matrix(rows, columns, values)) == "");
}

TEST(ColumnSums, LargeOperandsAreSplit) {
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 1 << 16; });
    Stream stream(small);
    const auto values = test::drawn(DataType::f32, 3000 * 40, 8);
    const Matrix x(3000, 40, values);
    EXPECT_EQ(compare_sums(download(stream, column_sums(stream, upload(stream, values, {3000, 40}))), x), "");
    const Tensor transposed = upload(stream, reference::to_float(reference::transpose(x).data), {40, 3000});
    EXPECT_EQ(compare_sums(download(stream, column_sums(stream, transposed.transpose())), x), "");
    test::Capture capture(device());
    column_sums_into(capture, capture.tensor(DataType::f32, {1 << 16}),
                     capture.tensor(DataType::f16, {1 << 17, 1 << 16}));
    EXPECT_GE(capture.packets.size(), 8u);
    for (const Packet& packet : capture.packets)
        for (const Operand& operand : packet.operands) EXPECT_LE(operand.bytes, 1ull << 33);
}

TEST(GlobalNorm, AgreesWithTheOracle) {
    Stream stream(device());
    std::vector<Tensor> tensors;
    std::vector<std::vector<double>> values;
    unsigned seed = 1;
    for (const DataType type : test::float_types)
        for (const std::uint64_t count : {0u, 1u, 255u, 4097u, 100'003u}) {
            const auto drawn = test::drawn(type, count, ++seed);
            values.push_back(reference::to_double(drawn));
            tensors.push_back(upload(stream, drawn, {count}, type));
        }
    const auto strided = test::drawn(DataType::f16, 35, 77);
    const test::GuardedMatrix matrix(stream, DataType::f16, 5, 7, {3, 1, true}, strided);
    values.push_back(reference::to_double(strided));
    tensors.push_back(matrix.tensor());
    const double norm = reference::global_norm(values);
    EXPECT_NEAR(static_cast<double>(download(stream, global_norm(stream, tensors))[0]), norm, 1e-5 * norm);
    EXPECT_EQ(download(stream, global_norm(stream, {}))[0], 0.0f);
    EXPECT_EQ(download(stream, global_norm(stream, std::vector{tensors[0]}))[0], 0.0f);
}

TEST(GlobalNorm, TellsNonFiniteValuesFromOverflow) {
    Stream stream(device());
    for (const DataType type : test::float_types) {
        for (const float bad :
             {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
              std::numeric_limits<float>::quiet_NaN()}) {
            std::vector<float> values(5000, 1.0f);
            values[4999] = bad;
            const std::vector<Tensor> one{upload(stream, values, {5000}, type)};
            EXPECT_TRUE(std::isnan(download(stream, global_norm(stream, one))[0])) << to_string(type) << bad;
        }
    }
    const std::vector<Tensor> large{upload(stream, std::vector<float>(10, 1e30f), {10})};
    EXPECT_TRUE(std::isinf(download(stream, global_norm(stream, large))[0]));
}

TEST(Reduce, WrongInput) {
    Stream stream(device());
    const Tensor x = empty(stream, DataType::f32, {4, 3}), out = empty(stream, DataType::f32, {3});
    const auto invalid = ErrorKind::invalid_argument;
    expect_error(invalid, {"out", "(4)", "(3)"},
                 [&] { column_sums_into(stream, empty(stream, DataType::f32, {4}), x); });
    expect_error(invalid, {"out", "f16", "f32"},
                 [&] { column_sums_into(stream, empty(stream, DataType::f16, {3}), x); });
    expect_error(invalid, {"x", "rank 2"}, [&] { (void)column_sums(stream, out); });
    expect_error(invalid, {"x", "u32"}, [&] {
        (void)column_sums(stream, empty(stream, DataType::u32, {2, 2}));
    });
    expect_error(invalid, {"out", "overlaps x"}, [&] { column_sums_into(stream, x.select(0, 1), x); });
    expect_error(invalid, {"x", "null"}, [&] { (void)column_sums(stream, Tensor{}); });
    expect_error(invalid, {"tensors[1]", "i32"}, [&] {
        (void)global_norm(stream, std::vector{x, empty(stream, DataType::i32, {2})});
    });
    expect_error(invalid, {"out", "one element"}, [&] { global_norm_into(stream, out, {}); });
}

}  // namespace
}  // namespace danaus
