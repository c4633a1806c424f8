// The dense multiply on weaker devices, and with wrong input.
#include "matmul_case.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::expect_error;
using test::MatmulCase;
using test::mismatch;
using test::Verb;
constexpr auto invalid = ErrorKind::invalid_argument;

TEST(MatmulLimits, SmallRangesAndGridsSplit) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_storage_range = caps.storage_offset_alignment + 512;
        caps.max_workgroup_count = {2, 3, 2};
    });
    Stream stream(small);
    for (const Verb verb : {Verb::forward, Verb::transposed, Verb::gradient}) {
        EXPECT_EQ(mismatch(stream, {.verb = verb, .m = 21, .n = 45, .k = 37}), "");
        EXPECT_EQ(mismatch(stream, {.verb = verb, .m = 21, .n = 22, .k = 33, .batch = 5, .batched_b = true}),
                  "");
        // 16-bit operands, summed in f32: the sum may be cut; whole numbers show that nothing is lost or
        // doubled.
        EXPECT_EQ(mismatch(stream, {.verb = verb,
                                    .m = 19,
                                    .n = 41,
                                    .k = 67,
                                    .type = DataType::f16,
                                    .widen = true,
                                    .whole = true}),
                  "");
    }
    EXPECT_EQ(mismatch(stream, {.m = 300, .n = 3, .k = 5, .type = DataType::bf16}), "");
    EXPECT_EQ(mismatch(stream, {.m = 9, .n = 9, .k = 300, .whole = true}), "");
    if (small.access() == Access::address) return;
    // A sum that is stored in 16 bits is never cut.
    const Tensor x(small, DataType::f16, {8, 1000}), w(small, DataType::f16, {8, 1000});
    expect_error(ErrorKind::unsupported, {"matmul", "x", "f16", "cannot be split"},
                 [&] { static_cast<void>(matmul(stream, x, w)); });
    Epilogue relu;
    relu.activation = Activation::relu;
    const Tensor x32(small, DataType::f32, {8, 1000}), w32(small, DataType::f32, {8, 1000});
    expect_error(ErrorKind::unsupported, {"matmul", "x", "f32", "cannot be split"},
                 [&] { static_cast<void>(matmul(stream, x32, w32, relu)); });
}

TEST(MatmulLimits, FewInvocations) {
    for (const std::uint32_t most : {1u, 4u}) {
        const Device small =
            test::capped_device([&](Capabilities& caps) { caps.max_workgroup_invocations = most; });
        Stream stream(small);
        for (const DataType type : {DataType::f32, DataType::f16})
            EXPECT_EQ(mismatch(stream, {.m = 9, .n = 35, .k = 13, .type = type}), "") << most;
    }
}

