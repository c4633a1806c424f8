// Multiplying by vector-wise sparse matrices, against the double oracle.
#include "epilogue_case.hpp"
#include "reference/error_bound.hpp"
#include "reference/vector_sparse.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <limits>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::draw;
using test::EpilogueCase;
using test::EpilogueChoice;
using test::expect_error;
using test::Layout;
using test::Placed;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

// x (batch, tokens, in) by w (blocks, out, in); 0: no such dimension.
struct Case {
    std::size_t tokens = 5, out = 7, in = 9, batch = 0, blocks = 0;
    VectorPattern pattern{2, 4, 4};
    DataType type = DataType::f32;
    bool widen = false;
    Layout x = {}, w = {}, y = {};

    [[nodiscard]] Shape of_matrix() const { return blocks ? Shape{blocks, out, in} : Shape{out, in}; }
    [[nodiscard]] Shape of_activations(std::size_t features) const {
        return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
    }
    [[nodiscard]] std::size_t members() const { return std::max<std::size_t>(1, std::max(batch, blocks)); }
    [[nodiscard]] Shape of_result(std::size_t features) const {
        return batch || blocks ? Shape{members(), tokens, features} : Shape{tokens, features};
    }
};

// Member `b` of a batch, or its only one.
Matrix part(const std::vector<float>& all, std::size_t b, std::size_t rows, std::size_t cols) {
    const std::size_t size = rows * cols;
    return Matrix(rows, cols, std::span<const float>(all).subspan(all.size() > size ? b * size : 0, size));
}

Matrix masked(const Matrix& w, const VectorPattern& p) {
    return reference::apply_mask(w, reference::select_vector_mask(w, {p.keep, p.of, p.rows}));
}

// Empty, or what is wrong with one of the three multiplies. Whole numbers, whose sums are exact.
std::string mismatch(Stream& stream, const Case& one) {
    const auto w = test::whole_values(std::max<std::size_t>(1, one.blocks) * one.out * one.in, 1, 2),
               x = test::whole_values(one.of_activations(one.in).elements(), 2, 3),
               dy = test::whole_values(one.of_activations(one.out).elements(), 3, 3);
    const DataType result = one.widen ? DataType::f32 : one.type;
    const Placed tw(stream, one.type, one.of_matrix(), one.w, w),
        tx(stream, one.type, one.of_activations(one.in), one.x, x),
        tdy(stream, one.type, one.of_activations(one.out), one.x, dy),
        y(stream, result, one.of_result(one.out), one.y), dx(stream, result, one.of_result(one.in), one.y);
    const VectorSparse a = compress_by_magnitude(stream, tw, one.pattern);
    matmul_into(stream, y, tx, a);
    matmul_transposed_into(stream, dx, tdy, a);
    std::vector<double> forward, back;
    for (std::size_t b = 0; b < one.members(); ++b) {
        const Matrix dense = masked(part(w, b, one.out, one.in), one.pattern);
        const Matrix product = reference::matmul(part(x, b, one.tokens, one.in), dense),
                     gradient = reference::matmul_transposed(part(dy, b, one.tokens, one.out), dense);
        forward.insert(forward.end(), product.data.begin(), product.data.end());
        back.insert(back.end(), gradient.data.begin(), gradient.data.end());
    }
    const auto differs = [&](const Placed& actual, const std::vector<double>& exact) {
        const auto expected = reference::round_to(test::float_type(result), std::span<const double>(exact));
        const Placed::Contents contents = actual.read(stream);
        return reference::first_mismatch(reference::to_double(contents.values), expected,
                                         std::vector<double>(expected.size())) +
               contents.damage;
    };
    std::string text = differs(y, forward);
    if (!text.empty()) return "matmul: " + text;
    text = differs(dx, back);
    if (!text.empty()) return "matmul_transposed: " + text;
    if (one.blocks && !one.batch) return {};

    const Placed dw(stream, result, one.of_matrix(), one.y);
    weight_gradient_into(stream, dw, tdy, tx, a);
    std::vector<double> sums;
    const std::size_t tokens = one.blocks ? one.tokens : one.tokens * std::max<std::size_t>(1, one.batch);
    for (std::size_t b = 0; b < std::max<std::size_t>(1, one.blocks); ++b) {
        const Matrix sum =
            reference::weight_gradient(part(dy, b, tokens, one.out), part(x, b, tokens, one.in));
        sums.insert(sums.end(), sum.data.begin(), sum.data.end());
    }
    text = differs(dw, sums);
    return text.empty() ? text : "weight_gradient: " + text;
}

