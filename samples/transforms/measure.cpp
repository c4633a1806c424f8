#include "measure.hpp"

#include "reference.hpp"
#include "timing.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace sample {
namespace {

using namespace danaus;
using ComplexFloats = std::vector<std::complex<float>>;

constexpr int runs = 5;
constexpr double blur_deviation = 2.0;                          // pixels
constexpr double inner_deviation = 1.0, outer_deviation = 1.6;  // whose difference shows edges

// A Gaussian around index 0 that wraps around, with a sum of 1.
std::vector<float> gaussian(std::size_t n, double deviation) {
    Reals values(n);
    double sum = 0.0;
    for (std::size_t i = 0; i < n; ++i) {
        const double distance = static_cast<double>(std::min(i, n - i)) / deviation;
        sum += values[i] = std::exp(-0.5 * distance * distance);
    }
    std::vector<float> floats(n);
    for (std::size_t i = 0; i < n; ++i) floats[i] = static_cast<float>(values[i] / sum);
    return floats;
}

// kernel[a, b] = u[a]·u[b].
Reals outer_product(const std::vector<float>& u) {
    Reals kernel;
    for (const float a : u)
        for (const float b : u) kernel.push_back(static_cast<double>(a) * static_cast<double>(b));
    return kernel;
}

std::string patterns(const Chain& chain) {
    std::string text;
    for (const KroneckerFactor& factor : chain.factors)
        text += (text.empty() ? "" : " · ") + to_string(factor.pattern());
    return text;
}

template <class Number>
double dense_bytes(std::size_t features) {
    const auto n = static_cast<double>(features);
    return static_cast<double>(sizeof(Number)) * n * n;
}

Transform2d both(const Transform& along) {
    return {along, along};
}

template <class Number, class Exact>
void compare(Row& row, const std::vector<Number>& actual, const std::vector<Exact>& exact) {
    for (std::size_t i = 0; i < exact.size(); ++i) {
        const double error = std::abs(Exact(actual[i]) - exact[i]);
        // A NaN stays.
        if (!(error <= row.error)) row.error = std::isnan(row.error) ? row.error : error;
        row.largest = std::max(row.largest, std::abs(exact[i]));
    }
}

class Measuring {
public:
    Measuring(const Device& device, const std::vector<float>& image, std::size_t n)
        : n_(n), timed_(device), image_(image), exact_(image.begin(), image.end()) {
        x_ = upload(timed_.stream, image_, {1, n, n});
    }

    Measurement run() {
        result_.pictures[0] = image_;
        fourier();
        cosines();
        blur();
        edges();
        return std::move(result_);
    }

private:
    template <class Matrix>
    Tensor multiply(Row& row, const Tensor& x, const Matrix& matrix) {
        Tensor y;
        std::vector<double> times;
        for (int i = 0; i <= runs; ++i) {
            const double seconds = timed_.seconds([&] { y = matmul(timed_.stream, x, matrix); });
            if (i > 0) times.push_back(seconds);  // the first one compiles
        }
        row.seconds = median(times);
        return y;
    }

    // A square image's rows and columns go through the same matrix, which is stored once.
    template <class Number>
    Row row_of(std::string name, const Transform& along) const {
        Row row;
        row.name = std::move(name);
        row.factors = "rows and columns " + patterns(along.matrix);
        row.weight_bytes = along.matrix.bytes();
        row.dense_bytes = dense_bytes<Number>(n_);
        return row;
    }

    void fourier() {
        const Transform along = dft(timed_.stream, n_);
        Row row = row_of<std::complex<float>>("DFT", along);
        const ComplexFloats y = download_complex(timed_.stream, multiply(row, x_, both(along)));
        compare(row, y, exact_dft(exact_, n_));
        result_.pictures[1] = centred_log_magnitude(y, n_);
        result_.rows.push_back(std::move(row));
    }

    void cosines() {
        Stream& stream = timed_.stream;
        const Transform dct2 = trigonometric(stream, Trigonometric::dct2, n_),
                        dct3 = trigonometric(stream, Trigonometric::dct3, n_);
        Row row = row_of<float>("DCT-II", dct2);
        const Tensor y = multiply(row, x_, both(dct2));
        const std::vector<float> coefficients = download(stream, y);
        Reals exact = exact_dct2(exact_, n_);
        compare(row, coefficients, exact);
        result_.pictures[2] = log_magnitude(coefficients);
        result_.rows.push_back(std::move(row));

        // Of either side's frequencies the lowest quarter.
        const std::size_t kept = n_ / 4;
        fill_into(stream, y.slice(1, kept, n_), 0.0);
        fill_into(stream, y.slice(2, kept, n_), 0.0);
        for (std::size_t i = 0; i < exact.size(); ++i)
            if (i / n_ >= kept || i % n_ >= kept) exact[i] = 0.0;
        row = row_of<float>("DCT-III of 1/16", dct3);
        std::vector<float> low = download(stream, multiply(row, y, both(dct3)));
        compare(row, low, exact_dct3(std::move(exact), n_));
        const auto side = static_cast<float>(2 * n_);
        result_.pictures[3] = scaled(std::move(low), 1.0f / (side * side));
        result_.rows.push_back(std::move(row));
    }

    // A Gaussian of two dimensions is one along the rows and one along the columns.
    void blur() {
        const std::vector<float> kernel = gaussian(n_, blur_deviation);
        const Transform along = circulant(timed_.stream, ComplexFloats(kernel.begin(), kernel.end()));
        Row row = row_of<std::complex<float>>("circulant blur", along);
        const ComplexFloats y = download_complex(timed_.stream, multiply(row, x_, both(along)));
        compare(row, y, exact_convolution(exact_, outer_product(kernel), n_));
        result_.pictures[4] = real_parts(y);
        result_.rows.push_back(std::move(row));
    }

    // The difference of two Gaussians is not: one circulant of all pixels.
    void edges() {
        const Reals inner = outer_product(gaussian(n_, inner_deviation)),
                    outer = outer_product(gaussian(n_, outer_deviation));
        ComplexFloats kernel(n_ * n_);
        Reals exact(n_ * n_);
        for (std::size_t i = 0; i < kernel.size(); ++i) {
            const auto value = static_cast<float>(inner[i] - outer[i]);
            kernel[i] = value;
            exact[i] = static_cast<double>(value);
        }
        const Convolution2d edges = convolution2d(timed_.stream, kernel, {n_, n_}, n_, n_, true);
        Row row;
        row.name = "2-D circulant edges";
        row.factors = fmt::format("rows {}, columns {}, rows {}", patterns(edges.rows.matrix),
                                  patterns(edges.columns), patterns(edges.inverse_rows.matrix));
        row.weight_bytes =
            edges.rows.matrix.bytes() + edges.columns.bytes() + edges.inverse_rows.matrix.bytes();
        row.dense_bytes = dense_bytes<std::complex<float>>(n_ * n_);
        const ComplexFloats y = download_complex(timed_.stream, multiply(row, x_, edges));
        compare(row, y, exact_convolution(exact_, exact, n_));
        result_.pictures[5] = signed_around_grey(y);
        result_.rows.push_back(std::move(row));
    }

    std::size_t n_;
    TimedStream timed_;
    std::vector<float> image_;
    Reals exact_;
    Tensor x_;
    Measurement result_;
};

}  // namespace

Measurement measure(const Device& device, const std::vector<float>& image, std::size_t n) {
    return Measuring(device, image, n).run();
}

}  // namespace sample
