// Complex products as real ones over the same memory.
#include "multiply.hpp"

namespace danaus::detail {
namespace {

// Real (0) or imaginary (1) parts of a complex operand.
MatrixView part(const MatrixView& view, std::uint64_t index) {
    return {view.buffer,     DataType::f32,  2 * view.offset + index, 2 * view.row,
            2 * view.column, 2 * view.outer, 2 * view.inner};
}

MultiplyProblem parts(const MultiplyProblem& whole, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
    MultiplyProblem p = whole;
    p.a = part(whole.a, a);
    p.b = part(whole.b, b);
    p.c = part(whole.c, c);
    p.bias = part(whole.bias, c);
    p.residual = part(whole.residual, c);
    return p;
}

// Adds to what is there already.
MultiplyProblem added(MultiplyProblem p, float sign) {
    p.scale *= sign;
    p.has_bias = false;
    p.has_residual = true;
    p.residual = p.c;
    return p;
}

}  // namespace

// C = A·B of real and imaginary parts r and i:
//   Cr = Ar·Br - Ai·Bi      Ci = Ai·Br + Ar·Bi      (signs of Bi exchanged for its conjugate)
// The products with Br store with the epilogue, the others add to them. Both of Br are one problem where a
// batch dimension is free: the two parts are then its members, one element apart.
void emit_complex(Recorder& recorder, const MultiplyProblem& whole, const Tensor& out,
                  const Tensor& residual) {
    MultiplyProblem both = parts(whole, 0, 0, 0);
    const auto along = [&](std::uint64_t MultiplyProblem::*size, std::uint64_t MatrixView::*stride) {
        both.*size = 2;
        both.a.*stride = both.c.*stride = both.residual.*stride = both.bias.*stride = 1;
        both.b.*stride = 0;
        emit(recorder, both, out, residual);
    };
    if (whole.outer == 1 && !whole.has_bias) {
        along(&MultiplyProblem::outer, &MatrixView::outer);
    } else if (whole.inner == 1) {
        along(&MultiplyProblem::inner, &MatrixView::inner);
    } else {
        emit(recorder, both, out, residual);
        emit(recorder, parts(whole, 1, 0, 1));
    }
    if (whole.k == 0) return;
    const float sign = whole.conjugate_b ? -1.0f : 1.0f;
    emit(recorder, added(parts(whole, 1, 1, 0), -sign));
    emit(recorder, added(parts(whole, 0, 1, 1), sign));
}

}  // namespace danaus::detail
