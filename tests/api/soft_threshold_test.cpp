// The soft threshold of groups of four and its scale.
#include "reference/error_bound.hpp"
#include "reference/sparse24.hpp"
#include "support/layout.hpp"
#include "support/masks.hpp"

#include <cmath>
#include <limits>
#include <random>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::float_types;
using test::Layout;
using test::Placed;

// Small integers with signed zeros, where ties are common (even seeds), or normal values.
std::vector<float> values_of(DataType type, std::size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) {
        const auto whole = static_cast<float>(static_cast<int>(engine() % 9) - 4);
        value = seed % 2 == 0 ? std::copysign(whole, normal(engine)) : normal(engine);
    }
    return reference::round_to(test::reference_type(type), values);
}

Matrix stacked(const Shape& shape, const std::vector<float>& values) {
    const std::size_t cols = shape[shape.rank() - 1];
    return Matrix(cols ? values.size() / cols : 0, cols, values);
}

Tensor scalar(Stream& stream, float value) {
    return upload(stream, std::vector<float>{value}, {1});
}

void check_all(Stream& stream, DataType type, const Shape& shape, Layout layout, unsigned seed) {
    const std::string what = to_string(shape) + " " + to_string(type) + ", layout " +
                             std::to_string(static_cast<int>(layout)) + ", seed " + std::to_string(seed);
    const auto values = values_of(type, shape.elements(), seed);
    const Matrix w = stacked(shape, values);
    const Placed source(stream, type, shape, layout, values);

    const test::Guarded scale(stream, DataType::f32, {1});
    soft_threshold_scale_into(stream, scale.tensor(), source.tensor());
    const float beta = download(stream, scale.tensor())[0];
    const double exact = reference::soft_threshold_scale(w);
    EXPECT_NEAR(static_cast<double>(beta), exact, 1e-5 * exact) << what;
    EXPECT_EQ(download(stream, soft_threshold_scale(stream, source.tensor()))[0], beta) << what;

    const Placed mask(stream, DataType::u32, mask_shape(shape), layout);
    const Sparse24 soft = empty_sparse24(stream, type, shape);
    compress_soft_into(stream, soft, source.tensor(), scale.tensor(), mask.tensor());
    Matrix expected = reference::soft_threshold(w);
    for (double& s : expected.data) s *= static_cast<double>(beta);
    const double unit = type == DataType::f32 ? 0x1p-22 : type == DataType::f16 ? 0x1p-10 : 0x1p-7;
    EXPECT_EQ(
        reference::first_mismatch(download(stream, to_dense(stream, soft)), expected.data, unit, 0x1p-24), "")
        << what;
    EXPECT_EQ(download_u32(stream, mask.tensor()), test::packed(reference::select_mask(w))) << what;
    const Sparse24 plain = compress_by_magnitude(stream, source.tensor());
    EXPECT_EQ(download_u32(stream, soft.metadata()), download_u32(stream, plain.metadata())) << what;
    source.check(stream, what);
    mask.check(stream, what);
    scale.check(stream, what);
}

TEST(SoftThreshold, FollowsTheOracle) {
    Stream stream(device());
    unsigned seed = 0;
    for (const DataType type : float_types)
        for (const Layout layout : test::layouts)
            for (const Shape& shape : {Shape{4, 32}, Shape{5, 7}, Shape{3, 1}, Shape{9, 2}, Shape{1, 3},
                                       Shape{2, 3, 64}, Shape{2, 7, 45}, Shape{40, 300}})
                check_all(stream, type, shape, layout, ++seed);
    check_all(stream, DataType::f32, {3, 5000}, Layout::contiguous, 1);
    check_all(stream, DataType::f32, {1500, 36}, Layout::pitched, 3);
}

RC_GTEST_PROP(SoftThreshold, AnyShape, ()) {
    Stream stream(device());
    const Shape shape{*rc::gen::inRange<std::uint64_t>(1, 4), *rc::gen::inRange<std::uint64_t>(1, 60),
                      *rc::gen::inRange<std::uint64_t>(1, 150)};
    const unsigned seed = *rc::gen::inRange<unsigned>(0, 1 << 20);
    check_all(stream, float_types[seed % 3], shape, test::layouts[seed / 3 % 5], seed);
}

TEST(SoftThreshold, WorkedGroups) {
    Stream stream(device());
    const std::vector<float> w{4, -3, 1, 2, 2, 2, -2, 5, 1, 1, 1, 1, -3, 2, 1};
    const std::vector<float> s{2, -1, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, -2, 1, 0};
    std::vector<float> doubled = s;
    for (float& value : doubled) value *= 2;
    const Tensor dense = upload(stream, w, {1, 15});
    EXPECT_EQ(download(stream, to_dense(stream, compress_soft(stream, dense, scalar(stream, 2.0f)))),
              doubled);
    // ⟨w, s⟩ / ⟨s, s⟩ = (8 + 3 + 15 + 6 + 2) / (4 + 1 + 9 + 4 + 1)
    EXPECT_FLOAT_EQ(download(stream, soft_threshold_scale(stream, dense))[0], 34.0f / 19.0f);
}

