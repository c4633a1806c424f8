// Multiplying by a 2:4 compressed matrix, and its straight-through gradient.
#include "check.hpp"
#include "compressed.hpp"
#include "stored24.hpp"

namespace danaus {
namespace {

using namespace detail;

// Of a matrix that is present.
CompressedShape shape_of(const Stored24& a) {
    return {a.shape, a.values.type()};
}

MultiplyProblem lower(const Tensor& out, const Tensor& x, const Stored24& a, bool transpose) {
    MultiplyProblem p = product_of(out, x, shape_of(a), transpose);
    set_weight24(p, a, transpose);
    p.label = a.tile_codes ? (transpose ? "tile_sparse24_matmul_transposed" : "tile_sparse24_matmul")
                           : (transpose ? "sparse24_matmul_transposed" : "sparse24_matmul");
    return p;
}

// `x` and `a` are checked.
void multiply_into(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                   const Stored24& a, bool transpose, const Epilogue& epilogue) {
    require_result(recorder, out, product_shape(x, shape_of(a), transpose), a.values.type());
    check_epilogue(recorder, epilogue, out, a.values.type());
    require_apart(out, epilogue, name, x);
    require_apart(out, epilogue, "a", a.values);
    require_apart(out, epilogue, "a", a.places);
    MultiplyProblem problem = lower(out, x, a, transpose);
    const Tensor residual = set_epilogue(problem, epilogue, out, 1, 0);
    emit(recorder, problem, out, residual);
}

void check(const Recorder& recorder, const char* name, const Tensor& x, const Stored24& a, bool transpose) {
    check_stored(recorder, "a", a);
    check_operand(recorder, name, x, shape_of(a), transpose);
}

void checked_multiply_into(Recorder& recorder, const Tensor& out, const char* name, const Tensor& x,
                           const Stored24& a, bool transpose, const Epilogue& epilogue) {
    check(recorder, name, x, a, transpose);
    multiply_into(recorder, out, name, x, a, transpose, epilogue);
}

Tensor multiply(Recorder& recorder, const char* name, const Tensor& x, const Stored24& a, bool transpose,
                const Epilogue& epilogue) {
    check(recorder, name, x, a, transpose);
    const Tensor out =
        new_result(recorder, product_shape(x, shape_of(a), transpose), a.values.type(), epilogue);
    multiply_into(recorder, out, name, x, a, transpose, epilogue);
    return out;
}

}  // namespace

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const Sparse24& a,
                 const Epilogue& epilogue) {
    checked_multiply_into(recorder, out, "x", x, a, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const Sparse24& a, const Epilogue& epilogue) {
    return multiply(recorder, "x", x, a, false, epilogue);
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Sparse24& a,
                            const Epilogue& epilogue) {
    checked_multiply_into(recorder, out, "dy", dy, a, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const Sparse24& a, const Epilogue& epilogue) {
    return multiply(recorder, "dy", dy, a, true, epilogue);
}

void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                          const Sparse24& a, const GradientOptions& options) {
    straight_through_into(recorder, out, dy, x, checked(recorder, a), options, "sparse24_weight_gradient");
}

Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const Sparse24& a,
                       const GradientOptions& options) {
    return straight_through(recorder, dy, x, checked(recorder, a), options, "sparse24_weight_gradient");
}

void matmul_into(Recorder& recorder, const Tensor& out, const Tensor& x, const TileSparse24& a,
                 const Epilogue& epilogue) {
    checked_multiply_into(recorder, out, "x", x, a, false, epilogue);
}

Tensor matmul(Recorder& recorder, const Tensor& x, const TileSparse24& a, const Epilogue& epilogue) {
    return multiply(recorder, "x", x, a, false, epilogue);
}

void matmul_transposed_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const TileSparse24& a,
                            const Epilogue& epilogue) {
    checked_multiply_into(recorder, out, "dy", dy, a, true, epilogue);
}

Tensor matmul_transposed(Recorder& recorder, const Tensor& dy, const TileSparse24& a,
                         const Epilogue& epilogue) {
    return multiply(recorder, "dy", dy, a, true, epilogue);
}

void weight_gradient_into(Recorder& recorder, const Tensor& out, const Tensor& dy, const Tensor& x,
                          const TileSparse24& a, const GradientOptions& options) {
    straight_through_into(recorder, out, dy, x, checked(recorder, a), options,
                          "tile_sparse24_weight_gradient");
}

Tensor weight_gradient(Recorder& recorder, const Tensor& dy, const Tensor& x, const TileSparse24& a,
                       const GradientOptions& options) {
    return straight_through(recorder, dy, x, checked(recorder, a), options, "tile_sparse24_weight_gradient");
}

}  // namespace danaus
