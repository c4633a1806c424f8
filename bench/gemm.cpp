#include "gemm.hpp"

#include <algorithm>
#include <cmath>
#include <thread>
#include <utility>

namespace danaus::bench {
namespace {

double round_to(double value, int significant_bits) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, significant_bits)), exponent - significant_bits);
}

Layout transposed(Layout layout) {
    std::swap(layout.row, layout.column);
    return layout;
}

}  // namespace

Gemm forward(std::size_t x, std::size_t w, std::size_t y, std::uint64_t m, std::uint64_t n, std::uint64_t k) {
    return {x, w, y, m, n, k, 1, {k, 1, 0}, {1, k, 0}, {n, 1, 0}};
}

Gemm input_gradient(const Gemm& f, std::size_t dx, std::size_t w, std::size_t dy) {
    return {dy, w, dx, f.m, f.k, f.n, f.batch, f.c_layout, transposed(f.b_layout), f.a_layout};
}

Gemm weight_gradient(const Gemm& f, std::size_t dw, std::size_t x, std::size_t dy) {
    // dW is n × k of the forward product, and B there was Wᵀ.
    return {dy, x, dw, f.n, f.k, f.m, f.batch, transposed(f.c_layout), f.a_layout, transposed(f.b_layout)};
}

void multiply_in_double(const Gemm& g, std::vector<std::vector<double>>& operands, int significant_bits) {
    const std::vector<double>&a = operands[g.a], &b = operands[g.b];
    std::vector<double>& c = operands[g.c];
    std::vector<double> packed(g.k * g.n);
    for (std::uint64_t batch = 0; batch < g.batch; ++batch) {
        for (std::uint64_t k = 0; k < g.k; ++k)
            for (std::uint64_t n = 0; n < g.n; ++n)
                packed[k * g.n + n] =
                    b[batch * g.b_layout.batch + k * g.b_layout.row + n * g.b_layout.column];
        const auto rows = [&](std::uint64_t begin, std::uint64_t end) {
            std::vector<double> sum(g.n);
            for (std::uint64_t m = begin; m < end; ++m) {
                std::fill(sum.begin(), sum.end(), 0.0);
                for (std::uint64_t k = 0; k < g.k; ++k) {
                    const double factor =
                        a[batch * g.a_layout.batch + m * g.a_layout.row + k * g.a_layout.column];
                    for (std::uint64_t n = 0; n < g.n; ++n) sum[n] += factor * packed[k * g.n + n];
                }
                for (std::uint64_t n = 0; n < g.n; ++n)
                    c[batch * g.c_layout.batch + m * g.c_layout.row + n * g.c_layout.column] =
                        round_to(sum[n], significant_bits);
            }
        };
        const std::uint64_t workers = std::clamp<std::uint64_t>(std::thread::hardware_concurrency(), 1, g.m);
        std::vector<std::jthread> threads;
        for (std::uint64_t i = 0; i < workers; ++i)
            threads.emplace_back(rows, g.m * i / workers, g.m * (i + 1) / workers);
    }
}

void multiply_by_blas(const Blas& blas, const Gemm& g, std::vector<std::vector<float>>& operands) {
    const auto operand = [](const float* data, const Layout& layout) {
        return layout.column == 1 ? Blas::Operand{data, layout.row, false}
                                  : Blas::Operand{data, layout.column, true};
    };
    for (std::uint64_t batch = 0; batch < g.batch; ++batch) {
        const float* a = operands[g.a].data() + batch * g.a_layout.batch;
        const float* b = operands[g.b].data() + batch * g.b_layout.batch;
        float* c = operands[g.c].data() + batch * g.c_layout.batch;
        if (g.m > 1) {
            blas.sgemm(g.m, g.n, g.k, operand(a, g.a_layout), operand(b, g.b_layout), c, g.c_layout.row);
        } else if (g.b_layout.row == 1) {
            blas.sgemv(g.n, g.k, {b, g.b_layout.column, false}, a, c);
        } else {
            blas.sgemv(g.k, g.n, {b, g.b_layout.row, true}, a, c);
        }
    }
}

}  // namespace danaus::bench
