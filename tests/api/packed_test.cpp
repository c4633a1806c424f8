// Packed weights: what lies where, and multiplies that read them.
#include "reference/block_diagonal.hpp"
#include "reference/error_bound.hpp"
#include "reference/sparse24.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using reference::Tensor3;
using test::draw;
using test::expect_error;
using test::Layout;
using test::Placed;
constexpr auto invalid = ErrorKind::invalid_argument;
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

// The panels of `blocks` weights of rows × k, from the definition in packed.hpp.
std::vector<float> packed_on_host(const std::vector<float>& w, std::size_t blocks, std::size_t rows,
                                  std::size_t k, std::size_t panel, std::size_t depth) {
    std::vector<float> out;
    for (std::size_t b = 0; b < blocks; ++b)
        for (std::size_t first = 0; first < rows; first += panel)
            for (std::size_t start = 0; start < k; start += depth)
                for (std::size_t r = first; r < first + panel; ++r)
                    for (std::size_t d = start; d < start + depth; ++d)
                        out.push_back(r < rows && d < k ? w[(b * rows + r) * k + d] : 0.0f);
    return out;
}

Layout any_layout() {
    return {.feature_major = draw(0, 1) == 1,
            .gap = static_cast<std::uint64_t>(draw(0, 3)),
            .skew = static_cast<std::uint64_t>(draw(0, 3))};
}

TEST(Packed, PanelsHoldTheWeightAndZeros) {
    Stream stream(test::device());
    test::property(20, [&] {
        const std::size_t blocks = draw(1, 3), rows = draw(1, 300), k = draw(1, 70);
        const DataType type = types[draw(0, 2)];
        const auto values = test::random_values(blocks * rows * k, 1, type);
        const Placed w(stream, type, {blocks, rows, k}, any_layout(), values);
        const PackedWeight packed = pack(stream, w);
        RC_ASSERT(packed.shape() == Shape({blocks, rows, k}));
        RC_ASSERT(download(stream, packed.data()) ==
                  packed_on_host(values, blocks, rows, k, packed.panel_rows(), packed.panel_depth()));
    });
}

TEST(Packed, CompressedWeightsAreExpanded) {
    Stream stream(test::device());
    test::property(12, [&] {
        const std::size_t blocks = draw(1, 3), rows = draw(1, 140), k = draw(1, 70);
        const DataType type = types[draw(0, 2)];
        const Tensor w =
            upload(stream, test::random_values(blocks * rows * k, 2, type), {blocks, rows, k}, type);
        const Sparse24 sparse = compress_by_magnitude(stream, w);
        const PackedWeight packed = pack(stream, sparse);
        RC_ASSERT(download(stream, packed.data()) ==
                  packed_on_host(download(stream, to_dense(stream, sparse)), blocks, rows, k,
                                 packed.panel_rows(), packed.panel_depth()));
    });
}

// x (batch, tokens, k) by w (blocks, n, k); 0: no such dimension.
struct Case {
    std::size_t tokens = 5, n = 7, k = 9, batch = 0, blocks = 0;
    DataType type = DataType::f32;
    bool widen = false;
    Layout x = {}, y = {};
};

std::string mismatch(Stream& stream, const Case& one) {
    const std::size_t members = std::max<std::size_t>(1, std::max(one.batch, one.blocks));
    const auto x = test::whole_values(std::max<std::size_t>(1, one.batch) * one.tokens * one.k, 3, 3);
    const auto w = test::whole_values(std::max<std::size_t>(1, one.blocks) * one.n * one.k, 4, 2);
    const Placed tx(stream, one.type,
                    one.batch ? Shape{one.batch, one.tokens, one.k} : Shape{one.tokens, one.k}, one.x, x);
    const Tensor tw =
        upload(stream, w, one.blocks ? Shape{one.blocks, one.n, one.k} : Shape{one.n, one.k}, one.type);
    const DataType result = one.widen ? DataType::f32 : one.type;
    const Placed y(
        stream, result,
        members > 1 || one.batch || one.blocks ? Shape{members, one.tokens, one.n} : Shape{one.tokens, one.n},
        one.y);
    matmul_into(stream, y, tx, pack(stream, tw));
    const Placed::Contents contents = y.read(stream);
    std::vector<double> expected;
    for (std::size_t b = 0; b < members; ++b) {
        const auto part = [&](const std::vector<float>& all, std::size_t rows) {
            const std::size_t size = rows * one.k;
            return Matrix(rows, one.k,
                          std::span<const float>(all).subspan(all.size() > size ? b * size : 0, size));
        };
        const Matrix product = reference::matmul(part(x, one.tokens), part(w, one.n));
        expected.insert(expected.end(), product.data.begin(), product.data.end());
    }
    expected = reference::round_to(test::float_type(result), std::span<const double>(expected));
    const std::vector<double> exact(expected.size());
    return reference::first_mismatch(reference::to_double(contents.values), expected, exact) +
           contents.damage;
}

TEST(Packed, ChosenProducts) {
    Stream stream(test::device());
    for (const DataType type : types)
        for (const Case& one :
             {Case{}, Case{.tokens = 1, .n = 1, .k = 1}, Case{.tokens = 33, .n = 300, .k = 50},
              Case{.tokens = 17, .n = 64, .k = 64}, Case{.tokens = 0}, Case{.n = 0}, Case{.k = 0},
              Case{.tokens = 20, .n = 128, .k = 12, .batch = 2}, Case{.tokens = 6, .blocks = 3},
              Case{.tokens = 6, .batch = 3, .blocks = 3}, Case{.batch = 2, .y = {.feature_major = true}}}) {
            Case typed = one;
            typed.type = type;
            EXPECT_EQ(mismatch(stream, typed), "");
        }
}

