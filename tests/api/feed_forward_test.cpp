// Feed-forward layers against the formulas, for every pair of structures.
#include "linear_oracle.hpp"
#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"
#include "reference/gated.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"
#include "support/temporary_file.hpp"

#include <cmath>
#include <functional>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Structure;
using test::structures;
using Hidden = std::variant<Gate, Activation>;

constexpr std::size_t in = 6, h = 6, out = 9;
const Hidden hidden[] = {Gate::swiglu, Gate::geglu,      Gate::geglu_erf,
                         Gate::reglu,  Activation::gelu, Activation::none};

std::shared_ptr<Linear> make(Stream& stream, Structure structure, std::size_t from, std::size_t to,
                             unsigned seed, DataType type = DataType::f32) {
    return test::make_linear(structure, stream, from, to, {.type = type, .seed = seed, .gain = 2.0f});
}

FeedForward make(Stream& stream, Structure up, Structure down, const FeedForwardOptions& options,
                 unsigned seed, DataType type = DataType::f32) {
    const bool gated = std::holds_alternative<Gate>(options.activation);
    return {make(stream, up, in, gated ? 2 * h : h, seed, type), make(stream, down, h, out, seed + 1, type),
            options};
}

// What is between the two products, and its slope.
struct Function {
    bool gated;
    std::function<double(double)> value, slope;
};

Function function_of(const Hidden& activation) {
    if (const Gate* gate = std::get_if<Gate>(&activation)) {
        const auto kind = static_cast<reference::Gate>(*gate);
        return {true, [=](double g) { return reference::gate(kind, g); },
                [=](double g) { return reference::gate_slope(kind, g); }};
    }
    const auto kind = std::get<Activation>(activation) == Activation::gelu ? reference::Activation::gelu_tanh
                                                                           : reference::Activation::identity;
    return {false, [=](double z) { return reference::activate(kind, z); },
            [=](double z) { return reference::activation_derivative(kind, z); }};
}

// What no value or slope exceeds for an argument up to z, nor the slope's change.
Function sizes(bool gated) {
    return {gated, [](double z) { return 1.2 * z; }, [](double z) { return 1.2 * (1.0 + z); }};
}

struct Layer {
    test::Weights weights;
    std::vector<double> bias;
};

Layer layer_of(Stream& stream, Structure structure, const Linear& layer) {
    return {test::weights_of(stream, structure, layer),
            reference::to_double(download(stream, layer.parameters().back().master))};
}

std::vector<double> absolute(std::vector<double> values) {
    for (double& value : values) value = std::abs(value);
    return values;
}
Layer absolute(const Layer& layer) {
    return {test::absolute(layer.weights), absolute(layer.bias)};
}

// Both passes: y, dx, and the gradients in the order of FeedForward::parameters().
struct Passes {
    Matrix y, dx;
    std::vector<std::vector<double>> gradients;
};

Passes passes(const Layer& up, const Layer& down, const Function& act, const Matrix& x, const Matrix& dy) {
    const auto product = [](const Matrix& a, const Layer& layer) {
        return reference::epilogue_forward(reference::matmul(a, test::dense(layer.weights)),
                                           {.bias = layer.bias})
            .y;
    };
    const Matrix z = product(x, up);
    Matrix a(x.rows, down.weights.in);
    const auto place = [&](std::size_t i) { return i / a.cols * z.cols + i % a.cols; };
    const auto gate = [&](std::size_t i) { return z.data[place(i) + (act.gated ? a.cols : 0)]; };
    for (std::size_t i = 0; i < a.data.size(); ++i)
        a.data[i] = act.value(gate(i)) * (act.gated ? z.data[place(i)] : 1.0);
    const Matrix da = reference::matmul_transposed(dy, test::dense(down.weights));
    Matrix dz(z.rows, z.cols);
    for (std::size_t i = 0; i < a.data.size(); ++i) {
        const double slope = da.data[i] * act.slope(gate(i));
        dz.data[place(i)] = act.gated ? da.data[i] * act.value(gate(i)) : slope;
        if (act.gated) dz.data[place(i) + a.cols] = slope * z.data[place(i)];
    }
    Passes result{product(a, down), reference::matmul_transposed(dz, test::dense(up.weights)), {}};
    result.gradients = test::gradients(up.weights, dz, x);
    result.gradients.push_back(reference::column_sums(dz));
    for (auto& gradient : test::gradients(down.weights, dy, a))
        result.gradients.push_back(std::move(gradient));
    result.gradients.push_back(reference::column_sums(dy));
    return result;
}

struct Results {
    std::vector<float> y, dx;
    std::vector<std::vector<float>> gradients;
};

