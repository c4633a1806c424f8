#include "reference/epilogue.hpp"

#include "api/training_support.hpp"
#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"

#include <cmath>

#include <rapidcheck/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::GuardedMatrix;

constexpr std::array activations{Activation::none, Activation::relu, Activation::gelu, Activation::gelu_erf};

reference::Activation oracle(Activation activation) {
    switch (activation) {
        case Activation::relu:
            return reference::Activation::relu;
        case Activation::gelu:
            return reference::Activation::gelu_tanh;
        case Activation::gelu_erf:
            return reference::Activation::gelu_erf;
        case Activation::none:
            break;
    }
    return reference::Activation::identity;
}

// Empty, or what differs from dz = dy · act'(z) and its column sums.
std::string compare(DataType type, Activation activation, const std::vector<float>& dz,
                    const std::vector<float>& bias, const Matrix& dy, const Matrix& z) {
    const auto expected = reference::epilogue_backward(dy, z, oracle(activation));
    const double u = reference::unit_roundoff(test::reference_type(type));
    Matrix bound(dy.rows, dy.cols);
    std::vector<double> bias_bound(dy.cols);
    for (std::size_t i = 0; i < bound.data.size(); ++i) {
        bound.data[i] = 4e-6 * std::abs(dy.data[i]) + 2.0 * u * std::abs(expected.dz.data[i]) + 0x1p-24;
        bias_bound[i % dy.cols] += bound.data[i] + 1e-5 * std::abs(expected.dz.data[i]);
    }
    const auto values = reference::to_double(dz), sums = reference::to_double(bias);
    const auto wrong =
        reference::first_mismatch(std::span<const double>(values), expected.dz.data, bound.data);
    if (!wrong.empty()) return "dz: " + wrong;
    return reference::first_mismatch(std::span<const double>(sums), expected.bias, bias_bound);
}

TEST(EpilogueBackward, AgreesWithTheOracleInPlaceAndNot) {
    Stream stream(device());
    for (const DataType type : test::float_types)
        for (const Activation activation : activations)
            for (const auto& [tokens, features] : {std::pair{1u, 1u}, {3u, 5u}, {7u, 64u}, {130u, 33u}})
                for (std::size_t l = 0; l < test::layouts.size(); ++l) {
                    const test::Layout& layout = test::layouts[l];
                    const std::uint64_t count = std::uint64_t{tokens} * features;
                    const auto dy = test::drawn(type, count, 1), z = test::drawn(type, count, 2, 3.0f);
                    const Matrix rdy(tokens, features, dy), rz(tokens, features, z);
                    const GuardedMatrix tdy(stream, type, tokens, features, test::layouts[(l + 1) % 5], dy);
                    const GuardedMatrix tz(stream, type, tokens, features, test::layouts[(l + 2) % 5], z);
                    const GuardedMatrix out(stream, type, tokens, features, layout);
                    const test::Guarded bias(stream, DataType::f32, {features});
                    const auto what = std::string(to_string(type)) + " " + to_string(activation);
                    epilogue_backward_into(stream, out.tensor(), tdy.tensor(), tz.tensor(), activation,
                                           bias.tensor());
                    EXPECT_EQ(compare(type, activation, download(stream, out.tensor()),
                                      download(stream, bias.tensor()), rdy, rz),
                              "")
                        << what;
                    out.check(stream, what);
                    bias.check(stream, what);
                    const GuardedMatrix both(stream, type, tokens, features, layout, dy);
                    epilogue_backward_into(stream, both.tensor(), both.tensor(), tz.tensor(), activation,
                                           bias.tensor());
                    EXPECT_EQ(download(stream, both.tensor()), download(stream, out.tensor())) << what;
                    both.check(stream, what);
                }
}

