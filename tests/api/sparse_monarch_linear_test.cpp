// Monarch layers whose factors are 2:4: every form against the formulas, pruned gradients, the life of masks,
// files, changes of structure. What all layers have in common is tested with them.
#include "linear_oracle.hpp"
#include "reference/error_bound.hpp"
#include "support/bits.hpp"
#include "support/counter.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"
#include "support/temporary_file.hpp"

#include <bit>
#include <utility>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Structure;

constexpr Structure structure = Structure::sparse_monarch;

// Whole numbers, exact in every type: parameters of the layer, and its masks and compressed forms by them.
void set_whole(Stream& stream, const SparseMonarchLinear24& layer, int most = 1) {
    for (std::size_t i = 0; i < layer.parameters().size(); ++i)
        test::set_parameter(
            stream, layer, i,
            test::whole_values(layer.parameters()[i].master.elements(), 3 + static_cast<unsigned>(i), most));
    for (const SparseWeight24& weight : layer.weights()) weight.refresh(stream);
}

std::vector<float> stored(const std::vector<double>& exact, DataType type) {
    return reference::round_to(test::float_type(type), std::span<const float>(reference::to_float(exact)));
}

// -0 is 0.
std::vector<float> positive(std::vector<float> values) {
    for (float& value : values) value += 0.0f;
    return values;
}

// Forward and both gradients are the oracle's, bit for bit.
void check_passes(Stream& stream, const SparseMonarchLinear24& layer, std::size_t tokens) {
    const auto x = test::whole_values(tokens * layer.in(), 1, 1),
               dy = test::whole_values(tokens * layer.out(), 2, 1);
    const test::Weights weights = test::weights_of(stream, structure, layer);
    const Matrix w = test::dense(weights), mx(tokens, layer.in(), x), mdy(tokens, layer.out(), dy);
    Linear::Saved saved;
    const Tensor y = layer.forward(stream, upload(stream, x, {tokens, layer.in()}, layer.type()), {}, &saved);
    const Tensor dx = layer.backward(stream, upload(stream, dy, {tokens, layer.out()}, layer.type()), saved);
    const auto bias = reference::to_double(download(stream, layer.parameters()[2].master));
    const auto exact = reference::epilogue_forward(reference::matmul(mx, w), {.bias = bias}).y;
    EXPECT_EQ(first_difference(positive(download(stream, y)), positive(stored(exact.data, layer.type()))),
              "");
    EXPECT_EQ(first_difference(positive(download(stream, dx)),
                               positive(stored(reference::matmul_transposed(mdy, w).data, layer.type()))),
              "");
    const auto dw = test::gradients(weights, mdy, mx);
    for (std::size_t i = 0; i < 2; ++i)
        EXPECT_EQ(first_difference(positive(download(stream, layer.parameters()[i].gradient)),
                                   positive(reference::to_float(dw[i]))),
                  "");
}

TEST(SparseMonarchLinear24, EveryFormAgreesWithTheFormulas) {
    Stream stream(device());
    struct Form {
        DataType type;
        bool transposable, tiles, copy;
    };
    for (const Form& form : {Form{DataType::f32, false, false, false}, Form{DataType::f16, true, false, true},
                             Form{DataType::bf16, true, true, false}, Form{DataType::f32, true, true, true}})
        for (const auto& [in, out] : {std::pair<std::size_t, std::size_t>{24, 36}, {31, 26}}) {
            const SparseLinear24Options sparse{.weight = {.transposable = form.transposable,
                                                          .tile_codes = form.tiles,
                                                          .prune_gradient = false},
                                               .working_copy = form.copy};
            SparseMonarchLinear24 layer(stream, in, out, test::blocks, sparse, {.type = form.type});
            set_whole(stream, layer);
            SCOPED_TRACE(std::to_string(in) + " features, " + std::string(to_string(form.type)));
            EXPECT_EQ(layer.weight().tile_codes(), form.tiles);
            EXPECT_EQ(layer.bytes(), layer.weight().bytes());
            check_passes(stream, layer, 5);
            // Dense: all of the factors.
            layer.set_sparse(stream, false);
            EXPECT_FALSE(layer.weight());
            check_passes(stream, layer, 5);
            layer.set_sparse(stream, true);
            check_passes(stream, layer, 5);
        }
}