TEST(VectorSparseMultiply, ChosenProducts) {
    Stream stream(device());
    for (const DataType type : types)
        for (const Case& one :
             {Case{}, Case{.tokens = 1, .out = 1, .in = 1},
              Case{.tokens = 33, .out = 200, .in = 50, .pattern = {2, 4, 128}},
              Case{.tokens = 67, .out = 64, .in = 64, .pattern = {1, 4, 32}},
              Case{.tokens = 130, .out = 17, .in = 40, .pattern = {3, 5, 8}}, Case{.tokens = 0},
              Case{.out = 0}, Case{.in = 0},
              Case{.tokens = 20, .out = 70, .in = 24, .batch = 2, .pattern = {2, 4, 64}},
              Case{.tokens = 6, .out = 40, .blocks = 3, .pattern = {5, 32, 16}},
              Case{.tokens = 6, .batch = 3, .blocks = 3}, Case{.batch = 2, .y = {.feature_major = true}},
              Case{.tokens = 18, .out = 64, .in = 33, .pattern = {2, 4, 64}, .x = {.feature_major = true}}}) {
            Case typed = one;
            typed.type = type;
            EXPECT_EQ(mismatch(stream, typed), "")
                << to_string(type) << ", " << one.tokens << " by " << to_string(one.of_matrix());
        }
}

TEST(VectorSparseMultiply, RandomProducts) {
    Stream stream(device());
    test::property(25, [&] {
        Case one;
        one.tokens = draw(1, 40);
        one.out = draw(1, 150);
        one.in = draw(1, 100);
        one.pattern.of = static_cast<std::uint32_t>(draw(1, 32));
        one.pattern.keep = static_cast<std::uint32_t>(draw(1, one.pattern.of));
        // Few heights: each costs pipelines.
        one.pattern.rows = std::uint32_t{4} << 2 * draw(0, 2);
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        one.x = test::draw_layout();
        one.y = test::draw_layout();
        one.x.broadcast = one.y.broadcast = false;
        if (draw(0, 2) == 0) one.batch = draw(1, 3);
        if (draw(0, 2) == 0) one.blocks = one.batch ? one.batch : draw(1, 3);
        RC_ASSERT(mismatch(stream, one) == "");
    });
}

TEST(VectorSparseMultiply, AppliesTheEpilogue) {
    Stream stream(device());
    const std::size_t tokens = 19, in = 37, out = 22;
    const VectorPattern pattern{2, 4, 8};
    for (const DataType type : types)
        for (const bool feature_major : {false, true}) {
            const auto w = test::random_values(out * in, 1, type),
                       x = test::random_values(tokens * in, 2, type);
            const VectorSparse a = compress_by_magnitude(stream, upload(stream, w, {out, in}, type), pattern);
            const Matrix rx(tokens, in, x), dense = masked(Matrix(out, in, w), pattern);
            EpilogueChoice choice;
            choice.type = type;
            choice.bias = feature_major ? EpilogueChoice::Bias::f32 : EpilogueChoice::Bias::operand_type;
            choice.activation = Activation::gelu;
            choice.residual = feature_major ? EpilogueChoice::Residual::other_layout
                                            : EpilogueChoice::Residual::same_layout;
            choice.aux = true;
            choice.scale = 0.5f;
            choice.feature_major = feature_major;
            const EpilogueCase one(stream, choice, tokens, out);
            matmul_into(stream, one.out(), upload(stream, x, {tokens, in}, type), a, one.epilogue());
            const Matrix sum = reference::matmul(rx, dense);
            EXPECT_EQ(one.mismatch(stream, sum,
                                   reference::dot_bound(in, {}, reference::absolute_product(rx, dense), sum)),
                      "")
                << to_string(type) << (feature_major ? " feature-major" : "");
        }
}

// What no row of a panel keeps is not read: NaN there does not show.
TEST(VectorSparseMultiply, ColumnsThatAreNotKeptAreNotRead) {
    Stream stream(device());
    const std::size_t out = 12, in = 40;
    std::vector<float> w(out * in);
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = i % in % 4 < 2 ? 1.0f : 0.0f;
    std::vector<float> x(3 * in, 1.0f);
    for (std::size_t i = 0; i < x.size(); ++i)
        if (i % in % 4 >= 2) x[i] = std::numeric_limits<float>::quiet_NaN();
    const VectorSparse a = compress_by_magnitude(stream, upload(stream, w, {out, in}), {2, 4, 8});
    EXPECT_EQ(download(stream, matmul(stream, upload(stream, x, {3, in}), a)), std::vector<float>(36, 20.0f));
}

