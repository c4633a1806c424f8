// The life cycle of a 2:4 weight: which operation comes when. What each computes is proved in its own test;
// here results are those of the operations by hand, bit for bit.
#include "reference/transposable.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/masks.hpp"
#include "support/operands.hpp"
#include "support/temporary_file.hpp"

#include <gtest/gtest.h>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::first_difference;

std::vector<float> normal_values(std::size_t count, unsigned seed) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& value : values) value = normal(engine);
    return values;
}

Parameter parameter_of(Stream& stream, const Shape& shape, DataType working,
                       const std::vector<float>& values) {
    const Parameter parameter = new_parameter(stream.device(), shape, working, working);
    upload_into(stream, parameter.master, values);
    refresh_working(stream, parameter);
    return parameter;
}

// Multiplies of `weight` against those by the dense tensor that it should stand for.
void expect_multiplies_by(Stream& stream, const SparseWeight24& weight, const Tensor& w, unsigned seed) {
    const std::size_t rank = w.rank();
    const auto input = [&](std::uint64_t features) {
        const Shape shape = rank == 3 ? Shape{w.size(0), 7, features} : Shape{7, features};
        return upload(stream, test::whole_values(shape.elements(), seed++, 3), shape, w.type());
    };
    const Tensor x = input(w.size(rank - 1)), dy = input(w.size(rank - 2));
    // W has other than whole numbers, but sums of the same few products in one order or another.
    const auto expect_near = [&](const Tensor& a, const Tensor& b) {
        const std::vector<float> one = download(stream, a), other = download(stream, b);
        ASSERT_EQ(one.size(), other.size());
        const float tolerance = w.type() == DataType::f32 ? 1e-4f : 0.1f;
        for (std::size_t i = 0; i < one.size(); ++i) ASSERT_NEAR(one[i], other[i], tolerance) << i;
    };
    expect_near(weight.matmul(stream, x), matmul(stream, x, w));
    expect_near(weight.matmul_transposed(stream, dy), matmul_transposed(stream, dy, w));
    const Tensor y = matmul(stream, x, w), dx = matmul_transposed(stream, dy, w);
    weight.matmul_into(stream, y, x, {.scale = 2.0f});
    expect_near(y, matmul(stream, x, w, {.scale = 2.0f}));
    weight.matmul_transposed_into(stream, dx, dy);
    expect_near(dx, matmul_transposed(stream, dy, w));
}

TEST(SparseWeight24, MultipliesThroughItsMaskOrWithoutIt) {
    Stream stream(device());
    for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16})
        for (const Shape& shape : {Shape{12, 20}, Shape{9, 22}, Shape{3, 8, 12}})
            for (const bool transposable : {true, false}) {
                const Parameter parameter =
                    parameter_of(stream, shape, type, normal_values(shape.elements(), 3));
                SparseWeight24 weight(stream, parameter, {.transposable = transposable});
                EXPECT_TRUE(weight.sparse());
                const Tensor mask = transposable ? select_transposable_mask(stream, parameter.master)
                                                 : select_mask(stream, parameter.master);
                EXPECT_EQ(download_u32(stream, weight.mask()), download_u32(stream, mask));
                const Tensor masked = apply_mask(stream, parameter.working, mask);
                expect_multiplies_by(stream, weight, masked, 10);
                weight.set_sparse(stream, false);
                expect_multiplies_by(stream, weight, parameter.working, 20);
                weight.set_sparse(stream, true);
                expect_multiplies_by(stream, weight, masked, 30);
            }
}

