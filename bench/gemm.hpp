// What a case computes, in host terms: one strided, batched product, from which the oracle and the yardstick
// follow.
#pragma once

#include "blas.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace danaus::bench {

/// Element (row, column) of matrix b lies at row·row_stride + column·column_stride + b·batch_stride.
struct Layout {
    std::uint64_t row = 0, column = 0, batch = 0;
};

/// C[b] (m × n) = A[b] (m × k) · B[b] (k × n) for b < batch; a, b and c are indices of a case's operands.
struct Gemm {
    std::size_t a = 0, b = 0, c = 0;
    std::uint64_t m = 0, n = 0, k = 0, batch = 1;
    Layout a_layout, b_layout, c_layout;

    [[nodiscard]] std::uint64_t multiply_adds() const { return m * n * k * batch; }
};

/// x (m × k) · Wᵀ, W (n × k), all row-major and dense: the forward multiply.
[[nodiscard]] Gemm forward(std::size_t x, std::size_t w, std::size_t y, std::uint64_t m, std::uint64_t n,
                           std::uint64_t k);
/// The roles of dx = dy · W and of dW = dyᵀ · x, for a forward product with operands A = x, B = Wᵀ, C = y:
/// operand dx stands where x stood, dW where W stood, dy where y stood.
[[nodiscard]] Gemm input_gradient(const Gemm& forward, std::size_t dx, std::size_t w, std::size_t dy);
[[nodiscard]] Gemm weight_gradient(const Gemm& forward, std::size_t dw, std::size_t x, std::size_t dy);

/// Computes `gemm` in double precision by plain loops; results are rounded once to `significant_bits`.
void multiply_in_double(const Gemm& gemm, std::vector<std::vector<double>>& operands, int significant_bits);

/// The same product by OpenBLAS, one call per matrix of the batch (sgemv for a single row). A and B have one
/// unit stride each, the result is row-major.
void multiply_by_blas(const Blas& blas, const Gemm& gemm, std::vector<std::vector<float>>& operands);

}  // namespace danaus::bench
