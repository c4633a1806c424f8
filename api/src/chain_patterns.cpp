// Patterns of known families, and chains made of other matrices.
#include "check.hpp"
#include "kronecker.hpp"

#include <algorithm>
#include <numeric>

#include <fmt/ranges.h>

namespace danaus {

using namespace detail;

std::string to_string(const FactorPattern& p) {
    return fmt::format("({}, {}, {}, {})", p.a, p.b, p.c, p.d);
}

std::vector<FactorPattern> radix_patterns(std::span<const std::uint64_t> out,
                                          std::span<const std::uint64_t> in) {
    require(!out.empty(), "out: no radices, at least one is needed");
    require(in.size() == out.size(), "in: {} radices, out has {}", in.size(), out.size());
    // The products are of sizes that a tensor may have.
    for (const auto& [name, radices] : {std::pair{"out", out}, std::pair{"in", in}}) {
        std::uint64_t features = 1;
        for (const std::uint64_t radix : radices) {
            require(radix > 0, "{}: radices {}, 0 is none", name, fmt::join(radices, ", "));
            require(radix <= (1ull << 62) / features, "{}: the product of radices {} is more than 2^62", name,
                    fmt::join(radices, ", "));
            features *= radix;
        }
    }
    std::vector<FactorPattern> patterns;
    std::uint64_t before = 1;
    for (std::size_t i = 0; i < out.size(); ++i) {
        std::uint64_t behind = 1;
        for (std::size_t j = i + 1; j < in.size(); ++j) behind *= in[j];
        patterns.push_back({behind, out[i], in[i], before});
        before *= out[i];
    }
    return patterns;
}

std::vector<FactorPattern> radix_patterns(std::span<const std::uint64_t> radices) {
    return radix_patterns(radices, radices);
}

std::vector<FactorPattern> butterfly_patterns(std::uint64_t n) {
    require(n >= 2 && (n & (n - 1)) == 0, "n: {}, a power of two from 2 on is needed", n);
    std::vector<std::uint64_t> radices;
    for (; n > 1; n /= 2) radices.push_back(2);
    return radix_patterns(radices);
}

namespace {

// The whole number whose `order`-th power is n, or 0.
std::uint64_t root_of(std::uint64_t n, std::uint64_t order) {
    const auto power = [&](std::uint64_t base) {
        std::uint64_t product = 1;
        for (std::uint64_t i = 0; i < order; ++i) {
            if (product > n / base) return n + 1;
            product *= base;
        }
        return product;
    };
    std::uint64_t low = 1, high = order == 1 ? n : std::min<std::uint64_t>(n, 1ull << 32);
    while (low < high) {
        const std::uint64_t middle = low + (high - low + 1) / 2;
        if (power(middle) <= n)
            low = middle;
        else
            high = middle - 1;
    }
    return power(low) == n ? low : 0;
}

}  // namespace

std::vector<FactorPattern> monarch_patterns(std::uint64_t n, std::uint64_t order) {
    require(n >= 1 && n < 1ull << 62, "n: {}, 1 to 2^62 − 1 is needed", n);
    const std::uint64_t root = order >= 1 && order <= 62 ? root_of(n, order) : 0;
    if (!root) {
        std::vector<std::uint64_t> possible;
        for (std::uint64_t p = 1; p <= 62; ++p)
            if (root_of(n, p)) possible.push_back(p);
        invalid("order: {}, but {} is no such power of a whole number; it allows {}", order, n,
                fmt::join(possible, ", "));
    }
    return radix_patterns(std::vector<std::uint64_t>(order, root));
}

Chain empty(Recorder& recorder, DataType type, std::span<const FactorPattern> patterns) {
    std::vector<KroneckerFactor> factors;
    for (const FactorPattern& p : patterns) factors.emplace_back(empty(recorder, type, {p.a, p.d, p.b, p.c}));
    return Chain(std::move(factors));
}

KroneckerFactor transposed(const KroneckerFactor& w) {
    require(static_cast<bool>(w.weight), "w: a null tensor");
    return KroneckerFactor(w.weight.transpose());
}

Chain transposed(const Chain& w) {
    std::vector<KroneckerFactor> factors;
    for (auto factor = w.factors.rbegin(); factor != w.factors.rend(); ++factor)
        factors.push_back(transposed(*factor));
    return Chain(std::move(factors));
}

KroneckerFactor product(Recorder& recorder, const KroneckerFactor& left, const KroneckerFactor& right) {
    require_tensor(recorder, "left", left.weight);
    require_tensor(recorder, "right", right.weight);
    require_type("right", right.weight, left.weight.type());
    const FactorPattern l = left.pattern(), r = right.pattern();
    require(l.in_features() == r.out_features(), "left: pattern {} takes {} features, right {} makes {}",
            to_string(l), l.in_features(), to_string(r), r.out_features());
    const std::uint64_t a = std::gcd(l.a, r.a), d = std::gcd(l.d, r.d), blocks = a * d;
    const std::uint64_t b = blocks ? l.out_features() / blocks : 0, c = blocks ? r.in_features() / blocks : 0;
    // Rows of the right one's blocks are the tokens' features of the left one, all columns of a block being
    // tokens: so the result, too, has the rows of its blocks where their outputs are.
    const Tensor rows = empty(recorder, left.weight.type(), {l.out_features(), c});
    if (blocks)
        multiply_kronecker(recorder, rows.transpose(), block_rows(recorder, right, a, d).transpose(), left,
                           false, {});
    return KroneckerFactor(rows.as_strided({a, d, b, c}, {b * d * c, c, d * c, 1}));
}

namespace {

void check_pair(const Recorder& recorder, const Monarch& m1, const Monarch& m2) {
    for (const auto& [name, w] : {std::pair{"m1.w1", &m1.w1}, std::pair{"m1.w2", &m1.w2},
                                  std::pair{"m2.w1", &m2.w1}, std::pair{"m2.w2", &m2.w2}})
        require_tensor(recorder, name, *w);
    for (const auto& [name, w] : {std::pair{"m1", &m1}, std::pair{"m2", &m2}})
        require(w->order == OutputOrder::interleaved,
                "{}: OutputOrder::blocked has no pattern; interleaved is "
                "needed",
                name);
    require_type("m2", m2.w1, m1.w1.type());
    require_type("m2.w2", m2.w2, m1.w1.type());
    require(m1.w1.size(0) == m2.w1.size(0) && m1.w1.size(2) == m2.w1.size(2),
            "m2: w1 {}, {} blocks of {} input features are needed, those of m1", to_string(m2.w1.shape()),
            m1.w1.size(0), m1.w1.size(2));
}

}  // namespace

Chain monarch_monarch_transposed(Recorder& recorder, const Monarch& m1, const Monarch& m2) {
    check_pair(recorder, m1, m2);
    const Chain first(m1), second = transposed(Chain(m2));
    return Chain(
        {second.factors[0], product(recorder, first.factors[0], second.factors[1]), first.factors[1]});
}

Chain monarch_monarch_adjoint(Recorder& recorder, const Monarch& m1, const Monarch& m2) {
    check_pair(recorder, m1, m2);
    if (!is_complex(m1.w1.type())) return monarch_monarch_transposed(recorder, m1, m2);
    static_cast<void>(Chain(m1));  // what else may be wrong, before anything is recorded
    static_cast<void>(Chain(m2));
    return monarch_monarch_transposed(
        recorder, m1, Monarch(conjugate(recorder, m2.w1), conjugate(recorder, m2.w2), m2.order));
}

}  // namespace danaus