// Held by tiles, one copy for both directions: the same masks, multiplies and gradients, bit for bit in what
// is kept.
TEST(SparseWeight24, HoldsTilesInPlaceOfRows) {
    Stream stream(device());
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const Shape& shape : {Shape{12, 20}, Shape{9, 22}, Shape{3, 8, 12}}) {
            const Parameter parameter = parameter_of(stream, shape, type, normal_values(shape.elements(), 3));
            SparseWeight24 weight(stream, parameter, {.tile_codes = true});
            EXPECT_FALSE(weight.compressed());
            EXPECT_EQ(weight.tiles().shape(), shape);
            const auto expect_kept = [&] {
                const Tensor masked = apply_mask(stream, parameter.working, weight.mask());
                EXPECT_EQ(first_difference(download(stream, to_dense(stream, weight.tiles())),
                                           download(stream, masked)),
                          "");
                return masked;
            };
            expect_multiplies_by(stream, weight, expect_kept(), 10);
            upload_into(stream, parameter.master, normal_values(shape.elements(), 4));
            refresh_working(stream, parameter);
            weight.recompress(stream);
            expect_kept();
            weight.refresh(stream);
            expect_multiplies_by(stream, weight, expect_kept(), 20);
            weight.set_sparse(stream, false);
            expect_multiplies_by(stream, weight, parameter.working, 30);
            weight.set_sparse(stream, true);
            expect_kept();
        }
    const Shape shape{12, 20};
    const Parameter parameter = parameter_of(stream, shape, DataType::f32, normal_values(240, 1));
    const Tensor dy = upload(stream, normal_values(7 * 12, 2), {7, 12}),
                 x = upload(stream, normal_values(7 * 20, 3), {7, 20});
    for (const bool prune : {false, true}) {
        const SparseWeight24 tiles(stream, parameter, {.tile_codes = true, .prune_gradient = prune}),
            rows(stream, parameter, {.prune_gradient = prune});
        const Tensor one(device(), DataType::f32, shape), other(device(), DataType::f32, shape);
        tiles.weight_gradient_into(stream, one, dy, x);
        rows.weight_gradient_into(stream, other, dy, x);
        EXPECT_EQ(first_difference(download(stream, one), download(stream, other)), "");
    }
    EXPECT_FALSE(SparseWeight24(stream, parameter).tiles());
    for (const SparseWeight24Options& options :
         {SparseWeight24Options{.transposable = false, .tile_codes = true},
          SparseWeight24Options{.search = TransposableSearch::greedy, .tile_codes = true}})
        expect_error(ErrorKind::invalid_argument, {"tile_codes", "transposable", "exact"},
                     [&] { SparseWeight24(stream, parameter, options); });
}

// Without a working copy the compressed form comes from the master, and dense multiplies convert it: the same
// bits as with one.
TEST(SparseWeight24, NeedsNoWorkingCopy) {
    Stream stream(device());
    const Shape shape{12, 20};
    const std::vector<float> values = normal_values(shape.elements(), 5);
    const Tensor dy = upload(stream, normal_values(7 * 12, 6), {7, 12}),
                 x = upload(stream, normal_values(7 * 20, 7), {7, 20});
    for (const DataType type : {DataType::f16, DataType::bf16})
        for (const bool tiles : {false, true}) {
            const Tensor typed_dy = convert(stream, dy, type), typed_x = convert(stream, x, type);
            const Parameter alone = parameter_of(stream, shape, DataType::f32, values),
                            copied = parameter_of(stream, shape, type, values);
            SparseWeight24 lean(stream, alone, {.tile_codes = tiles, .type = type}),
                usual(stream, copied, {.tile_codes = tiles});
            EXPECT_EQ(lean.type(), type);
            EXPECT_EQ(usual.copy_bytes() - lean.copy_bytes(), shape.elements() * 2);
            const auto same = [&](const auto& result) {
                EXPECT_EQ(first_difference(download(stream, result(lean)), download(stream, result(usual))),
                          "");
            };
            const auto check = [&] {
                same([&](const SparseWeight24& w) { return w.matmul(stream, typed_x); });
                same([&](const SparseWeight24& w) { return w.matmul_transposed(stream, typed_dy); });
                same([&](const SparseWeight24& w) {
                    const Tensor dw(device(), DataType::f32, shape);
                    w.weight_gradient_into(stream, dw, typed_dy, typed_x);
                    return dw;
                });
            };
            check();
            for (const Parameter* parameter : {&alone, &copied}) {
                upload_into(stream, parameter->master, normal_values(shape.elements(), 8));
                refresh_working(stream, *parameter);
            }
            for (SparseWeight24* weight : {&lean, &usual}) weight->recompress(stream);
            check();
            for (SparseWeight24* weight : {&lean, &usual}) weight->refresh(stream);
            check();
            const SparseWeight24 copy = lean;
            for (SparseWeight24* weight : {&lean, &usual}) weight->set_sparse(stream, false);
            check();
            // Dense, it follows its master at once, and so does a copy of the handle that is dense.
            for (const Parameter* parameter : {&alone, &copied}) {
                upload_into(stream, parameter->master, normal_values(shape.elements(), 9));
                refresh_working(stream, *parameter);
            }
            check();
            SparseWeight24 other = copy;
            other.set_sparse(stream, false);
            EXPECT_EQ(first_difference(download(stream, other.matmul(stream, typed_x)),
                                       download(stream, lean.matmul(stream, typed_x))),
                      "");
            const Tensor y(device(), type, {7, 12});
            lean.matmul_into(stream, y, typed_x, {.scale = 2.0f});
            EXPECT_EQ(first_difference(download(stream, y),
                                       download(stream, usual.matmul(stream, typed_x, {.scale = 2.0f}))),
                      "");
            // What is refused is refused before the master is rounded.
            expect_error(ErrorKind::invalid_argument, {"x", "20"},
                         [&] { lean.matmul_into(stream, y, typed_dy); });
            expect_error(ErrorKind::invalid_argument, {"out", "(7, 12)"},
                         [&] { lean.matmul_transposed_into(stream, y, typed_dy); });
            for (SparseWeight24* weight : {&lean, &usual}) weight->set_sparse(stream, true);
            check();
        }
    // f16: a byte for every 16 weights and two for every second one; and the mask's words of 32 columns.
    const Parameter large = parameter_of(stream, {64, 128}, DataType::f32, normal_values(64 * 128, 9));
    const SparseWeight24 lean(stream, large, {.tile_codes = true, .type = DataType::f16});
    EXPECT_EQ(lean.copy_bytes(), 64 * 128 / 16 * 17 + 64 * 128 / 8);
}