// dw2 from dyᵀ and dw1 from dtᵀ of every block, each pruned by numbers of its own.
TEST(SparseMonarchLinear24, PrunesBothGradientsBlockByBlock) {
    Stream stream(device());
    constexpr std::size_t tokens = 40;
    for (const auto& [in, out] : {std::pair<std::size_t, std::size_t>{24, 12}, {23, 13}})
        for (const std::size_t batch : {0u, 2u}) {
            const SparseMonarchLinear24 layer(stream, in, out, test::blocks,
                                              {.weight = {.gradient = {.seed = 5}}}, {.seed = 6});
            set_whole(stream, layer);
            const SparseMonarch24 w = layer.weight();
            const std::size_t wide_in = w.in_features(), wide_out = w.out_features(),
                              inner = w.inner_features();
            // Padded by hand.
            auto x = test::whole_values(tokens * wide_in, 1, 1),
                 dy = test::whole_values(tokens * wide_out, 2, 1);
            for (std::size_t i = 0; i < x.size(); ++i)
                if (i % wide_in >= in) x[i] = 0.0f;
            for (std::size_t i = 0; i < dy.size(); ++i)
                if (i % wide_out >= out) dy[i] = 0.0f;
            const Tensor tx = upload(stream, x, {tokens, wide_in}),
                         tdy = upload(stream, dy, {tokens, wide_out});
            Tensor t;
            static_cast<void>(matmul(stream, tx, w, {}, &t));
            const Tensor second = to_monarch(stream, w).w2,
                         dt = Tensor(device(), DataType::f32, {tokens, inner});
            const auto gradient = [&](const Tensor& of, const Tensor& inputs, std::uint64_t seed,
                                      std::uint64_t draw) {
                return download(stream,
                                weight_gradient(stream,
                                                compress_unbiased(stream, of.transpose(),
                                                                  {.seed = seed, .offset = draw << 40}),
                                                inputs));
            };
            const auto chunks = [&](const Tensor& rows) {
                return rows.reshape({tokens, test::blocks, rows.size(1) / test::blocks}).transpose(0, 1);
            };
            const auto strides = [&](const Tensor& rows) {
                return rows.reshape({tokens, rows.size(1) / test::blocks, test::blocks})
                    .transpose(0, 2)
                    .transpose(1, 2);
            };
            matmul_transposed_into(stream, strides(dt), strides(tdy), second);
            const std::uint64_t seed = 5 ^ ~std::uint64_t{6};
            const Shape shape = batch ? Shape{batch, tokens / batch, in} : Shape{tokens, in},
                        result = batch ? Shape{batch, tokens / batch, out} : Shape{tokens, out};
            const Tensor own_x = convert(stream, tx.slice(1, 0, in), DataType::f32).reshape(shape),
                         own_dy = convert(stream, tdy.slice(1, 0, out), DataType::f32).reshape(result);
            Linear::Saved saved;
            static_cast<void>(layer.forward(stream, own_x, {}, &saved));
            for (const std::uint64_t draw : {0u, 3u})
                for (const bool kept : {true, false}) {
                    Linear::Saved of = saved;
                    if (!kept) of.inner = {};
                    const Tensor dx = layer.backward(stream, own_dy, of, {.draw = draw});
                    EXPECT_EQ(first_difference(download(stream, layer.parameters()[1].gradient),
                                               gradient(strides(tdy), strides(t), seed ^ (1ull << 63), draw)),
                              "");
                    EXPECT_EQ(first_difference(download(stream, layer.parameters()[0].gradient),
                                               gradient(chunks(dt), chunks(tx), seed, draw)),
                              "");
                    const Tensor exact = matmul_transposed(stream, tdy, w).slice(1, 0, in);
                    EXPECT_EQ(
                        first_difference(positive(download(stream, dx)), positive(download(stream, exact))),
                        "");
                }
            // The numbers change with the optimizer's steps.
            SparseMonarchLinear24 other(stream, in, out, test::blocks);
            const Optimizer optimizer(stream, other.parameters(), AdamWOptions{});
            other.follow(optimizer);
            for (const SparseWeight24& weight : other.weights())
                EXPECT_TRUE(weight.options().gradient.step.buffer() == optimizer.step_count().buffer());
        }
}

