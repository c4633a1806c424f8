// Gated linear units and their gradients against the formulas, in every memory order.
#include "reference/gated.hpp"

#include "reference/error_bound.hpp"
#include "reference/finite_difference.hpp"
#include "support/bits.hpp"
#include "support/device.hpp"
#include "support/operands.hpp"

#include <cmath>
#include <limits>

namespace danaus {
namespace {

using test::device;
using test::expect_error;
using test::Layout;
using test::Placed;

constexpr Gate gates[] = {Gate::swiglu, Gate::geglu, Gate::geglu_erf, Gate::reglu};
constexpr DataType types[] = {DataType::f32, DataType::f16, DataType::bf16};

reference::Gate oracle(Gate gate) {
    return static_cast<reference::Gate>(gate);
}

std::vector<float> drawn(DataType type, std::size_t count, unsigned seed, float spread = 1.0f) {
    std::vector<float> values = test::random_values(count, seed);
    for (float& value : values) value *= spread;
    return reference::round_to(test::float_type(type), std::span<const float>(values));
}

/// Keeps packets on slots that stand for tensors too large to exist.
class Capture final : public Recorder {
public:
    [[nodiscard]] Device device() const override { return program_.device(); }
    void record(const Packet& packet) override { packets.push_back(packet); }
    void record(const Copy&) override {}
    [[nodiscard]] Buffer allocate(std::uint64_t bytes) override {
        return program_.slot("slot" + std::to_string(++slots_), bytes);
    }
    std::vector<Packet> packets;

private:
    ProgramRecorder program_{test::device()};
    int slots_ = 0;
};

// Storing a value near `exact` with error `error` in `type`.
double stored(DataType type, double exact, double error) {
    const double tiny = type == DataType::f16 ? 0x1p-25 : 0x1p-126;
    const double u = type == DataType::f32 ? 0x1p-24 : reference::unit_roundoff(test::float_type(type));
    return error + u * (std::abs(exact) + error) + tiny;
}

Shape doubled(Shape shape) {
    shape[shape.rank() - 1] *= 2;
    return shape;
}

// What one row-major [x | g] gives, value by value, with bounds.
struct Expected {
    std::vector<double> out, out_bound, dxg, dxg_bound;
};

Expected expected(DataType type, Gate gate, const std::vector<float>& xg, const std::vector<float>& dy,
                  std::size_t h) {
    Expected e;
    e.dxg.resize(xg.size());
    e.dxg_bound.resize(xg.size());
    for (std::size_t i = 0; i < dy.size(); ++i) {
        const std::size_t at = i / h * 2 * h + i % h;
        const double x = xg[at], g = xg[at + h], d = dy[i];
        const double value = reference::gate(oracle(gate), g), slope = reference::gate_slope(oracle(gate), g);
        const double value_error = reference::gate_error(oracle(gate), g),
                     slope_error = reference::gate_slope_error(oracle(gate), g);
        const auto bound = [&](double factor, double exact, double error) {
            return stored(type, exact, std::abs(factor) * error + 0x1p-22 * std::abs(exact) + 0x1p-126);
        };
        e.out.push_back(x * value);
        e.out_bound.push_back(bound(x, x * value, value_error));
        e.dxg[at] = d * value;
        e.dxg_bound[at] = bound(d, d * value, value_error);
        e.dxg[at + h] = d * x * slope;
        e.dxg_bound[at + h] = bound(d * x, d * x * slope, slope_error);
    }
    return e;
}

std::string mismatch(const std::vector<float>& actual, const std::vector<double>& exact,
                     const std::vector<double>& bound) {
    const std::vector<double> values = reference::to_double(actual);
    return reference::first_mismatch(std::span<const double>(values), exact, bound);
}

struct Problem {
    DataType type;
    Gate gate;
    Shape shape;  ///< of out
    Layout in{}, dy{}, out{};
    unsigned seed = 1;
};

std::ostream& operator<<(std::ostream& out, const Problem& p) {
    return out << to_string(p.type) << ' ' << to_string(p.gate) << ' ' << to_string(p.shape) << ", in "
               << p.in << ", dy " << p.dy << ", out " << p.out;
}

struct Results {
    std::vector<float> out, dxg;
    std::string damage;
};

// Empty, or what is wrong.
std::string check(Stream& stream, const Problem& p, Results* results = nullptr) {
    const std::size_t h = p.shape[p.shape.rank() - 1], count = p.shape.elements();
    const auto xg = drawn(p.type, 2 * count, p.seed, 3.0f), dy = drawn(p.type, count, p.seed + 1);
    const Placed txg(stream, p.type, doubled(p.shape), p.in, xg), tdy(stream, p.type, p.shape, p.dy, dy);
    const Placed out(stream, p.type, p.shape, p.out), dxg(stream, p.type, doubled(p.shape), p.out);
    gated_activation_into(stream, out, txg, p.gate);
    gated_activation_backward_into(stream, dxg, tdy, txg, p.gate);
    const auto forward = out.read(stream), backward = dxg.read(stream);
    if (results) *results = {forward.values, backward.values, {}};
    const Expected e = expected(p.type, p.gate, xg, dy, h);
    std::ostringstream text;
    for (const auto& [what, problem] : {std::pair{"out", mismatch(forward.values, e.out, e.out_bound)},
                                        {"out", forward.damage},
                                        {"dxg", mismatch(backward.values, e.dxg, e.dxg_bound)},
                                        {"dxg", backward.damage}})
        if (!problem.empty()) text << p << ": " << what << ": " << problem;
    return text.str();
}

const Layout plain{}, odd{.gap = 1, .batch_gap = 3, .skew = 1}, wide{.gap = 2, .skew = 2},
    major{.feature_major = true}, odd_major{.feature_major = true, .gap = 1, .skew = 1};

TEST(Gated, AgreesWithTheFormulasInEveryMemoryOrderToTheSameBits) {
    Stream stream(device());
    for (const DataType type : types)
        for (const Gate gate : gates)
            for (const Shape& shape : {Shape{1, 1}, {3, 5}, {130, 33}, {16, 256}, {2, 5, 34}}) {
                // Every shape with one gate, the others with odd and with whole rows.
                if (gate != Gate::swiglu && shape[1] != 33 && shape[1] != 256) continue;
                Results first;
                ASSERT_EQ(check(stream, {type, gate, shape}, &first), "");
                for (const auto& [in, dy, out] : {std::array{major, major, major},
                                                  {odd, plain, odd},
                                                  {wide, wide, wide},
                                                  {odd_major, odd_major, odd_major},
                                                  {major, odd, plain},
                                                  {plain, major, odd_major}}) {
                    const Problem p{type, gate, shape, in, dy, out};
                    Results other;
                    ASSERT_EQ(check(stream, p, &other), "");
                    ASSERT_EQ(test::first_difference(other.out, first.out), "") << p;
                    ASSERT_EQ(test::first_difference(other.dxg, first.dxg), "") << p;
                }
            }
}

TEST(Gated, AgreesForAnyShapeAndStride) {
    Stream stream(device());
    test::property(25, [&] {
        Problem p{types[test::draw(0, 2)], gates[test::draw(0, 3)], {}};
        const std::uint64_t tokens = test::draw(1, 70), h = test::draw(1, 90);
        p.shape = test::draw(0, 1) ? Shape{test::draw(1, 3), tokens, h} : Shape{tokens, h};
        p.in = test::draw_layout();
        p.dy = test::draw_layout();
        p.out = test::draw_layout();
        p.in.broadcast = test::draw(0, 9) == 0;
        p.seed = static_cast<unsigned>(test::draw(0, 1000));
        // One row of x and g for all: compared with the same written out.
        if (p.in.broadcast) {
            const std::size_t count = 2 * h;
            const auto row = drawn(p.type, count, p.seed);
            p.shape = {tokens, h};
            std::vector<float> all;
            for (std::uint64_t t = 0; t < tokens; ++t) all.insert(all.end(), row.begin(), row.end());
            const Tensor once = upload(stream, row, {1, count}, p.type);
            const Tensor many = upload(stream, all, {tokens, count}, p.type);
            RC_ASSERT(test::first_difference(
                          download(stream, gated_activation(stream, once.as_strided({tokens, count}, {0, 1}),
                                                            p.gate)),
                          download(stream, gated_activation(stream, many, p.gate))) == "");
            return;
        }
        RC_ASSERT(check(stream, p) == "");
    });
}

TEST(Gated, ResultsLieInMemoryAsTheInput) {
    Stream stream(device());
    const auto xg = drawn(DataType::f16, 2 * 6 * 8, 3), dy = drawn(DataType::f16, 2 * 6 * 4, 4);
    const Tensor rows = upload(stream, xg, {2, 6, 8}, DataType::f16),
                 d = upload(stream, dy, {2, 6, 4}, DataType::f16);
    const Tensor columns = empty(stream, DataType::f16, {2, 8, 6}).transpose();
    convert_into(stream, columns, rows);
    const Tensor a = gated_activation(stream, rows, Gate::geglu),
                 b = gated_activation(stream, columns, Gate::geglu);
    EXPECT_TRUE(a.is_contiguous());
    EXPECT_TRUE(b.transpose().is_contiguous());
    EXPECT_EQ(test::first_difference(download(stream, a), download(stream, b)), "");
    const Tensor da = gated_activation_backward(stream, d, rows, Gate::geglu),
                 db = gated_activation_backward(stream, d, columns, Gate::geglu);
    EXPECT_EQ(da.shape(), (Shape{2, 6, 8}));
    EXPECT_TRUE(da.is_contiguous());
    EXPECT_TRUE(db.transpose().is_contiguous());
    EXPECT_EQ(test::first_difference(download(stream, da), download(stream, db)), "");
}

TEST(Gated, TheBackwardIsTheDerivativeOfTheForward) {
    Stream stream(device());
    const std::size_t tokens = 5, h = 8;
    const auto xg = drawn(DataType::f32, tokens * 2 * h, 21, 2.0f), dy = drawn(DataType::f32, tokens * h, 22);
    for (const Gate gate : gates) {
        const auto loss = [&](const std::vector<double>& values) {
            double sum = 0.0;
            for (std::size_t i = 0; i < dy.size(); ++i) {
                const std::size_t at = i / h * 2 * h + i % h;
                sum +=
                    static_cast<double>(dy[i]) * values[at] * reference::gate(oracle(gate), values[at + h]);
            }
            return sum;
        };
        const auto slopes = reference::finite_difference_gradient(loss, reference::to_double(xg));
        const auto dxg =
            download(stream, gated_activation_backward(stream, upload(stream, dy, {tokens, h}),
                                                       upload(stream, xg, {tokens, 2 * h}), gate));
        EXPECT_EQ(reference::first_mismatch(dxg, slopes, 1e-5, 1e-5), "") << to_string(gate);
    }
}

TEST(Gated, KeepsItsAccuracyOverAllOfGAndTheLimits) {
    Stream stream(device());
    constexpr float inf = std::numeric_limits<float>::infinity(),
                    nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> g;
    for (int i = -2000; i <= 2000; ++i) g.push_back(static_cast<float>(i) * 0.01f);
    for (const float far : {30.0f, 87.0f, 104.0f, 127.5f, 129.0f, 1e4f, 1e30f})
        g.insert(g.end(), {far, -far});
    const std::size_t h = g.size();
    std::vector<float> xg(h, 1.5f);
    xg.insert(xg.end(), g.begin(), g.end());
    for (const Gate gate : gates) {
        const auto out = download(stream, gated_activation(stream, upload(stream, xg, {1, 2 * h}), gate));
        const auto dxg = download(
            stream, gated_activation_backward(stream, upload(stream, std::vector<float>(h, -0.5f), {1, h}),
                                              upload(stream, xg, {1, 2 * h}), gate));
        const Expected e = expected(DataType::f32, gate, xg, std::vector<float>(h, -0.5f), h);
        EXPECT_EQ(mismatch(out, e.out, e.out_bound), "") << to_string(gate);
        EXPECT_EQ(mismatch(dxg, e.dxg, e.dxg_bound), "") << to_string(gate);

        // x: 2, but infinite and NaN at the end.
        const std::vector<float> limits{2, 2, 2, inf, nan, inf, inf, -inf, nan, -inf, 3, 0.5f};
        const auto at = download(stream, gated_activation(stream, upload(stream, limits, {1, 12}), gate));
        EXPECT_EQ(at[0], inf);
        EXPECT_EQ(at[1], -0.0f) << to_string(gate);
        EXPECT_TRUE(std::isnan(at[2]));
        EXPECT_TRUE(std::isnan(at[3])) << "infinity times act(-infinity)";
        EXPECT_TRUE(std::isnan(at[4]));
        EXPECT_EQ(at[5], inf);
        const auto slope = download(
            stream, gated_activation_backward(stream, upload(stream, std::vector<float>(6, 1.0f), {1, 6}),
                                              upload(stream, limits, {1, 12}), gate));
        EXPECT_EQ(slope[6], 2.0f);
        EXPECT_EQ(slope[7], 0.0f) << to_string(gate);
        EXPECT_TRUE(std::isnan(slope[8]));
        EXPECT_TRUE(std::isnan(slope[2]));
    }
}

TEST(Gated, EmptyIsNothing) {
    Stream stream(device());
    for (const Shape& shape : {Shape{0, 4}, {3, 0}, {2, 0, 6}, {0, 2, 2}}) {
        const Tensor xg = empty(stream, DataType::f16, shape),
                     out = gated_activation(stream, xg, Gate::reglu);
        EXPECT_EQ(out.size(shape.rank() - 1), shape[shape.rank() - 1] / 2);
        EXPECT_EQ(gated_activation_backward(stream, out, xg, Gate::swiglu).shape(), shape);
    }
}

TEST(Gated, LargeTensorsAreSplit) {
    const Device small = test::capped_device([](Capabilities& caps) { caps.max_storage_range = 1 << 14; });
    Stream stream(small);
    for (const DataType type : {DataType::f32, DataType::f16})
        for (const Layout& layout : {plain, major, odd_major})
            EXPECT_EQ(check(stream, {type, Gate::swiglu, {150, 65}, layout, layout, layout}), "");
    Capture capture;
    const auto large = [&](std::uint64_t features) {
        return empty(capture, DataType::bf16, {features, 1 << 16}).transpose();
    };
    gated_activation_backward_into(capture, large(1 << 17), large(1 << 16), large(1 << 17), Gate::geglu);
    EXPECT_GE(capture.packets.size(), 8u);
    for (const Packet& packet : capture.packets)
        for (const Operand& operand : packet.operands) EXPECT_LE(operand.bytes, 1ull << 31);
}

TEST(Gated, WrongInput) {
    Stream stream(device());
    const auto f32 = [&](const Shape& shape) { return empty(stream, DataType::f32, shape); };
    const Tensor xg = f32({4, 6}), dy = f32({4, 3}), out = f32({4, 3}), dxg = f32({4, 6});
    const auto invalid = ErrorKind::invalid_argument;
    const auto forward = [&](const Tensor& to, const Tensor& from, Gate gate = Gate::swiglu) {
        return [=, &stream] { gated_activation_into(stream, to, from, gate); };
    };
    const auto backward = [&](const Tensor& to, const Tensor& d, const Tensor& from) {
        return [=, &stream] { gated_activation_backward_into(stream, to, d, from, Gate::geglu); };
    };
    expect_error(invalid, {"xg", "(4, 7)", "even"}, forward(out, f32({4, 7})));
    expect_error(invalid, {"xg", "(6)", "rank 2 or 3"}, forward(out, f32({6})));
    expect_error(invalid, {"xg", "null"}, forward(out, {}));
    expect_error(invalid, {"xg", "u32"}, forward(out, empty(stream, DataType::u32, {4, 6})));
    expect_error(invalid, {"gate", "4", "0 to 3"}, forward(out, xg, static_cast<Gate>(4)));
    expect_error(invalid, {"out", "(4, 6)", "(4, 3)"}, forward(dxg, xg));
    expect_error(invalid, {"out", "f16", "f32"}, forward(empty(stream, DataType::f16, {4, 3}), xg));
    expect_error(invalid, {"out", "overlaps xg"}, forward(xg.slice(1, 0, 3), xg));
    expect_error(invalid, {"out", "more than once"}, forward(out.as_strided({4, 3}, {0, 1}), xg));
    expect_error(invalid, {"dy", "(4, 6)", "(4, 3)"}, backward(dxg, dxg, xg));
    expect_error(invalid, {"dy", "bf16", "f32"}, backward(dxg, empty(stream, DataType::bf16, {4, 3}), xg));
    expect_error(invalid, {"dxg", "(4, 3)", "(4, 6)"}, backward(out, dy, xg));
    expect_error(invalid, {"dxg", "overlaps xg"}, backward(xg, dy, xg));
    expect_error(invalid, {"dxg", "overlaps dy"}, backward(dxg, dxg.slice(1, 1, 4), xg));
    expect_error(invalid, {"xg", "(4, 7)"}, [&] {
        static_cast<void>(gated_activation(stream, f32({4, 7}), Gate::reglu));
    });
}

}  // namespace
}  // namespace danaus