TEST(SparseWeight24, RefreshesMasksAndCountsFlips) {
    Stream stream(device());
    const Shape shape{32, 40};
    const std::vector<float> first = normal_values(shape.elements(), 1),
                             second = normal_values(shape.elements(), 2);
    const auto oracle = [&](const std::vector<float>& values) {
        return reference::select_transposable_mask(Matrix(32, 40, values));
    };
    const double rate = reference::flip_rate(oracle(first), oracle(second));
    const Parameter parameter = parameter_of(stream, shape, DataType::f16, first);
    SparseWeight24 weight(stream, parameter);
    EXPECT_EQ(weight.flip_rate(stream), 0.0);
    weight.refresh(stream);
    EXPECT_EQ(weight.flip_rate(stream), 0.0);

    upload_into(stream, parameter.master, second);
    refresh_working(stream, parameter);
    weight.recompress(stream);  // new values under the old mask
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, weight.compressed())),
                               download(stream, apply_mask(stream, parameter.working, weight.mask()))),
              "");
    EXPECT_EQ(download_u32(stream, weight.mask()), test::packed(oracle(first)));
    weight.refresh(stream);
    EXPECT_EQ(download_u32(stream, weight.mask()), test::packed(oracle(second)));
    EXPECT_NEAR(weight.flip_rate(stream), rate, 1e-12);
    EXPECT_EQ(first_difference(download(stream, to_dense(stream, weight.compressed())),
                               download(stream, apply_mask(stream, parameter.working, weight.mask()))),
              "");

    // The virtual mask of a dense run.
    const std::vector<float> before = download(stream, weight.compressed().values());
    weight.set_sparse(stream, false);
    upload_into(stream, parameter.master, first);
    refresh_working(stream, parameter);
    weight.refresh(stream);
    EXPECT_NEAR(weight.flip_rate(stream), rate, 1e-12);
    EXPECT_EQ(first_difference(download(stream, weight.compressed().values()), before), "");
}

