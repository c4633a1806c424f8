#include "reference/unbiased.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

namespace danaus::reference {
namespace {

Group magnitudes(const Group& x) {
    Group a;
    std::transform(x.begin(), x.end(), a.begin(), [](double value) { return std::abs(value); });
    return a;
}

double sum_of(const Group& a) {
    return a[0] + a[1] + a[2] + a[3];
}

std::size_t largest_of(const Group& a) {
    return static_cast<std::size_t>(std::max_element(a.begin(), a.end()) - a.begin());
}

double signed_as(double magnitude, double x) {
    return x < 0 ? -magnitude : magnitude;
}

// The place whose step of the cumulative weights u · total falls upon, and how far it is from the next one.
std::size_t fall(const std::vector<double>& weights, double u, double& margin) {
    double total = 0;
    for (const double w : weights) total += w;
    double cumulative = 0;
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < weights.size(); ++i) {
        cumulative += weights[i];
        margin = std::min(margin, std::abs(u - cumulative / total));
        if (u >= cumulative / total) place = i + 1;
    }
    return place;
}

Kept sorted(std::size_t i, double value_i, std::size_t j, double value_j, double margin) {
    if (i < j) return {{i, j}, {value_i, value_j}, margin};
    return {{j, i}, {value_j, value_i}, margin};
}

std::vector<std::size_t> others_of(std::size_t i) {
    std::vector<std::size_t> others;
    for (std::size_t j = 0; j < 4; ++j)
        if (j != i) others.push_back(j);
    return others;
}

std::vector<double> at(const Group& a, const std::vector<std::size_t>& places) {
    std::vector<double> values;
    for (const std::size_t p : places) values.push_back(a[p]);
    return values;
}

Group chances_of_two_draws(const Group& a) {
    const double s = sum_of(a);
    Group p;
    for (std::size_t i = 0; i < 4; ++i) {
        p[i] = a[i] / s;
        for (std::size_t j = 0; j < 4; ++j)
            if (j != i && s > a[j]) p[i] += a[i] * (a[j] / s) / (s - a[j]);
    }
    return p;
}

}  // namespace

Kept least_variance(const Group& x, double u) {
    const Group a = magnitudes(x);
    const double s = sum_of(a);
    const std::size_t top = largest_of(a);
    const double r = s - a[top];
    if (r == 0) return sorted(top, x[top], top == 0 ? 1 : 0, 0, 1.0);
    std::array<std::size_t, 4> order{0, 1, 2, 3};
    std::swap(order[0], order[top]);
    double margin = 1.0, before = 0;
    std::vector<std::size_t> kept;
    std::vector<double> values;
    for (std::size_t i = 0; i < 4; ++i) {
        const double w = a[order[i]], chance = a[top] > r ? (i == 0 ? 1 : w / r) : 2 * w / s;
        const double after = i == 3 ? 2 : before + chance;
        const auto inside = [&](double v) { return before <= v && v < after; };
        if (inside(u) || inside(1 + u)) {
            kept.push_back(order[i]);
            values.push_back(x[order[i]] / chance);
        }
        if (i < 3) margin = std::min({margin, std::abs(u - after), std::abs(1 + u - after)});
        before = after;
    }
    if (kept.size() != 2) return {{0, 1}, {0, 0}, 0.0};  // u lies on a step, to the rounding of double
    return sorted(kept[0], values[0], kept[1], values[1], margin);
}

Kept one_of_two(const Group& x, double u, double v) {
    const Group a = magnitudes(x);
    Kept kept;
    for (std::size_t pair = 0; pair < 2; ++pair) {
        const double sum = a[2 * pair] + a[2 * pair + 1];
        const std::size_t i =
            2 * pair + (sum == 0 ? 0 : fall({a[2 * pair], a[2 * pair + 1]}, pair == 0 ? u : v, kept.margin));
        kept.places[pair] = i;
        kept.values[pair] = sum == 0 ? 0 : signed_as(sum, x[i]);
    }
    return kept;
}

Kept two_draws(const Group& x, double u, double v) {
    const Group a = magnitudes(x);
    if (sum_of(a) == 0) return {{0, 1}, {0, 0}, 1.0};
    const Group p = chances_of_two_draws(a);
    double margin = 1.0;
    const std::size_t i = fall({a[0], a[1], a[2], a[3]}, u, margin);
    const std::vector<std::size_t> others = others_of(i);
    const bool alone = sum_of(a) == a[i];
    const std::size_t j = others[alone ? 0 : fall(at(a, others), v, margin)];
    return sorted(i, x[i] / p[i], j, p[j] > 0 ? x[j] / p[j] : 0, margin);
}

double least_variance_of(const Group& x) {
    const Group a = magnitudes(x);
    const double s = sum_of(a), m = a[largest_of(a)], r = s - m;
    double squares = 0;
    for (const double value : a) squares += value * value;
    return m <= r ? s * s / 2 - squares : r * r - (squares - m * m);
}

double two_draws_variance_of(const Group& x) {
    const Group a = magnitudes(x), p = chances_of_two_draws(a);
    double variance = 0;
    for (std::size_t i = 0; i < 4; ++i)
        if (p[i] > 0) variance += a[i] * a[i] * (1 / p[i] - 1);
    return variance;
}

}  // namespace danaus::reference
