// Linear layers: passes of every structure against the formulas.
#include "linear_oracle.hpp"
#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <algorithm>
#include <cmath>

namespace danaus {
namespace {

using reference::Matrix;
using test::device;
using test::expect_error;
using test::first_difference;
using test::Layout;
using test::make_linear;
using test::Placed;
using test::Structure;
using test::structures;

constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};
constexpr Activation activations[] = {Activation::none, Activation::relu, Activation::gelu,
                                      Activation::gelu_erf};

reference::Activation oracle(Activation activation) {
    constexpr reference::Activation same[] = {reference::Activation::identity, reference::Activation::relu,
                                              reference::Activation::gelu_tanh,
                                              reference::Activation::gelu_erf};
    return same[static_cast<std::size_t>(activation)];
}

struct Problem {
    Structure structure = Structure::dense;
    DataType type = DataType::f32;
    std::size_t in = 6, out = 9, batch = 0, tokens = 5;  ///< batch 0: rank 2
    bool bias = true, residual = false, wide = false, wide_gradient = true;
    bool pruned = false;  ///< of a 2:4 layer: the gradient, whose groups then hold one entry each
    Activation activation = Activation::none;
    float scale = 1.0f;
    Layout x{}, y{}, dy{}, dx{};
    unsigned seed = 1;

