// What a case computes, in host terms: one strided, batched product, from which the oracle and the yardstick
// follow.
#pragma once

#include "blas.hpp"

#include <cstddef>
#include <cstdint>
#include <utility>
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

using Values = std::vector<std::vector<float>>;  ///< of all operands

/// Computes `gemm` with sums in double precision by plain loops; results are rounded once to
/// `significant_bits`, at most 24.
void multiply_in_double(const Gemm& gemm, Values& operands, int significant_bits);

/// Of large products the oracle computes a sample: whole rows, the first one among them, and single elements.
struct Sample {
    std::vector<std::uint64_t> rows;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> elements;  ///< row and column, of any batch
};
/// Multiply-adds up to which every element is computed.
inline constexpr std::uint64_t sample_above = 1ull << 31;
/// For products that follow each other and share their rows (m): as many rows as keep the oracle quick, 1 to
/// 64, and, of a single product, 4096 elements.
[[nodiscard]] Sample sample_of(const std::vector<Gemm>& gemms);
/// The sampled elements of the product; others stay as they are.
void multiply_in_double(const Gemm& gemm, Values& operands, int significant_bits, const Sample& sample);

/// The same product by OpenBLAS, one call per matrix of the batch (sgemv for a single row). A and B have one
/// unit stride each, the result is row-major.
void multiply_by_blas(const Blas& blas, const Gemm& gemm, Values& operands);

}  // namespace danaus::bench