TEST(SparseMonarchLinear24, FollowsItsSchedule) {
    Stream stream(device());
    const SparseSchedule schedule{.steps = 12, .refresh_every = 3, .dense_fraction = 0.5};
    SparseMonarchLinear24 layer(stream, 24, 24, 3, {.masked_decay = 0.5f, .schedule = schedule}, {.seed = 1});
    for (std::size_t i = 0; i < 2; ++i) {
        EXPECT_TRUE(layer.parameters()[i].masked_decay.mask.buffer() == layer.weights()[i].mask().buffer());
        EXPECT_EQ(layer.parameters()[i].masked_decay.factor, 0.5f);
    }
    const auto masks = [&] {
        auto both = download_u32(stream, layer.weights()[0].mask());
        for (const std::uint32_t word : download_u32(stream, layer.weights()[1].mask())) both.push_back(word);
        return both;
    };
    for (std::uint64_t step = 0; step < 12; ++step) {
        EXPECT_EQ(layer.sparse(), step < 6) << step;
        const auto before = masks();
        for (std::size_t i = 0; i < 2; ++i)
            test::set_parameter(stream, layer, i,
                                test::random_values(192, 20 + 2 * static_cast<unsigned>(step + i)));
        layer.after_step(stream, step);
        const auto after = masks();
        EXPECT_EQ(after == before, (step + 1) % 3 != 0) << step;
        if ((step + 1) % 3 == 0) {
            std::uint32_t flips = 0;
            for (std::size_t i = 0; i < after.size(); ++i)
                flips += static_cast<std::uint32_t>(std::popcount(before[i] ^ after[i]));
            EXPECT_EQ(layer.flip_rate(stream), flips / 384.0);
        }
        if (step + 1 >= 6) continue;
        const Monarch kept = to_monarch(stream, layer.weight());
        for (const auto& [i, factor] : {std::pair{0u, &kept.w1}, std::pair{1u, &kept.w2}})
            EXPECT_EQ(first_difference(download(stream, *factor),
                                       download(stream, apply_mask(stream, layer.parameters()[i].master,
                                                                   layer.weights()[i].mask()))),
                      "");
    }
}

TEST(SparseMonarchLinear24, FilesHoldFactorsMasksAndBias) {
    Stream stream(device());
    const test::TemporaryFile temporary;
    const auto& path = temporary.path;
    const SparseMonarchLinear24 layer(stream, 24, 24, 3, {}, {.seed = 1});
    SafetensorsWriter writer;
    layer.add_to(writer, "up");
    writer.save(stream, path);
    const SafetensorsFile file(path);
    EXPECT_EQ(download_u32(stream, file.load(stream, "up.blkdiag2.mask")),
              download_u32(stream, layer.weights()[1].mask()));
    // Its factors are those of a Monarch layer, which reads them whole.
    MonarchLinear whole(stream, 24, 24, 3);
    whole.load_from(stream, file, "up");
    EXPECT_EQ(first_difference(download(stream, whole.parameters()[1].master),
                               download(stream, layer.parameters()[1].master)),
              "");
    // A mask that is none, of either factor, and nothing has changed.
    for (const char* broken : {"up.blkdiag1.mask", "up.blkdiag2.mask"}) {
        SafetensorsWriter bad;
        for (const char* name : {"up.blkdiag1", "up.blkdiag2", "up.bias"})
            bad.add(name, file.load(stream, name));
        for (const char* name : {"up.blkdiag1.mask", "up.blkdiag2.mask"}) {
            auto words = download_u32(stream, file.load(stream, name));
            if (std::string_view(name) == broken) words[2] ^= 1u;
            bad.add(name, upload(stream, words, file.load(stream, name).shape()));
        }
        bad.save(stream, path);
        SparseMonarchLinear24 other(stream, 24, 24, 3, {}, {.seed = 2});
        const auto before = download(stream, to_dense(stream, other.weight()));
        expect_error(ErrorKind::invalid_argument, {"mask"},
                     [&] { other.load_from(stream, SafetensorsFile(path), "up"); });
        EXPECT_EQ(first_difference(download(stream, to_dense(stream, other.weight())), before), "");
    }
}

