// Gated linear units and their gradients, in either memory order.
#include "jobs.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace danaus::bench {
namespace {

// act(g) and its slope.
std::array<double, 2> act(Gate gate, double g) {
    const double root = std::sqrt(2.0 / std::numbers::pi);
    switch (gate) {
        case Gate::swiglu: {
            const double s = 1.0 / (1.0 + std::exp(-g));
            return {g * s, s + g * s * (1.0 - s)};
        }
        case Gate::geglu: {
            const double t = std::tanh(root * (g + 0.044715 * g * g * g));
            return {0.5 * g * (1.0 + t),
                    0.5 * (1.0 + t) + 0.5 * g * (1.0 - t * t) * root * (1.0 + 3.0 * 0.044715 * g * g)};
        }
        case Gate::geglu_erf: {
            const double phi = 0.5 * (1.0 + std::erf(g / std::numbers::sqrt2));
            return {g * phi, phi + g * 0.5 * root * std::exp(-0.5 * g * g)};
        }
        case Gate::reglu:
            break;
    }
    return {std::max(g, 0.0), g > 0.0 ? 1.0 : 0.0};
}

Tensor matrix(Stream& stream, DataType type, std::uint64_t tokens, std::uint64_t features, Order order) {
    if (order == Order::feature_major) return Tensor(stream.device(), type, {features, tokens}).transpose();
    return {stream.device(), type, {tokens, features}};
}

}  // namespace

Job gated(Stream& stream, DataType type, const Sizes& s, Gate gate, bool backward, Order order) {
    const std::uint64_t h = s.out;
    struct Tensors {
        Tensor xg, dy, out;
    };
    const auto tensors = [&](Order in) {
        return Tensors{matrix(stream, type, s.tokens, 2 * h, in),
                       backward ? matrix(stream, type, s.tokens, h, in) : Tensor(),
                       matrix(stream, type, s.tokens, backward ? 2 * h : h, in)};
    };
    const auto recorded = [=](const Tensors& t) {
        return [=](Recorder& recorder) {
            if (backward)
                gated_activation_backward_into(recorder, t.out, t.dy, t.xg, gate);
            else
                gated_activation_into(recorder, t.out, t.xg, gate);
        };
    };
    const Tensors own = tensors(order);
    Job job;
    job.operands = {{Role::input, own.xg.elements(), own.xg, false},
                    {Role::output, own.out.elements(), own.out, false}};
    if (backward) job.operands.push_back({Role::input, own.dy.elements(), own.dy, false});
    job.oracle = [=](std::vector<std::vector<float>>& values) {
        // Inputs are small integers.
        std::array<std::array<double, 2>, 9> table{};
        for (std::size_t i = 0; i < table.size(); ++i) table[i] = act(gate, static_cast<double>(i) - 4.0);
        for (std::size_t t = 0; t < s.tokens; ++t)
            for (std::size_t f = 0; f < h; ++f) {
                const std::size_t x = t * 2 * h + f, g = x + h;
                const auto [value, slope] = table[static_cast<std::size_t>(values[0][g] + 4.0f)];
                const double other = backward ? values[2][t * h + f] : values[0][x];
                values[1][backward ? x : t * h + f] = static_cast<float>(other * value);
                if (backward) values[1][g] = static_cast<float>(other * values[0][x] * slope);
            }
    };
    job.tolerance = type == DataType::f16 ? 0x1p-10 : 1e-5;
    for (const Operand& operand : job.operands) job.bytes += operand.elements * size_of(type);
    job.record = recorded(own);
    // The same in token-major memory, in turns, so that the ratio of the two orders is that of one run.
    if (order == Order::feature_major) {
        const Tensors other = tensors(Order::token_major);
        for (const Tensor& t : {other.xg, other.dy})
            if (t) fill_into(stream, t, 1.0);
        job.rival = {"token-major", recorded(other)};
    }
    return job;
}

}  // namespace danaus::bench