TEST(EpilogueBackward, AccumulatesTheBiasGradientAndTakesBatches) {
    Stream stream(device());
    const auto dy = test::drawn(DataType::f32, 2 * 3 * 4, 5), z = test::drawn(DataType::f32, 2 * 3 * 4, 6);
    const Matrix rdy(6, 4, dy), rz(6, 4, z);
    const auto expected = reference::epilogue_backward(rdy, rz, reference::Activation::gelu_tanh);
    const Tensor bias = upload(stream, std::vector<float>{1, 2, 3, 4}, {4});
    const Tensor tdy = upload(stream, dy, {2, 3, 4}), tz = upload(stream, z, {2, 3, 4});
    const Tensor dz = epilogue_backward(stream, tdy, tz, Activation::gelu, bias, true);
    EXPECT_EQ(dz.shape(), (Shape{2, 3, 4}));
    const auto sums = download(stream, bias);
    for (std::size_t c = 0; c < 4; ++c)
        EXPECT_NEAR(static_cast<double>(sums[c]), expected.bias[c] + static_cast<double>(c) + 1.0, 1e-5);
    // Batches that no view can join.
    const test::Guarded gaps(stream, DataType::f32, {3, 2, 4});
    epilogue_backward_into(stream, gaps.tensor().transpose(0, 1), tdy, tz, Activation::gelu, bias);
    EXPECT_EQ(download(stream, gaps.tensor().transpose(0, 1)), download(stream, dz));
    const auto again = download(stream, bias);
    for (std::size_t c = 0; c < 4; ++c) EXPECT_NEAR(static_cast<double>(again[c]), expected.bias[c], 1e-5);
    gaps.check(stream);
}

TEST(EpilogueBackward, IsTheDerivativeOfTheForward) {
    Stream stream(device());
    const auto z = test::drawn(DataType::f32, 40, 21, 2.0f), dy = test::drawn(DataType::f32, 40, 22);
    for (const Activation activation : activations) {
        const auto loss = [&](const std::vector<double>& values) {
            double sum = 0.0;
            for (std::size_t i = 0; i < values.size(); ++i)
                sum += static_cast<double>(dy[i]) * reference::activate(oracle(activation), values[i]);
            return sum;
        };
        const auto expected = reference::finite_difference_gradient(loss, reference::to_double(z));
        const auto dz = download(stream, epilogue_backward(stream, upload(stream, dy, {5, 8}),
                                                           upload(stream, z, {5, 8}), activation));
        EXPECT_EQ(reference::first_mismatch(dz, expected, 1e-4, 1e-5), "") << to_string(activation);
    }
}

