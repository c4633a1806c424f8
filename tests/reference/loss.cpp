#include "reference/loss.hpp"

#include <cmath>
#include <limits>

namespace danaus::reference {
namespace {

double rank(double value) {
    return std::isnan(value) ? -std::numeric_limits<double>::infinity() : value;
}

/// log sum_c exp(row[c]), shifted by the maximum so that nothing overflows.
double log_sum_exp(std::span<const double> row) {
    const double largest = row[argmax(row)];
    double sum = 0.0;
    for (const double value : row) sum += std::exp(value - largest);
    return largest + std::log(sum);
}

}  // namespace

std::size_t argmax(std::span<const double> values) {
    require(!values.empty(), "argmax: needs at least one value");
    std::size_t best = 0;
    for (std::size_t i = 1; i < values.size(); ++i) {
        if (rank(values[i]) > rank(values[best])) best = i;
    }
    return best;
}

Matrix softmax(const Matrix& logits) {
    require(logits.cols > 0 || logits.rows == 0, "softmax: needs at least one class");
    Matrix p(logits.rows, logits.cols);
    for (std::size_t b = 0; b < logits.rows; ++b) {
        const double normalizer = log_sum_exp(logits.row(b));
        for (std::size_t c = 0; c < logits.cols; ++c) p(b, c) = std::exp(logits(b, c) - normalizer);
    }
    return p;
}

CrossEntropy softmax_cross_entropy(const Matrix& logits, std::span<const std::uint32_t> labels) {
    require(labels.size() == logits.rows, "softmax_cross_entropy: needs one label per row");
    CrossEntropy result{0.0, softmax(logits), 0};
    const auto batch = static_cast<double>(logits.rows);
    for (std::size_t b = 0; b < logits.rows; ++b) {
        const std::size_t label = labels[b];
        require(label < logits.cols,
                "softmax_cross_entropy: a label must be less than the number of classes");
        result.loss += (log_sum_exp(logits.row(b)) - logits(b, label)) / batch;
        result.gradient(b, label) -= 1.0;
        if (argmax(logits.row(b)) == label) ++result.correct;
    }
    for (double& value : result.gradient.data) value /= batch;
    return result;
}

}  // namespace danaus::reference