// Where the second and the third of four change places, the kept entry that goes and the one that comes are
// both zero.
TEST(SoftThreshold, DoesNotJumpWherePlacesChange) {
    Stream stream(device());
    const float above = std::nextafter(1.0f, 2.0f), below = std::nextafter(1.0f, 0.0f);
    const auto soft = [&](float b, float c) {
        return download(
            stream,
            to_dense(stream, compress_soft(stream, upload(stream, std::vector<float>{3, b, c, 0}, {1, 4}),
                                           scalar(stream, 1.0f))));
    };
    const auto first = soft(above, below), tie = soft(1.0f, 1.0f), second = soft(below, above);
    EXPECT_EQ(tie, (std::vector<float>{2, 0, 0, 0}));
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_NEAR(first[i], tie[i], 0x1p-22f);
        EXPECT_NEAR(second[i], tie[i], 0x1p-22f);
    }
}

TEST(SoftThreshold, ScaleOfNothing) {
    Stream stream(device());
    for (const auto& values : {std::vector<float>(64, 0.0f), std::vector<float>(64, -3.0f)})
        EXPECT_EQ(download(stream, soft_threshold_scale(stream, upload(stream, values, {2, 32})))[0], 1.0f);
    for (const Shape& shape : {Shape{0, 8}, Shape{8, 0}, Shape{0, 3, 4}}) {
        const Tensor none = empty(stream, DataType::f16, shape);
        EXPECT_EQ(download(stream, soft_threshold_scale(stream, none))[0], 1.0f);
        (void)compress_soft(stream, none, scalar(stream, 1.0f));
    }
}

TEST(SoftThreshold, NaNAndInfinityShow) {
    Stream stream(device());
    const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
    for (const DataType type : float_types) {
        const Tensor w = empty(stream, type, {1, 16});
        upload_into(stream, w,
                    std::vector<float>{1, nan, 3, 2, 1, -infinity, 3, 2, infinity, infinity, infinity, 2,
                                       infinity, -infinity, 3, 2});
        const auto s = download(stream, to_dense(stream, compress_soft(stream, w, scalar(stream, 1.0f))));
        EXPECT_TRUE(std::isnan(s[1]));
        EXPECT_EQ(s[2], 1.0f);
        EXPECT_EQ(s[5], -infinity);
        EXPECT_EQ(s[6], 1.0f);
        EXPECT_TRUE(std::isnan(s[8]));
        EXPECT_EQ(s[12], infinity);
        EXPECT_EQ(s[13], -infinity);
        EXPECT_TRUE(std::isnan(download(stream, soft_threshold_scale(stream, w))[0]));
    }
}

TEST(SoftThreshold, LargeMatricesAreSplit) {
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 1 << 14; });
    Stream stream(small);
    for (const Shape& shape : {Shape{100, 201}, Shape{7, 20, 96}})
        for (const DataType type : float_types) check_all(stream, type, shape, Layout::contiguous, 5);
}

TEST(SoftThreshold, WrongInput) {
    Stream stream(device());
    constexpr auto invalid = ErrorKind::invalid_argument;
    const Tensor w = empty(stream, DataType::f32, {4, 8}), beta = scalar(stream, 1.0f),
                 mask = empty(stream, DataType::u32, {4, 1});
    const Sparse24 out = empty_sparse24(stream, DataType::f32, {4, 8});
    const auto compressing = [&](const Sparse24& to, const Tensor& from, const Tensor& scale,
                                 const Tensor& bits = {}) {
        return [&stream, to, from, scale, bits] { compress_soft_into(stream, to, from, scale, bits); };
    };
    expect_error(invalid, {"w", "(8)", "rank 2 or 3"},
                 [&] { (void)soft_threshold_scale(stream, w.reshape({32}).slice(0, 0, 8)); });
    expect_error(invalid, {"w", "u32"}, [&] { (void)soft_threshold_scale(stream, mask); });
    expect_error(invalid, {"out", "(2)", "(1)"},
                 [&] { soft_threshold_scale_into(stream, empty(stream, DataType::f32, {2}), w); });
    expect_error(invalid, {"out", "f16", "f32"},
                 [&] { soft_threshold_scale_into(stream, empty(stream, DataType::f16, {1}), w); });
    expect_error(invalid, {"out", "w"},
                 [&] { soft_threshold_scale_into(stream, Tensor(w.buffer(), DataType::f32, {1}), w); });
    expect_error(invalid, {"beta", "null"}, compressing(out, w, {}));
    expect_error(invalid, {"beta", "(2)", "(1)"}, compressing(out, w, empty(stream, DataType::f32, {2})));
    expect_error(invalid, {"beta", "bf16", "f32"}, compressing(out, w, empty(stream, DataType::bf16, {1})));
    expect_error(invalid, {"out", "beta"},
                 compressing(out, w, Tensor(out.values().buffer(), DataType::f32, {1})));
    expect_error(invalid, {"mask", "beta"},
                 compressing(out, w, Tensor(mask.buffer(), DataType::f32, {1}), mask));
    expect_error(invalid, {"out", "null"}, compressing({}, w, beta));
    expect_error(invalid, {"out", "(4, 8)", "(4, 4)"},
                 compressing(out, empty(stream, DataType::f32, {4, 4}), beta));
    expect_error(invalid, {"mask", "(4, 2)", "(4, 1)"},
                 compressing(out, w, beta, empty(stream, DataType::u32, {4, 2})));
}

}  // namespace
}  // namespace danaus