Results run(Stream& stream, const FeedForward& ffn, const Tensor& x, const Tensor& dy) {
    FeedForward::Saved saved;
    const Tensor y = ffn.forward(stream, x, {}, &saved), dx = ffn.backward(stream, dy, saved);
    Results results{download(stream, y), download(stream, dx), {}};
    for (const Parameter& parameter : ffn.parameters())
        results.gradients.push_back(download(stream, parameter.gradient));
    return results;
}

TEST(FeedForward, AgreesWithTheFormulas) {
    Stream stream(device());
    unsigned seed = 1;
    const auto check = [&](Structure up, Structure down, const Hidden& activation, DataType type,
                           const Shape& rows, Order order) {
        const FeedForward ffn = make(stream, up, down, {activation, order}, ++seed, type);
        const auto with = [&](std::size_t features) {
            return rows.rank() == 2 ? Shape{rows[0], rows[1], features} : Shape{rows[0], features};
        };
        const std::size_t tokens = rows.elements();
        const auto x = test::random_values(tokens * in, seed, type),
                   dy = test::random_values(tokens * out, seed + 50, type);
        const Layer layers[] = {layer_of(stream, up, ffn.up()), layer_of(stream, down, ffn.down())};
        const Matrix mx(tokens, in, x), mdy(tokens, out, dy);
        const Function act = function_of(activation);
        const Passes exact = passes(layers[0], layers[1], act, mx, mdy),
                     size = passes(absolute(layers[0]), absolute(layers[1]), sizes(act.gated),
                                   reference::absolute(mx), reference::absolute(mdy));
        const Results results =
            run(stream, ffn, upload(stream, x, with(in), type), upload(stream, dy, with(out), type));
        const double u = type == DataType::f32 ? 0x1p-23 : reference::unit_roundoff(test::float_type(type)),
                     relative = static_cast<double>(tokens + 4 * h + 16) * 0x1p-23 + 10 * u + 8e-6;
        const auto compare = [&](const std::string& what, const std::vector<float>& actual,
                                 const std::vector<double>& expected, std::vector<double> bound) {
            for (double& b : bound) b = relative * b + 0x1p-22;
            const std::vector<double> values = reference::to_double(actual);
            EXPECT_EQ(reference::first_mismatch(std::span<const double>(values), expected, bound), "")
                << what << " of " << up << " and " << down << ", " << to_string(type) << ", activation "
                << activation.index() << ", order " << static_cast<int>(order);
        };
        compare("y", results.y, exact.y.data, size.y.data);
        compare("dx", results.dx, exact.dx.data, size.dx.data);
        ASSERT_EQ(results.gradients.size(), exact.gradients.size());
        for (std::size_t i = 0; i < exact.gradients.size(); ++i)
            compare("gradient " + std::to_string(i), results.gradients[i], exact.gradients[i],
                    size.gradients[i]);
    };
    for (const Structure up : structures)
        for (const Structure down : structures)
            check(up, down, Gate::swiglu, DataType::f32, {7},
                  seed % 3 ? Order::token_major : Order::feature_major);
    for (const Hidden& activation : hidden)
        for (const DataType type : {DataType::f32, DataType::f16, DataType::bf16}) {
            // What ReLU does near 0 no rounded type can tell.
            if (activation == Hidden(Gate::reglu) && type != DataType::f32) continue;
            check(Structure::sparse24, Structure::dense, activation, type, {3, 4}, Order::feature_major);
            check(Structure::dense, Structure::monarch, activation, type, {5}, Order::token_major);
        }
    check(Structure::dense, Structure::sparse24, Gate::swiglu, DataType::f32, {0}, Order::token_major);
}

// The oracle's gradients are the derivatives of its forward pass.
TEST(FeedForward, TheOraclesBackwardIsTheDerivativeOfItsForward) {
    Stream stream(device());
    constexpr std::size_t tokens = 3;
    const auto x = reference::to_double(test::random_values(tokens * in, 1));
    const Matrix dy(tokens, out, test::random_values(tokens * out, 2));
    for (const Hidden& activation : hidden)
        for (const auto& [up, down] : {std::pair{Structure::sparse24, Structure::monarch},
                                       std::pair{Structure::monarch, Structure::block_diagonal}}) {
            const FeedForward ffn = make(stream, up, down, {activation}, 3);
            Layer layers[] = {layer_of(stream, up, ffn.up()), layer_of(stream, down, ffn.down())};
            const auto at = [&](const std::vector<double>& inputs) {
                return passes(layers[0], layers[1], function_of(activation), Matrix(tokens, in, inputs), dy);
            };
            const auto loss = [&](const std::vector<double>& inputs) {
                const Matrix y = at(inputs).y;
                double sum = 0.0;
                for (std::size_t i = 0; i < y.data.size(); ++i) sum += dy.data[i] * y.data[i];
                return sum;
            };
            const Passes exact = at(x);
            const auto expect = [&](const std::vector<double>& gradient, const std::vector<double>& slopes) {
                EXPECT_EQ(reference::first_mismatch(std::span<const double>(gradient), slopes, 1e-5, 1e-6),
                          "");
            };
            expect(exact.dx.data, reference::finite_difference_gradient(loss, x));
            std::size_t number = 0;
            for (Layer& layer : layers) {
                std::vector<std::vector<double>*> parts;
                for (auto& factor : layer.weights.factors) parts.push_back(&factor);
                parts.push_back(&layer.bias);
                for (std::vector<double>* part : parts) {
                    const std::vector<double> centre = *part;
                    expect(exact.gradients[number++], reference::finite_difference_gradient(
                                                          [&](const std::vector<double>& moved) {
                                                              *part = moved;
                                                              const double value = loss(x);
                                                              *part = centre;
                                                              return value;
                                                          },
                                                          centre));
                }
            }
        }
}