TEST(SparseMonarchLinear24, BecomesDenseOrMonarchAndComesFromOne) {
    Stream stream(device());
    for (const auto& [in, out] : {std::pair<std::size_t, std::size_t>{24, 12}, {23, 31}})
        for (const bool tiles : {false, true}) {
            SparseMonarchLinear24 layer(stream, in, out, test::blocks, {.weight = {.tile_codes = tiles}},
                                        {.type = DataType::bf16});
            set_whole(stream, layer);
            const Tensor x = upload(stream, test::whole_values(5 * in, 1, 1), {5, in}, DataType::bf16);
            for (const bool sparse : {true, false}) {
                layer.set_sparse(stream, sparse);
                const auto y = positive(download(stream, layer.forward(stream, x)));
                const auto monarch = to_monarch(stream, layer);
                EXPECT_EQ(first_difference(positive(download(stream, monarch->forward(stream, x))), y), "");
                EXPECT_EQ(first_difference(
                              positive(download(stream, to_dense(stream, layer)->forward(stream, x))), y),
                          "");
                EXPECT_EQ(monarch->type(), DataType::bf16);
                // Pruned once more it keeps what it kept.
                const auto again = to_sparse_monarch(stream, *monarch, {.weight = {.tile_codes = tiles}});
                if (sparse) {
                    EXPECT_EQ(first_difference(positive(download(stream, again->forward(stream, x))), y), "");
                }
                EXPECT_EQ(again->flip_rate(stream), 0.0);
                // Places that only padding reaches become zero (PaddingKeepsNoPlaces).
                if (in % test::blocks != 0) continue;
                EXPECT_EQ(first_difference(download(stream, again->parameters()[0].master),
                                           download(stream, monarch->parameters()[0].master)),
                          "");
                EXPECT_EQ(
                    download_u32(stream, again->weights()[0].mask()),
                    download_u32(stream, select_transposable_mask(stream, monarch->parameters()[0].master)));
            }
        }
}

// A pass that was recorded while the layer was sparse goes on with the weights as they are at the switch.
TEST(SparseMonarchLinear24, ProgramsKnowTheLastSparseUpdate) {
    Stream stream(device());
    const SparseLinear24Options sparse{.schedule = {.steps = 4, .refresh_every = 100, .dense_fraction = 0.5}};
    SparseMonarchLinear24 monarch(stream, 8, 8, 2, sparse, {.bias = false});
    SparseLinear24 plain(stream, 8, 8, sparse, {.bias = false});
    const Tensor x = upload(stream, std::vector<float>(8, 1.0f), {1, 8});
    for (Linear24* layer : {static_cast<Linear24*>(&monarch), static_cast<Linear24*>(&plain)}) {
        ProgramRecorder recorder(device());
        const Tensor y = layer->forward(recorder, x);
        const Program program(std::move(recorder));
        for (std::uint64_t step = 0; step < 2; ++step) {
            for (const Parameter& parameter : layer->parameters())
                fill_into(stream, parameter.master, static_cast<double>(step) + 1.0);
            layer->after_step(stream, step);
        }
        EXPECT_FALSE(layer->sparse());
        program.emit(stream);
        const float kept = layer == &monarch ? 2.0f * 2 * 2 * 2 : 4 * 2.0f;
        EXPECT_EQ(download(stream, y), std::vector<float>(8, kept));
    }
}

