// What linear and feed-forward layers refuse, and that nothing is recorded then.
#include "linear_oracle.hpp"
#include "support/counter.hpp"
#include "support/device.hpp"

#include <cmath>

#include <gtest/gtest.h>

namespace danaus {
namespace {

using test::Counter;
using test::device;
using test::expect_error;
using test::Structure;

void fails(const std::vector<std::string>& parts, const std::function<void()>& action) {
    expect_error(ErrorKind::invalid_argument, parts, action);
}

Tensor zeros(Stream& stream, const Shape& shape) {
    const Tensor tensor(device(), DataType::f32, shape);
    fill_into(stream, tensor, 0.0);
    return tensor;
}

TEST(Linear, RefusesWrongArguments) {
    Stream stream(device());
    const auto made = [&](std::uint64_t in, std::uint64_t out, const LinearOptions& options) {
        return [&, in, out, options] { DenseLinear(stream, in, out, options); };
    };
    fails({"in, out: 0 and 4"}, made(0, 4, {}));
    fails({"in, out: 4 and 0"}, made(4, 0, {}));
    fails({"type: i32"}, made(4, 4, {.type = DataType::i32}));
    fails({"gradient: bf16", "f16"}, made(4, 4, {.type = DataType::f16, .gradient = DataType::bf16}));
    fails({"gain: -1"}, made(4, 4, {.gain = -1.0f}));
    fails({"gain: nan"}, made(4, 4, {.gain = std::nanf("")}));
    for (const std::uint64_t blocks : {0u, 4u, 5u}) {
        fails({"blocks: " + std::to_string(blocks), "in (12)", "out (9)"},
              [&] { BlockDiagonalLinear(stream, 12, 9, blocks); });
    }
    fails({"blocks: 0"}, [&] { MonarchLinear(stream, 12, 9, 0); });
    fails({"initialization: 7"}, made(4, 4, {.initialization = static_cast<Initialization>(7)}));
    fails({"dense_fraction"}, [&] { SparseLinear24(stream, 8, 8, {.schedule = {.dense_fraction = 2.0}}); });
    fails({"masked_decay", "-1"}, [&] { SparseLinear24(stream, 8, 8, {.masked_decay = -1.0f}); });
    fails({"weight.type: bf16", "f16"}, [&] {
        SparseLinear24(stream, 8, 8, {.weight = {.type = DataType::bf16}}, {.type = DataType::f16});
    });
}

TEST(Linear, RecordsNothingOfWhatItRefuses) {
    Stream stream(device());
    Counter counter(stream);
    const DenseLinear layer(stream, 8, 6);
    const Parameter &weight = layer.parameters()[0], &bias = layer.parameters()[1];
    const Tensor x = zeros(stream, {5, 8}), y = zeros(stream, {5, 6});
    const auto forward = [&](const Tensor& in, const Epilogue& epilogue) {
        return [&, in, epilogue] { static_cast<void>(layer.forward(counter, in, epilogue)); };
    };
    fails({"x", "null"}, forward({}, {}));
    fails({"x: shape (5, 6)", "8"}, forward(y, {}));
    fails({"x: type f16", "f32"}, forward(Tensor(device(), DataType::f16, {5, 8}), {}));
    fails({"epilogue.bias"}, forward(x, {.bias = layer.parameters()[1].master}));
    fails({"accumulate"}, forward(x, {.accumulate = true}));
    fails({"order: 7"}, forward(x, {.order = static_cast<Order>(7)}));
    fails({"activation: 9"}, forward(x, {.activation = static_cast<Activation>(9)}));
    fails({"out: shape (5, 8)", "(5, 6)"}, [&] { layer.forward_into(counter, x, x); });
    fails({"out: overlaps the layer's weight.master"}, [&] {
        layer.forward_into(counter, weight.master.reshape({8, 6}).slice(0, 0, 5), x);
    });
    fails({"aux: overlaps the layer's weight.gradient"}, [&] {
        layer.forward_into(counter, y, x, {.aux = weight.gradient.reshape({8, 6}).slice(0, 0, 5)});
    });
    EXPECT_EQ(counter.recorded, 0);
    Linear::Saved saved;
    static_cast<void>(layer.forward(stream, x, {.activation = Activation::relu}, &saved));
    const auto backward = [&](const Tensor& dx, const Tensor& dy, const Linear::Saved& of) {
        return [&, dx, dy, of] { layer.backward_into(counter, dx, dy, of); };
    };
    fails({"saved.x", "null"}, backward({}, y, {}));
    fails({"dy", "null"}, backward({}, {}, saved));
    fails({"dy: shape (5, 8)", "(5, 6)"}, backward({}, x, saved));
    fails({"dy: type f16"}, backward({}, Tensor(device(), DataType::f16, {5, 6}), saved));
    fails({"dx: shape (5, 6)"}, backward(Tensor(device(), DataType::f32, {5, 6}), y, saved));
    fails({"dx", "overlaps", "saved.x"}, backward(x, y, saved));
    const Tensor shared(device(), DataType::f32, {40});
    fails({"dx", "overlaps dy"},
          backward(shared.reshape({5, 8}), shared.slice(0, 0, 30).reshape({5, 6}), saved));
    Linear::Saved without = saved;
    without.aux = {};
    fails({"saved.aux", "null"}, backward({}, y, without));
    without = saved;
    without.activation = static_cast<Activation>(9);
    fails({"saved.activation: 9"}, backward({}, y, without));
    // What the pass writes first lies where it writes or reads later.
    const Tensor held = weight.gradient.slice(0, 0, 5);
    fails({"dx: overlaps the layer's weight.gradient"}, backward(held, y, saved));
    fails({"dx: overlaps the layer's weight.master"}, backward(weight.master.slice(0, 0, 5), y, saved));
    const Tensor buffer(bias.gradient.buffer(), DataType::f32, {1, 6});
    fails({"dy: overlaps the layer's bias.gradient"},
          [&] { layer.backward_into(counter, {}, buffer, {.x = x.slice(0, 0, 1)}); });
    fails({"saved.x: overlaps the layer's weight.gradient"}, backward({}, y, {.x = held}));
    fails({"draw: 16777216", "16777215"},
          [&] { layer.backward_into(counter, {}, y, saved, {.draw = 1u << 24}); });
    const MonarchLinear monarch(stream, 8, 6, 2);
    Linear::Saved foreign = saved;
    foreign.inner = x;
    fails({"saved.inner: shape (5, 8)", "(5, 6)"}, [&] { monarch.backward_into(counter, {}, y, foreign); });
    const SparseLinear24 sparse(stream, 8, 6);
    const Tensor values = sparse.weight().compressed().values();
    fails({"dx: overlaps the layer's compressed weight"}, [&] {
        sparse.backward_into(counter, Tensor(values.buffer(), DataType::f32, {3, 8}), y.slice(0, 0, 3),
                             {.x = x.slice(0, 0, 3)});
    });
    EXPECT_EQ(counter.recorded, 0);
    static_cast<void>(layer.backward(counter, y, saved));
    EXPECT_GT(counter.recorded, 0);
}

TEST(FeedForward, RefusesWrongArguments) {
    Stream stream(device());
    const auto dense = [&](std::size_t from, std::size_t to, DataType type = DataType::f32) {
        return std::make_shared<DenseLinear>(stream, from, to, LinearOptions{.type = type});
    };
    fails({"up", "null"}, [&] { FeedForward({}, dense(4, 4)); });
    fails({"down", "null"}, [&] { FeedForward(dense(4, 4), {}); });
    fails({"up: 6 features", "8", "twice the 4"}, [&] { FeedForward(dense(4, 6), dense(4, 4)); });
    fails({"up: 8 features", "4"}, [&] { FeedForward(dense(4, 8), dense(4, 4), {Activation::relu}); });
    fails({"down", "f16", "f32"}, [&] { FeedForward(dense(4, 8), dense(4, 4, DataType::f16)); });
    fails({"gate 9"}, [&] { FeedForward(dense(4, 8), dense(4, 4), {static_cast<Gate>(9)}); });
    fails({"activation: 9"}, [&] { FeedForward(dense(4, 4), dense(4, 4), {static_cast<Activation>(9)}); });
    const auto one = dense(4, 4);
    fails({"down: the same layer as up"}, [&] { FeedForward(one, one, {Activation::relu}); });
    fails({"order: 7"}, [&] {
        FeedForward(dense(4, 8), dense(4, 4), {Gate::swiglu, static_cast<Order>(7)});
    });
}

TEST(FeedForward, RecordsNothingOfWhatItRefuses) {
    Stream stream(device());
    Counter counter(stream);
    const auto up = std::make_shared<DenseLinear>(stream, 4, 12);
    const auto down = std::make_shared<MonarchLinear>(stream, 6, 4, 2);
    const FeedForward ffn(up, down),
        plain(std::make_shared<DenseLinear>(stream, 4, 6), down, {Activation::relu});
    const Tensor x = zeros(stream, {2, 4}), y = zeros(stream, {2, 4}), wrong = zeros(stream, {2, 5}),
                 fewer = zeros(stream, {1, 6});
    FeedForward::Saved saved, of_plain;
    static_cast<void>(ffn.forward(stream, x, {.activation = Activation::gelu}, &saved));
    static_cast<void>(plain.forward(stream, x, {}, &of_plain));
    const auto forward = [&](const Tensor& out, const Epilogue& epilogue, bool with_saved = false) {
        return [&, out, epilogue, with_saved] {
            FeedForward::Saved next;
            ffn.forward_into(counter, out, x, epilogue, with_saved ? &next : nullptr);
        };
    };
    fails({"x", "null"}, [&] { static_cast<void>(ffn.forward(counter, {})); });
    fails({"x: shape (2, 5)", "4"}, [&] { static_cast<void>(ffn.forward(counter, wrong)); });
    fails({"out: shape (2, 5)"}, forward(wrong, {}));
    fails({"residual", "(2, 5)"}, forward(y, {.residual = wrong}));
    fails({"epilogue.bias"}, forward(y, {.bias = x}));
    fails({"order: 7"}, forward(y, {.order = static_cast<Order>(7)}));
    fails({"aux: overlaps x"}, forward(y, {.aux = x}));
    fails({"out: overlaps x"}, forward(x, {}, true));
    const auto held = [](const Tensor& tensor) { return Tensor(tensor.buffer(), DataType::f32, {2, 4}); };
    const Tensor w1 = held(down->parameters()[0].working), g1 = held(up->parameters()[0].gradient);
    fails({"out: overlaps down's blkdiag1.master"}, forward(w1, {}));
    fails({"out: overlaps up's weight.gradient"}, forward(g1, {}));
    fails({"aux: overlaps down's blkdiag1.master"}, forward(y, {.aux = w1}));

    const auto backward = [&](const Tensor& dx, const Tensor& dy, const FeedForward::Saved& of) {
        return [&, dx, dy, of] { ffn.backward_into(counter, dx, dy, of); };
    };
    // `saved` with one member changed.
    const auto spoilt = [&](const std::function<void(FeedForward::Saved&)>& change) {
        FeedForward::Saved other = saved;
        change(other);
        return backward({}, y, other);
    };
    fails({"saved.up.x", "null"}, [&] { static_cast<void>(ffn.backward(counter, y, {})); });
    fails({"dy: shape (2, 5)"}, backward({}, wrong, saved));
    fails({"dx: overlaps saved.up.x"}, backward(x, y, saved));
    fails({"dx: shape (2, 5)"}, backward(wrong, y, saved));
    fails({"dx: overlaps dy"}, backward(y, y, saved));
    fails({"dx: overlaps saved.xg"}, backward(held(saved.xg), y, saved));
    fails({"dx: overlaps saved.down.x"}, backward(held(saved.down.x), y, saved));
    fails({"dx: overlaps saved.down.aux"}, backward(saved.down.aux, y, saved));
    fails({"dx: overlaps saved.down.inner"}, backward(held(saved.down.inner), y, saved));
    fails({"dx: overlaps up's weight.gradient"}, backward(g1, y, saved));
    fails({"dx: overlaps down's blkdiag1.master"}, backward(w1, y, saved));
    fails({"dx: overlaps down's blkdiag2.gradient"},
          backward(held(down->parameters()[1].gradient), y, saved));
    fails({"dy: overlaps up's weight.gradient"}, backward({}, g1, saved));
    fails({"saved.xg", "null"}, spoilt([](auto& of) { of.xg = {}; }));
    fails({"saved.xg: shape (2, 4)", "(2, 12)"}, spoilt([&](auto& of) { of.xg = x; }));
    fails({"saved.down.x: shape (1, 6)", "(2, 6)"}, spoilt([&](auto& of) { of.down = {.x = fewer}; }));
    fails({"saved.down.aux", "null"}, spoilt([](auto& of) { of.down.aux = {}; }));
    fails({"saved.down.inner: shape (2, 5)", "(2, 4)"}, spoilt([&](auto& of) { of.down.inner = wrong; }));
    fails({"saved.up.x: overlaps down's blkdiag1.gradient"},
          spoilt([&](auto& of) { of.up.x = held(down->parameters()[0].gradient); }));
    fails({"draw: 16777216"}, [&] { ffn.backward_into(counter, {}, y, saved, {.draw = 1u << 24}); });
    of_plain.up.aux = convert(stream, of_plain.up.aux, DataType::f16);
    fails({"saved.up.aux", "f16"}, [&] { plain.backward_into(counter, {}, y, of_plain); });
    EXPECT_EQ(counter.recorded, 0);
    static_cast<void>(ffn.backward(counter, y, saved));
    EXPECT_GT(counter.recorded, 0);
    // In place, where nothing is kept for a backward pass.
    ffn.forward_into(counter, x, x, {.residual = x});
}

}  // namespace
}  // namespace danaus