TEST(FeedForward, MicroBatchesAddUpExactly) {
    Stream stream(device());
    constexpr std::size_t tokens = 8;
    for (const Hidden& activation : {Hidden(Gate::reglu), Hidden(Activation::relu)}) {
        const FeedForward ffn = make(stream, Structure::sparse24, Structure::dense, {activation}, 1);
        const std::vector<Parameter> parameters = ffn.parameters();
        for (unsigned i = 0; i < parameters.size(); ++i)
            upload_into(stream, parameters[i].master,
                        test::whole_values(parameters[i].master.elements(), i + 1, 1));
        dynamic_cast<SparseLinear24&>(ffn.up()).weight().refresh(stream);
        const Tensor x = upload(stream, test::whole_values(tokens * in, 5, 1), {tokens, in}),
                     dy = upload(stream, test::whole_values(tokens * out, 6, 1), {tokens, out});
        const auto half = [&](std::uint64_t from, const BackwardOptions& options) {
            FeedForward::Saved saved;
            static_cast<void>(ffn.forward(stream, x.slice(0, from, from + 4), {}, &saved));
            ffn.backward_into(stream, {}, dy.slice(0, from, from + 4), saved, options);
        };
        const Results whole = run(stream, ffn, x, dy);
        half(0, {});
        half(4, {.accumulate = true, .draw = 1});
        for (std::size_t i = 0; i < parameters.size(); ++i)
            EXPECT_EQ(first_difference(download(stream, parameters[i].gradient), whole.gradients[i]), "")
                << i;
    }
}

TEST(FeedForward, APassCanBeAProgram) {
    Stream stream(device());
    constexpr std::size_t tokens = 8;
    const FeedForward ffn =
        make(stream, Structure::sparse24, Structure::monarch, {Gate::geglu, Order::feature_major}, 1);
    const Tensor x(device(), DataType::f32, {tokens, in}), dy(device(), DataType::f32, {tokens, out}),
        y(device(), DataType::f32, {tokens, out}), dx(device(), DataType::f32, {tokens, in});
    ProgramRecorder recorder(device());
    FeedForward::Saved saved;
    ffn.forward_into(recorder, y, x, {.residual = dy}, &saved);
    ffn.backward_into(recorder, dx, dy, saved);
    const Program program(std::move(recorder));
    for (unsigned seed = 1; seed < 3; ++seed) {
        upload_into(stream, x, test::random_values(x.elements(), seed));
        upload_into(stream, dy, test::random_values(dy.elements(), seed + 7));
        program.emit(stream);
        const auto emitted = download(stream, dx), results = download(stream, y);
        std::vector<std::vector<float>> gradients;
        for (const Parameter& parameter : ffn.parameters()) {
            gradients.push_back(download(stream, parameter.gradient));
            fill_into(stream, parameter.gradient, NAN);
        }
        FeedForward::Saved direct;
        EXPECT_EQ(
            first_difference(download(stream, ffn.forward(stream, x, {.residual = dy}, &direct)), results),
            "");
        EXPECT_EQ(first_difference(download(stream, ffn.backward(stream, dy, direct)), emitted), "");
        for (std::size_t i = 0; i < gradients.size(); ++i)
            EXPECT_EQ(first_difference(download(stream, ffn.parameters()[i].gradient), gradients[i]), "")
                << i;
    }
}