TEST(SparseWeight24, WeightGradientFromAPrunedOne) {
    Stream stream(device());
    const Shape shape{12, 20};
    const Parameter parameter = parameter_of(stream, shape, DataType::f32, normal_values(240, 1));
    const SparseWeight24Options options{.gradient = {UnbiasedPruning::least_variance, 5, 6, {}}};
    SparseWeight24 weight(stream, parameter, options);
    const Tensor dy = upload(stream, normal_values(3 * 7 * 12, 2), {3, 7, 12}),
                 x = upload(stream, normal_values(3 * 7 * 20, 3), {3, 7, 20});
    const auto gradient = [&](const SparseWeight24& of, const Tensor& a, const Tensor& b) {
        const Tensor dw(device(), DataType::f32, shape);
        of.weight_gradient_into(stream, dw, a, b);
        return download(stream, dw);
    };
    const Tensor flat_dy = dy.reshape({21, 12}), flat_x = x.reshape({21, 20});
    const Sparse24 kept = compress_unbiased(stream, flat_dy.transpose(), options.gradient);
    const std::vector<float> pruned = download(stream, weight_gradient(stream, kept, flat_x));
    EXPECT_EQ(first_difference(gradient(weight, flat_dy, flat_x), pruned), "");
    EXPECT_EQ(first_difference(gradient(weight, dy, x), pruned), "") << "summed over the batch";
    // A batch that is no longer list of tokens.
    const Tensor wide = upload(stream, std::vector<float>(3 * 9 * 12, 99.0f), {3, 9, 12}).slice(1, 1, 8);
    convert_into(stream, wide, dy);
    EXPECT_EQ(first_difference(gradient(weight, wide, x), pruned), "");

    const std::vector<float> dense = download(stream, weight_gradient(stream, flat_dy, flat_x));
    const SparseWeight24 exact(stream, parameter, {.prune_gradient = false});
    EXPECT_EQ(first_difference(gradient(exact, flat_dy, flat_x), dense), "");
    weight.set_sparse(stream, false);
    EXPECT_EQ(first_difference(gradient(weight, flat_dy, flat_x), dense), "");

    const Parameter blocks = parameter_of(stream, {3, 12, 20}, DataType::f32, normal_values(720, 4));
    const SparseWeight24 batched(stream, blocks, options);
    const Tensor dw(device(), DataType::f32, {3, 12, 20});
    batched.weight_gradient_into(stream, dw, dy, x);
    EXPECT_EQ(
        first_difference(
            download(stream, dw),
            download(stream, weight_gradient(
                                 stream, compress_unbiased(stream, dy.transpose(), options.gradient), x))),
        "");
}

// A recorded step is emitted again and again; the random numbers follow a step count on the device.
TEST(SparseWeight24, AStepCanBeAProgram) {
    Stream stream(device());
    const Shape shape{16, 32};
    const Parameter parameter = parameter_of(stream, shape, DataType::f32, normal_values(512, 1));
    const Tensor step = upload(stream, std::vector<std::uint32_t>{1}, {1});
    const SparseWeight24 weight(stream, parameter, {.gradient = {{}, 1, 0, step}});
    const Tensor dy = upload(stream, normal_values(64 * 16, 2), {64, 16}),
                 x = upload(stream, normal_values(64 * 32, 3), {64, 32}), dw(device(), DataType::f32, shape);
    ProgramRecorder recorder(device());
    weight.refresh(recorder);
    weight.weight_gradient_into(recorder, dw, dy, x);
    const Program program(std::move(recorder));
    const auto emitted = [&](std::uint32_t at) {
        upload_into(stream, step, std::vector<std::uint32_t>{at});
        program.emit(stream);
        return download(stream, dw);
    };
    const std::vector<float> one = emitted(1), two = emitted(2);
    EXPECT_NE(first_difference(one, two), "");
    EXPECT_EQ(first_difference(one, emitted(1)), "");
}

