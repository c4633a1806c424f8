// Softmax cross-entropy over a batch.
#pragma once

#include "reference/matrix.hpp"

#include <cstddef>
#include <cstdint>
#include <span>

namespace danaus::reference {

struct CrossEntropy {
    /// (1/B) sum_b (log sum_c exp(logits[b,c]) - logits[b, label_b]); 0 for an empty batch.
    double loss = 0.0;
    /// (softmax(logits)[b,c] - [c = label_b]) / B.
    Matrix gradient;
    /// Rows whose argmax is the label; ties go to the lowest class, NaN never wins over a number.
    std::size_t correct = 0;
};

/// logits is batch x classes, every label < classes.
CrossEntropy softmax_cross_entropy(const Matrix& logits, std::span<const std::uint32_t> labels);

/// p[b,c] = exp(logits[b,c] - max_b) / sum over c.
Matrix softmax(const Matrix& logits);

/// Index of the largest value, the lowest such; NaN counts as -infinity. The span must not be empty.
std::size_t argmax(std::span<const double> values);

}  // namespace danaus::reference