TEST(MatmulErrors, NameTheArgumentAndRecordNothing) {
    const Device device = test::device(), second = test::capped_device([](Capabilities&) {});
    Stream stream(device);
    const auto tensor = [&](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device, type, shape);
    };
    const Tensor x = tensor({3, 4}), w = tensor({5, 4}), y = tensor({3, 5});
    const std::uint64_t before = stream.submissions();
    const auto refused = [&](const std::vector<std::string>& parts, const Tensor& a, const Tensor& b,
                             const Epilogue& epilogue = {}) {
        expect_error(invalid, parts, [&] { static_cast<void>(matmul(stream, a, b, epilogue)); });
    };
    refused({"x", "(3, 6)", "4", "(5, 4)"}, tensor({3, 6}), w);
    refused({"w", "f16", "f32", "convert()"}, x, tensor({5, 4}, DataType::f16));
    refused({"x", "i32", "f32, f16, bf16"}, tensor({3, 4}, DataType::i32), w);
    refused({"w", "u32"}, x, tensor({5, 4}, DataType::u32));
    refused({"x", "(4)", "rank 2 or 3"}, tensor({4}), w);
    refused({"w", "(1, 1, 5, 4)", "rank 2 or 3"}, x, tensor({1, 1, 5, 4}));
    refused({"w", "batch 3", "x has 2"}, tensor({2, 3, 4}), tensor({3, 5, 4}));
    refused({"x", "null"}, {}, w);
    refused({"w", "null"}, x, {});
    refused({"x", "another device"}, Tensor(second, DataType::f32, {3, 4}), w);

    const auto epilogue_refused = [&](const std::vector<std::string>& parts, auto&& set) {
        Epilogue epilogue;
        set(epilogue);
        expect_error(invalid, parts, [&] { matmul_into(stream, y, x, w, epilogue); });
    };
    epilogue_refused({"bias", "(4)", "(5)"}, [&](Epilogue& e) { e.bias = tensor({4}); });
    epilogue_refused({"bias", "(1, 5)", "(5)"}, [&](Epilogue& e) { e.bias = tensor({1, 5}); });
    epilogue_refused({"bias", "f16", "f32"}, [&](Epilogue& e) { e.bias = tensor({5}, DataType::f16); });
    epilogue_refused({"bias", "another device"},
                     [&](Epilogue& e) { e.bias = Tensor(second, DataType::f32, {5}); });
    epilogue_refused({"out", "overlaps bias"}, [&](Epilogue& e) { e.bias = y.select(0, 1); });
    epilogue_refused({"residual", "(5, 3)", "(3, 5)"}, [&](Epilogue& e) { e.residual = tensor({5, 3}); });
    epilogue_refused({"residual", "f16", "f32"}, [&](Epilogue& e) {
        e.residual = tensor({3, 5}, DataType::f16);
    });
    epilogue_refused({"out", "overlaps residual"}, [&](Epilogue& e) {
        e.residual = y.as_strided({3, 5}, {1, 3});
    });
    epilogue_refused({"residual", "accumulates"}, [&](Epilogue& e) {
        e.accumulate = true;
        e.residual = tensor({3, 5});
    });
    epilogue_refused({"aux", "(3, 4)", "(3, 5)"}, [&](Epilogue& e) { e.aux = tensor({3, 4}); });
    epilogue_refused({"aux", "f16", "f32"}, [&](Epilogue& e) { e.aux = tensor({3, 5}, DataType::f16); });
    epilogue_refused({"aux", "strides (1, 3)", "(5, 1)"}, [&](Epilogue& e) {
        e.aux = tensor({5, 3}).transpose();
    });
    epilogue_refused({"aux", "overlaps out"}, [&](Epilogue& e) { e.aux = y; });
    epilogue_refused({"aux", "overlaps residual"}, [&](Epilogue& e) { e.aux = e.residual = tensor({3, 5}); });
    epilogue_refused({"aux", "overlaps bias"}, [&](Epilogue& e) {
        e.aux = tensor({3, 5});
        e.bias = e.aux.select(0, 2);
    });
    epilogue_refused({"activation", "7"}, [&](Epilogue& e) { e.activation = static_cast<Activation>(7); });
    expect_error(invalid, {"accumulate", "takes out"}, [&] {
        Epilogue epilogue;
        epilogue.accumulate = true;
        static_cast<void>(matmul(stream, x, w, epilogue));
    });
    expect_error(invalid, {"aux", "overlaps x"}, [&] {
        Epilogue epilogue;
        const Tensor both = tensor({4, 4});
        epilogue.aux = both;
        matmul_into(stream, tensor({4, 4}), both, tensor({4, 4}), epilogue);
    });

    const auto into = [&](const std::vector<std::string>& parts, const Tensor& out, const Tensor& a,
                          const Tensor& b) {
        expect_error(invalid, parts, [&] { matmul_into(stream, out, a, b); });
    };
    into({"out", "(3, 4)", "(3, 5)"}, tensor({3, 4}), x, w);
    into({"out", "bf16", "f32"}, tensor({3, 5}, DataType::bf16), x, w);
    into({"out", "bf16", "f16 or f32"}, tensor({3, 5}, DataType::bf16), tensor({3, 4}, DataType::f16),
         tensor({5, 4}, DataType::f16));
    into({"out", "null"}, {}, x, w);
    into({"out", "another device"}, Tensor(second, DataType::f32, {3, 5}), x, w);
    into({"out", "more than once"}, y.as_strided({3, 5}, {0, 1}), x, w);
    const Tensor square = tensor({4, 4});
    into({"out", "overlaps x"}, square, square, tensor({4, 4}));
    into({"out", "overlaps w"}, square, tensor({4, 4}), square);

    const auto gradient = [&](const std::vector<std::string>& parts, const Tensor& dy, const Tensor& a) {
        expect_error(invalid, parts, [&] { static_cast<void>(weight_gradient(stream, dy, a)); });
    };
    gradient({"x", "(4, 4)", "3 tokens", "(3, 5)"}, y, tensor({4, 4}));
    gradient({"x", "(1, 3, 4)", "rank", "(3, 5)"}, y, tensor({1, 3, 4}));
    gradient({"x", "batch 3", "dy has 2"}, tensor({2, 3, 5}), tensor({3, 3, 4}));
    gradient({"x", "f16", "f32"}, y, tensor({3, 4}, DataType::f16));
    gradient({"dy", "i32"}, tensor({3, 5}, DataType::i32), x);
    expect_error(invalid, {"dy", "(3, 4)", "5", "(5, 4)"},
                 [&] { static_cast<void>(matmul_transposed(stream, x, w)); });
    expect_error(invalid, {"out", "overlaps dy"}, [&] {
        matmul_transposed_into(stream, square, square, tensor({4, 4}));
    });

    EXPECT_EQ(stream.submissions(), before);
    EXPECT_EQ(stream.barriers(), 0u);
    EXPECT_EQ(mismatch(stream, {.m = 3, .n = 5, .k = 4}), "");
}

TEST(MatmulLimits, OneBiasForAllFeatures) {
    Stream stream(test::device());
    const Tensor x(test::device(), DataType::f32, {2, 3}), w(test::device(), DataType::f32, {4, 3});
    Epilogue epilogue;
    epilogue.bias = Tensor(test::device(), DataType::f32, {1}).as_strided({4}, {0});
    fill_into(stream, epilogue.bias.as_strided({1}, {1}), 2.0);
    fill_into(stream, x, 1.0);
    fill_into(stream, w, 1.0);
    EXPECT_EQ(download(stream, matmul(stream, x, w, epilogue)), std::vector<float>(8, 5.0f));
}

}  // namespace
}  // namespace danaus
