// Every way of 2:4 compression from an f32 matrix into f16 and bf16: masks are those of the f32 values, what
// is kept is rounded to nearest even once, bit for bit against the oracle.
#include "reference/tile_sparse24.hpp"
#include "support/guarded24.hpp"
#include "support/layout.hpp"
#include "support/masks.hpp"

#include <danaus/soft_threshold.hpp>

#include <cmath>

namespace danaus {
namespace {

using reference::Mask;
using reference::Matrix;
using test::bits_of;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Guarded24;
using test::Layout;
using test::Placed;

// Numbers of all sizes, and some where rounding matters: ties of both types, overflow, subnormals.
std::vector<float> values_of(std::size_t count, unsigned seed) {
    std::vector<float> values = test::mixed_values(count, reference::FloatType::f32, 2 * seed + 1);
    const float hard[] = {1 + 0x1p-11f, 1 + 0x3p-11f, 1 + 0x1p-8f,     1 + 0x3p-8f,
                          65519.0f,     65520.0f,     -0x1.ffp127f,    0x1p-25f,
                          0x3p-25f,     -0x1p-133f,   0x1.fffffep127f, -0x1.002p-14f};
    for (std::size_t i = seed % 5; i < count; i += 5) values[i] = hard[(i + seed) % std::size(hard)];
    return values;
}

template <typename Form>
std::vector<float> dense_of(Stream& stream, const Guarded24<Form>& out) {
    return download(stream, to_dense(stream, out.get()));
}

void check(Stream& stream, DataType type, const Shape& shape, Layout layout, unsigned seed) {
    const std::string what = to_string(shape) + ' ' + to_string(type) + ", layout " +
                             std::to_string(static_cast<int>(layout)) + ", seed " + std::to_string(seed);
    const std::size_t cols = shape[shape.rank() - 1], rows = shape[shape.rank() - 2];
    const std::vector<float> values = values_of(shape.elements(), seed);
    const Placed w(stream, DataType::f32, shape, layout, values);
    const auto rounded = [&](const std::vector<double>& kept) {
        return reference::round_to(test::reference_type(type),
                                   std::span<const float>(reference::to_float(kept)));
    };
    std::vector<double> by_rows, by_tiles;
    std::vector<std::uint32_t> tile_mask;
    for (std::size_t b = 0; b < values.size() / (rows * cols); ++b) {
        const Matrix m(rows, cols, std::span(values).subspan(b * rows * cols, rows * cols));
        const Matrix one = reference::apply_mask(m, reference::select_mask(m));
        const Mask tiles = reference::select_transposable_mask(m);
        const Matrix two = reference::apply_mask(m, tiles);
        by_rows.insert(by_rows.end(), one.data.begin(), one.data.end());
        by_tiles.insert(by_tiles.end(), two.data.begin(), two.data.end());
        const std::vector<std::uint32_t> bits = test::packed(tiles);
        tile_mask.insert(tile_mask.end(), bits.begin(), bits.end());
    }

    const Guarded24<Sparse24> selected(stream, type, shape), masked(stream, type, shape);
    compress_by_magnitude_into(stream, selected.get(), w.tensor());
    EXPECT_EQ(first_difference(dense_of(stream, selected), rounded(by_rows)), "") << what;
    const Tensor mask = upload(stream, tile_mask, mask_shape(shape));
    compress_into(stream, masked.get(), w.tensor(), mask);
    EXPECT_EQ(first_difference(dense_of(stream, masked), rounded(by_tiles)), "") << what;

    const Guarded24<TileSparse24> searched(stream, type, shape), given(stream, type, shape);
    compress_transposable_into(stream, searched.get(), w.tensor());
    compress_tiles_into(stream, given.get(), w.tensor(), mask);
    for (const auto* tiles : {&searched, &given})
        EXPECT_EQ(first_difference(dense_of(stream, *tiles), rounded(by_tiles)), "") << what;

    Shape across = shape;
    std::swap(across[shape.rank() - 1], across[shape.rank() - 2]);
    const Guarded24<Sparse24> both(stream, type, shape), turned(stream, type, across);
    compress_both_into(stream, both.get(), turned.get(), w.tensor(), mask);
    EXPECT_EQ(first_difference(dense_of(stream, both), rounded(by_tiles)), "") << what;
    const Tensor back = to_dense(stream, turned.get()).transpose();
    EXPECT_EQ(first_difference(download(stream, back), rounded(by_tiles)), "") << what;

    for (const auto* form : {&selected, &masked, &both, &turned}) form->check(stream, what);
    for (const auto* form : {&searched, &given}) form->check(stream, what);
    w.check(stream, what);
}

TEST(CompressRounding, AgreesWithTheOracleForEveryTail) {
    Stream stream(device());
    unsigned seed = 1;
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const Layout layout : test::layouts)
            for (const Shape& shape : {Shape{1, 1}, Shape{3, 5}, Shape{4, 8}, Shape{6, 31}, Shape{8, 32},
                                       Shape{37, 66}, Shape{2, 9, 22}, Shape{3, 32, 64}})
                check(stream, type, shape, layout, seed++);
}

// S-STE's values are computed in f32 and rounded to the result's type once.
TEST(CompressRounding, SoftThresholds) {
    Stream stream(device());
    const std::vector<float> values = test::mixed_values(32 * 64, reference::FloatType::f16, 1);
    std::vector<float> finite = values;
    for (float& value : finite)
        if (!std::isfinite(value)) value = 0.75f;
    const Tensor w = upload(stream, finite, {32, 64}), beta = upload(stream, std::vector{1.25f}, {1});
    const std::vector<float> exact = download(stream, to_dense(stream, compress_soft(stream, w, beta)));
    for (const DataType type : {DataType::f16, DataType::bf16}) {
        const Guarded24<Sparse24> out(stream, type, {32, 64});
        compress_soft_into(stream, out.get(), w, beta);
        EXPECT_EQ(first_difference(dense_of(stream, out),
                                   reference::round_to(test::reference_type(type), std::span(exact))),
                  "");
        out.check(stream, to_string(type));
    }
}

TEST(CompressRounding, RefusesOtherTypes) {
    Stream stream(device());
    const Device& d = stream.device();
    const Tensor half(d, DataType::f16, {4, 8}), single(d, DataType::f32, {4, 8});
    const Tensor mask(d, DataType::u32, {4, 1});
    expect_error(ErrorKind::invalid_argument, {"out", "type", "bf16", "f16"}, [&] {
        compress_into(stream, Sparse24(d, DataType::bf16, {4, 8}), half, mask);
    });
    expect_error(ErrorKind::invalid_argument, {"out", "type", "f32", "f16"}, [&] {
        compress_tiles_into(stream, TileSparse24(d, DataType::f32, {4, 8}), half, mask);
    });
    expect_error(ErrorKind::invalid_argument, {"out_transposed", "type", "bf16", "f16"}, [&] {
        compress_both_into(stream, Sparse24(d, DataType::f16, {4, 8}), Sparse24(d, DataType::bf16, {8, 4}),
                           single, mask);
    });
}

}  // namespace
}  // namespace danaus
