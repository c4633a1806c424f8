// Gradients by central differences: the oracle of the oracle.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace danaus::reference {

/// g[i] = (f(x + h e_i) - f(x - h e_i)) / 2h with h = step * max(1, |x[i]|); f maps const
/// std::vector<double>& to double. The error is about step^2 |f'''| / 6 + 1e-16 |f| / step.
template <typename Function>
std::vector<double> finite_difference_gradient(const Function& f, std::vector<double> x, double step = 1e-5) {
    std::vector<double> gradient(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
        const double center = x[i];
        const double above = center + step * std::max(1.0, std::abs(center));
        const double below = center - step * std::max(1.0, std::abs(center));
        x[i] = above;
        const double value_above = f(x);
        x[i] = below;
        const double value_below = f(x);
        x[i] = center;
        gradient[i] = (value_above - value_below) / (above - below);
    }
    return gradient;
}

}  // namespace danaus::reference