TEST(Packed, RandomProducts) {
    Stream stream(test::device());
    test::property(20, [&] {
        Case one{.tokens = static_cast<std::size_t>(draw(1, 40)),
                 .n = static_cast<std::size_t>(draw(1, 270)),
                 .k = static_cast<std::size_t>(draw(1, 60))};
        one.type = types[draw(0, 2)];
        one.widen = draw(0, 1) == 1;
        one.x = any_layout();
        one.y = any_layout();
        if (draw(0, 2) == 0) one.batch = static_cast<std::size_t>(draw(1, 3));
        if (draw(0, 2) == 0) one.blocks = one.batch ? one.batch : static_cast<std::size_t>(draw(1, 3));
        RC_ASSERT(mismatch(stream, one) == "");
    });
}

TEST(Packed, EpilogueAndBlocksAreThoseOfThePlainMatrices) {
    Stream stream(test::device());
    for (const DataType type : types) {
        // Whole numbers: the plain multiplies, held against the oracle elsewhere, give the same bits.
        const Tensor x = upload(stream, test::whole_values(9 * 24, 5, 2), {9, 24}, type);
        const Tensor w = upload(stream, test::whole_values(3 * 10 * 8, 6, 2), {3, 10, 8}, type);
        Epilogue epilogue;
        epilogue.bias = upload(stream, test::whole_values(30, 7, 4), {30});
        epilogue.activation = Activation::relu;
        epilogue.residual = upload(stream, test::whole_values(9 * 30, 8, 4), {9, 30}, type);
        epilogue.scale = 0.5f;
        Epilogue plain = epilogue;
        plain.aux = Tensor(stream.device(), type, {9, 30});
        epilogue.aux = Tensor(stream.device(), type, {9, 30});
        const BlockDiagonal blocks(w);
        EXPECT_EQ(download(stream, matmul(stream, x, pack(stream, blocks), epilogue)),
                  download(stream, matmul(stream, x, blocks, plain)));
        EXPECT_EQ(download(stream, epilogue.aux), download(stream, plain.aux));
    }
}

// Large enough that a plain multiply packs its weight into scratch.
TEST(Packed, LargeProductsPackByThemselves) {
    Stream stream(test::device());
    const std::size_t tokens = 260, n = 130, k = 521;
    const auto x = test::whole_values(tokens * k, 10, 2), w = test::whole_values(n * k, 11, 2);
    const Tensor tx = upload(stream, x, {tokens, k}), tw = upload(stream, w, {n, k});
    const Matrix product = reference::matmul(Matrix(tokens, k, x), Matrix(n, k, w));
    const Placed y(stream, DataType::f32, {tokens, n}, {.gap = 1});
    matmul_into(stream, y, tx, tw);
    EXPECT_EQ(reference::first_mismatch(y.values(stream), product.data, 0.0, 0.0), "");
    const Sparse24 sparse = compress_by_magnitude(stream, tw);
    const Matrix masked = reference::matmul(
        Matrix(tokens, k, x),
        reference::decompress(reference::compress(Matrix(n, k, w), reference::select_mask(Matrix(n, k, w)))));
    matmul_into(stream, y, tx, sparse);
    EXPECT_EQ(reference::first_mismatch(y.values(stream), masked.data, 0.0, 0.0), "");
}

// Where the packed weight or its source would need more than one dispatch, the multiply is cut up as it is.
TEST(Packed, WhatIsOutOfReachIsNotPacked) {
    const Device small =
        test::capped_device([](Capabilities& caps) { caps.max_storage_range = std::uint64_t{1} << 20; });
    Stream stream(small);
    const std::size_t tokens = 2100, in = 160, out = 260;
    const auto x = test::whole_values(tokens * in, 12, 1), dy = test::whole_values(tokens * out, 13, 1);
    const Tensor tx = upload(stream, x, {tokens, in}), tdy = upload(stream, dy, {tokens, out});
    const Matrix expected = reference::weight_gradient(Matrix(tokens, out, dy), Matrix(tokens, in, x));
    EXPECT_EQ(reference::first_mismatch(download(stream, weight_gradient(stream, tdy, tx)), expected.data,
                                        0.0, 0.0),
              "");
}

TEST(Packed, RefusalsNameArgumentValueAndLimit) {
    Stream stream(test::device());
    const Tensor w = upload(stream, test::whole_values(12, 1, 2), {3, 4});
    const PackedWeight packed = pack(stream, w);
    const auto refused = [&](const std::vector<std::string>& parts, const std::function<void()>& call) {
        expect_error(invalid, parts, call);
    };
    refused({"w", "null"}, [&] { static_cast<void>(matmul(stream, w, PackedWeight())); });
    refused({"x", "(3, 4)", "5"}, [&] {
        static_cast<void>(
            matmul(stream, w, pack(stream, upload(stream, test::whole_values(10, 1, 2), {2, 5}))));
    });
    refused({"x", "f16", "f32"},
            [&] { static_cast<void>(matmul(stream, convert(stream, w, DataType::f16), packed)); });
    refused({"out", "(3, 4)", "(4, 3)"}, [&] { pack_into(stream, packed, w.transpose()); });
    refused({"out", "f32", "bf16"}, [&] { pack_into(stream, packed, convert(stream, w, DataType::bf16)); });
    refused({"shape", "(4)", "rank 2 or 3"},
            [&] { static_cast<void>(PackedWeight(stream, DataType::f32, {4})); });
    refused({"type", "u32"}, [&] { static_cast<void>(PackedWeight(stream, DataType::u32, {4, 4})); });
    refused({"w", "(3, 4)", "rank 3"},
            [&] { static_cast<void>(matmul(stream, w, PackedBlockDiagonal{packed})); });
}

}  // namespace
}  // namespace danaus