// Hidden activations lie as the options say, dx as x does, whatever order the other has.
TEST(FeedForward, TensorsLieInTheOrderAskedFor) {
    Stream stream(device());
    constexpr std::uint64_t tokens = 5;
    const auto strides = [](const Tensor& tensor, Order order) {
        const bool rows = order == Order::token_major;
        EXPECT_EQ(tensor.strides(), (rows ? Shape{tensor.size(1), 1} : Shape{1, tensor.size(0)}));
    };
    for (const Order inner : {Order::token_major, Order::feature_major})
        for (const Order outer : {Order::token_major, Order::feature_major})
            for (const Hidden& activation : {Hidden(Gate::swiglu), Hidden(Activation::gelu)}) {
                const FeedForward ffn =
                    make(stream, Structure::dense, Structure::dense, {activation, inner}, 1);
                const auto lying = [&](std::uint64_t features) {
                    if (outer == Order::token_major)
                        return Tensor(device(), DataType::f32, {tokens, features});
                    return Tensor(device(), DataType::f32, {features, tokens}).transpose();
                };
                const Tensor x = lying(in), dy = lying(out);
                fill_into(stream, x, 0.5);
                fill_into(stream, dy, 0.5);
                FeedForward::Saved saved;
                static_cast<void>(ffn.forward(stream, x, {.order = outer}, &saved));
                if (activation.index() == 0)
                    strides(saved.xg, inner);
                else
                    strides(saved.up.aux, inner);
                strides(saved.down.x, inner);
                strides(ffn.backward(stream, dy, saved), outer);
                const Linear::Saved alone{x};
                const Tensor dz(device(), DataType::f32, {tokens, ffn.up().out()});
                fill_into(stream, dz, 0.5);
                strides(ffn.up().backward(stream, dz, alone), outer);
            }
}

TEST(FeedForward, IsSavedAndLoadedWholeOrNotAtAll) {
    Stream stream(device());
    const test::TemporaryFile temporary;
    const auto& path = temporary.path;
    const FeedForward saved = make(stream, Structure::sparse24, Structure::monarch, {}, 1),
                      loaded = make(stream, Structure::sparse24, Structure::monarch, {}, 5);
    SafetensorsWriter writer;
    writer.add("bad.down.bias", saved.parameters()[0].master);
    expect_error(ErrorKind::invalid_argument, {"bad.down.bias", "before"},
                 [&] { saved.add_to(writer, "bad"); });
    EXPECT_FALSE(writer.contains("bad.up.weight"));
    saved.add_to(writer, "ffn");
    for (const char* name : {"ffn.up.weight", "ffn.up.mask", "ffn.up.bias", "ffn.down.blkdiag1",
                             "ffn.down.blkdiag2", "ffn.down.bias"})
        EXPECT_TRUE(writer.contains(name)) << name;
    // A good first layer before a second one that is not there.
    saved.up().add_to(writer, "half.up");
    writer.save(stream, path);
    const SafetensorsFile file(path);
    const auto state = [&](const FeedForward& ffn) {
        std::vector<float> all;
        for (const Parameter& parameter : ffn.parameters())
            for (const float value : download(stream, parameter.master)) all.push_back(value);
        return all;
    };
    const Tensor x = upload(stream, test::random_values(4 * in, 1), {4, in});
    const auto output = [&](const FeedForward& ffn) { return download(stream, ffn.forward(stream, x)); };
    const auto before = state(loaded), before_y = output(loaded);
    expect_error(ErrorKind::invalid_argument, {"half.down.blkdiag1"},
                 [&] { loaded.load_from(stream, file, "half"); });
    EXPECT_EQ(first_difference(state(loaded), before), "");
    EXPECT_EQ(first_difference(output(loaded), before_y), "");
    loaded.load_from(stream, file, "ffn");
    EXPECT_EQ(first_difference(state(loaded), state(saved)), "");
    EXPECT_EQ(first_difference(output(loaded), output(saved)), "");
}

TEST(FeedForward, HooksReachBothLayers) {
    Stream stream(device());
    const SparseLinear24Options sparse{.schedule = {.steps = 4, .refresh_every = 2, .dense_fraction = 0.5}};
    const auto up = std::make_shared<SparseLinear24>(stream, 8, 16, sparse),
               down = std::make_shared<SparseLinear24>(stream, 8, 8, sparse);
    const FeedForward ffn(up, down);
    EXPECT_EQ(ffn.kept(), (8u * 16 + 8 * 8) / 2);
    const Optimizer optimizer(stream, ffn.parameters(), LionOptions{});
    ffn.follow(optimizer);
    for (const auto& layer : {up, down}) {
        EXPECT_TRUE(layer->weight().options().gradient.step.buffer() == optimizer.step_count().buffer());
        EXPECT_TRUE(layer->weight().sparse());
    }
    ffn.after_step(stream, 0);
    EXPECT_TRUE(up->weight().sparse() && down->weight().sparse());
    ffn.after_step(stream, 1);
    EXPECT_FALSE(up->weight().sparse() || down->weight().sparse());
    EXPECT_EQ(ffn.bytes(), (8u * 16 + 8 * 8) * 4);
}

}  // namespace
}  // namespace danaus