TEST(SparseMonarchLinear24, PaddingKeepsNoPlaces) {
    Stream stream(device());
    constexpr std::size_t in = 13, out = 11;  // blocks of 4 inputs, the last one of which has a single one
    const SparseMonarchLinear24 layer(stream, in, out, 4, {.weight = {.transposable = false}});
    const Tensor w1 = layer.parameters()[0].master, w2 = layer.parameters()[1].master;
    ASSERT_EQ(w1.shape(), (Shape{4, 3, 4}));
    ASSERT_EQ(w2.shape(), (Shape{4, 3, 3}));
    const auto first = download(stream, w1), second = download(stream, w2),
               kept = download(stream, to_monarch(stream, layer.weight()).w1);
    for (std::size_t i = 0; i < first.size(); ++i) {
        const bool reached = i / 12 * 4 + i % 4 < in;
        EXPECT_EQ(first[i] != 0.0f, reached) << i;
        // The one input of the last block is kept by every row.
        if (i / 12 == 3 && reached) {
            EXPECT_EQ(kept[i], first[i]);
        }
    }
    for (std::size_t i = 0; i < second.size(); ++i)
        EXPECT_EQ(second[i] != 0.0f, i / 3 % 3 * 4 + i / 9 < out) << i;
    EXPECT_EQ(layer.flip_rate(stream), 0.0);
}

TEST(SparseMonarchLinear24, RefusesWrongArguments) {
    Stream real_stream(device());
    test::Counter stream(real_stream);
    const auto fails = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    fails({"blocks: 0"}, [&] { SparseMonarchLinear24(stream, 8, 8, 0); });
    fails({"tile_codes", "transposable"}, [&] {
        SparseMonarchLinear24(stream, 8, 8, 2, {.weight = {.transposable = false, .tile_codes = true}});
    });
    fails({"weight.type: bf16", "f16"}, [&] {
        SparseMonarchLinear24(stream, 8, 8, 2, {.weight = {.type = DataType::bf16}}, {.type = DataType::f16});
    });
    fails({"masked_decay", "-1"}, [&] { SparseMonarchLinear24(stream, 8, 8, 2, {.masked_decay = -1.0f}); });
    fails({"dense_fraction", "2"},
          [&] { SparseMonarchLinear24(stream, 8, 8, 2, {.schedule = {.steps = 1, .dense_fraction = 2.0}}); });
    EXPECT_EQ(stream.recorded, 0);
    const SparseMonarchLinear24 layer(stream, 8, 8, 2);
    SparseMonarchLinear24 half(stream, 8, 8, 2, {}, {.type = DataType::f16});
    half.set_sparse(stream, false);
    test::Counter counter(real_stream);
    const Tensor narrow(device(), DataType::f16, {5, 8});
    fails({"out: overlaps x"}, [&] { half.forward_into(counter, narrow, narrow); });
    const SparseLinear24 one(real_stream, 8, 1);
    fails({"count of flips"}, [&] {
        one.forward_into(counter, Tensor(one.weight().flips().buffer(), DataType::f32, {1, 1}),
                         Tensor(device(), DataType::f32, {1, 8}));
    });
    const Tensor x(device(), DataType::f32, {5, 8}), y(device(), DataType::f32, {5, 8});
    fill_into(stream, x, 0.0);
    for (std::size_t i = 0; i < 2; ++i) {
        const Tensor values = layer.weights()[i].compressed().values();
        fails({"out: overlaps the layer's compressed weight"}, [&] {
            layer.forward_into(counter, Tensor(values.buffer(), DataType::f32, {2, 8}), x.slice(0, 0, 2));
        });
    }
    fails({"saved.inner: shape (5, 4)", "(5, 8)"}, [&] {
        layer.backward_into(counter, {}, y, {.x = x, .inner = Tensor(device(), DataType::f32, {5, 4})});
    });
    EXPECT_EQ(counter.recorded, 0);
    // Names that are taken: nothing is added.
    SafetensorsWriter writer;
    writer.add("up.blkdiag2.mask", layer.weights()[1].mask());
    fails({"up.blkdiag2.mask", "before"}, [&] { layer.add_to(writer, "up"); });
    EXPECT_FALSE(writer.contains("up.blkdiag1"));
}

}  // namespace
}  // namespace danaus