// Also where both tensors lie in one buffer.
TEST(SparseWeight24, LoadingRefreshesTheWorkingCopy) {
    Stream stream(device());
    const test::TemporaryFile temporary;
    const auto& file = temporary.path;
    const Shape shape{8, 12};
    const Buffer buffer = device().allocate(384 + 192);
    const Parameter parameter{Tensor(buffer, DataType::f32, shape), Tensor(buffer, DataType::f16, shape, 192),
                              Tensor(device(), DataType::f32, shape)};
    for (const TransposableSearch search : {TransposableSearch::exact, TransposableSearch::greedy}) {
        upload_into(stream, parameter.master, normal_values(96, 1));
        refresh_working(stream, parameter);
        const SparseWeight24 weight(stream, parameter, {.search = search});
        SafetensorsWriter writer;
        weight.add_to(writer, "w");
        writer.add("wide.weight", parameter.master);
        writer.add("wide.mask", upload(stream, std::vector<std::uint32_t>(8, 0xfff), {8, 1}));
        writer.add("nan.weight", upload(stream, std::vector<float>(96, std::nanf("")), shape));
        writer.add("nan.mask", weight.mask());
        writer.save(stream, file);
        const std::vector<float> before = download(stream, to_dense(stream, weight.compressed()));
        upload_into(stream, parameter.master, normal_values(96, 2));
        refresh_working(stream, parameter);
        weight.refresh(stream);
        const SafetensorsFile opened(file);
        expect_error(ErrorKind::invalid_argument, {"rows 0 to 3", "columns 0 to 3"},
                     [&] { weight.load_from(stream, opened, "wide"); });
        expect_error(ErrorKind::invalid_argument, {"nan.weight", "element (0, 0)", "nan"},
                     [&] { weight.load_from(stream, opened, "nan"); });
        EXPECT_NE(first_difference(download(stream, to_dense(stream, weight.compressed())), before), "");
        weight.load_from(stream, opened, "w");
        EXPECT_EQ(first_difference(download(stream, to_dense(stream, weight.compressed())), before), "");
    }
}

TEST(SparseWeight24, RandomNumbersFollowAnOptimizer) {
    Stream stream(device());
    Parameter parameter = parameter_of(stream, {16, 32}, DataType::f32, normal_values(512, 1));
    SparseWeight24 weight(stream, parameter);
    parameter.masked_decay = {weight.mask(), 1e-4f};
    const Optimizer optimizer(stream, {parameter}, AdamWOptions{});
    weight.set_gradient({.seed = 3, .step = optimizer.step_count()});
    const Tensor dy = upload(stream, normal_values(64 * 16, 2), {64, 16}),
                 x = upload(stream, normal_values(64 * 32, 3), {64, 32});
    const auto gradient = [&] {
        weight.weight_gradient_into(stream, parameter.gradient, dy, x);
        return download(stream, parameter.gradient);
    };
    const std::vector<float> first = gradient();
    EXPECT_EQ(first_difference(gradient(), first), "");
    optimizer.step(stream);
    EXPECT_EQ(download_u32(stream, optimizer.step_count()), std::vector<std::uint32_t>{1});
    EXPECT_NE(first_difference(gradient(), first), "");
}

TEST(SparseWeight24, IsSavedAndLoaded) {
    Stream stream(device());
    const test::TemporaryFile temporary;
    const auto& file = temporary.path;
    const Shape shape{12, 20};
    const Parameter source = parameter_of(stream, shape, DataType::f16, normal_values(240, 1));
    const SparseWeight24 saved(stream, source);
    // Another master than the mask was chosen by: both are kept as they are.
    upload_into(stream, source.master, normal_values(240, 2));
    refresh_working(stream, source);
    saved.recompress(stream);
    SafetensorsWriter writer;
    saved.add_to(writer, "ffn");
    expect_error(ErrorKind::invalid_argument, {"ffn", "before"}, [&] { saved.add_to(writer, "ffn"); });
    const Tensor wrong = upload(stream, std::vector<std::uint32_t>(12, 7), {12, 1});
    writer.add("bad.weight", source.master);
    writer.add("bad.mask", wrong);
    writer.add("short.weight", source.master.slice(0, 0, 8));
    writer.add("short.mask", wrong);
    writer.add("alone.weight", source.master);
    writer.save(stream, file);

    const Parameter target = parameter_of(stream, shape, DataType::f16, normal_values(240, 3));
    const SparseWeight24 loaded(stream, target);
    const SafetensorsFile opened(file);
    const auto state = [&](const SparseWeight24& weight) {
        std::vector<float> all = download(stream, weight.parameter().master);
        for (const Tensor& t : {weight.parameter().working, to_dense(stream, weight.compressed())})
            for (const float value : download(stream, t)) all.push_back(value);
        for (const std::uint32_t word : download_u32(stream, weight.mask()))
            all.push_back(static_cast<float>(word));
        return all;
    };
    const std::vector<float> before = state(loaded);
    expect_error(ErrorKind::invalid_argument, {"rows 0 to 3", "columns 0 to 3"},
                 [&] { loaded.load_from(stream, opened, "bad"); });
    expect_error(ErrorKind::invalid_argument, {"short.weight", "(8, 20)", "(12, 20)"},
                 [&] { loaded.load_from(stream, opened, "short"); });
    expect_error(ErrorKind::invalid_argument, {"alone.mask"},
                 [&] { loaded.load_from(stream, opened, "alone"); });
    EXPECT_EQ(first_difference(state(loaded), before), "");
    loaded.load_from(stream, opened, "ffn");
    EXPECT_EQ(first_difference(state(loaded), state(saved)), "");
}

