#include "gemm.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <thread>
#include <utility>

namespace danaus::bench {
namespace {

double round_to(double value, int significant_bits) {
    int exponent = 0;
    const double mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::nearbyint(std::ldexp(mantissa, significant_bits)), exponent - significant_bits);
}

// work(begin, end) over the parts of [0, count), on all threads.
template <typename Work>
void share(std::uint64_t count, const Work& work) {
    const std::uint64_t workers = std::clamp<std::uint64_t>(std::thread::hardware_concurrency(), 1, count);
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < workers; ++i)
        threads.emplace_back(work, count * i / workers, count * (i + 1) / workers);
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

void multiply_in_double(const Gemm& g, Values& operands, int significant_bits) {
    const std::vector<float>&a = operands[g.a], &b = operands[g.b];
    std::vector<float>& c = operands[g.c];
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
                        static_cast<float>(round_to(sum[n], significant_bits));
            }
        };
        share(g.m, rows);
    }
}

Sample sample_of(const std::vector<Gemm>& gemms) {
    std::uint64_t work = 0;
    for (const Gemm& gemm : gemms) work += gemm.multiply_adds();
    const Gemm& g = gemms.front();
    std::mt19937_64 engine(3);
    const auto draw = [&](std::uint64_t below) { return engine() % below; };
    Sample sample;
    sample.rows = {0};
    const std::uint64_t rows = std::min(g.m, std::clamp<std::uint64_t>((1ull << 28) / (work / g.m), 1, 64));
    while (sample.rows.size() < rows) sample.rows.push_back(draw(g.m));
    if (gemms.size() == 1)
        for (int i = 0; i < 4096; ++i) sample.elements.emplace_back(draw(g.m), draw(g.n));
    return sample;
}

void multiply_in_double(const Gemm& g, Values& operands, int significant_bits, const Sample& sample) {
    for (std::uint64_t batch = 0; batch < g.batch; ++batch) {
        const float* a = operands[g.a].data() + batch * g.a_layout.batch;
        const float* b = operands[g.b].data() + batch * g.b_layout.batch;
        float* c = operands[g.c].data() + batch * g.c_layout.batch;
        const auto store = [&](std::uint64_t m, std::uint64_t n, double sum) {
            c[m * g.c_layout.row + n * g.c_layout.column] =
                static_cast<float>(round_to(sum, significant_bits));
        };
        const auto element = [&](std::uint64_t m, std::uint64_t n) {
            double sum = 0.0;
            for (std::uint64_t k = 0; k < g.k; ++k)
                sum += static_cast<double>(a[m * g.a_layout.row + k * g.a_layout.column]) *
                       static_cast<double>(b[k * g.b_layout.row + n * g.b_layout.column]);
            store(m, n, sum);
        };
        // Along B's unit stride, whichever it is.
        share(g.n, [&](std::uint64_t begin, std::uint64_t end) {
            std::vector<double> sums(end - begin);
            for (const std::uint64_t m : sample.rows) {
                if (g.b_layout.row == 1) {
                    for (std::uint64_t n = begin; n < end; ++n) element(m, n);
                    continue;
                }
                std::fill(sums.begin(), sums.end(), 0.0);
                for (std::uint64_t k = 0; k < g.k; ++k) {
                    const double factor = a[m * g.a_layout.row + k * g.a_layout.column];
                    const float* row = b + k * g.b_layout.row + begin * g.b_layout.column;
                    for (std::uint64_t n = 0; n < end - begin; ++n)
                        sums[n] += factor * static_cast<double>(row[n * g.b_layout.column]);
                }
                for (std::uint64_t n = begin; n < end; ++n) store(m, n, sums[n - begin]);
            }
        });
        for (const auto& [m, n] : sample.elements) element(m, n);
    }
}

void multiply_by_blas(const Blas& blas, const Gemm& g, Values& operands) {
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
