#include <array>
#include <random>

#include <gtest/gtest.h>

#include "reference/error_bound.hpp"
#include "reference/monarch.hpp"
#include "support/device.hpp"

namespace danaus {
namespace {

std::vector<float> random_values(std::size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> draw(-1.0f, 1.0f);
    std::vector<float> values(count);
    for (float& value : values) value = draw(engine);
    return values;
}

TEST(Matmul, AgreesWithTheOracleAtChosenShapes) {
    using reference::Matrix;
    Stream stream(test::device());
    using Case = std::array<std::size_t, 3>;
    for (const Case& shape : {Case{1, 1, 1}, Case{1, 7, 3}, Case{5, 8, 16}, Case{64, 64, 64}, Case{65, 33, 17}}) {
        const auto [tokens, in, out] = shape;
        const auto x = random_values(tokens * in, 1), w = random_values(out * in, 2), dy = random_values(tokens * out, 3);
        const Matrix rx(tokens, in, x), rw(out, in, w), rdy(tokens, out, dy);
        const Tensor tx = upload(stream, x, {tokens, in}), tw = upload(stream, w, {out, in}),
                     tdy = upload(stream, dy, {tokens, out});
        const Matrix y = reference::matmul(rx, rw), dx = reference::matmul_transposed(rdy, rw),
                     dw = reference::weight_gradient(rdy, rx);
        EXPECT_EQ(reference::first_mismatch(download(stream, matmul(stream, tx, tw)), y.data, 1e-5, 1e-5), "");
        EXPECT_EQ(reference::first_mismatch(download(stream, matmul_transposed(stream, tdy, tw)), dx.data, 1e-5, 1e-5),
                  "");
        EXPECT_EQ(reference::first_mismatch(download(stream, weight_gradient(stream, tdy, tx)), dw.data, 1e-5, 1e-5),
                  "");
    }
}

}  // namespace
}  // namespace danaus
