#include "reference/gated.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace danaus::reference {
namespace {

constexpr double cubic = 0.044715;
constexpr double unit = 0x1p-23;        // one fp32 operation, rounded in any direction
constexpr double underflow = 0x1p-126;  // a device may flush subnormals
const double root = std::sqrt(2.0 / std::numbers::pi);

double inner(double g) {
    return root * (g + cubic * g * g * g);
}

double inner_slope(double g) {
    return root * (1.0 + 3.0 * cubic * g * g);
}

double sech_squared(double u) {
    const double c = std::cosh(std::min(std::abs(u), 300.0));
    return 1.0 / (c * c);
}

// (1 + tanh u) / 2 and (1 + erf v) / 2 where the sums do not cancel; else the same by exp and erfc.
double tanh_share(double g) {
    return g > 0.0 ? 0.5 * (1.0 + std::tanh(inner(g))) : 1.0 / (1.0 + std::exp(-2.0 * inner(g)));
}

double erf_share(double g) {
    const double v = g / std::numbers::sqrt2;
    return g > 0.0 ? 0.5 * (1.0 + std::erf(v)) : 0.5 * std::erfc(-v);
}

// Share of g that passes.
double share(Gate kind, double g) {
    return std::isfinite(g) ? gate(kind, g) / (g == 0.0 ? 1.0 : g) : 1.0;
}

// exp(t) of an argument with `roundings` of its own.
double exponential_error(double t, double roundings) {
    return unit * (3.0 + (2.0 + roundings) * std::abs(t));
}

}  // namespace

double gate(Gate kind, double g) {
    if (g == -HUGE_VAL) return 0.0;
    switch (kind) {
        case Gate::swiglu:
            return g / (1.0 + std::exp(-g));
        case Gate::geglu:
            return g == HUGE_VAL ? g : g * tanh_share(g);
        case Gate::geglu_erf:
            return g * erf_share(g);
        case Gate::reglu:
            break;
    }
    return g < 0.0 ? 0.0 : g;
}

double gate_slope(Gate kind, double g) {
    if (std::isinf(g)) return g > 0.0 ? 1.0 : 0.0;
    switch (kind) {
        case Gate::swiglu: {
            const double s = 1.0 / (1.0 + std::exp(-g));
            return s * (1.0 + g * (1.0 - s));
        }
        case Gate::geglu:
            return tanh_share(g) + 0.5 * g * sech_squared(inner(g)) * inner_slope(g);
        case Gate::geglu_erf:
            return erf_share(g) + g * std::exp(-0.5 * g * g) / std::sqrt(2.0 * std::numbers::pi);
        case Gate::reglu:
            break;
    }
    return g > 0.0 ? 1.0 : g <= 0.0 ? 0.0 : g;
}

double gate_error(Gate kind, double g) {
    const double value = std::abs(gate(kind, g)), size = std::abs(g);
    if (kind == Gate::reglu || std::isinf(g)) return 0.0;
    if (kind == Gate::geglu_erf) return size * 4e-7 + 4.0 * unit * value;
    // d sigmoid(v) = s (1 - s) times the relative error of exp(-|v|).
    const double v = kind == Gate::swiglu ? g : 2.0 * inner(g);
    const double bell = 0.25 * sech_squared(0.5 * v);
    return size * bell * exponential_error(v, kind == Gate::swiglu ? 0.0 : 5.0) + 5.0 * unit * value +
           size * underflow;
}

double gate_slope_error(Gate kind, double g) {
    if (kind == Gate::reglu || std::isinf(g)) return 0.0;
    const double size = std::abs(g);
    if (kind == Gate::geglu_erf) {
        const double density = std::exp(-0.5 * g * g) / std::sqrt(2.0 * std::numbers::pi);
        return 4e-7 + size * density * (exponential_error(0.5 * g * g, 3.0) + 4.0 * unit) + 4.0 * unit;
    }
    const double v = kind == Gate::swiglu ? g : 2.0 * inner(g);
    const double dv = kind == Gate::swiglu ? 1.0 : 2.0 * inner_slope(g);
    const double bell = 0.25 * sech_squared(0.5 * v);
    const double relative = exponential_error(v, kind == Gate::swiglu ? 0.0 : 5.0) + 8.0 * unit;
    return bell * (1.0 + size * dv) * relative + 4.0 * unit * (std::abs(share(kind, g)) + 1e-3) +
           (1.0 + size * dv) * underflow;
}

}  // namespace danaus::reference