TEST(EpilogueBackward, EmptyAndWithoutAux) {
    Stream stream(device());
    const Tensor none = empty(stream, DataType::f16, {0, 3}), bias = empty(stream, DataType::f32, {3});
    (void)epilogue_backward(stream, none, empty(stream, DataType::f16, {0, 3}), Activation::relu, bias);
    EXPECT_EQ(download(stream, bias), std::vector<float>(3, 0.0f));
    const Tensor dy = upload(stream, std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
    epilogue_backward_into(stream, dy, dy, {}, Activation::none, bias);
    EXPECT_EQ(download(stream, bias), (std::vector<float>{5, 7, 9}));
    EXPECT_EQ(download(stream, epilogue_backward(stream, dy, {}, Activation::none)),
              (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

RC_GTEST_PROP(EpilogueBackward, AgreesForAnyShapeAndStride, ()) {
    Stream stream(device());
    const auto layout = [] {
        return test::Layout{*rc::gen::inRange<std::uint64_t>(0, 3), *rc::gen::inRange<std::uint64_t>(0, 3),
                            *rc::gen::arbitrary<bool>()};
    };
    const auto tokens = *rc::gen::inRange<std::uint64_t>(1, 60),
               features = *rc::gen::inRange<std::uint64_t>(1, 90);
    const DataType type =
        *rc::gen::elementOf(std::vector(test::float_types.begin(), test::float_types.end()));
    const auto activation = *rc::gen::elementOf(std::vector(activations.begin(), activations.end()));
    const auto seed = *rc::gen::arbitrary<unsigned>();
    const auto dy = test::drawn(type, tokens * features, seed),
               z = test::drawn(type, tokens * features, seed + 1);
    const GuardedMatrix tdy(stream, type, tokens, features, layout(), dy),
        tz(stream, type, tokens, features, layout(), z), out(stream, type, tokens, features, layout());
    const Tensor bias = empty(stream, DataType::f32, {features});
    epilogue_backward_into(stream, out.tensor(), tdy.tensor(), tz.tensor(), activation, bias);
    RC_ASSERT(compare(type, activation, download(stream, out.tensor()), download(stream, bias),
                      Matrix(tokens, features, dy), Matrix(tokens, features, z)) == "");
    out.check(stream);
}

TEST(EpilogueBackward, LargeTensorsAreSplit) {
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 1 << 14; });
    Stream stream(small);
    const auto dy = test::drawn(DataType::f16, 300 * 70, 1), z = test::drawn(DataType::f16, 300 * 70, 2);
    const Tensor bias = empty(stream, DataType::f32, {70});
    const Tensor dz = epilogue_backward(stream, upload(stream, dy, {300, 70}, DataType::f16),
                                        upload(stream, z, {300, 70}, DataType::f16), Activation::gelu, bias);
    EXPECT_EQ(compare(DataType::f16, Activation::gelu, download(stream, dz), download(stream, bias),
                      Matrix(300, 70, dy), Matrix(300, 70, z)),
              "");
    test::Capture capture(device());
    const auto large = [&] { return capture.tensor(DataType::bf16, {1 << 17, 1 << 16}); };
    epilogue_backward_into(capture, large(), large(), large(), Activation::relu);
    EXPECT_GE(capture.packets.size(), 4u);
    for (const Packet& packet : capture.packets) EXPECT_LE(packet.operands[2].bytes, 1ull << 33);
}

TEST(EpilogueBackward, WrongInput) {
    Stream stream(device());
    const auto f32 = [&](const Shape& shape) { return empty(stream, DataType::f32, shape); };
    const Tensor dy = f32({4, 3}), aux = f32({4, 3}), dz = f32({4, 3});
    const auto invalid = ErrorKind::invalid_argument;
    const auto relu = Activation::relu;
    expect_error(invalid, {"aux", "relu"}, [&] { epilogue_backward_into(stream, dz, dy, {}, relu); });
    expect_error(invalid, {"aux", "(4, 2)", "(4, 3)"}, [&] {
        epilogue_backward_into(stream, dz, dy, f32({4, 2}), relu);
    });
    expect_error(invalid, {"aux", "f16", "f32"}, [&] {
        epilogue_backward_into(stream, dz, dy, empty(stream, DataType::f16, {4, 3}), relu);
    });
    expect_error(invalid, {"dz", "(3, 4)"}, [&] {
        epilogue_backward_into(stream, f32({3, 4}), dy, aux, relu);
    });
    expect_error(invalid, {"dz", "overlaps aux"},
                 [&] { epilogue_backward_into(stream, aux, dy, aux, relu); });
    expect_error(invalid, {"bias_gradient", "(4)", "(3)"},
                 [&] { epilogue_backward_into(stream, dz, dy, aux, relu, f32({4})); });
    expect_error(invalid, {"bias_gradient", "f16"}, [&] {
        epilogue_backward_into(stream, dz, dy, aux, relu, empty(stream, DataType::f16, {3}));
    });
    expect_error(invalid, {"dy", "rank 2 or 3"},
                 [&] { (void)epilogue_backward(stream, f32({4}), f32({4}), relu); });
    expect_error(invalid, {"activation", "9"},
                 [&] { epilogue_backward_into(stream, dz, dy, aux, static_cast<Activation>(9)); });
    const Tensor wide = f32({4, 6});
    expect_error(invalid, {"dz", "overlaps dy"}, [&] {
        epilogue_backward_into(stream, wide.slice(1, 0, 3), wide.slice(1, 1, 4), aux, relu);
    });
}

}  // namespace
}  // namespace danaus
