// best(): either form gives the structure's product, and what was measured is told.
#include "support/device.hpp"
#include "support/operands.hpp"

#include <danaus/best.hpp>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::device;

TuneOptions quick() {
    TuneOptions options;
    options.rounds = 5;
    options.seconds = 0.05;
    return options;
}

Tensor whole(Stream& stream, const Shape& shape, unsigned seed) {
    const auto values = test::whole_values(shape.elements(), seed, 2);
    Tensor t(stream.device(), DataType::f32, shape);
    upload_into(stream, t, values);
    return t;
}

// Both forms, whichever was chosen, against the structure itself: of whole numbers every order of sums is
// exact.
template <typename Structure>
void expect_products(Stream& stream, const Structure& a, const Shape& x_shape) {
    Best<Structure> w = best(stream, a, x_shape[x_shape.rank() - 2], quick());
    EXPECT_EQ(w.tokens, x_shape[x_shape.rank() - 2]);
    EXPECT_GT(w.structured_nanoseconds, 0.0);
    EXPECT_GT(w.dense_nanoseconds, 0.0);
    const Tensor x = whole(stream, x_shape, 5);
    Epilogue epilogue;
    epilogue.activation = Activation::relu;
    const std::vector<float> expected = download(stream, matmul(stream, x, a, epilogue));
    EXPECT_EQ(download(stream, matmul(stream, x, w, epilogue)), expected);
    for (const PackedWeight& dense : {pack(stream, to_dense(stream, a)), PackedWeight()}) {
        w.dense = dense;
        const Tensor y = matmul(stream, x, w, epilogue);
        EXPECT_EQ(download(stream, y), expected);
        fill_into(stream, y, -1.0);
        matmul_into(stream, y, x, w, epilogue);
        EXPECT_EQ(download(stream, y), expected);
    }
}

TEST(Best, BothFormsGiveTheProduct) {
    Stream stream(device());
    expect_products(stream, compress_by_magnitude(stream, whole(stream, {24, 36}, 1)), {7, 36});
    expect_products(stream, compress_by_magnitude(stream, whole(stream, {2, 24, 36}, 1)), {2, 7, 36});
    expect_products(stream, compress_by_magnitude(stream, whole(stream, {24, 36}, 1), VectorPattern{2, 4, 8}),
                    {7, 36});
    expect_products(stream, BlockDiagonal(whole(stream, {3, 8, 12}, 1)), {7, 36});
    expect_products(stream, Monarch(whole(stream, {3, 8, 12}, 1), whole(stream, {4, 5, 6}, 2)), {7, 36});
}

TEST(Best, EmptyMatricesStayAsTheyAre) {
    Stream stream(device());
    const auto w = best(stream, BlockDiagonal(Tensor(device(), DataType::f32, {3, 0, 12})), 7, quick());
    EXPECT_FALSE(w.dense);
    EXPECT_EQ(matmul(stream, whole(stream, {7, 36}, 1), w).shape(), (Shape{7, 0}));
}

TEST(Best, RefusalsNameTheArgument) {
    Stream stream(device());
    const BlockDiagonal a(whole(stream, {3, 8, 12}, 1));
    test::expect_error(ErrorKind::invalid_argument, {"tokens", "0"},
                       [&] { static_cast<void>(best(stream, a, 0)); });
    test::expect_error(ErrorKind::invalid_argument, {"rounds 4", "5"}, [&] {
        TuneOptions options;
        options.rounds = 4;
        static_cast<void>(best(stream, a, 1, options));
    });
    test::expect_error(ErrorKind::invalid_argument, {"null"},
                       [&] { static_cast<void>(best(stream, Sparse24(), 1)); });
}

}  // namespace
}  // namespace danaus