TEST(SparseWeight24, RefusesWrongArguments) {
    Stream stream(device());
    const auto fails = [](const std::vector<std::string>& parts, const std::function<void()>& action) {
        expect_error(ErrorKind::invalid_argument, parts, action);
    };
    const Parameter parameter = parameter_of(stream, {8, 12}, DataType::f32, normal_values(96, 1));
    const auto make = [&](const Parameter& of, const SparseWeight24Options& options = {}) {
        return [&, of, options] { static_cast<void>(SparseWeight24(stream, of, options)); };
    };
    fails({"weight.master", "null"}, make({}));
    fails({"weight.master", "rank 2 or 3"}, make({parameter.master.reshape({96}), {}, {}}));
    fails({"weight.master", "f16"}, make({Tensor(device(), DataType::f16, {8, 12}), {}, {}}));
    fails({"weight.working: shape (8, 4)"},
          make({parameter.master, Tensor(device(), DataType::f16, {8, 4}), {}}));
    fails({"type: u32", "f16"}, make(parameter, {.type = DataType::u32}));
    fails({"type: bf16", "weight.working", "f16"},
          make(parameter_of(stream, {8, 12}, DataType::f16, normal_values(96, 1)), {.type = DataType::bf16}));
    fails({"search: 9"}, make(parameter, {.search = static_cast<TransposableSearch>(9)}));
    fails({"pruning: 9"}, make(parameter, {.gradient = {static_cast<UnbiasedPruning>(9), 0, 0, {}}}));
    const SparseWeight24 weight(stream, parameter), none;
    const Tensor dy(device(), DataType::f32, {5, 8}), x(device(), DataType::f32, {5, 12}),
        dw(device(), DataType::f32, {8, 12});
    fails({"x", "12"}, [&] { static_cast<void>(weight.matmul(stream, dy)); });
    fails({"dy: shape (5, 12)", "8"}, [&] { weight.weight_gradient_into(stream, dw, x, x); });
    fails({"x: shape (5, 8)", "12"}, [&] { weight.weight_gradient_into(stream, dw, dy, dy); });
    fails({"x: shape (4, 12)", "(5, 8)"},
          [&] { weight.weight_gradient_into(stream, dw, dy, x.slice(0, 0, 4)); });
    fails({"out: shape (5, 12)"}, [&] { weight.weight_gradient_into(stream, x, dy, x); });
    fails({"out", "type"}, [&] {
        weight.weight_gradient_into(stream, Tensor(device(), DataType::bf16, {8, 12}), dy, x);
    });
    SparseWeight24 changed = weight;
    fails({"gradient.step", "u32"}, [&] { changed.set_gradient({.step = dw}); });
    fails({"pruning: 7"}, [&] { changed.set_gradient({.pruning = static_cast<UnbiasedPruning>(7)}); });
    SparseWeight24 empty_one;
    empty_one.set_sparse(stream, false);
    fails({"weight", "default"}, [&] { empty_one.set_sparse(stream, true); });
    EXPECT_FALSE(empty_one.sparse());
    fails({"weight", "default"}, [&] { none.refresh(stream); });
    fails({"weight", "default"}, [&] { static_cast<void>(none.matmul(stream, x)); });
}

}  // namespace
}  // namespace danaus