    [[nodiscard]] Shape shape(std::size_t features) const {
        return batch ? Shape{batch, tokens, features} : Shape{tokens, features};
    }
    [[nodiscard]] std::size_t rows() const { return batch ? batch * tokens : tokens; }
};

std::ostream& operator<<(std::ostream& out, const Problem& p) {
    return out << p.structure << ' ' << to_string(p.type) << ' ' << p.in << " -> " << p.out << ", batch "
               << p.batch << ", tokens " << p.tokens << ", bias " << p.bias << ", residual " << p.residual
               << ", wide " << p.wide << p.wide_gradient << ", pruned " << p.pruned << ", "
               << to_string(p.activation) << ", scale " << p.scale << ", x " << p.x << ", y " << p.y
               << ", dy " << p.dy << ", dx " << p.dx;
}

double unit(DataType type) {
    return type == DataType::f32 ? 0x1p-23 : reference::unit_roundoff(test::float_type(type));
}

// Element by element.
template <typename Call>
Matrix map(const Matrix& a, const Matrix& b, const Call& call) {
    Matrix result(a.rows, a.cols);
    for (std::size_t i = 0; i < result.data.size(); ++i) result.data[i] = call(a.data[i], b.data[i]);
    return result;
}

// A layer whose gradients are pruned, as make_linear's are not.
std::unique_ptr<Linear> make_pruned(Structure structure, Stream& stream, std::size_t in, std::size_t out,
                                    const LinearOptions& options) {
    if (structure == Structure::sparse24)
        return std::make_unique<SparseLinear24>(stream, in, out, SparseLinear24Options{}, options);
    return std::make_unique<SparseMonarchLinear24>(stream, in, out, test::blocks, SparseLinear24Options{},
                                                   options);
}

bool may_be_pruned(Structure structure) {
    return structure == Structure::sparse24 || structure == Structure::sparse_monarch;
}

// Empty, or what of a forward and a backward pass leaves its bounds.
std::string check(Stream& stream, const Problem& p) {
    const DataType wide = p.wide ? DataType::f32 : p.type;
    const LinearOptions options{
        .bias = p.bias, .type = p.type, .gradient = p.wide_gradient ? DataType::f32 : p.type, .seed = p.seed};
    auto layer = make_linear(p.structure, stream, p.in, p.out, options);
    if (p.pruned) layer = make_pruned(p.structure, stream, p.in, p.out, options);
    const std::size_t rows = p.rows();
    const auto x = test::random_values(rows * p.in, p.seed, p.type),
               residual = test::random_values(rows * p.out, p.seed + 2, wide);
    auto dy = test::random_values(rows * p.out, p.seed + 1, wide);
    // Four tokens of a feature are a group, which is pruned to the one entry that it has; behind a second
    // factor only if all features have the same one.
    for (std::size_t i = 0; i < dy.size(); ++i) {
        const std::size_t feature = p.structure == Structure::sparse24 ? i % p.out : 0;
        if (p.pruned && i / p.out % 4 != (feature + i / p.out / 4) % 4) dy[i] = 0.0f;
    }
    const Placed tx(stream, p.type, p.shape(p.in), p.x, x), tdy(stream, wide, p.shape(p.out), p.dy, dy),
        ty(stream, wide, p.shape(p.out), p.y), tdx(stream, p.type, p.shape(p.in), p.dx);
    Epilogue epilogue{.activation = p.activation, .scale = p.scale};
    if (p.residual) epilogue.residual = upload(stream, residual, p.shape(p.out), wide);
    Linear::Saved saved;
    layer->forward_into(stream, ty, tx, epilogue, &saved);
    layer->backward_into(stream, tdx, tdy, saved);

    // Relative errors: of sums, and of storing inputs of the next product.
    const double sums = static_cast<double>(p.in + p.out + rows + 8) * 0x1p-23, u = unit(p.type),
                 tiny =
                     p.type == DataType::f16 ? static_cast<double>(p.in + p.out + rows) * 0x1p-24 : 0x1p-120;
    const test::Weights weights = test::weights_of(stream, p.structure, *layer);
    const Matrix w = test::dense(weights), w_size = test::dense(test::absolute(weights));
    const Matrix mx(rows, p.in, x), mdy(rows, p.out, dy);
    reference::Epilogue exact{.scale = static_cast<double>(p.scale), .activation = oracle(p.activation)};
    if (p.bias) exact.bias = reference::to_double(download(stream, layer->parameters().back().master));
    if (p.residual) exact.residual = Matrix(rows, p.out, residual);
    const auto forward = reference::epilogue_forward(reference::matmul(mx, w), exact);
    Matrix z_error = reference::matmul(reference::absolute(mx), w_size);
    for (std::size_t i = 0; i < z_error.data.size(); ++i) {
        const double b = p.bias ? std::abs(exact.bias[i % p.out]) : 0.0;
        z_error.data[i] = (sums + 3 * u) * (std::abs(exact.scale) * z_error.data[i] + b) + tiny;
    }
    // No activation has a slope above 1.2, nor but for ReLU's step a second derivative.
    const Matrix y_error = map(z_error, forward.y, [&](double error, double y) {
        return 1.2 * error + 4e-6 * (1.0 + std::abs(y)) + unit(wide) * (std::abs(y) + error) + tiny;
    });
    const Matrix dz = reference::epilogue_backward(mdy, forward.z, exact.activation).dz;
    Matrix dz_error = map(z_error, forward.z, [&](double error, double z) {
        const double aux = error + unit(wide) * (std::abs(z) + error);
        if (p.activation == Activation::none) return 0.0;
        if (p.activation == Activation::relu) return std::abs(z) <= aux ? 1.0 : 0.0;
        return 1.2 * aux + 4e-6;
    });
    dz_error = map(map(dz_error, mdy, [](double error, double d) { return error * std::abs(d); }), dz,
                   [&](double error, double d) { return error + unit(wide) * std::abs(d); });
    const Matrix scaled = map(dz, dz, [&](double d, double) { return exact.scale * d; });
    const Matrix scaled_error = map(dz_error, dz, [&](double error, double d) {
        return std::abs(exact.scale) * (1.1 * error + (sums + 4 * u) * std::abs(d)) + tiny;
    });
    const auto with_storage = [&](std::vector<double> bound, const std::vector<double>& value,
                                  DataType type) {
        for (std::size_t i = 0; i < bound.size(); ++i) bound[i] += unit(type) * std::abs(value[i]) + tiny;
        return bound;
    };

    std::ostringstream text;
    const auto compare = [&](const char* what, const std::vector<float>& actual,
                             const std::vector<double>& expected, const std::vector<double>& bound) {
        const std::vector<double> values = reference::to_double(actual);
        const std::string problem =
            reference::first_mismatch(std::span<const double>(values), expected, bound);
        if (!problem.empty()) text << what << ": " << problem << '\n';
    };
    const auto y = ty.read(stream), dx = tdx.read(stream);
    text << y.damage << dx.damage;
    compare("y", y.values, forward.y.data, y_error.data);
    const Matrix exact_dx = reference::matmul_transposed(scaled, w);
    compare("dx", dx.values, exact_dx.data,
            with_storage(reference::matmul_transposed(scaled_error, w_size).data, exact_dx.data, p.type));
    const auto dw = test::gradients(weights, scaled, mx),
               bounds = test::gradients(test::absolute(weights), scaled_error, reference::absolute(mx));
    for (std::size_t i = 0; i < dw.size(); ++i) {
        const Tensor& gradient = layer->parameters()[i].gradient;
        compare("dW", download(stream, gradient), dw[i], with_storage(bounds[i], dw[i], gradient.type()));
    }
    if (p.bias) {
        const Matrix size =
            map(dz_error, dz, [&](double error, double d) { return error + sums * std::abs(d); });
        compare("db", download(stream, layer->parameters().back().gradient), reference::column_sums(dz),
                with_storage(reference::column_sums(size), reference::column_sums(dz), DataType::f32));
    }
    return text.str();
}

TEST(Linear, AgreesWithTheFormulas) {
    Stream stream(device());
    for (const Structure structure : structures)
        for (const DataType type : types)
            for (const Activation activation : {Activation::none, Activation::gelu}) {
                const Problem p{.structure = structure, .type = type, .activation = activation};
                ASSERT_EQ(check(stream, p), "") << p;
            }
    // Sizes that a Monarch layer's blocks do not divide; of 2:4 ones more in sparse_monarch_linear_test.cpp.
    const auto check_padded = [&](Structure structure, DataType type, std::size_t in, std::size_t out) {
        Problem p{.structure = structure, .type = type, .in = in, .out = out, .batch = 2};
        p.residual = true;
        p.activation = Activation::gelu;
        ASSERT_EQ(check(stream, p), "") << p;
    };
    for (const DataType type : types)
        for (const auto& [in, out] : {std::pair<std::size_t, std::size_t>{13, 11}, {2, 7}, {12, 10}, {8, 3}})
            check_padded(Structure::monarch, type, in, out);
    check_padded(Structure::sparse_monarch, DataType::bf16, 26, 31);
    for (const DataType type : types)
        for (const Activation activation : {Activation::none, Activation::gelu})
            for (const std::size_t tokens : {1u, 16u, 39u}) {
                const Problem p{.structure = Structure::sparse24,
                                .type = type,
                                .in = 13,
                                .tokens = tokens,
                                .pruned = true,
                                .activation = activation};
                ASSERT_EQ(check(stream, p), "") << p;
            }
}

TEST(Linear, AgreesForAnyShapeLayoutAndEpilogue) {
    Stream stream(device());
    test::property(25, [&] {
        Problem p{.structure = structures[test::draw(0, std::size(structures) - 1)],
                  .type = types[test::draw(0, 2)]};
        // A Monarch layer pads, a block-diagonal one cannot.
        const std::size_t unit = test::has_factors(p.structure) ? 1 : test::blocks;
        p.in = unit * test::draw(1, 12 * test::blocks / unit);
        p.out = unit * test::draw(1, 12 * test::blocks / unit);
        p.batch = test::draw(0, 3);
        p.tokens = test::draw(0, 20);
        p.bias = test::draw(0, 1);
        p.residual = test::draw(0, 1);
        p.wide = test::draw(0, 1);
        p.wide_gradient = test::draw(0, 1);
        p.activation = activations[test::draw(0, 3)];
        p.scale = test::draw(0, 1) ? 1.0f : -0.5f;
        for (Layout* layout : {&p.x, &p.y, &p.dy, &p.dx}) *layout = test::draw_layout();
        p.pruned = may_be_pruned(p.structure) && test::draw(0, 1) == 1;
        p.seed = static_cast<unsigned>(test::draw(0, 1000));
        RC_LOG() << p << '\n';
        RC_ASSERT(check(stream, p) == "");
    });
}

// The gradients' formulas are the derivatives of the forward pass, and the device's are these.
TEST(Linear, TheBackwardIsTheDerivativeOfTheForward) {
    Stream stream(device());
    constexpr std::size_t in = 6, out = 9, tokens = 4;
    const auto x = test::random_values(tokens * in, 1), dy = test::random_values(tokens * out, 2);
    for (const Structure structure : structures) {
        const auto layer = make_linear(structure, stream, in, out, {.seed = 3});
        const test::Weights weights = test::weights_of(stream, structure, *layer);
        const auto bias = reference::to_double(download(stream, layer->parameters().back().master));
        const auto loss = [&](const test::Weights& w, const std::vector<double>& b,
                              const std::vector<double>& inputs) {
            const auto y =
                reference::epilogue_forward(reference::matmul(Matrix(tokens, in, inputs), test::dense(w)),
                                            {.bias = b, .activation = reference::Activation::gelu_tanh})
                    .y;
            double sum = 0.0;
            for (std::size_t i = 0; i < dy.size(); ++i) sum += static_cast<double>(dy[i]) * y.data[i];
            return sum;
        };
        Linear::Saved saved;
        static_cast<void>(layer->forward(stream, upload(stream, x, {tokens, in}),
                                         {.activation = Activation::gelu}, &saved));
        const Tensor dx = layer->backward(stream, upload(stream, dy, {tokens, out}), saved);
        const auto expect = [&](const Tensor& gradient, const std::vector<double>& slopes) {
            EXPECT_EQ(reference::first_mismatch(download(stream, gradient), slopes, 1e-4, 1e-5), "")
                << structure;
        };
        const auto inputs = reference::to_double(x);
        expect(dx, reference::finite_difference_gradient(
                       [&](const std::vector<double>& at) { return loss(weights, bias, at); }, inputs));
        expect(layer->parameters().back().gradient,
               reference::finite_difference_gradient(
                   [&](const std::vector<double>& at) { return loss(weights, at, inputs); }, bias));
        for (std::size_t i = 0; i < weights.factors.size(); ++i)
            expect(layer->parameters()[i].gradient, reference::finite_difference_gradient(
                                                        [&](const std::vector<double>& at) {
                                                            test::Weights moved = weights;
                                                            moved.factors[i] = at;
                                                            return loss(moved, bias, inputs);
                                                        },
                                                        weights.factors[i]));
    }
}

// Small whole numbers, exact in every type: two halves of a batch, accumulated, are the batch.
TEST(Linear, MicroBatchesAddUpExactly) {
    Stream stream(device());
    constexpr std::size_t in = 12, out = 6, tokens = 16;
    for (const Structure structure : structures)
        for (const DataType type : {DataType::f32, DataType::bf16})
            for (const bool pruned : {false, true}) {
                if (pruned && !may_be_pruned(structure)) continue;
                const LinearOptions options{.type = type};
                std::unique_ptr<Linear> layer = make_linear(structure, stream, in, out, options);
                if (pruned) layer = make_pruned(structure, stream, in, out, options);
                for (std::size_t i = 0; i < layer->parameters().size(); ++i)
                    test::set_parameter(stream, *layer, i,
                                        test::whole_values(layer->parameters()[i].master.elements(),
                                                           3 + static_cast<unsigned>(i), 1));
                if (const auto* sparse = dynamic_cast<const Linear24*>(layer.get()))
                    for (const SparseWeight24& weight : sparse->weights()) weight.refresh(stream);
                const auto x = test::whole_values(tokens * in, 1, 2);
                auto dy = test::whole_values(tokens * out, 2, 2);
                // A group with one entry is pruned to that entry.
                for (std::size_t i = 0; i < dy.size(); ++i)
                    if (pruned && i / out % 4 != 1) dy[i] = 0.0f;
                const Tensor tx = upload(stream, x, {tokens, in}, type),
                             tdy = upload(stream, dy, {tokens, out}, type);
                const auto pass = [&](std::uint64_t from, std::uint64_t to, const BackwardOptions& how) {
                    Linear::Saved saved;
                    const Tensor y = layer->forward(stream, tx.slice(0, from, to),
                                                    {.activation = Activation::relu}, &saved);
                    std::vector<float> both = download(stream, y);
                    for (const float v :
                         download(stream, layer->backward(stream, tdy.slice(0, from, to), saved, how)))
                        both.push_back(v);
                    return both;
                };
                const auto parameters = [&] {
                    std::vector<std::vector<float>> all;
                    for (const Parameter& parameter : layer->parameters())
                        all.push_back(download(stream, parameter.gradient));
                    return all;
                };
                static_cast<void>(pass(0, tokens, {}));
                const auto whole = parameters();
                const auto first = pass(0, 8, {});
                static_cast<void>(pass(8, tokens, {.accumulate = true, .draw = 1}));
                const auto halves = parameters();
                for (std::size_t i = 0; i < whole.size(); ++i)
                    EXPECT_EQ(first_difference(halves[i], whole[i]), "") << structure << to_string(type) << i;
                // dx is written, not added to, and the same for the half.
                EXPECT_EQ(first_difference(pass(0, 8, {.accumulate = true}), first), "") << structure;

                const test::Weights weights = test::weights_of(stream, structure, *layer);
                const auto bias = reference::to_double(download(stream, layer->parameters().back().master));
                const auto forward = reference::epilogue_forward(
                    reference::matmul(Matrix(tokens, in, x), test::dense(weights)),
                    {.bias = bias, .activation = reference::Activation::relu});
                const Matrix dz = reference::epilogue_backward(Matrix(tokens, out, dy), forward.z,
                                                               reference::Activation::relu)
                                      .dz;
                const auto dw = test::gradients(weights, dz, Matrix(tokens, in, x));
                for (std::size_t i = 0; i < dw.size(); ++i)
                    EXPECT_EQ(reference::first_mismatch(whole[i], dw[i], 0.0, 0.0), "") << structure;
                EXPECT_EQ(reference::first_mismatch(whole.back(), reference::column_sums(dz), 0.0, 0.0), "");
            }
}

TEST(Linear, APassCanBeAProgram) {
    Stream stream(device());
    constexpr std::size_t in = 12, out = 9, tokens = 8;
    for (const Structure structure : structures) {
        const auto layer = make_linear(structure, stream, in, out, {.seed = 5});
        const Tensor x(device(), DataType::f32, {tokens, in}), dy(device(), DataType::f32, {tokens, out}),
            y(device(), DataType::f32, {tokens, out}), dx(device(), DataType::f32, {tokens, in});
        const auto record = [&](Recorder& recorder) {
            Linear::Saved saved;
            layer->forward_into(recorder, y, x, {.activation = Activation::gelu_erf}, &saved);
            layer->backward_into(recorder, dx, dy, saved);
        };
        ProgramRecorder recorder(device());
        record(recorder);
        const Program program(std::move(recorder));
        for (unsigned seed = 1; seed < 3; ++seed) {
            upload_into(stream, x, test::random_values(x.elements(), seed));
            upload_into(stream, dy, test::random_values(dy.elements(), seed + 7));
            const auto results = [&](const std::function<void()>& run) {
                for (const Tensor& t : {y, dx, layer->parameters()[0].gradient}) fill_into(stream, t, NAN);
                run();
                std::vector<float> all;
                for (const Tensor& t : {y, dx, layer->parameters()[0].gradient})
                    for (const float value : download(stream, t)) all.push_back(value);
                return all;
            };
            EXPECT_EQ(
                first_difference(results([&] { program.emit(stream); }), results([&] { record(stream); })),
                "")
                << structure;
        }
    }
}

}  // namespace
}  // namespace danaus