// Few workgroups and short storage ranges: products are cut along panels, tokens and batches.
TEST(VectorSparseMultiply, StaysWithinALimitedDevice) {
    const Device small = test::capped_device([](Capabilities& caps) {
        caps.max_workgroup_count = {3, 3, 3};
        caps.max_storage_range = 32768;
        caps.storage_offset_alignment = std::max<std::uint64_t>(caps.storage_offset_alignment, 64);
    });
    Stream stream(small);
    EXPECT_EQ(mismatch(stream, {.tokens = 30, .out = 24, .in = 40, .batch = 7, .blocks = 7}), "");
    EXPECT_EQ(mismatch(stream, {.tokens = 200, .out = 150, .in = 40, .pattern = {2, 4, 16}}), "");
    {
        // A result whose longest reach is along out is cut there first, and then along the blocks.
        const std::size_t blocks = 7, tokens = 64, out = 24, in = 8;
        const VectorSparse a = compress_by_magnitude(
            stream, upload(stream, test::whole_values(blocks * out * in, 1, 3), {blocks, out, in}),
            {2, 4, 4});
        const Tensor x = upload(stream, test::whole_values(blocks * tokens * in, 2, 3), {blocks, tokens, in});
        const Tensor memory(small, DataType::f32, {out, blocks, tokens});
        const Tensor y = memory.as_strided({blocks, tokens, out}, {tokens, 1, blocks * tokens});
        matmul_into(stream, y, x, a);
        EXPECT_EQ(download(stream, contiguous(stream, y)),
                  download(stream, matmul(stream, x, to_dense(stream, a))));
    }
    if (test::access() != Access::descriptor) return;
    const VectorSparse wide(small, DataType::f32, {64, 512}, {2, 4, 64});
    expect_error(ErrorKind::unsupported, {"vector_sparse_matmul", "weight spans", "elements of f32"}, [&] {
        (void)matmul(stream, Tensor(small, DataType::f32, {1, 512}), wide);
    });
}

TEST(VectorSparseMultiply, RefusesWrongInput) {
    Stream stream(device());
    const auto refuses = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const auto make = [](const Shape& shape, DataType type = DataType::f32) {
        return Tensor(device(), type, shape);
    };
    const VectorSparse a(device(), DataType::f32, {6, 8}, {2, 4, 4}),
        blocks(device(), DataType::f32, {3, 6, 8}, {2, 4, 4});
    refuses({"a", "null"}, [&] { (void)matmul(stream, make({5, 8}), VectorSparse()); });
    refuses({"x", "null"}, [&] { (void)matmul(stream, Tensor(), a); });
    refuses({"x", "(5, 6)", "8", "(6, 8)"}, [&] { (void)matmul(stream, make({5, 6}), a); });
    refuses({"dy", "(5, 8)", "6", "(6, 8)"}, [&] { (void)matmul_transposed(stream, make({5, 8}), a); });
    refuses({"x", "f16", "f32"}, [&] { (void)matmul(stream, make({5, 8}, DataType::f16), a); });
    refuses({"x", "batch 2", "3 blocks"}, [&] { (void)matmul(stream, make({2, 5, 8}), blocks); });
    refuses({"out", "(5, 8)", "(5, 6)"}, [&] { matmul_into(stream, make({5, 8}), make({5, 8}), a); });
    refuses({"out", "overlaps a"}, [&] {
        matmul_into(stream, Tensor(a.values().buffer(), DataType::f32, {1, 6}), make({1, 8}), a);
    });
    refuses({"out", "overlaps a"}, [&] {
        matmul_transposed_into(stream, Tensor(a.values().buffer(), DataType::f32, {1, 8}), make({1, 6}), a);
    });
    refuses({"x", "(4, 8)", "(5, 6)"}, [&] { (void)weight_gradient(stream, make({5, 6}), make({4, 8}), a); });
    refuses({"dy", "(5, 6)", "rank 3"}, [&] {
        (void)weight_gradient(stream, make({5, 6}), make({5, 8}), blocks);
    });
    Epilogue accumulate;
    accumulate.accumulate = true;
    refuses({"accumulate"}, [&] { (void)matmul(stream, make({5, 8}), a, accumulate); });
    Epilogue bias;
    bias.bias = make({8});
    refuses({"bias", "(8)", "(6)"}, [&] { (void)matmul(stream, make({5, 8}), a, bias); });
}

}  // namespace
}  // namespace danaus
